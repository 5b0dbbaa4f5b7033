"""A raw upstream that writes down what reaches it, and answers each request with 200."""
import re
import socket
import threading

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
# How long a connection may be silent before the upstream gives up on the rest of a request.
SILENCE = 20.0


class Seen:
    """One request as it came over the wire."""

    def __init__(self, line, fields):
        self.line = line
        # Name as written and value without surrounding white space; lines as they are where there is no colon.
        self.fields = fields
        self.framing = ""
        self.body = b""
        self.trailers = []
        # Whether the message was there to its end.
        self.whole = False

    def values(self, name):
        """Values of the fields of a name, in any case."""
        return [value for known, value in self.fields if known.lower() == name]

    def __str__(self):
        text = self.line.decode("latin-1")
        if self.framing:
            text += f" {self.framing}"
        if self.body:
            text += f" {shown(self.body)}"
        for name, value in self.trailers:
            text += f" trailer {shown(name)}: {shown(value)}"
        return text if self.whole else f"{text} ..."


def shown(data, most=60):
    """Bytes in quotes, readable; long ones shortened."""
    text = repr(data)[1:]
    return text if len(text) <= most else f"{text[:most]}... ({len(data)} bytes)"


class Recorder:
    """Listens on a free port. What it saw since the last look is in `take`. `answer` makes other replies;
    connections are closed after so many seconds of `silence`."""

    def __init__(self, answer=None, silence=SILENCE):
        self._answer = answer or (lambda _: ANSWER)
        self._silence = silence
        self._lock = threading.Lock()
        self._seen = []
        self._sockets = set()
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=256)
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        # Closing alone does not end `accept` in another thread.
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        with self._lock:
            for connection in self._sockets:
                try:
                    connection.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass

    def take(self):
        """What was seen since the last call, in the order of beginnings."""
        with self._lock:
            seen, self._seen = self._seen, []
            return seen

    def _accept(self):
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            with self._lock:
                self._sockets.add(connection)
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection):
        connection.settimeout(self._silence)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            with connection:
                reader = Reader(connection)
                while self._one(connection, reader):
                    pass
        except OSError:
            pass
        finally:
            with self._lock:
                self._sockets.discard(connection)

    def _one(self, connection, reader):
        head = reader.head()
        if head is None:
            return False
        line, *rest = head.split(b"\n")
        fields = []
        for text in rest:
            name, colon, value = text.removesuffix(b"\r").partition(b":")
            fields.append((name, value.strip(b" \t")) if colon else (name, b""))
        seen = Seen(line.removesuffix(b"\r"), fields)
        with self._lock:
            self._seen.append(seen)
        if not re.fullmatch(rb"\S+ \S.* HTTP/\d\.\d", seen.line):
            seen.framing = "(not HTTP)"
            return False
        sound = body(reader, seen)
        if not sound:
            return False
        answer = self._answer(seen)
        if answer is None:
            return False
        connection.sendall(answer)
        return seen.values(b"connection") != [b"close"]


def body(reader, seen):
    """Reads a body into `seen`. Returns whether the connection can go on."""
    codings, lengths = seen.values(b"transfer-encoding"), seen.values(b"content-length")
    if codings:
        seen.framing = " ".join(value.decode("latin-1") for value in codings)
        if lengths:
            seen.framing += " and length " + ",".join(value.decode("latin-1") for value in lengths)
        if codings[-1].lower() != b"chunked":
            return False
        seen.whole = chunks(reader, seen)
    elif lengths:
        seen.framing = "length " + ",".join(value.decode("latin-1") for value in lengths)
        if len(lengths) > 1 or not re.fullmatch(rb"\d+", lengths[0]):
            return False
        for piece in reader.exactly(int(lengths[0])):
            seen.body += piece
        seen.whole = len(seen.body) == int(lengths[0])
    else:
        seen.whole = True
    return seen.whole


def chunks(reader, seen):
    """Reads chunks and trailers strictly, as any upstream may."""
    while True:
        line = reader.line()
        if line is None or not re.fullmatch(rb"[0-9A-Fa-f]{1,8}(;[^\r\n]*)?\r\n", line):
            return False
        size, _, extension = line.rstrip(b"\r\n").partition(b";")
        if extension and "extension" not in seen.framing:
            seen.framing += " extension " + shown(extension, 20)
        size = int(size, 16)
        if size == 0:
            break
        for piece in reader.exactly(size):
            seen.body += piece
        if reader.line() != b"\r\n":
            return False
    while (line := reader.line()) != b"\r\n":
        if line is None:
            return False
        name, _, value = line.rstrip(b"\r\n").partition(b":")
        seen.trailers.append((name, value.strip(b" \t")))
    return True


class Reader:
    """Reads a socket by lines and lengths."""

    def __init__(self, connection):
        self._connection = connection
        self._buffer = b""

    def _more(self):
        data = self._connection.recv(65536)
        self._buffer += data
        return bool(data)

    def head(self):
        """Bytes up to an empty line, without it; what there is when the connection ends, None if nothing."""
        while not (end := re.search(rb"\r?\n\r?\n", self._buffer)):
            try:
                alive = self._more()
            except OSError:
                alive = False
            if not alive:
                rest, self._buffer = self._buffer, b""
                return rest or None
        head, self._buffer = self._buffer[: end.start()], self._buffer[end.end() :]
        return head

    def line(self):
        """A line with its end, or None."""
        while b"\n" not in self._buffer:
            if len(self._buffer) > 1 << 20 or not self._more():
                return None
        line, _, self._buffer = self._buffer.partition(b"\n")
        return line + b"\n"

    def exactly(self, size):
        """Pieces of so many bytes; fewer when the connection ends."""
        while size > 0:
            if not self._buffer and not self._more():
                return
            piece, self._buffer = self._buffer[:size], self._buffer[size:]
            size -= len(piece)
            yield piece
