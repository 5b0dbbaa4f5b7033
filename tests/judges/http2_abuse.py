"""Abuse of HTTP/2, frame by frame: floods, stalls, overflows and frames that may not be, on one connection, while
another client wants to be served. Each has one right reaction, bounded work and bounded memory.

Malformed requests over HTTP/2 are judged beside those of HTTP/1 (differential.py), which also compares with others.
"""
import collections
import threading
import time

import hpack

from . import client, h2raw
from .gateway import Gateway, check
from .h2raw import PSEUDO, data, frame, headers, ping, reset, settings, window
from .recorder import ANSWER, Recorder

# Seconds of processor time for one scenario, the other client's requests included, and bytes of memory for all of them.
CPU = 4.0
MEMORY = 96 << 20
# What the other client may have to wait at most, and usually, on a busy machine.
WAIT, USUAL_WAIT = 5.0, 0.5

LARGE = b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n" + b"x" * 1000000
LAST = (1 << 31) - 1


def path(name):
    return [*PSEUDO[:3], (b":path", name)]


def get(stream, name=b"/x"):
    return headers(stream, path(name))


def post(stream, name=b"/x"):
    return headers(stream, [(b":method", b"POST"), *path(name)[1:]], end=False)


def opened(connection, pieces, *, pause=0.0, most=20000):
    """Sends pieces until the other side ends the connection, or they are used up."""
    for count, piece in enumerate(pieces):
        if connection.closed or connection.farewells or count >= most or not connection.send(piece):
            return
        if pause:
            time.sleep(pause)
        if count % 32 == 0:
            connection.read(quiet=0.0005)


def streams(count):
    return range(1, 2 * count, 2)


# Floods: they have to end with a farewell.


def rapid_reset(connection):
    opened(connection, (get(stream, b"/held") + reset(stream) for stream in streams(5000)))


def slow_reset(connection):
    """The same, slow enough for each stream to have reached the upstream before it is given up."""
    for stream in streams(5000):
        opened(connection, [get(stream, b"/held")], pause=0.0005)
        opened(connection, [reset(stream)])
        if connection.farewells or connection.closed:
            return


def provoked_reset(connection):
    """Streams that the gateway has to reset, because the client breaks a rule on each of them."""
    opened(connection, (get(stream, b"/held") + window(stream, LAST) for stream in streams(5000)))


def continuation(connection):
    """A header block that does not end."""
    first = frame(0x1, 0x1, 1, h2raw.block(PSEUDO))
    more = (frame(0x9, 0, 1, h2raw.block([(b"x-%d" % number, b"y" * 50)])) for number in range(20000))
    opened(connection, [first, *more])


def empty_continuation(connection):
    opened(connection, [frame(0x1, 0x1, 1, h2raw.block(PSEUDO)), *[frame(0x9, 0, 1)] * 20000])


def pings(connection):
    opened(connection, [ping() * 100] * 1000)


def many_settings(connection):
    opened(connection, [settings() * 100] * 1000)


def changing_settings(connection):
    """Each changes the windows of all streams."""
    opened(connection, b"".join(get(stream, b"/held") for stream in streams(100)).split(b"never"))
    opened(connection, [settings([(4, 1000 + number % 2)]) * 50 for number in range(1000)])


def windows(connection):
    opened(connection, [window(0, 1) * 100] * 1000)


def priorities(connection):
    opened(connection, (frame(0x2, 0, stream, b"\0\0\0\0\x10") * 20 for stream in streams(5000)))


def unknown_frames(connection):
    opened(connection, [frame(0x77, 0, 0, b"?") * 100] * 1000)


def empty_data(connection):
    opened(connection, [post(1, b"/held"), *[data(1) * 20] * 1000])


def padded_data(connection):
    """DATA frames of nothing but padding."""
    opened(connection, [post(1, b"/held"), *[frame(0x0, 0x8, 1, b"\xff" + bytes(255)) * 20] * 1000])


def tiny_data(connection):
    """A byte in each frame, for many uploads that nobody reads, all within their windows."""
    opened(connection, [get(1, b"/queue/held"), *[post(stream, b"/queue/x") for stream in range(3, 103, 2)]])
    opened(connection, (data(stream, b"x") * 400 for _ in range(100) for stream in range(3, 103, 2)))


# Stalls: the client does not go on, and deadlines of a second end it.


