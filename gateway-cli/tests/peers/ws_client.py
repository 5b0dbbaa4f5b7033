"""Checks WebSockets through the gateway. Arguments: scenario, URL, and the file of an authority for wss."""
import asyncio
import json
import ssl
import sys

from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

scenario, url = sys.argv[1:3]
context = None
if url.startswith("wss:"):
    context = ssl.create_default_context(cafile=sys.argv[3] if len(sys.argv) > 3 else None)
    if len(sys.argv) <= 3:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE


def dial(path="/", **more):
    return connect(url + path, ssl=context, max_size=None, proxy=None, **more)


def same(got, wanted):
    assert got == wanted, f"got {got!r:.200}, not {wanted!r:.200}"


async def echo():
    async with dial("/any") as socket:
        for message in ("hello", "", "é" * 40_000, b"\x00\xff" * 10, bytes(1 << 20), "x" * 70_000):
            await socket.send(message)
            same(await socket.recv(), message)
        await asyncio.wait_for(await socket.ping(b"still there?"), 20)
        # A message in several frames.
        await socket.send(["one ", "two ", "three"])
        parts = ""
        while parts != "one two three":
            parts += await socket.recv()


async def real():
    await echo()
    async with dial("/room?user=1", subprotocols=["chat.v1", "chat.v2"], additional_headers={"x-forwarded-for": "6.6.6.6"}) as socket:
        same(socket.subprotocol, "chat.v2")
        await socket.send("who")
        seen = json.loads(await socket.recv())
        same(seen["path"], "/room?user=1")
        same(seen["headers"]["x-forwarded-for"], "127.0.0.1")
        await socket.send("leave")
        try:
            await socket.recv()
            raise AssertionError("the server was to close")
        except ConnectionClosed as closed:
            same((closed.rcvd.code, closed.rcvd.reason), (4001, "asked to"))
    async with dial() as socket:
        await socket.send("drop")
        try:
            await asyncio.wait_for(socket.recv(), 20)
            raise AssertionError("the server was to drop the connection")
        except ConnectionClosed as closed:
            same(closed.rcvd, None)
    # The other way round: a client that vanishes harms nobody.
    async with dial() as socket:
        socket.transport.abort()

    async def one(number):
        async with dial(compression=None) as socket:
            for turn in range(20):
                await socket.send(f"{number}:{turn}")
                same(await socket.recv(), f"{number}:{turn}")

    await asyncio.gather(*(one(number) for number in range(60)))


async def refused():
    try:
        async with dial():
            raise AssertionError("the handshake was to be refused")
    except InvalidStatus as refusal:
        print(refusal.response.status_code)


asyncio.run(asyncio.wait_for(globals()[scenario](), 60))
print("ok")
