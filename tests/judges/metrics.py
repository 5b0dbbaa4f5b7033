"""promtool reads what /metrics says after traffic of every kind, and the numbers add up."""
import pathlib
import re
import socket
import subprocess
import tempfile

from . import certificates, client, h2raw
from .gateway import Gateway, check, eventually, tool
from .proxies import Ports
from .recorder import Recorder


def configuration(upstream, nobody, folder):
    certificates.issue(folder)
    return f"""
        listeners:
          - {{ name: web, bind: "127.0.0.1:0" }}
          - {{ name: 'odd "name" \\', bind: "127.0.0.1:0" }}
          - {{ name: tls, bind: "127.0.0.1:0", tls: {{ certificates: [{{ cert: "{folder}/both.pem", key: "{folder}/both.pem" }}] }} }}
        routes:
          - {{ name: all, backends: [{{ upstream: up }}] }}
          - {{ name: down, match: {{ path: /down }}, retry: {{ attempts: 2 }}, backends: [{{ upstream: down }}] }}
          - {{ name: 'route "é" \\', match: {{ path: /here }}, filters: [{{ type: respond, status: 418 }}] }}
        upstreams:
          - {{ name: up, endpoints: ["127.0.0.1:{upstream}"], health: {{ active: {{ path: /health, interval: 50ms }}, passive: {{}} }} }}
          - {{ name: down, endpoints: ["127.0.0.1:{nobody}"], health: {{ active: {{ path: /, interval: 50ms }} }} }}
        access_log: {{}}
    """


def get(path, more=""):
    return f"GET {path} HTTP/1.1\r\nHost: judge\r\nConnection: close\r\n{more}\r\n".encode()


def traffic(gateway):
    """Requests of every kind. Returns how many."""
    web, odd = gateway.address(), gateway.address('odd "name" \\')
    payloads = [get("/x"), get("/down"), get("/here"), get("/%zz"), b"nonsense\r\n\r\n", get("/x", "X: \0\r\n")]
    payloads += [get("/x", "Connection: upgrade\r\nUpgrade: websocket\r\n"), b"PATCHY /x HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"]
    for payload in payloads:
        client.send(web, payload)
        client.send(odd, payload)
    with h2raw.Connection(web) as connection:
        for stream in range(1, 20, 2):
            connection.send(h2raw.headers(stream, h2raw.PSEUDO))
        connection.read(lambda: len(connection.ended) >= 10)
    # A client that goes before its reply is there, and a handshake that is none.
    with socket.create_connection(web) as leaving:
        leaving.sendall(b"POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n12345")
    client.send(gateway.address("tls"), b"\x16\x03\x01 no handshake at all")
    return 2 * len(payloads) + 10 + 1


def run():
    with Recorder() as upstream, tempfile.TemporaryDirectory() as folder, Ports() as ports:
        [nobody] = ports.take(1)
        with Gateway(configuration(upstream.port, nobody, pathlib.Path(folder))) as gateway:
            sent = traffic(gateway)
            eventually("the access log", lambda: len(gateway.log()) >= sent)
            page, logged = gateway.page("/metrics"), len(gateway.log())
            gateway.alive()
    run = subprocess.run([tool("promtool"), "check", "metrics"], input=page, capture_output=True, text=True, timeout=60)
    said = (run.stdout + run.stderr).strip()
    check(run.returncode == 0 and not said, f"promtool: {said or run.returncode}")
    # Control: it does object.
    bad = subprocess.run([tool("promtool"), "check", "metrics"], input="# TYPE a counter\na 1\n", capture_output=True, text=True, timeout=60)
    check(bad.returncode != 0, "promtool finds nothing wrong with a counter called `a`: it cannot judge")
    counted = sum(float(value) for value in re.findall(r"(?m)^portcullis_requests_total\{[^\n]*\} (\S+)$", page))
    check(counted == logged, f"{counted:g} requests counted, {logged} in the access log")
    series = sum(not line.startswith("#") for line in page.splitlines())
    return f"{series} series after {sent} requests of all kinds"
