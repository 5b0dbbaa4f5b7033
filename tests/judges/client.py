"""A raw client: sends bytes, reads replies until there is nothing more to come."""
import collections
import re
import socket
import time

# A reply: status, body without chunks, whether it was there to its end.
Reply = collections.namedtuple("Reply", "status body whole")


class Answer:
    """What came back on a connection."""

    def __init__(self):
        self.data = b""
        # Whether the other side ended the connection.
        self.closed = False

    def replies(self):
        """Replies in a row. Bytes that are no reply have the status None."""
        found, rest = [], self.data
        while rest:
            head, end, after = rest.partition(b"\r\n\r\n")
            match = re.match(rb"HTTP/1\.[01] (\d{3})", head)
            if not match or not end:
                found.append(Reply(None, rest, False))
                break
            status, fields = int(match[1]), head.lower()
            if status in (204, 304) or 100 <= status < 200 and status != 101:
                found.append(Reply(status, b"", True))
                rest = after
            elif re.search(rb"\r\ntransfer-encoding:[^\r\n]*chunked", fields):
                body, rest, whole = unchunk(after)
                found.append(Reply(status, body, whole))
            elif length := re.search(rb"\r\ncontent-length: *(\d+)", fields):
                length = int(length[1])
                found.append(Reply(status, after[:length], len(after) >= length))
                rest = after[length:]
            else:
                found.append(Reply(status, after, self.closed))
                rest = b""
        return found

    def is_error(self):
        """Whether nothing came yet, or an error, after which connections are closed, by some a bit later."""
        replies = self.replies()
        return not replies or (replies[-1].status or 400) >= 400

    def statuses(self):
        """Statuses of the replies in a row, as text; `-` if there was none."""
        return " ".join("raw" if reply.status is None else str(reply.status) for reply in self.replies()) or "-"


def unchunk(data):
    """The body in chunks at the start of `data`, what follows it, and whether it was there to its end."""
    body = b""
    while True:
        line, end, data = data.partition(b"\r\n")
        if not end:
            return body, b"", False
        size = int(line.partition(b";")[0] or b"0", 16)
        if size == 0:
            # Trailers end with an empty line.
            trailers, end, after = (b"\r\n" + data).partition(b"\r\n\r\n")
            return body, after, bool(end)
        body, data = body + data[:size], data[size + 2 :]


def send(address, payload, *, first=1.5, quiet=0.25, at_most=20.0):
    """Sends `payload` on a connection of its own and reads until the other side closes, or was silent: for
    `first` seconds in the beginning and after an error, for `quiet` seconds after another reply."""
    answer = Answer()
    end = time.monotonic() + at_most
    with socket.create_connection(address, timeout=at_most) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            connection.sendall(payload)
        except (ConnectionError, TimeoutError):
            pass  # Refused while it was sent; the reply may be there all the same.
        while time.monotonic() < end:
            connection.settimeout(first if answer.is_error() else quiet)
            try:
                data = connection.recv(65536)
            except TimeoutError:
                break
            except OSError:
                answer.closed = True
                break
            if not data:
                answer.closed = True
                break
            answer.data += data
    return answer
