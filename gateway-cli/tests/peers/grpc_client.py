"""Checks gRPC through the gateway. Arguments: scenario, address, and for TLS the file of an authority.

"as-shown" in place of the file believes the certificate that the gateway shows.
"""
import ssl
import sys
import threading
import time

import grpc

LARGE = [("grpc.max_receive_message_length", 64 << 20), ("grpc.max_send_message_length", 64 << 20)]


def connect(address, authority):
    if authority:
        if authority == "as-shown":
            host, port = address.rsplit(":", 1)
            shown = ssl.get_server_certificate((host, int(port))).encode()
        else:
            with open(authority, "rb") as file:
                shown = file.read()
        credentials = grpc.ssl_channel_credentials(shown)
        options = LARGE + [("grpc.ssl_target_name_override", "localhost")]
        return grpc.secure_channel(address, credentials, options)
    return grpc.insecure_channel(address, LARGE)


def same(got, wanted):
    assert got == wanted, f"got {got!r}, not {wanted!r}"


def unary(channel):
    call = channel.unary_unary("/test.Echo/Unary")
    reply, details = call.with_call(b"hello", metadata=(("x-echo", "value"),), timeout=20)
    same(reply, b"hello")
    same(dict(details.initial_metadata())["x-header"], "value")
    same(dict(details.initial_metadata())["x-bytes-bin"], b"\x00\xff")
    trailers = dict(details.trailing_metadata())
    same(trailers["x-trailer"], "value")
    same(trailers["x-deadline"], "True")
    same(call(b"", timeout=20), b"")
    large = bytes(range(256)) * (8 << 12)
    same(call(large, timeout=60) == large, True)


def streams(channel):
    split = channel.unary_stream("/test.Echo/Split")
    same(b"".join(split(b"abc" * 500, timeout=30)), b"abc" * 500)
    join = channel.stream_unary("/test.Echo/Join")
    same(join((bytes([at % 256]) for at in range(1000)), timeout=30), bytes(at % 256 for at in range(1000)))
    # A conversation: each answer is read before the next question is asked.
    answered = threading.Semaphore(1)

    def questions():
        for word in (b"one", b"two", b"three"):
            assert answered.acquire(timeout=20), "no answer before the next question"
            yield word

    replies = []
    for reply in channel.stream_stream("/test.Echo/Chat")(questions(), timeout=60):
        replies.append(reply)
        answered.release()
    same(replies, [b"ONE", b"TWO", b"THREE"])


def expect(code, call):
    try:
        call()
    except grpc.RpcError as error:
        same(error.code(), code)
        return error
    raise AssertionError(f"expected {code}")


def errors(channel):
    fail = channel.unary_unary("/test.Echo/Fail")
    error = expect(grpc.StatusCode.FAILED_PRECONDITION, lambda: fail(b"FAILED_PRECONDITION not yet: 100% \xc3\xa9", timeout=20))
    same(error.details(), "not yet: 100% é")
    same(dict(error.trailing_metadata())["x-why"], "because")
    expect(grpc.StatusCode.UNIMPLEMENTED, lambda: channel.unary_unary("/test.Echo/Nothing")(b"", timeout=20))


def deadline(channel):
    began = time.monotonic()
    expect(grpc.StatusCode.DEADLINE_EXCEEDED, lambda: channel.unary_unary("/test.Echo/Sleep")(b"25", timeout=0.5))
    assert time.monotonic() - began < 10
    call = channel.unary_unary("/test.Echo/Sleep").future(b"25", timeout=30)
    time.sleep(0.3)
    call.cancel()


def cancel(channel):
    """Streams that their client gives up in the middle: one from the server, one to it."""
    replies = channel.unary_stream("/test.Echo/Endless")(bytes(100_000), timeout=60)
    for _ in range(20):
        same(len(next(replies)), 100_000)
    replies.cancel()
    given_up, sent = threading.Event(), threading.Semaphore(0)

    def requests():
        while not given_up.is_set():
            sent.release()
            yield bytes(10_000)

    call = channel.stream_unary("/test.Echo/Listen").future(requests(), timeout=60)
    for _ in range(50):
        assert sent.acquire(timeout=20), "the stream does not flow"
    call.cancel()
    given_up.set()


def large(channel):
    """Messages of 32 MB, in a unary call and in both directions of a stream at once."""
    message = bytes(range(256)) * (128 << 10)
    call = channel.unary_unary("/test.Echo/Unary")
    same(call(message, timeout=120) == message, True)
    chat = channel.stream_stream("/test.Echo/Chat")
    same([len(reply) for reply in chat(iter([message, message]), timeout=120)], [len(message)] * 2)


def many(channel):
    call = channel.unary_unary("/test.Echo/Unary")
    futures = [call.future(b"%d" % at, timeout=60) for at in range(300)]
    for at, future in enumerate(futures):
        same(future.result(), b"%d" % at)


def echo(channel):
    """What the embedded default does: messages come back, with status 0."""
    same(channel.unary_unary("/any.Service/Method")(b"hello", timeout=20), b"hello")
    replies = channel.stream_stream("/any.Service/Stream")(iter([b"a", b"b", b"c"]), timeout=20)
    same(list(replies), [b"a", b"b", b"c"])


def unavailable(channel):
    error = expect(grpc.StatusCode.UNAVAILABLE, lambda: channel.unary_unary("/test.Echo/Unary")(b"", timeout=20))
    same(error.debug_error_string() != "", True)


def unimplemented(channel):
    expect(grpc.StatusCode.UNIMPLEMENTED, lambda: channel.unary_unary("/test.Echo/Unary")(b"", timeout=20))


scenario, address = sys.argv[1:3]
with connect(address, sys.argv[3] if len(sys.argv) > 3 else None) as channel:
    globals()[scenario](channel)
print("ok")
