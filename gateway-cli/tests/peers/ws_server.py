"""A WebSocket server: echoes messages, reports what it saw of the handshake, closes when asked to.

Arguments: certificate chain and key, for wss.
"""
import asyncio
import json
import ssl
import sys

from websockets.asyncio.server import serve


async def echo(socket):
    async for message in socket:
        if message == "who":
            headers = {name.lower(): value for name, value in socket.request.headers.raw_items()}
            await socket.send(json.dumps({"path": socket.request.path, "headers": headers}))
        elif message == "leave":
            await socket.close(4001, "asked to")
        elif message == "drop":
            socket.transport.abort()
        else:
            await socket.send(message)


def choose(socket, offered):
    return "chat.v2" if "chat.v2" in offered else None


async def main():
    context = None
    if len(sys.argv) > 1:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*sys.argv[1:3])
    async with serve(echo, "127.0.0.1", 0, ssl=context, subprotocols=["chat.v2"], select_subprotocol=choose, max_size=None) as server:
        port = server.sockets[0].getsockname()[1]
        print(json.dumps({"port": port}), flush=True)
        await asyncio.get_running_loop().create_future()


asyncio.run(main())
