"""The origin behind every cache: a process that answers late, if the path says so, and counts what it was asked.

    /BYTES/FIRST/LATER/POLICY/NAME   so many bytes; the first answer after FIRST ms, the others after LATER ms; HTML if NAME is page-NUMBER
    /count/PATH                      how often /PATH was asked for

It speaks FastCGI too, on a second port, for nginx's `fastcgi_cache`.
"""

import asyncio
import collections
import email.utils
import functools
import struct
import sys

import pages

POLICIES = {
    "hour": "max-age=3600",
    "soon": "max-age=5, stale-while-revalidate=3600, stale-if-error=3600",
    "nostore": "no-store",
}
LETTERS = bytes(c for c in range(33, 127) if chr(c) not in "\"'\\${};#")


def path(size, policy, name, first_ms=0, later_ms=0):
    return f"/{size}/{first_ms}/{later_ms}/{policy}/{name}"


@functools.lru_cache(maxsize=None)
def body(size):
    return (LETTERS * (size // len(LETTERS) + 1))[:size]


def content_of(size, name):
    """A body and its media type."""
    kind, _, number = name.partition("-")
    return (pages.page(size, int(number)), "text/html") if kind == "page" else (body(size), "text/plain")


class Origin(asyncio.Protocol):
    asked = collections.Counter()

    def connection_made(self, transport):
        self.transport = transport
        self.data = b""

    def data_received(self, data):
        self.data += data
        while b"\r\n\r\n" in self.data:
            head, self.data = self.data.split(b"\r\n\r\n", 1)
            self.answer(head.split(b" ", 2)[1].decode())

    def answer(self, target):
        if target.startswith("/count/"):
            count = str(Origin.asked[target.removeprefix("/count")]).encode()
            return self.send((count, "text/plain"), "no-store")
        Origin.asked[target] += 1
        size, first_ms, later_ms, policy, name = target.strip("/").split("/", 4)
        delay = int(first_ms if Origin.asked[target] == 1 else later_ms) / 1000
        send = functools.partial(self.send, content_of(int(size), name), POLICIES[policy])
        if delay:
            asyncio.get_running_loop().call_later(delay, send)
        else:
            send()

    def send(self, what, control):
        self.transport.write(b"HTTP/1.1 200 OK\r\n" + message(what, control))


def message(what, control):
    content, media_type = what
    head = {
        "Date": email.utils.formatdate(usegmt=True), "Content-Type": media_type, "Content-Length": len(content),
        "Cache-Control": control, "Last-Modified": "Mon, 01 Jan 2024 00:00:00 GMT", "ETag": f'"{len(content)}"',
    }
    return "".join(f"{name}: {value}\r\n" for name, value in head.items()).encode() + b"\r\n" + content


class FastCgi(Origin):
    """As much of FastCGI 1.0 as nginx needs: one request on a connection at a time."""

    def connection_made(self, transport):
        super().connection_made(transport)
        self.params = b""

    def data_received(self, data):
        self.data += data
        while len(self.data) >= 8:
            _, kind, _, length, padding, _ = struct.unpack(">BBHHBB", self.data[:8])
            if len(self.data) < 8 + length + padding:
                return
            content, self.data = self.data[8 : 8 + length], self.data[8 + length + padding :]
            if kind == 4:  # FCGI_PARAMS
                self.params += content
            elif kind == 5 and not content:  # the end of FCGI_STDIN
                # The one parameter that it is given: lengths, name, value.
                target, self.params = self.params.split(b"REQUEST_URI", 1)[1].decode(), b""
                self.answer(target)

    def send(self, what, control):
        answer = message(what, control)
        pieces = [answer[i : i + 65528] for i in range(0, len(answer), 65528)] + [b""]
        records = (struct.pack(">BBHHBB", 1, 6, 1, len(piece), 0, 0) + piece for piece in pieces)
        self.transport.write(b"".join(records) + struct.pack(">BBHHBB8x", 1, 3, 1, 8, 0, 0))
        self.transport.close()


async def serve(port, fastcgi_port):
    loop = asyncio.get_running_loop()
    await loop.create_server(FastCgi, "127.0.0.1", fastcgi_port, backlog=4096)
    server = await loop.create_server(Origin, "127.0.0.1", port, backlog=4096)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1]), int(sys.argv[2])))
