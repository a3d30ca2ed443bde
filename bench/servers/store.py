#!/usr/bin/env python3
"""Measures the store by itself (bench/micro/store.rs), and how soon a restarted nginx has its cache again. Fails where a budget is missed.

Takes some minutes; writes bench/store.md. Needs `make module` for the second part, 10 GiB of memory, 2 GiB of disk, and wrk. As root it lets the system give huge pages to
shared memory meanwhile, for a column of its own.
"""

import contextlib
import json
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

ROOT = Path(__file__).resolve().parents[2]
ENTRIES = 200_000
PAGE = "x" * 4000
HUGE_PAGES = Path("/sys/kernel/mm/transparent_hugepage/shmem_enabled")
# Budgets: seconds from nginx's start to a HIT, and the share of a zone that is payload.
SOON = 1.0
DENSE = 75.0


def say(text):
    print(f"store: {text}", file=sys.stderr, flush=True)


def bench(chosen, **environment):
    """What bench/micro/store.rs says, of which only that is run."""
    command = ["cargo", "bench", "--bench", "store", "--", chosen]
    return subprocess.run(
        command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True, env=os.environ | environment
    ).stdout


@contextlib.contextmanager
def huge_pages():
    """Has the system give them to shared memory that asks for them, if we may."""
    before = HUGE_PAGES.read_text() if HUGE_PAGES.exists() else ""
    may = "[never]" in before and os.access(HUGE_PAGES, os.W_OK)
    if may:
        HUGE_PAGES.write_text("advise")
    try:
        yield
    finally:
        if may:
            HUGE_PAGES.write_text("never")


def tables():
    """The tables that bench/micro/store.rs prints."""
    with huge_pages():
        said = bench("tables")
    lines = said[said.index("### "):].splitlines()
    return "\n".join(line for line in lines if not line.startswith(("Gnuplot", "Benchmarking"))).strip()


def rate(folder):
    """What criterion estimates: the median a second, with the 95 % that it lies in."""
    median = json.loads((folder / "new/estimates.json").read_text())["median"]
    elements = json.loads((folder / "new/benchmark.json").read_text())["throughput"]["Elements"]
    within = median["confidence_interval"]
    likely, least, most = (
        elements * 1e3 / nanoseconds for nanoseconds in (median["point_estimate"], within["upper_bound"], within["lower_bound"])
    )
    return f"{likely:.2f} M/s ({least:.2f} to {most:.2f})"


def throughput():
    """A table of the measurements by criterion of so many processes and threads."""
    with tempfile.TemporaryDirectory(prefix="swrcache-bench-") as home:
        bench("^(lookups|fills)/", CRITERION_HOME=home)
        all_workers = sorted(folder.name for folder in Path(home, "lookups").glob("*x*"))
        rows = [[*workers.split("x"), *(rate(Path(home, kind, workers)) for kind in ("lookups", "fills"))] for workers in all_workers]
    return (
        "### Throughput\n\nLookups (pin and unpin) of 20,000 keys, bodies of 1 KiB; fills of 1 KiB that evict; all workers together, "
        "which are started before and released at once. Medians by criterion, and the 95 % that they lie in. Fills share one lock.\n\n"
        + report.table(["processes", "threads in each", "lookups", "fills"], rows)
    )


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
    -- A thread that stops would leave wrk waiting for the rest of its time.
    if n > {ENTRIES} then os.exit(0) end
    return wrk.format("GET", "/" .. n)
end
""")
        command = ["wrk", "-t1", "-c16", "-d300s", "-s", script, f"http://127.0.0.1:{self.port}/"]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, timeout=330)

    def taken_over(self):
        """What the last start says that it took from the file."""
        return re.findall(r"restored (\d+) entries from the file", self.log())[-1]


def restart():
    """A table of restarts of a full cache, and the slowest."""
    rows, slowest = [], 0
    with Nginx() as nginx:
        nginx.start()
        nginx.fill()
        for title, sign in (("ended well", signal.SIGQUIT), ("was killed, master and worker", signal.SIGKILL)) * 2:
            ended = nginx.stop(sign)
            seconds, status = nginx.start()
            slowest = max(slowest, seconds)
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
    ), slowest


def missed(text, slowest):
    """What is not within its budget."""
    dense = float(re.search(r"^\| 1 KiB \| ([\d.]+) % \|", text, re.MULTILINE).group(1))
    if dense < DENSE:
        yield f"at bodies of 1 KiB {dense} % of a zone is payload, less than {DENSE} %"
    if slowest > SOON:
        yield f"the first HIT came {slowest * 1000:.0f} ms after nginx's start, later than {SOON * 1000:.0f} ms"


def machine():
    model = re.search(r"model name\s*:\s*(.*)", Path("/proc/cpuinfo").read_text())
    return (
        f"Taken on a virtual machine with {os.cpu_count()} cores ({model.group(1) if model else os.uname().machine}) that others used at "
        "the same time: times are upper bounds, shares and ratios are the result."
    )


def main():
    if not (BUILD / "nginx").exists():
        sys.exit(f"store: {BUILD}/nginx is not there; run `make module` first")
    after_restart, slowest = restart()
    text = "\n\n".join([machine(), tables(), throughput(), after_restart]) + "\n"
    print(text)
    report.between_marks(ROOT / "bench/store.md", "bench-store", text.replace("\n### ", "\n## "))
    if budgets := list(missed(text, slowest)):
        sys.exit("\n".join(f"store: budget missed: {line}" for line in budgets))


if __name__ == "__main__":
    main()
