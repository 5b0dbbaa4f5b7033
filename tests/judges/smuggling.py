"""smugglex, a scanner for request smuggling, against the gateway; and first against a pair of servers that is
vulnerable on purpose, to see that it finds something."""
import json
import pathlib
import socket
import subprocess
import tempfile
import threading

from . import certificates
from .gateway import Failed, Gateway, check, tool
from .recorder import ANSWER, Reader, Seen, body

# Not with `--fuzz`: it also takes away bodies that were announced, and then takes the wait for them for a finding.
CHECKS = "cl-te,te-cl,te-te,h2c,h2,cl-edge,cl-0,0-cl,parser-discrepancy"
TIMEOUT = 2


class Server:
    """Accepts connections and runs `serve` for each in a thread."""

    def __init__(self, serve):
        self._serve = serve
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=256)
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self):
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._guarded, args=(connection,), daemon=True).start()

    def _guarded(self, connection):
        connection.settimeout(30)
        try:
            with connection:
                self._serve(connection)
        except OSError:
            pass


def head_of(reader):
    """The next head, as bytes and as fields in lower case; None at the end."""
    head = reader.head()
    if head is None:
        return None, None
    line, *lines = head.split(b"\r\n")
    fields = [(name.strip().lower(), value.strip()) for name, _, value in (field.partition(b":") for field in lines)]
    return head, Seen(line, fields)


def back(connection):
    """A server that goes by chunks wherever it reads `chunked`, and keeps connections."""
    reader = Reader(connection)
    while True:
        _, seen = head_of(reader)
        if seen is None:
            return
        if any(b"chunked" in value.lower() for value in seen.values(b"transfer-encoding")):
            seen.fields = [(b"transfer-encoding", b"chunked")]
        if not body(reader, seen):
            connection.sendall(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
            return
        known = seen.line.partition(b" ")[0] in (b"GET", b"POST", b"HEAD", b"OPTIONS")
        connection.sendall(ANSWER if known else b"HTTP/1.1 405 Method Not Allowed\r\nContent-Length: 0\r\n\r\n")


def front(upstream):
    """A proxy that goes by `content-length` alone, and sends the requests of all clients over one connection."""
    kept, lock = [], threading.Lock()

    def ask(request):
        with lock:
            if not kept:
                kept.append(socket.create_connection(("127.0.0.1", upstream), timeout=1))
            try:
                kept[0].sendall(request)
                reply = kept[0].recv(65536)
            except TimeoutError:
                reply = b""
            if not reply:
                kept.pop().close()
            return reply or b"HTTP/1.1 504 Gateway Timeout\r\nContent-Length: 0\r\n\r\n"

    def serve(connection):
        reader = Reader(connection)
        while True:
            head, seen = head_of(reader)
            if head is None:
                return
            length = int((seen.values(b"content-length") or [b"0"])[0])
            connection.sendall(ask(head + b"\r\n\r\n" + b"".join(reader.exactly(length))))

    return serve


def scan(url, *options):
    """Runs the scanner. Returns its report."""
    with tempfile.TemporaryDirectory() as folder:
        report = pathlib.Path(folder) / "report.json"
        command = [tool("smugglex"), "-t", str(TIMEOUT), "--no-color", "--json", "-o", str(report), *options, url]
        run = subprocess.run(command, capture_output=True, text=True, timeout=240)
        if not report.exists():
            raise Failed(f"smugglex made no report of {url}: {(run.stdout + run.stderr)[-1000:]}")
        return json.loads(report.read_text())


def findings(report):
    """Names of the checks that found something, with the request that did."""
    checks = [check for result in report["results"] for check in result["checks"]]
    return len(checks), {check["check_type"]: check.get("payload") for check in checks if check["vulnerable"]}


def configuration(upstream, folder):
    certificates.issue(folder)
    return f"""
        listeners:
          - {{ name: web, bind: "127.0.0.1:0" }}
          - {{ name: tls, bind: "127.0.0.1:0", tls: {{ certificates: [{{ cert: "{folder}/both.pem", key: "{folder}/both.pem" }}] }} }}
        routes: [{{ name: all, backends: [{{ upstream: back }}] }}]
        upstreams: [{{ name: back, endpoints: ["127.0.0.1:{upstream}"] }}]
        access_log: {{}}
    """


def finds_something(upstream):
    """Whether the scanner sees that a vulnerable pair is vulnerable. It compares times, so that on a busy machine it
    may miss it once."""
    for _ in range(5):
        with Server(front(upstream)) as vulnerable:
            _, found = findings(scan(f"http://127.0.0.1:{vulnerable.port}/", "-c", "cl-te", "-1"))
            if found:
                return True
    return False


def scan_twice(url, *options):
    """Scans the gateway; what is found has to be found again, for the same reason. Returns the number of checks."""
    count, found = findings(scan(url, *options))
    if found:
        count, again = findings(scan(url, *options))
        found = {kind: payload for kind, payload in again.items() if kind in found}
    check(not found, f"smugglex finds the gateway vulnerable at {url}: {found}")
    return count


def run():
    with Server(back) as upstream, tempfile.TemporaryDirectory() as folder:
        check(finds_something(upstream.port), "smugglex does not find that the vulnerable pair is vulnerable: it cannot judge")
        with Gateway(configuration(upstream.port, pathlib.Path(folder))) as gateway:
            plain = scan_twice(f"http://127.0.0.1:{gateway.port()}/", "-c", CHECKS)
            secure = scan_twice(f"https://127.0.0.1:{gateway.port('tls')}/", "-k", "-c", "h2-downgrade,cl-te,te-te")
            gateway.alive()
            requests = len(gateway.log())
    # Fewer would mean that the scanner gave up.
    check(requests > 300, f"smugglex sent {requests} requests only")
    return f"{plain} checks and {secure} over TLS find nothing in {requests} requests; the vulnerable pair is found"