def no_window(connection):
    """Replies for which there is never a window. The connection itself is sound."""
    connection.send(settings([(4, 0)]) + b"".join(get(stream, b"/large") for stream in streams(200)))
    connection.read(lambda: len(connection.resets) == 200, quiet=8, at_most=8)


def no_connection_window(connection):
    """The same with the window of the connection, which is used up by the first reply."""
    connection.send(settings([(4, 1 << 20)]) + b"".join(get(stream, b"/large") for stream in streams(20)))
    connection.read(lambda: len(connection.resets) == 20, quiet=8, at_most=8)


def no_end_of_body(connection):
    connection.send(post(1) + data(1, b"hello"))
    connection.read(lambda: 1 in connection.ended, quiet=8)


def no_end_of_head(connection):
    connection.send(frame(0x1, 0x1, 1, h2raw.block(PSEUDO)))
    connection.read(quiet=8)


def nothing_at_all(connection):
    connection.read(quiet=8)


# Limits.


def too_many_streams(connection):
    connection.send(b"".join(get(stream, b"/held") for stream in streams(300)))
    connection.read(lambda: len(connection.resets) == 100, quiet=1)
    # Those that are open make room for the next one.
    connection.send(b"".join(reset(stream) for stream in streams(200)))


def large_field(connection):
    block = h2raw.block([*PSEUDO, (b"x-odd", b"a" * 100000)])
    parts = [block[at : at + 16000] for at in range(0, len(block), 16000)]
    text = frame(0x1, 0x1, 1, parts[0]) + b"".join(frame(0x9, 0, 1, part) for part in parts[1:-1])
    connection.send(text + frame(0x9, 0x4, 1, parts[-1]))
    connection.read(lambda: 1 in connection.ended, quiet=1)


def compression_bomb(connection):
    """16 KB on the wire that stand for 60 MB of fields: a large field once, and a byte for each time it is meant."""
    encoder = hpack.Encoder()
    first = encoder.encode([*PSEUDO, (b"x-bomb", b"b" * 3900)], huffman=False)
    connection.send(frame(0x1, 0x5, 1, first + b"\xbe" * 12000))
    connection.read(lambda: 1 in connection.ended, quiet=1)


def beyond_the_window(connection):
    """More body than the gateway gave a window for, while the upstream does not read it."""
    connection.send(get(1, b"/queue/held") + post(3, b"/queue/x"))
    opened(connection, [data(3, bytes(16384))] * 30)
    connection.read(lambda: connection.resets, quiet=0.5)
    connection.send(reset(1))


# What may not be.


def sends(*pieces):
    def scenario(connection):
        opened(connection, pieces)
        connection.read(quiet=0.5)

    return scenario


