"""httpbin under waitress, both by other authors, and an event stream, for specs.

    python3 wsgi.py DIRECTORY

Listens on a free loopback port, writes it to DIRECTORY/httpbin.port and its process id to httpbin.pid, and goes to the
background: when it returns, it is ready. Besides httpbin's own paths:

    /events?count=N&from=M   N events with the ids M, M+1 …, then the end of the stream; past id 5 a 204. A
                             `Last-Event-ID` counts more than `from`.
"""

import os
import signal
import sys
import urllib.parse

import daemon
import httpbin
import waitress

# Events that one client may have.
LAST = 5


def events(environ, start_response):
    query = dict(urllib.parse.parse_qsl(environ.get("QUERY_STRING", "")))
    last = environ.get("HTTP_LAST_EVENT_ID")
    first = int(last) + 1 if last else int(query.get("from", "1"))
    if first > LAST:
        start_response("204 No Content", [])
        return []
    start_response("200 OK", [("Content-Type", "text/event-stream"), ("Cache-Control", "no-store")])

    def stream():
        yield b"\xef\xbb\xbfretry: 20\n\n: hello\n"
        for number in range(first, min(first + int(query.get("count", "2")), LAST + 1)):
            yield ("id: %d\r\nevent: tick\r\ndata: %d\r\ndata: κόσμε\r\n\r\n" % (number, number)).encode()

    return stream()


def app(environ, start_response):
    return (events if environ["PATH_INFO"] == "/events" else httpbin.app)(environ, start_response)


def main(directory, ready):
    server = waitress.create_server(app, host="127.0.0.1", port=0, threads=8)
    for name, value in (("port", int(server.effective_port)), ("pid", os.getpid())):
        with open(os.path.join(directory, "httpbin." + name), "w") as file:
            file.write("%d\n" % value)
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    os.write(ready, b"x")
    os.close(ready)
    server.run()


if __name__ == "__main__":
    daemon.run(os.path.join(sys.argv[1], "httpbin.log"), lambda ready: main(sys.argv[1], ready))
