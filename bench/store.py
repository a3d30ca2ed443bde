#!/usr/bin/env python3
"""Measures the store by itself (benches/store.rs), and how soon a restarted nginx has its cache again.

    bench/store.py            some minutes; writes bench/store.md
    bench/store.py --readme   the same, and into README.md too

Needs `make module` for the second part, 6 GiB of memory, 2 GiB of disk, and wrk.
"""

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.dont_write_bytecode = True  # nothing is left beside the sources

import clients
import report
from servers import BUILD, free_ports

ROOT = Path(__file__).resolve().parent.parent
ENTRIES = 200_000
PAGE = "x" * 4000


def say(text):
    print(f"store: {text}", file=sys.stderr, flush=True)


def tables():
    """What benches/store.rs prints before the measurements by criterion, of which none has this name."""
    said = subprocess.run(
        ["cargo", "bench", "--bench", "store", "--", "none-of-them"], cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True
    ).stdout
    lines = said[said.index("### "):].splitlines()
    return "\n".join(line for line in lines if not line.startswith(("Gnuplot", "Benchmarking"))).strip()


class Nginx:
    """An nginx with a zone of 1 GiB in a file, and its own origin, in a temporary folder."""

    def __enter__(self):
        self.dir = Path(tempfile.mkdtemp(prefix="swrcache-bench-"))
        self.dir.chmod(0o755)
        self.port, self.origin = free_ports(2)
        temp = " ".join(f"{kind}_temp_path temp;" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
        (self.dir / "nginx.conf").write_text(f"""
load_module {BUILD}/ngx_http_swr_cache_module.so;
worker_processes 1;
error_log error.log notice;
pid nginx.pid;
daemon off;
events {{ worker_connections 1024; }}
http {{
    access_log off;
    keepalive_requests 1000000000;
    {temp}
    swr_cache_zone zone=main:1g file=zone.swr;
    upstream origin {{ server 127.0.0.1:{self.origin}; keepalive 64; }}
    server {{
        listen 127.0.0.1:{self.port};
        location / {{
            swr_cache main;
            add_header X-Cache $swr_cache_status;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_pass http://origin;
        }}
    }}
    server {{
        listen 127.0.0.1:{self.origin};
        location / {{ add_header Cache-Control max-age=86400; return 200 "{PAGE}"; }}
    }}
}}
""")
        self.process = None
        return self

    def __exit__(self, *_):
        if self.process and self.process.poll() is None:
            self.stop(signal.SIGKILL)
        shutil.rmtree(self.dir, ignore_errors=True)

    def start(self):
        """Starts it; the seconds until it has answered with a HIT."""
        began = time.perf_counter()
        self.process = subprocess.Popen(
            [BUILD / "nginx", "-p", f"{self.dir}/", "-c", "nginx.conf", "-e", "error.log"],
            stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
        )
        while time.perf_counter() - began < 60:
            try:
                status = self.status(f"/{ENTRIES // 2}")
                return time.perf_counter() - began, status
            except OSError:
                time.sleep(0.002)
        raise RuntimeError(f"nginx did not start: {self.log()}")

    def status(self, target):
        """The cache's word for an answer."""
        with clients.Connection(self.port) as connection:
            connection.socket.sendall(clients.request(connection.socket, target))
            data = b""
            while not clients.is_whole(data):
                piece = connection.socket.recv(1 << 20)
                if not piece:
                    raise ConnectionError("closed")
                data += piece
        return re.search(rb"\r\nX-Cache: (\w*)", data).group(1).decode()

    def stop(self, sign):
        """Ends it well (SIGQUIT), or kills master and workers at once."""
        if sign == signal.SIGKILL:
            os.killpg(self.process.pid, sign)
        else:
            self.process.send_signal(sign)
        began = time.perf_counter()
        self.process.wait(60)
        return time.perf_counter() - began

    def log(self):
        return (self.dir / "error.log").read_text(errors="replace")

    def fill(self):
        script = self.dir / "fill.lua"
        script.write_text(f"""
local n = 0
request = function()
    n = n + 1
    if n > {ENTRIES} then wrk.thread:stop() end
    return wrk.format("GET", "/" .. n)
end
""")
        command = ["wrk", "-t1", "-c16", "-d300s", "-s", script, f"http://127.0.0.1:{self.port}/"]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, timeout=330)

    def taken_over(self):
        """What the last start says that it took from the file."""
        return re.findall(r"(\d+) entries are taken from the file", self.log())[-1]


def restart():
    """A table of restarts of a full cache."""
    rows = []
    with Nginx() as nginx:
        nginx.start()
        nginx.fill()
        for title, sign in (("ended well", signal.SIGQUIT), ("was killed, master and worker", signal.SIGKILL)) * 2:
            ended = nginx.stop(sign)
            seconds, status = nginx.start()
            rows.append([title, f"{ended * 1000:.0f} ms", nginx.taken_over(), status, f"{seconds * 1000:.0f} ms"])
            say(rows[-1])
        wrong = [line for line in nginx.log().splitlines() if re.search(r"\[(alert|crit|emerg)\]", line)]
        nginx.stop(signal.SIGQUIT)
    if wrong or any(row[3] != "HIT" for row in rows):
        sys.exit("\n".join(["store: something is wrong:", *map(str, rows), *wrong[:10]]))
    head = ["the nginx before", "its end took", "entries taken over", "the first answer", "it came, after nginx's start"]
    return (
        f"### Restart of nginx\n\nA zone of 1 GiB with `file=`, filled with {ENTRIES:,} responses of 4 KB through nginx; the file is in "
        "the kernel's page cache.\n\n" + report.table(head, rows)
    )


def machine():
    model = re.search(r"model name\s*:\s*(.*)", Path("/proc/cpuinfo").read_text())
    return (
        f"Taken on a virtual machine with {os.cpu_count()} cores ({model.group(1) if model else os.uname().machine}) that others used at "
        "the same time: times are upper bounds, shares and ratios are the result."
    )


def main():
    if not (BUILD / "nginx").exists():
        sys.exit(f"store: {BUILD}/nginx is not there; run `make module` first")
    text = "\n\n".join([machine(), tables(), restart()]) + "\n"
    print(text)
    (ROOT / "bench/store.md").write_text("# The store, measured\n\n" + text.replace("\n### ", "\n## "))
    if "--readme" in sys.argv[1:]:
        report.into_readme(ROOT / "README.md", "bench-store", f"## The store, measured\n\n`make bench-store` measured this.\n\n{text}")


if __name__ == "__main__":
    main()
