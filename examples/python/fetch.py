"""What the cache is from Python, by cffi: fetches a URL through it, and again.

    python3 fetch.py LIBSWRCACHE.SO SWRCACHE.H URL

Prints a line for each answer: status, cache status, length, and the beginning of the body. The header is read as it is: cffi takes its
declarations, without what the C preprocessor is for.
"""

import re
import sys
import urllib.request

import cffi


def load(library, header):
    """The library, and cffi's view of it."""
    text = open(header).read()
    text = re.sub(r"/\*.*?\*/", "", text, flags=re.S)
    text = re.sub(r"#ifdef __cplusplus.*?#endif[^\n]*", "", text, flags=re.S)
    lines = [line for line in text.splitlines() if not line.startswith("#") or re.match(r"#define \w+ \d+$", line)]
    ffi = cffi.FFI()
    ffi.cdef("struct iovec { void *iov_base; size_t iov_len; };\n" + "\n".join(lines))
    return ffi, ffi.dlopen(library)


class Cache:
    """A cache in the memory of this process."""

    NUL = 2 ** (8 * 8) - 1

    def __init__(self, library, header, size=64 << 20):
        self.ffi, self.lib = load(library, header)
        cache, policy = self.ffi.new("swrcache_cache **"), self.ffi.new("swrcache_policy **")
        self.check(self.lib.swrcache_open(self.struct("swrcache_options", size=size), cache))
        self.check(self.lib.swrcache_policy_new(policy))
        self.cache = self.ffi.gc(cache[0], self.lib.swrcache_close)
        self.policy = self.ffi.gc(policy[0], self.lib.swrcache_policy_free)

    def check(self, code):
        if code != self.lib.SWRCACHE_OK:
            about = self.ffi.string(self.lib.swrcache_last_error()).decode()
            raise OSError(f"{self.ffi.string(self.lib.swrcache_strerror(code)).decode()}: {about}")

    def struct(self, name, **members):
        made = self.ffi.new(name + " *", members)
        made.struct_size = self.ffi.sizeof(name)
        return made

    def fields(self, pairs):
        """Field lines, and what keeps their text."""
        text = [(self.ffi.from_buffer(n), self.ffi.from_buffer(v)) for n, v in pairs]
        made = [(n, len(n), v, len(v)) for n, v in text]
        return self.ffi.new("swrcache_field[]", made), text

    def get(self, url):
        """A URL's status, cache status and body: out of the cache, or from its origin."""
        method, key = self.ffi.new("char[]", b"GET"), self.ffi.new("char[]", url.encode())
        request = self.struct("swrcache_request", method=method, key=key, key_len=self.NUL)
        decision = self.struct("swrcache_decision")
        self.check(self.lib.swrcache_lookup_wait(self.cache, self.policy, request, decision))
        if decision.reply:
            if decision.fetch:  # a refresh that a server would carry out in the background
                self.lib.swrcache_fetch_free(decision.fetch)
            return self.read(decision.reply)
        with urllib.request.urlopen(url) as answer:
            if decision.fetch:
                return self.fill(self.ffi.gc(decision.fetch, self.lib.swrcache_fetch_free), answer)
            return answer.status, "", answer.read()

    def fill(self, fetch, answer):
        """Lets the cache have the origin's answer; what the client gets."""
        lib, todo, reply = self.lib, self.ffi.new("int *"), self.ffi.new("swrcache_reply **")
        pairs = [(n.encode(), v.encode()) for n, v in answer.headers.items()]
        fields, kept = self.fields(pairs)
        response = self.struct("swrcache_response", status=answer.status, fields=fields, field_count=len(pairs))
        self.check(lib.swrcache_fetch_respond(fetch, response, todo))
        del kept
        while todo[0] == lib.SWRCACHE_DO_STORE:
            piece = answer.read(1 << 16)
            if piece and lib.swrcache_fetch_write(fetch, piece, len(piece)) == lib.SWRCACHE_OK:
                continue
            self.check(lib.swrcache_fetch_finish(fetch, todo))
            if todo[0] == lib.SWRCACHE_DO_RELAY:  # it has outgrown the cache: what that has taken, and the rest
                self.check(lib.swrcache_fetch_reply(fetch, reply))
                status, name, body = self.read(reply[0])
                return status, name, body + piece + answer.read()
        if todo[0] == lib.SWRCACHE_DO_RELAY:
            return answer.status, "", answer.read()
        self.check(lib.swrcache_fetch_reply(fetch, reply))
        return self.read(reply[0])

    def read(self, reply):
        """Status, cache status and body of a reply, which is freed."""
        reply = self.ffi.gc(reply, self.lib.swrcache_reply_free)
        head, pieces, count = self.struct("swrcache_head"), self.ffi.new("struct iovec[16]"), self.ffi.new("size_t *")
        self.check(self.lib.swrcache_reply_head(reply, head))
        body = b""
        while True:
            code = self.lib.swrcache_reply_read_wait(reply, 60000, pieces, 16, count)
            if code == self.lib.SWRCACHE_EOUTGROWN or code == self.lib.SWRCACHE_OK and count[0] == 0:
                break
            self.check(code)
            body += b"".join(bytes(self.ffi.buffer(p.iov_base, p.iov_len)) for p in pieces[0 : count[0]])
        name = self.ffi.string(self.lib.swrcache_status_name(head.cache_status)).decode()
        return head.status, name, body


if __name__ == "__main__":
    cache = Cache(sys.argv[1], sys.argv[2])
    for _ in range(2):
        status, name, body = cache.get(sys.argv[3])
        print(status, name, len(body), body[:20].decode())
