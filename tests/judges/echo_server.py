"""A WebSocket echo server on wsproto, with compression. Prints its port as JSON."""
import asyncio
import json

from wsproto import ConnectionType, WSConnection
from wsproto.events import AcceptConnection, BytesMessage, CloseConnection, Ping, Request, TextMessage
from wsproto.extensions import PerMessageDeflate
from wsproto.utilities import LocalProtocolError, RemoteProtocolError

READ = 1 << 16


def answers(socket, event, message):
    """What an event is answered with; pieces of a message are collected in `message`."""
    if isinstance(event, Request):
        yield AcceptConnection(extensions=[PerMessageDeflate()])
    elif isinstance(event, CloseConnection):
        yield event.response()
    elif isinstance(event, Ping):
        yield event.response()
    elif isinstance(event, (TextMessage, BytesMessage)):
        message.append(event.data)
        if event.message_finished:
            whole = message[0][:0].join(message)
            message.clear()
            yield type(event)(data=whole)


async def serve(reader, writer):
    socket, message, over = WSConnection(ConnectionType.SERVER), [], False
    try:
        while not over:
            try:
                socket.receive_data(await reader.read(READ) or None)
                for event in socket.events():
                    over |= isinstance(event, CloseConnection)
                    for answer in answers(socket, event, message):
                        writer.write(socket.send(answer))
            except RemoteProtocolError as error:
                over = True
                if error.event_hint is not None:
                    writer.write(socket.send(error.event_hint))
            await writer.drain()
    except (ConnectionError, LocalProtocolError):
        pass  # The client is gone.
    finally:
        writer.close()


async def main():
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    print(json.dumps({"port": server.sockets[0].getsockname()[1]}), flush=True)
    await server.serve_forever()


asyncio.run(main())