HOLD = b"/held"
PROTOCOL, SIZE, FLOW = "GOAWAY PROTOCOL_ERROR", "GOAWAY FRAME_SIZE_ERROR", "GOAWAY FLOW_CONTROL_ERROR"
CALM = "GOAWAY ENHANCE_YOUR_CALM"
# RFC 9113 names FRAME_SIZE_ERROR, COMPRESSION_ERROR or FLOW_CONTROL_ERROR for some of these; the engine has one code
# for all frames that it cannot read.
UNREADABLE = PROTOCOL
SCENARIOS = {
    "streams opened and reset at once": (rapid_reset, CALM),
    "streams opened, then reset": (slow_reset, CALM),
    "streams that have to be reset": (provoked_reset, CALM),
    "CONTINUATION without end": (continuation, CALM),
    "empty CONTINUATION": (empty_continuation, CALM),
    "PING": (pings, CALM),
    "SETTINGS": (many_settings, CALM),
    "SETTINGS that change windows": (changing_settings, CALM),
    "WINDOW_UPDATE": (windows, CALM),
    "PRIORITY": (priorities, CALM),
    "unknown frames": (unknown_frames, CALM),
    "empty DATA": (empty_data, CALM),
    "padding": (padded_data, CALM),
    "tiny DATA": (tiny_data, CALM),
    "no window for replies": (no_window, "200 x200, RST CANCEL x200"),
    "no window for the connection": (no_connection_window, "200 x20, RST CANCEL x20"),
    "no end of a body": (no_end_of_body, "408"),
    "no end of a head": (no_end_of_head, CALM),
    "silence": (nothing_at_all, "GOAWAY NO_ERROR"),
    "more streams than may be": (too_many_streams, "RST REFUSED_STREAM x100"),
    "large field": (large_field, "431"),
    "compression bomb": (compression_bomb, CALM),
    "more than the window": (beyond_the_window, "RST FLOW_CONTROL_ERROR"),
    "overflow of the connection's window": (sends(window(0, LAST)), FLOW),
    "overflow of a stream's window": (sends(get(1, HOLD), window(1, LAST)), "RST FLOW_CONTROL_ERROR"),
    "window larger than can be": (sends(settings([(4, 1 << 31)])), UNREADABLE),
    "increment of 0": (sends(window(0, 0)), PROTOCOL),
    "frame larger than may be": (sends(data(1, bytes(16385))), SIZE),
    "PING of 7 bytes": (sends(frame(0x6, 0, 0, bytes(7))), UNREADABLE),
    "SETTINGS of 5 bytes": (sends(frame(0x4, 0, 0, bytes(5))), UNREADABLE),
    "SETTINGS answer with content": (sends(frame(0x4, 0x1, 0, bytes(6))), UNREADABLE),
    "WINDOW_UPDATE of 3 bytes": (sends(frame(0x8, 0, 0, bytes(3))), UNREADABLE),
    "RST_STREAM of 3 bytes": (sends(get(1, HOLD), frame(0x3, 0, 1, bytes(3))), UNREADABLE),
    "SETTINGS on a stream": (sends(frame(0x4, 0, 1)), PROTOCOL),
    "push switched to 2": (sends(settings([(2, 2)])), PROTOCOL),
    "frames of at most 1 byte": (sends(settings([(5, 1)])), PROTOCOL),
    "PING on a stream": (sends(frame(0x6, 0, 1, bytes(8))), PROTOCOL),
    "DATA on no stream": (sends(data(0, b"x")), PROTOCOL),
    "DATA on a stream that was never opened": (sends(data(5, b"x")), PROTOCOL),
    "RST_STREAM on a stream that was never opened": (sends(reset(5)), PROTOCOL),
    "HEADERS on no stream": (sends(headers(0, PSEUDO)), PROTOCOL),
    "an even stream": (sends(headers(2, PSEUDO)), PROTOCOL),
    "a stream below the last one": (sends(get(5), get(3)), PROTOCOL),
    "CONTINUATION of nothing": (sends(frame(0x9, 0x4, 1, h2raw.block(PSEUDO))), PROTOCOL),
    "a frame inside a header block": (sends(frame(0x1, 0x1, 1, h2raw.block(PSEUDO)), ping()), PROTOCOL),
    "a push by the client": (sends(frame(0x5, 0x4, 1, b"\0\0\0\x02" + h2raw.block(PSEUDO))), PROTOCOL),
    "padding longer than the frame": (sends(post(1, HOLD), frame(0x0, 0x8, 1, b"\x10abc")), PROTOCOL),
    "a field that HPACK does not know": (sends(frame(0x1, 0x5, 1, b"\xff\xff\xff\x7f")), UNREADABLE),
    "HPACK cut off": (sends(frame(0x1, 0x5, 1, b"\x82\x86\x84\x41\x7ftest")), UNREADABLE),
    "a stream that depends on itself": (sends(frame(0x2, 0, 1, b"\0\0\0\x01\0")), "RST PROTOCOL_ERROR"),
}


def reaction(connection):
    """What came back, as text; streams alike are counted."""
    found = collections.Counter(str(status) for all_ in connection.statuses.values() for status in all_ if status >= 200)
    found.update(f"RST {h2raw.name_of(code)}" for code in connection.resets.values() if code != 0)
    text = [name if count == 1 else f"{name} x{count}" for name, count in found.items()]
    # A farewell may be said twice: first that there is one, then after which stream.
    return ", ".join([*text, *dict.fromkeys(f"GOAWAY {h2raw.name_of(code)}" for code, _ in connection.farewells)]) or "nothing"


class Other:
    """Another client, over both versions of HTTP, that asks all the time."""

    def __init__(self, gateway):
        self._gateway = gateway
        self._over = threading.Event()
        self.waits, self.problems = [], []
        self._threads = [threading.Thread(target=self._run, args=(ask,), daemon=True) for ask in (self._h1, self._h2)]

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self._over.set()
        for thread in self._threads:
            thread.join()

    def _run(self, ask):
        while not self._over.wait(0.02):
            began = time.monotonic()
            try:
                status = ask()
            except OSError as error:
                status = repr(error)
            self.waits.append(time.monotonic() - began)
            if status != 200:
                self.problems.append(status)

    def _h1(self):
        request = b"GET /other HTTP/1.1\r\nHost: judge\r\nConnection: close\r\n\r\n"
        return client.send(self._gateway.address(), request, first=10, quiet=10).replies()[0].status

    def _h2(self):
        with h2raw.Connection(self._gateway.address()) as connection:
            connection.send(get(1, b"/other"))
            connection.read(lambda: 1 in connection.ended, quiet=10)
            return connection.statuses.get(1, [None])[0]


