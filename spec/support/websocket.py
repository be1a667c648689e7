"""A WebSocket server by another author (the `websockets` package), for specs and examples.

    python3 websocket.py DIRECTORY [CERTIFICATE KEY]

Listens on free loopback ports and on DIRECTORY/websocket.sock, writes them as a Lua table to DIRECTORY/websocket.lua,
its process id to websocket.pid, and goes to the background: when it returns, it is ready. What it does is told by path
(see PATHS). Works with the package's old interface (up to 13) and its new one.
"""

import asyncio
import http
import os
import signal
import ssl
import sys
import urllib.parse

import daemon
import websockets

try:
    from websockets.asyncio.server import serve as listen, unix_serve as listen_unix
except ImportError:
    from websockets import serve as listen, unix_serve as listen_unix

EVERYBODY = {}
SUBPROTOCOLS = ["chat.two", "chat.one"]


async def echo(ws, query):
    async for message in ws:
        await ws.send(message)


async def chat(ws, query):
    """Each message goes to everybody in the room, with the name of who sent it."""
    name = query.get("name", "somebody")
    EVERYBODY[ws] = name
    try:
        await ws.send("%d here" % len(EVERYBODY))
        async for message in ws:
            for other in list(EVERYBODY):
                await other.send("%s: %s" % (name, message))
    finally:
        del EVERYBODY[ws]


async def close(ws, query):
    """Says goodbye as it is told to."""
    await ws.close(int(query.get("code", "1000")), query.get("reason", ""))


async def closed(ws, query):
    """Waits for the client's goodbye and tells the next client on this path how it was."""
    told, EVERYBODY["closed"] = EVERYBODY.pop("closed", None), None
    if told:
        await ws.send(told)
    await ws.wait_closed()
    EVERYBODY["closed"] = "%s %s" % (ws.close_code, ws.close_reason)


async def fragments(ws, query):
    """A text and a binary message in pieces that cut characters, with a ping between."""

    async def pieces(data):
        for at in range(len(data)):
            yield data[at : at + 1]

    await ws.send(pieces("κόσμε €"))
    await ws.send(pieces(b"\x00\xff\xfe"))
    await ws.wait_closed()


async def ping(ws, query):
    """Says so once its pings were answered."""
    for number in range(10):
        await asyncio.wait_for(await ws.ping(b"%d" % number), 10)
    await ws.send("answered")
    await ws.wait_closed()


async def burst(ws, query):
    """Many messages at once, then a goodbye."""
    for number in range(int(query.get("count", "100"))):
        await ws.send(str(number))


async def large(ws, query):
    await ws.send(b"x" * int(query["size"]))
    await ws.wait_closed()


async def headers(ws, query):
    fields = ws.request.headers if hasattr(ws, "request") else ws.request_headers
    await ws.send("\n".join("%s: %s" % (name.lower(), value) for name, value in fields.raw_items()))
    await ws.wait_closed()


async def silent(ws, query):
    """Reads, and says nothing."""
    async for _ in ws:
        pass


async def gone(ws, query):
    """Goes without a goodbye."""
    await ws.send("last words")
    ws.transport.close()


PATHS = {f.__name__: f for f in (echo, chat, close, closed, fragments, ping, burst, large, headers, silent, gone)}
REFUSED = {"/forbidden": (403, []), "/moved": (302, [("Location", "wss://elsewhere.example/secret")]), "/fine": (200, [])}


async def serve(ws):
    url = urllib.parse.urlsplit(ws.request.path if hasattr(ws, "request") else ws.path)
    try:
        await PATHS[url.path.strip("/")](ws, dict(urllib.parse.parse_qsl(url.query)))
    except websockets.ConnectionClosed:
        pass


async def refuse(first, second):
    """Answers some paths without a handshake. Old: (path, headers); new: (connection, request)."""
    old = isinstance(first, str)
    path = urllib.parse.urlsplit(first if old else second.path).path
    if path not in REFUSED:
        return None
    status, fields = REFUSED[path]
    if old:
        return http.HTTPStatus(status), fields, b""
    response = first.respond(status, "")
    for name, value in fields:
        response.headers[name] = value
    return response


def choose(first, second):
    """The client's first choice that is known here. Old: (its, ours); new: (connection, its)."""
    asked = first if isinstance(first, (list, tuple)) else second
    return next((name for name in asked if name in SUBPROTOCOLS), None)


async def main(directory, certificate, key, ready):
    options = dict(
        process_request=refuse,
        subprotocols=SUBPROTOCOLS,
        select_subprotocol=choose,
        max_size=64 << 20,
        ping_interval=None,
        close_timeout=2,
    )
    servers = [await listen(serve, "127.0.0.1", 0, **options)]
    if certificate:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        servers.append(await listen(serve, "127.0.0.1", 0, ssl=context, **options))
    ports = [list(server.sockets)[0].getsockname()[1] for server in servers] + ["nil"]
    path = os.path.join(directory, "websocket.sock")
    servers.append(await listen_unix(serve, path, **options))
    with open(os.path.join(directory, "websocket.lua"), "w") as file:
        file.write("return { ws = %s, wss = %s, socket = '%s' }\n" % (ports[0], ports[1], path))
    with open(os.path.join(directory, "websocket.pid"), "w") as file:
        file.write("%d\n" % os.getpid())
    end = asyncio.get_running_loop().create_future()
    for name in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(name, lambda: end.done() or end.set_result(None))
    os.write(ready, b"x")
    os.close(ready)
    await end


if __name__ == "__main__":
    directory, certificate, key = (sys.argv[1:] + [None, None])[:3]
    log = os.path.join(directory, "websocket.log")
    daemon.run(log, lambda ready: asyncio.run(main(directory, certificate, key, ready)))
