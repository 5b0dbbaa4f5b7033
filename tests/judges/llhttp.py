"""llhttp's messages, judged by RFC 9112 and by what a proxy may pass on.

Requests go through the gateway to a recording upstream; responses come from an upstream. What is right is in
llhttp.yaml, in the project's own words: llhttp itself is lenient in places.
"""
import os
import pathlib
import queue
import re
import sys

import yaml

from . import client
from .gateway import Failed, Gateway, check, eventually, together
from .recorder import Recorder, shown

EXPECTATIONS = pathlib.Path(__file__).parent / "llhttp.yaml"
LANES = 8
# What the upstream answers behind a response under test: it must never get mixed up with it.
FRESH = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nfresh"


def messages(folder):
    """Messages by name; the name begins with their kind, `request` or `response`."""
    found = {}
    for file in sorted(folder.glob("re*/*.md")):
        title = ""
        pattern = rb"^#+ ([^\n]*)$|^```http\n(.*?)^```"
        for match in re.finditer(pattern, file.read_bytes(), re.MULTILINE | re.DOTALL):
            if match[1] is not None:
                title = match[1].decode()
                continue
            name = base = f"{file.parent.name}/{file.stem}: {title}"
            count = 1
            while name in found:
                count += 1
                name = f"{base} ({count})"
            found[name] = unescape(match[2].removesuffix(b"\n"))
    return found


def unescape(text):
    """The bytes that a block stands for: its lines end with CRLF, and it has escapes of its own."""
    text = text.replace(b"\\\n", b"").replace(b"\n", b"\r\n")
    for escape, byte in ((rb"\r", b"\r"), (rb"\n", b"\n"), (rb"\t", b"\t"), (rb"\f", b"\f")):
        text = text.replace(escape, byte)
    text = re.sub(rb"\\x([0-9a-fA-F]{2})", lambda match: bytes([int(match[1], 16)]), text)
    return re.sub(rb"\\([0-7]{1,3})", lambda match: bytes([int(match[1], 8)]), text)


def prepare(name, message):
    """The message so that what it is about decides: HTTP/1.1 requests without host get one, heads that are not
    finished are, and in the cases about transfer codings targets lose their fragments."""
    cut_on_purpose = name.startswith("request/finish")
    if not cut_on_purpose and b"\r\n\r\n" not in message and b"\n\n" not in message:
        message += b"\r\n" if message.endswith(b"\r\n") else b"\r\n\r\n"
    if name.startswith("request/transfer-encoding"):
        message = message.replace(b"#hey HTTP", b" HTTP")
    out, at = b"", 0
    for match in re.finditer(rb"(?m)^[A-Z-]+ ([^\r\n]+) HTTP/1\.1\r\n", message):
        out += message[at : match.end()]
        at = match.end()
        if not has_host(message[at:]):
            absolute = re.match(rb"http://(?:[^/?]*@)?([^/?]+)", match[1])
            out += b"Host: %s\r\n" % (absolute[1] if absolute else b"judge")
    return out + message[at:]


def has_host(message):
    return re.search(rb"(?im)^host *:", message.partition(b"\r\n\r\n")[0]) is not None


class Lane:
    """A listener for requests and one for responses, each with an upstream of its own, for one message at a time."""

    def __init__(self, name):
        self.name = name
        self.response = b""
        self.upstreams = {
            "request": Recorder(),
            "response": Recorder(lambda seen: FRESH if b"/fresh" in seen.line else self.response, silence=0.4),
        }
        self._read = dict.fromkeys(self.upstreams, 0)

    def close(self):
        for upstream in self.upstreams.values():
            upstream.__exit__()

    def judge(self, gateway, kind, message, patience):
        """What becomes of a message: replies, whether the connection was closed, requests seen; and the
        reason codes of what the gateway answered itself."""
        if kind == "response":
            self.response = message
            message = b"GET /x HTTP/1.1\r\nHost: judge\r\n\r\nGET /fresh HTTP/1.1\r\nHost: judge\r\n\r\n"
        upstream = self.upstreams[kind]
        upstream.take()
        answer = client.send(gateway.address(f"{kind}{self.name}"), message, first=patience, quiet=0.6 * patience)
        replies = answer.replies()
        verdict = ", ".join(describe(reply, kind) for reply in replies) or "-"
        verdict += "; closed" if answer.closed else ""
        if kind == "request":
            verdict += "".join(f"; {seen}" for seen in upstream.take())
        final = [reply for reply in replies if reply.status is None or reply.status >= 200]
        return verdict, self._reasons(gateway, kind, len(final))

    def _reasons(self, gateway, kind, replies):
        """Reason codes in the access log since the last call, once there are as many lines as replies. Messages that
        are not complete are given up by the client, and logged sooner or later: those lines do not count."""
        listener = f"{kind}{self.name}"

        def new():
            lines = [line for line in gateway.log() if line["listener"] == listener and line.get("reason") != "client_gone"]
            lines = lines[self._read[kind] :]
                # An empty list is a result as well.
            return (lines,) if len(lines) >= replies else None

        (lines,) = eventually("the access log", new)
        self._read[kind] += len(lines)
        return [line["reason"] for line in lines if line.get("reason")]