def answer(held):
    """What the upstream does: large replies, ordinary ones, and none until `held` is set."""

    def reply(seen):
        if b"/large" in seen.line:
            return LARGE
        if b"/held" in seen.line:
            held.wait(30)
            return None
        return ANSWER

    return reply


def configuration(upstream):
    # Requests that are held stay open until their client gives up, so that nothing but the abuse ends them.
    return f"""
        listeners:
          - name: web
            bind: "127.0.0.1:0"
            timeouts: {{ head: 1s, idle: 2s, body_idle: 1s, write_idle: 1s }}
        routes:
          - {{ name: all, timeouts: {{ idle: 60s }}, backends: [{{ upstream: up }}] }}
          - {{ name: queue, match: {{ path: /queue }}, timeouts: {{ idle: 60s }}, backends: [{{ upstream: queue }}] }}
        upstreams:
          - {{ name: up, endpoints: ["127.0.0.1:{upstream}"] }}
          # While one request is served, those behind it wait, and their bodies with them.
          - {{ name: queue, endpoints: ["127.0.0.1:{upstream}"], limits: {{ max_connections: 1 }} }}
    """


def abuse(gateway, name):
    """Runs one scenario. Returns what is wrong, if anything, and the processor time it took."""
    scenario, expected = SCENARIOS[name]
    with h2raw.Connection(gateway.address()) as connection:
        connection.read(lambda: connection.acknowledged, quiet=5)
        before = gateway.cpu()
        scenario(connection)
        if not connection.closed and "GOAWAY" in expected:
            connection.read(quiet=3)
        took = gateway.cpu() - before
        found = reaction(connection)
        if expected.startswith("GOAWAY"):
            # How many streams came to an end before depends on the time it took.
            found = found[found.find("GOAWAY") :] if "GOAWAY" in found else found
        if found != expected:
            return f"{name}: {found}, expected {expected}", took
        if "GOAWAY" in expected and not connection.closed:
            return f"{name}: the connection stays open after {found}", took
        if "GOAWAY" not in expected:
            # Only a stream was at fault: the connection goes on.
            stream = 10001
            connection.send(window(0, 1 << 20) + settings([(4, 65535)]) + get(stream))
            connection.read(lambda: stream in connection.ended, quiet=5)
            if connection.statuses.get(stream) != [200]:
                return f"{name}: a stream at fault ends the whole connection: {reaction(connection)}", took
    return None, took


def run():
    held = threading.Event()
    with Recorder(answer(held)) as upstream, Gateway(configuration(upstream.port)) as gateway:
        wrong, most = [], 0.0
        with Other(gateway) as other:
            time.sleep(0.5)
            before = gateway.rss()
            for name in SCENARIOS:
                problem, took = abuse(gateway, name)
                wrong += [problem] if problem else []
                # The other client costs something, too.
                if took > CPU:
                    wrong.append(f"{name}: {took:.1f} s of processor time")
                most = max(most, took)
                gateway.alive()
            grown = gateway.rss() - before
        held.set()
        if other.problems:
            wrong.append(f"the other client got {collections.Counter(map(str, other.problems))}")
        waits = sorted(other.waits)
        usual, longest = waits[len(waits) * 9 // 10], waits[-1]
        if longest > WAIT or usual > USUAL_WAIT:
            wrong.append(f"the other client waited {usual * 1000:.0f} ms usually, {longest * 1000:.0f} ms at most")
        if grown > MEMORY:
            wrong.append(f"{grown >> 20} MiB more memory")
        check(not wrong, "\n  ".join([f"{len(wrong)} problems:", *wrong]))
        return (
            f"{len(SCENARIOS)} kinds of abuse, at most {most:.2f} s of processor time and {grown >> 20} MiB; "
            f"{len(waits)} requests of another client: 90 % within {usual * 1000:.0f} ms, all within {longest * 1000:.0f} ms"
        )
