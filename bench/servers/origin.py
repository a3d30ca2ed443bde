"""The origin behind every cache: a process that answers late, if the path says so, and counts what it was asked.

    /BYTES/FIRST/LATER/POLICY/NAME   so many bytes; the first answer after FIRST ms, the others after LATER ms
    /count/PATH                      how often /PATH was asked for
"""

import asyncio
import collections
import email.utils
import functools
import sys

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
            return self.send(str(Origin.asked[target.removeprefix("/count")]).encode(), "no-store")
        Origin.asked[target] += 1
        size, first_ms, later_ms, policy, _ = target.strip("/").split("/", 4)
        delay = int(first_ms if Origin.asked[target] == 1 else later_ms) / 1000
        send = functools.partial(self.send, body(int(size)), POLICIES[policy])
        if delay:
            asyncio.get_running_loop().call_later(delay, send)
        else:
            send()

    def send(self, content, control):
        self.transport.write(
            b"HTTP/1.1 200 OK\r\nDate: %s\r\nContent-Type: text/plain\r\nContent-Length: %d\r\nCache-Control: %s\r\n"
            b'Last-Modified: Mon, 01 Jan 2024 00:00:00 GMT\r\nETag: "%d"\r\n\r\n'
            % (email.utils.formatdate(usegmt=True).encode(), len(content), control.encode(), len(content)) + content
        )


async def serve(port):
    server = await asyncio.get_running_loop().create_server(Origin, "127.0.0.1", port, backlog=4096)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1])))