def describe(reply, kind):
    """A reply as text: the status, and of responses under test the body and whether it was whole."""
    text = str(reply.status or "raw")
    if kind == "response":
        text += f" {shown(reply.body)}" if reply.body and reply.status and reply.status < 400 else ""
        text += "" if reply.whole else " cut"
    return text


def configuration(lanes):
    pairs = [(f"{kind}{lane.name}", upstream.port) for lane in lanes for kind, upstream in lane.upstreams.items()]
    document = {
        "listeners": [{"name": name, "bind": "127.0.0.1:0"} for name, _ in pairs],
        "routes": [{"name": name, "listeners": [name], "backends": [{"upstream": name}]} for name, _ in pairs],
        "upstreams": [{"name": name, "endpoints": [f"127.0.0.1:{port}"]} for name, port in pairs],
        "access_log": {},
    }
    return yaml.safe_dump(document)


def judge_all(todo, patience=1.0):
    """Verdicts and reasons by name and variant. `todo` has names, variants and messages."""
    work, found = queue.SimpleQueue(), {}
    for item in todo:
        work.put(item)
    lanes = [Lane(number) for number in range(LANES)]
    try:
        with Gateway(configuration(lanes)) as gateway:

            def one(lane):
                while True:
                    try:
                        name, variant, message = work.get_nowait()
                    except queue.Empty:
                        return
                    found[name, variant] = lane.judge(gateway, name.partition("/")[0], message, patience)

            together(*[lambda lane=lane: one(lane) for lane in lanes])
            gateway.alive()
    finally:
        for lane in lanes:
            lane.close()
    return found


def variants(vectors):
    """Each message as it is judged, and requests without host also as they are."""
    for name, message in vectors.items():
        request = name.startswith("request")
        yield name, "judged", prepare(name, message) if request else message
        # HTTP/1.1 without host is refused whatever else there is (RFC 9112, section 3.2).
        if request and message.partition(b"\r\n")[0].endswith(b"HTTP/1.1") and not has_host(message):
            yield name, "no host", message


def problems(found, vectors, expected):
    wrong = []
    cases, why = expected["cases"], expected["why"]
    for name in vectors:
        verdict, reasons = found[name, "judged"]
        if name not in cases:
            wrong.append(f"{name}: nothing expected; found {verdict} ({' '.join(reasons) or 'plain'})")
            continue
        right, reason = cases[name]
        if verdict != right:
            wrong.append(f"{name}: {verdict} ({' '.join(reasons)}), expected {right}")
        for code in reason.split():
            if code not in why:
                wrong.append(f"{name}: nothing says what {code} means")
        for code in reasons:
            if code not in reason.split():
                wrong.append(f"{name}: the access log says {code}, expected {reason}")
    wrong += [f"{name}: expected, but there is no such message" for name in cases if name not in vectors]
    used = {code for _, reason in cases.values() for code in reason.split()}
    wrong += [f"{code} explains nothing" for code in why if code not in used]
    for (name, variant), (verdict, reasons) in found.items():
        if variant == "no host" and verdict not in ("400; closed", "-"):
            wrong.append(f"{name}: without host: {verdict} ({' '.join(reasons)})")
    return wrong


def run():
    place = os.environ.get("PORTCULLIS_VECTORS")
    if not place:
        text = "PORTCULLIS_VECTORS names no folder: llhttp's messages are NOT judged"
        print(f"judges: {text}", file=sys.stderr)
        return text
    vectors = messages(pathlib.Path(place) / "llhttp")
    check(len(vectors) >= 251, f"{place}/llhttp has {len(vectors)} messages, not 251")
    expected = yaml.safe_load(EXPECTATIONS.read_text())
    todo = list(variants(vectors))
    found = judge_all(todo)
    doubtful = {name for name in vectors if [found[name, "judged"][0]] != expected["cases"].get(name, [])[:1]}
    if doubtful:
        # Perhaps the machine was busy: once more, with more patience.
        found.update(judge_all([item for item in todo if item[0] in doubtful], patience=4.0))
    wrong = problems(found, vectors, expected)
    if wrong:
        raise Failed("\n  ".join([f"{len(wrong)} of {len(vectors)} messages:", *wrong]))
    requests = sum(name.startswith("request") for name in vectors)
    return f"{requests} requests ({len(todo) - len(vectors)} also without host) and {len(vectors) - requests} responses"
