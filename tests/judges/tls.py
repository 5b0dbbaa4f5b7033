"""sslyze holds the TLS listener against Mozilla's profiles: the default against `intermediate`, one with
`min_version: "1.3"` against `modern`. A listener that others made bad on purpose shows that it can say no."""
import pathlib
import socket
import ssl
import subprocess
import tempfile
import threading

from . import certificates
from .gateway import Gateway, check, tool


def scan(port, profile, folder):
    """What sslyze says of a port. Returns whether it complies, and the text."""
    # The scanner would take ::1 for localhost; the name it asks for is that of the certificate all the same.
    target = f"localhost:{port}{{127.0.0.1}}"
    command = [tool("sslyze"), f"--mozilla_config={profile}", f"--certinfo_ca_file={folder}/authority.pem", target]
    run = subprocess.run(command, capture_output=True, text=True, timeout=120)
    text = run.stdout + run.stderr
    verdict = text.partition("COMPLIANCE AGAINST")[2]
    check(verdict, f"sslyze gave no verdict: {text[-2000:]}")
    return run.returncode == 0 and "OK - Compliant" in verdict, verdict


def weak(path):
    """A server that speaks TLS 1.2 with a cipher that no profile allows. Returns its listening socket."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path)
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers("ECDHE-ECDSA-AES128-SHA:ECDHE-ECDSA-AES256-SHA")
    listener = socket.create_server(("127.0.0.1", 0), backlog=64)

    def one(connection):
        try:
            with context.wrap_socket(connection, server_side=True) as secure:
                secure.recv(1)
        except OSError:
            pass

    def serve():
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=one, args=(connection,), daemon=True).start()

    threading.Thread(target=serve, daemon=True).start()
    return listener


def run():
    with tempfile.TemporaryDirectory() as name:
        path = pathlib.Path(name) / "both.pem"
        certificates.issue(path.parent)
        files = f'certificates: [{{ cert: "{path}", key: "{path}" }}]'
        configuration = f"""
            listeners:
              - {{ name: default, bind: "127.0.0.1:0", tls: {{ {files} }} }}
              - {{ name: newest, bind: "127.0.0.1:0", tls: {{ {files}, min_version: "1.3" }} }}
            routes: [{{ name: all, filters: [{{ type: respond, status: 200 }}] }}]
        """
        with weak(path) as listener:
            complies, _ = scan(listener.getsockname()[1], "intermediate", name)
            check(not complies, "sslyze finds nothing wrong with a weak server: it cannot judge")
            listener.shutdown(socket.SHUT_RDWR)
        with Gateway(configuration) as gateway:
            for listener, profile in (("default", "intermediate"), ("newest", "modern")):
                complies, verdict = scan(gateway.port(listener), profile, name)
                check(complies, f"listener {listener} does not comply with {profile}: {verdict[:2000]}")
            gateway.alive()
    return "complies with Mozilla's intermediate by default, and with modern when told so; a weak server does not"
