"""HTTP/2 by hand: frames that no client library would send, and what comes back, without judging it."""
import socket
import time

import hpack
from hyperframe.frame import (
    DataFrame,
    Frame,
    GoAwayFrame,
    HeadersFrame,
    PingFrame,
    PushPromiseFrame,
    RstStreamFrame,
    SettingsFrame,
)

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
ERRORS = (
    "NO_ERROR PROTOCOL_ERROR INTERNAL_ERROR FLOW_CONTROL_ERROR SETTINGS_TIMEOUT STREAM_CLOSED FRAME_SIZE_ERROR "
    "REFUSED_STREAM CANCEL COMPRESSION_ERROR CONNECT_ERROR ENHANCE_YOUR_CALM INADEQUATE_SECURITY HTTP_1_1_REQUIRED"
).split()
# What requests have unless they say otherwise.
PSEUDO = [(b":method", b"GET"), (b":scheme", b"http"), (b":authority", b"judge"), (b":path", b"/x")]


def name_of(code):
    """Name of an error code (RFC 9113, section 7)."""
    return ERRORS[code] if code < len(ERRORS) else str(code)


def frame(type_, flags, stream, payload=b""):
    """Any frame, whatever its length."""
    return len(payload).to_bytes(3, "big") + bytes([type_, flags]) + stream.to_bytes(4, "big") + payload


def block(fields):
    """A header block without dynamic table, names and values as they are."""
    return hpack.Encoder().encode([hpack.NeverIndexedHeaderTuple(*field) for field in fields], huffman=False)


def headers(stream, fields, *, end=True):
    """A HEADERS frame with the whole block."""
    return frame(0x1, 0x4 | (0x1 if end else 0), stream, block(fields))


def data(stream, payload=b"", *, end=False):
    return frame(0x0, 0x1 if end else 0, stream, payload)


def settings(values=(), *, ack=False):
    payload = b"".join(key.to_bytes(2, "big") + value.to_bytes(4, "big") for key, value in values)
    return frame(0x4, 0x1 if ack else 0, 0, payload)


def ping(payload=b"\0" * 8):
    return frame(0x6, 0, 0, payload)


def reset(stream, code=0x8):
    return frame(0x3, 0, stream, code.to_bytes(4, "big"))


def window(stream, increment):
    return frame(0x8, 0, stream, increment.to_bytes(4, "big"))


class Connection:
    """A connection to a server. What came back is kept in the fields below; nothing is checked."""

    def __init__(self, address, *, initial=(), window_size=None):
        self.socket = socket.create_connection(address, timeout=20)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._buffer = b""
        self._decoder = hpack.Decoder()
        # By stream: statuses, bytes of body, error code of RST_STREAM; streams that ended; trailers.
        self.statuses, self.bodies, self.resets, self.ended, self.trailers = {}, {}, {}, set(), {}
        # Error code and additional data of GOAWAY frames.
        self.farewells = []
        self.pongs = 0
        self.settings = {}
        self.acknowledged = 0
        self.closed = False
        self.send(PREFACE + settings(initial))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def send(self, payload):
        """Sends bytes. Returns False when the other side is gone or does not take them for 20 s."""
        try:
            self.socket.settimeout(20)
            self.socket.sendall(payload)
            return True
        except OSError:
            return False

    def read(self, until=lambda: False, *, quiet=0.3, at_most=10.0):
        """Reads frames until `until` holds, the connection ends, or nothing came for `quiet` seconds."""
        end = time.monotonic() + at_most
        while not until() and not self.closed and time.monotonic() < end:
            self.socket.settimeout(quiet)
            try:
                received = self.socket.recv(1 << 16)
            except TimeoutError:
                return
            except OSError:
                self.closed = True
                return
            self.closed = not received
            self._buffer += received
            self._frames()

    def _frames(self):
        while len(self._buffer) >= 9:
            parsed, size = Frame.parse_frame_header(memoryview(self._buffer[:9]))
            if len(self._buffer) < 9 + size:
                return
            parsed.parse_body(memoryview(self._buffer[9 : 9 + size]))
            self._buffer = self._buffer[9 + size :]
            self._take(parsed)

    def _take(self, got):
        stream = got.stream_id
        if isinstance(got, (HeadersFrame, PushPromiseFrame)):
            fields = self._decoder.decode(got.data, raw=True)
            status = [int(value) for name, value in fields if name == b":status"]
            if status:
                self.statuses.setdefault(stream, []).extend(status)
            else:
                self.trailers[stream] = fields
        elif isinstance(got, DataFrame):
            self.bodies[stream] = self.bodies.get(stream, b"") + got.data
        elif isinstance(got, RstStreamFrame):
            self.resets[stream] = got.error_code
        elif isinstance(got, GoAwayFrame):
            self.farewells.append((got.error_code, bytes(got.additional_data)))
        elif isinstance(got, PingFrame) and "ACK" in got.flags:
            self.pongs += 1
        elif isinstance(got, SettingsFrame):
            if "ACK" in got.flags:
                self.acknowledged += 1
            else:
                self.settings.update(got.settings)
                self.send(settings(ack=True))
        if isinstance(got, (HeadersFrame, DataFrame)) and "END_STREAM" in got.flags:
            self.ended.add(stream)

    def outcome(self, stream=1):
        """What became of a stream, as text."""
        found = [str(status) for status in self.statuses.get(stream, []) if status >= 200 or status == 101]
        if stream in self.resets and (code := name_of(self.resets[stream])) != "NO_ERROR":
            found.append(f"RST {code}")
        found += [f"GOAWAY {name_of(code)}" for code, _ in self.farewells if code != 0]
        if not found and self.closed:
            found.append("closed")
        return " ".join(dict.fromkeys(found)) or "-"
