"""A gRPC server without generated code: messages are bytes.

/test.Echo/Unary      the request again; metadata "x-echo" comes back as header and trailer
/test.Echo/Split      one message for each byte of the request
/test.Echo/Join       all requests joined
/test.Echo/Chat       each request in upper case as it comes
/test.Echo/Fail       status and details from the request, "CODE details", after one header
/test.Echo/Endless    the request again and again, until the call is given up
/test.Echo/Listen     reads until the call is given up
/test.Echo/Sleep      answers after as many seconds as the request says
"""
import json
import sys
import time
from concurrent import futures

import grpc

CODES = {code.name: code for code in grpc.StatusCode}


def unary(request, context):
    metadata = dict(context.invocation_metadata())
    value = metadata.get("x-echo", "")
    context.send_initial_metadata((("x-header", value), ("x-bytes-bin", b"\x00\xff")))
    context.set_trailing_metadata((("x-trailer", value), ("x-deadline", str(context.time_remaining() is not None))))
    return request


def split(request, context):
    for byte in request:
        yield bytes([byte])


def join(requests, context):
    return b"".join(requests)


def chat(requests, context):
    for request in requests:
        yield request.upper()


def fail(request, context):
    code, _, details = request.decode().partition(" ")
    context.set_trailing_metadata((("x-why", "because"),))
    context.abort(CODES[code], details)


def sleep(request, context):
    until = time.monotonic() + float(request)
    while time.monotonic() < until and context.is_active():
        time.sleep(0.01)
    if not context.is_active():
        print(json.dumps({"cancelled": True}), flush=True)
    return request


def endless(request, context):
    context.add_callback(lambda: print(json.dumps({"cancelled": "endless"}), flush=True))
    while context.is_active():
        yield request


def listen(requests, context):
    context.add_callback(lambda: print(json.dumps({"cancelled": "listen"}), flush=True))
    for _ in requests:
        pass
    return b""


METHODS = {
    "Unary": grpc.unary_unary_rpc_method_handler(unary),
    "Split": grpc.unary_stream_rpc_method_handler(split),
    "Join": grpc.stream_unary_rpc_method_handler(join),
    "Chat": grpc.stream_stream_rpc_method_handler(chat),
    "Fail": grpc.unary_unary_rpc_method_handler(fail),
    "Endless": grpc.unary_stream_rpc_method_handler(endless),
    "Listen": grpc.stream_unary_rpc_method_handler(listen),
    "Sleep": grpc.unary_unary_rpc_method_handler(sleep),
}

server = grpc.server(
    futures.ThreadPoolExecutor(16),
    options=[("grpc.max_receive_message_length", 64 << 20), ("grpc.max_send_message_length", 64 << 20)],
)
server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("test.Echo", METHODS),))
if len(sys.argv) > 1:
    chain, key = (open(path, "rb").read() for path in sys.argv[1:3])
    port = server.add_secure_port("127.0.0.1:0", grpc.ssl_server_credentials([(key, chain)]))
else:
    port = server.add_insecure_port("127.0.0.1:0")
server.start()
print(json.dumps({"port": port}), flush=True)
server.wait_for_termination()
