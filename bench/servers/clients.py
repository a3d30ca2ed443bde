"""The load: wrk for rates, one patient connection for latencies, a thousand at once for stampedes."""

import re
import select
import socket
import ssl
import subprocess
import time

TIMEOUT = 30
# For wrk: no two requests are for the same URL; the argument tells runs apart.
UNLIKE = """
local asked, tag = 0, ""
function init(args) tag = args[1] end
function request()
    asked = asked + 1
    return wrk.format("GET", wrk.path .. "?" .. tag .. "-" .. asked)
end
"""


class Connection:
    """A keep-alive connection."""

    def __init__(self, port, tls=False):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=TIMEOUT)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if tls:
            context = ssl.create_default_context()
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
            self.socket = context.wrap_socket(self.socket)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def get(self, target):
        """Seconds until the whole answer was there, and its body."""
        took, _, content = self.exchange(target)
        return took, content

    def exchange(self, target, fields=""):
        """Seconds until the whole answer was there, its head, and its body. `fields` are lines of the request's head."""
        asked = request(self.socket, target, fields)
        began = time.perf_counter()
        self.socket.sendall(asked)
        data = b""
        while not is_whole(data):
            piece = self.socket.recv(1 << 20)
            if not piece:
                raise ConnectionError("the server closed the connection")
            data += piece
        took = time.perf_counter() - began
        head, content = data.split(b"\r\n\r\n", 1)
        if b" 200" not in head.split(b"\r\n", 1)[0]:
            raise ConnectionError(head.split(b"\r\n", 1)[0].decode())
        return took, head.decode(), unchunked(content) if b"chunked" in head.lower() else content

    def head(self, target, fields):
        """The head of an answer without a body."""
        self.socket.sendall(request(self.socket, target, fields, "HEAD"))
        data = b""
        while b"\r\n\r\n" not in data:
            piece = self.socket.recv(1 << 16)
            if not piece:
                raise ConnectionError("the server closed the connection")
            data += piece
        return data.decode()

    def seconds(self, target):
        return self.get(target)[0]


def request(s, target, fields="", method="GET"):
    # Every client names the host as wrk does, so that all ask for the same key.
    return f"{method} {target} HTTP/1.1\r\nHost: 127.0.0.1:{s.getpeername()[1]}\r\n{fields}\r\n".encode()


def is_whole(data):
    head, found, content = data.partition(b"\r\n\r\n")
    if not found:
        return False
    length = re.search(rb"(?i)\r\ncontent-length: *(\d+)", head)
    return len(content) >= int(length.group(1)) if length else content.endswith(b"0\r\n\r\n")


def unchunked(content):
    pieces = b""
    while content:
        size, content = content.split(b"\r\n", 1)
        pieces, content = pieces + content[: int(size, 16)], content[int(size, 16) + 2 :]
    return pieces


def burst(port, target, n):
    """n open connections ask at the same moment; the seconds each waits for its whole answer, infinite if none came."""
    poll = select.epoll()
    sockets = [socket.create_connection(("127.0.0.1", port), timeout=TIMEOUT) for _ in range(n)]
    waiting = {s.fileno(): s for s in sockets}
    for s in sockets:
        s.setblocking(False)
        poll.register(s, select.EPOLLIN)
    time.sleep(0.1)  # until the server has accepted them all
    asked = request(sockets[0], target)
    data, began, took = dict.fromkeys(waiting, b""), {}, []
    for fd, s in waiting.items():
        began[fd] = time.perf_counter()
        s.send(asked)
    deadline = time.perf_counter() + TIMEOUT
    while waiting and time.perf_counter() < deadline:
        for fd, _ in poll.poll(1):
            try:
                piece = waiting[fd].recv(1 << 16)
            except ConnectionError:
                piece = b""
            data[fd] += piece
            whole = is_whole(data[fd])
            if whole or not piece:
                good = whole and data[fd].startswith(b"HTTP/1.1 200")
                took.append(time.perf_counter() - began[fd] if good else float("inf"))
                poll.unregister(fd)
                del waiting[fd]
    for s in sockets:
        s.close()
    poll.close()
    return took + [float("inf")] * len(waiting)


def wrk(url, seconds, connections, core, options=(), arguments=()):
    """Requests per second, or why there is no such number."""
    command = ["taskset", "-c", str(core), "wrk", "-t1", f"-c{connections}", f"-d{seconds}s", *options, url, *arguments]
    out = subprocess.run(command, capture_output=True, text=True, timeout=seconds + TIMEOUT).stdout
    rate = re.search(r"Requests/sec:\s*([\d.]+)", out)
    wrong = re.search(r"(Non-2xx.*|Socket errors: (?!connect 0, read 0, write 0, timeout 0).*)", out)
    if not rate or wrong:
        return None, wrong.group(1).strip() if wrong else f"wrk said nothing of {url}"
    return float(rate.group(1)), None
