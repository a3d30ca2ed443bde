#!/usr/bin/env python3
"""Side-by-side measurements of swrcache and its peers on this machine.

    bench/bench.py            everything, about eight minutes
    bench/bench.py --quick    each thing once and briefly: shows that it runs, not how fast

Everything listens on loopback and ends with the program. Rates are measured interleaved, in rounds, and reported as
medians and ratios: the machine's noise then meets all alike. nginx and its peers are bound to the first core, the
load generator to the second. Peers (haproxy, varnishd, traffic_server) take part where they are installed: `make bench-deps`.
"""

import argparse
import json
import os
import re
import selectors
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BUILD = ROOT / "build" / "vendored"
SIZES = {"1 KiB": 1 << 10, "16 KiB": 16 << 10, "128 KiB": 128 << 10, "1 MiB": 1 << 20}
WINDOWS = "max-age=1, stale-while-revalidate=600, stale-if-error=600"


def free_ports(n):
    sockets = [socket.socket() for _ in range(n)]
    for s in sockets:
        s.bind(("127.0.0.1", 0))
    ports = [s.getsockname()[1] for s in sockets]
    for s in sockets:
        s.close()
    return ports


def median(values):
    return statistics.median(values) if values else float("nan")


def percentile(values, p):
    values = sorted(values)
    return values[min(len(values) - 1, int(len(values) * p))]


# ---------------------------------------------------------------------------------------------------------- the origin


class Origin:
    """Answers every path after a delay that the path names, and counts.

    /delay/SECONDS/CACHE-CONTROL/anything: the first answer comes at once if the path says `warm`, the others late.
    """

    def __init__(self):
        self.hits = {}
        self.lock = threading.Lock()
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=4096)
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            connection, _ = self.listener.accept()
            threading.Thread(target=self.serve, args=(connection,), daemon=True).start()

    def serve(self, connection):
        try:
            self.converse(connection)
        except OSError:
            pass  # the client is gone

    def converse(self, connection):
        with connection:
            data = b""
            while True:
                while b"\r\n\r\n" not in data:
                    piece = connection.recv(65536)
                    if not piece:
                        return
                    data += piece
                head, data = data.split(b"\r\n\r\n", 1)
                self.answer(connection, head.split(b" ")[1].decode())

    def answer(self, connection, path):
        with self.lock:
            self.hits[path] = self.hits.get(path, 0) + 1
            first = self.hits[path] == 1
        _, delay, control, name = path.strip("/").split("/", 3)
        if not (first and name.startswith("warm")):
            time.sleep(float(delay))
        control = control.replace("+", ", ")
        body = b"x" * 1024
        connection.sendall(
            f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\nCache-Control: {control}\r\n"
            f"Content-Type: text/plain\r\n\r\n".encode() + body
        )


# ---------------------------------------------------------------------------------------------------------- the servers


class Servers:
    """nginx in all its roles, and the peers; ended by `stop`."""

    def __init__(self, origin):
        self.dir = Path(tempfile.mkdtemp(prefix="swrcache-bench-", dir="/dev/shm"))
        self.dir.chmod(0o755)
        self.running = []
        self.rates = {}  # name of a rival -> how a size becomes a URL
        self.collapsing = {}  # name of a rival -> port
        www = self.dir / "www"
        www.mkdir()
        for name, size in SIZES.items():
            (www / str(size)).write_bytes(bytes(33 + i % 90 for i in range(size)).replace(b"$", b"_").replace(b'"', b"_").replace(b"\\", b"_"))
        self.certificate()
        self.nginx(origin.port)
        self.haproxy(origin.port)
        self.varnish(origin.port)
        self.traffic_server(origin.port)
        os.system(f"chmod -R a+rX {self.dir}")

    def start(self, command, name, core=0):
        log = open(self.dir / f"{name}.out", "wb")
        process = subprocess.Popen(
            ["taskset", "-c", str(core), *map(str, command)], stdout=log, stderr=log, cwd=self.dir
        )
        self.running.append(process)
        return process

    def await_port(self, port, what):
        for _ in range(200):
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                return True
            except OSError:
                time.sleep(0.05)
        print(f"bench: {what} did not start:", (self.dir / f"{what}.out").read_text(errors="replace")[-800:], file=sys.stderr)
        return False

    def certificate(self):
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
             "-subj", "/CN=localhost", "-keyout", self.dir / "key.pem", "-out", self.dir / "cert.pem"],
            check=True, stderr=subprocess.DEVNULL,
        )

    def nginx(self, origin):
        names = ["static", "ours", "usual", "sendfile", "readwrite", "ours_tls", "best_tls", "slow_ours", "slow_theirs"]
        self.port = dict(zip(names, free_ports(len(names))))
        p, www = self.port, self.dir / "www"
        text = (www / "1024").read_text()
        tls = f"ssl_certificate {self.dir}/cert.pem; ssl_certificate_key {self.dir}/key.pem;"
        files = f"proxy_pass http://127.0.0.1:{p['static']}; proxy_cache files; proxy_cache_valid 200 1h;"
        open_files = "open_file_cache max=1000 inactive=1h; open_file_cache_valid 1h;"
        conf = f"""
load_module {BUILD}/ngx_http_swr_cache_module.so;
worker_processes 1; daemon off; user nobody nogroup;
pid {self.dir}/nginx.pid; error_log {self.dir}/error.log warn;
events {{ worker_connections 8192; }}
http {{
    access_log off; keepalive_requests 1000000000; keepalive_timeout 600s; tcp_nodelay on;
    client_body_temp_path {self.dir}/t1; proxy_temp_path {self.dir}/t2; fastcgi_temp_path {self.dir}/t3;
    uwsgi_temp_path {self.dir}/t4; scgi_temp_path {self.dir}/t5;
    swr_cache_zone zone=main:256m;
    proxy_cache_path {self.dir}/files keys_zone=files:16m max_size=512m inactive=1h use_temp_path=off;
    server {{ listen 127.0.0.1:{p['static']} backlog=4096; root {www}; sendfile on; {open_files} etag off;
        add_header Cache-Control max-age=3600; location = /return {{ return 200 "{text}"; }} }}
    server {{ listen 127.0.0.1:{p['ours']} backlog=4096; location / {{ swr_cache main; proxy_pass http://127.0.0.1:{p['static']}; }} }}
    server {{ listen 127.0.0.1:{p['usual']} backlog=4096; sendfile on; location / {{ {files} }} }}
    server {{ listen 127.0.0.1:{p['sendfile']} backlog=4096; sendfile on; {open_files} location / {{ {files} }} }}
    server {{ listen 127.0.0.1:{p['readwrite']} backlog=4096; sendfile off; {open_files} location / {{ {files} }} }}
    server {{ listen 127.0.0.1:{p['ours_tls']} ssl backlog=4096; {tls} location / {{ swr_cache main; swr_cache_key tls$request_uri; proxy_pass http://127.0.0.1:{p['static']}; }} }}
    server {{ listen 127.0.0.1:{p['best_tls']} ssl backlog=4096; {tls} sendfile off; {open_files} location / {{ {files} }} }}
    server {{ listen 127.0.0.1:{p['slow_ours']} backlog=4096; location / {{ swr_cache main; swr_cache_key slow$request_uri; proxy_pass http://127.0.0.1:{origin}; }} }}
    server {{ listen 127.0.0.1:{p['slow_theirs']} backlog=4096; location / {{ proxy_pass http://127.0.0.1:{origin};
        proxy_cache files; proxy_cache_key slow$request_uri; proxy_cache_lock on; proxy_cache_background_update on;
        proxy_cache_use_stale updating error timeout; }} }}
}}
"""
        (self.dir / "nginx.conf").write_text(conf)
        self.start([BUILD / "nginx", "-p", self.dir, "-c", self.dir / "nginx.conf", "-e", self.dir / "error.log"], "nginx")
        if not self.await_port(p["static"], "nginx"):
            sys.exit((self.dir / "error.log").read_text())
        url = lambda name, scheme="http": lambda size: f"{scheme}://127.0.0.1:{p[name]}/{size}"
        self.rates = {
            "swrcache": url("ours"),
            "nginx, no cache": lambda size: f"http://127.0.0.1:{p['static']}/" + ("return" if size == 1024 else str(size)),
            "proxy_cache, usual": url("usual"),
            "proxy_cache, sendfile": url("sendfile"),
            "proxy_cache, read/write": url("readwrite"),
            "swrcache, TLS": url("ours_tls", "https"),
            "proxy_cache, TLS": url("best_tls", "https"),
        }
        self.collapsing = {"swrcache": p["slow_ours"], "proxy_cache": p["slow_theirs"]}

    def haproxy(self, origin):
        if not shutil.which("haproxy"):
            return
        fast, slow = free_ports(2)
        static = self.port["static"]
        (self.dir / "haproxy.cfg").write_text(f"""
global
    nbthread 1
    maxconn 4000
defaults
    mode http
    timeout connect 5s
    timeout client 600s
    timeout server 60s
cache c
    total-max-size 256
    max-object-size 4194304
    max-age 3600
frontend fast
    bind 127.0.0.1:{fast}
    http-request cache-use c
    http-response cache-store c
    default_backend static
frontend slow
    bind 127.0.0.1:{slow} backlog 4096
    http-request cache-use c
    http-response cache-store c
    default_backend origin
backend static
    server s 127.0.0.1:{static}
backend origin
    server o 127.0.0.1:{origin}
""")
        self.start(["haproxy", "-db", "-f", self.dir / "haproxy.cfg"], "haproxy")
        if self.await_port(fast, "haproxy"):
            self.rates["HAProxy"] = lambda size: f"http://127.0.0.1:{fast}/{size}"
            self.collapsing["HAProxy"] = slow

    def varnish(self, origin):
        if not shutil.which("varnishd"):
            return
        for name, backend in (("fast", self.port["static"]), ("slow", origin)):
            (port,) = free_ports(1)
            work = Path(tempfile.mkdtemp(prefix="varnish-", dir=self.dir))
            work.chmod(0o777)
            self.start(
                ["varnishd", "-F", "-n", work, "-a", f"127.0.0.1:{port}", "-b", f"127.0.0.1:{backend}",
                 "-s", "malloc,256m", "-p", "thread_pools=1", "-p", "thread_pool_min=100", "-p", "thread_pool_max=2000"],
                f"varnish-{name}",
            )
            if not self.await_port(port, f"varnish-{name}"):
                return
            if name == "fast":
                self.rates["Varnish"] = lambda size, port=port: f"http://127.0.0.1:{port}/{size}"
            else:
                self.collapsing["Varnish"] = port

    def traffic_server(self, origin):
        if not shutil.which("traffic_server"):
            return
        for name, backend in (("fast", self.port["static"]), ("slow", origin)):
            (port,) = free_ports(1)
            root = self.dir / f"ats-{name}"
            shutil.copytree("/etc/trafficserver", root / "etc")
            for folder in ("cache", "run", "log"):
                (root / folder).mkdir()
            os.system(f"chmod -R a+rwX {root}")
            (root / "runroot.yaml").write_text(
                f"prefix: /usr\nexec_prefix: /usr\nbindir: /usr/bin\nsbindir: /usr/sbin\nsysconfdir: {root}/etc\n"
                f"datadir: {root}/cache\nincludedir: /usr/include\nlibdir: /usr/lib/trafficserver\n"
                f"libexecdir: /usr/lib/trafficserver/modules\nlocalstatedir: {root}\nruntimedir: {root}/run\n"
                f"logdir: {root}/log\ncachedir: {root}/cache\n"
            )
            (root / "etc" / "records.config").write_text(f"""
CONFIG proxy.config.http.server_ports STRING {port}:ip-in=127.0.0.1
CONFIG proxy.config.exec_thread.autoconfig INT 0
CONFIG proxy.config.exec_thread.limit INT 1
CONFIG proxy.config.cache.ram_cache.size INT 256M
CONFIG proxy.config.http.cache.http INT 1
CONFIG proxy.config.http.cache.open_write_fail_action INT 5
CONFIG proxy.config.cache.enable_read_while_writer INT 1
CONFIG proxy.config.http.background_fill_active_timeout INT 0
CONFIG proxy.config.http.background_fill_completed_threshold FLOAT 0.0
CONFIG proxy.config.url_remap.remap_required INT 1
CONFIG proxy.config.http.keep_alive_no_activity_timeout_in INT 600
CONFIG proxy.config.log.logging_enabled INT 0
CONFIG proxy.config.admin.user_id STRING nobody
""")
            (root / "etc" / "remap.config").write_text(f"map / http://127.0.0.1:{backend}/\n")
            (root / "etc" / "storage.config").write_text(f"{root}/cache 128M\n")
            what = f"traffic-server-{name}"
            self.start(["env", f"TS_RUNROOT={root}", "traffic_server"], what)
            if not self.await_port(port, what):
                return
            if name == "fast":
                self.rates["Traffic Server"] = lambda size, port=port: f"http://127.0.0.1:{port}/{size}"
            else:
                self.collapsing["Traffic Server"] = port

    def worker(self):
        master = int((self.dir / "nginx.pid").read_text())
        children = Path(f"/proc/{master}/task/{master}/children").read_text().split()
        return next(int(pid) for pid in children if "worker" in Path(f"/proc/{pid}/cmdline").read_text())

    def stop(self):
        for process in reversed(self.running):
            process.terminate()
        for process in self.running:
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
        shutil.rmtree(self.dir, ignore_errors=True)


# ----------------------------------------------------------------------------------------------------------- measuring


def wrk(url, seconds, connections):
    out = subprocess.run(
        ["taskset", "-c", "1", "wrk", "-t1", f"-c{connections}", f"-d{seconds}s", url], capture_output=True, text=True
    ).stdout
    rate = re.search(r"Requests/sec:\s*([\d.]+)", out)
    if not rate or "Non-2xx" in out:
        sys.exit(f"bench: wrk failed on {url}:\n{out}")
    return float(rate.group(1))


def measure_rates(servers, rounds, seconds):
    """Requests per second of a HIT, by size and rival: interleaved, the order turning from round to round."""
    rates = {}
    for label, size in SIZES.items():
        rivals = list(servers.rates.items())
        connections = 8 if size >= 1 << 20 else 32
        samples = {name: [] for name, _ in rivals}
        for name, url in rivals:
            wrk(url(size), 1, 4)  # fills the caches
        for turn in range(rounds):
            for name, url in rivals[turn % len(rivals):] + rivals[: turn % len(rivals)]:
                samples[name].append(wrk(url(size), seconds, connections))
        rates[label] = {name: median(values) for name, values in samples.items()}
        print(f"bench: {label}: " + ", ".join(f"{n} {v / 1000:.1f}k" for n, v in rates[label].items()), file=sys.stderr)
    return rates


class Client:
    """One keep-alive connection."""

    def __init__(self, port):
        self.port = port
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=30)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def get(self, path):
        """Seconds until the whole answer is there, and the answer's header."""
        began = time.perf_counter()
        self.socket.sendall(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{self.port}\r\n\r\n".encode())
        data = b""
        while True:
            piece = self.socket.recv(65536)
            if not piece:
                raise EOFError("connection closed")
            data += piece
            if is_whole(data):
                return time.perf_counter() - began, data.split(b"\r\n\r\n", 1)[0].decode()


def is_whole(data):
    head, found, body = data.partition(b"\r\n\r\n")
    if not found:
        return False
    length = re.search(rb"(?i)\r\ncontent-length: *(\d+)", head)
    return len(body) >= int(length.group(1)) if length else body.endswith(b"0\r\n\r\n")


def measure_expiry(servers, rounds):
    """A request after expiry, and the next one on its connection, while the origin takes three seconds."""
    results = {}
    for name in ("swrcache", "proxy_cache"):
        port = servers.collapsing[name]
        hits, firsts, nexts = [], [], []
        for turn in range(rounds):
            path = f"/delay/3/{WINDOWS.replace(', ', '+')}/warm-{name}-{turn}"
            client = Client(port)
            client.get(path)
            hits += [client.get(path)[0] for _ in range(500)]
            time.sleep(2.1)
            firsts.append(client.get(path)[0])
            nexts.append(client.get(path)[0])
            time.sleep(3.2)
        results[name] = {"hit p99": percentile(hits, 0.99), "first": max(firsts), "next": max(nexts)}
    return results


def storm(port, path, n):
    """n clients ask at once; the seconds until each has its answer."""
    selector = selectors.DefaultSelector()
    request = f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: close\r\n\r\n".encode()
    clients = []
    for _ in range(n):
        s = socket.create_connection(("127.0.0.1", port), timeout=30)
        s.setblocking(False)
        selector.register(s, selectors.EVENT_READ)
        clients.append(s)
    data = {s: b"" for s in clients}
    took = {}
    began = time.perf_counter()
    for s in clients:
        s.send(request)
    while len(took) < n and time.perf_counter() - began < 60:
        for key, _ in selector.select(1):
            s = key.fileobj
            piece = s.recv(65536)
            data[s] += piece
            if not piece or is_whole(data[s]):
                good = data[s].startswith(b"HTTP/1.1 200") and is_whole(data[s])
                took[s] = time.perf_counter() - began if good else float("inf")
                selector.unregister(s)
                s.close()
    return list(took.values()) + [float("inf")] * (n - len(took))


def measure_storms(servers, origin, rounds, many):
    """Origin requests and the worst wait when many clients want the same at once."""
    cases = {
        f"{many} at once, cold key, origin 100 ms": (many, "0.1", "max-age=600", "cold"),
        f"{many} at once, expired key, origin 100 ms": (many, "0.1", WINDOWS.replace(", ", "+"), "warm"),
        "50 at once, cold key, origin 100 ms": (50, "0.1", "max-age=600", "cold"),
        "50 at once, cold key, no-store, origin 100 ms": (50, "0.1", "no-store", "cold"),
    }
    results = {}
    for title, (n, delay, control, kind) in cases.items():
        results[title] = {}
        for name, port in servers.collapsing.items():
            asked, worst, slug = [], [], name.replace(" ", "-")
            for turn in range(rounds):
                path = f"/delay/{delay}/{control}/{kind}-{slug}-{n}-{turn}"
                if kind == "warm":
                    Client(port).get(path)
                    time.sleep(2.1)
                before = origin.hits.get(path, 0)
                took = storm(port, path, n)
                time.sleep(0.3)
                asked.append(origin.hits.get(path, 0) - before)
                worst.append(max(took))
            results[title][name] = {"origin requests": max(asked), "worst wait": median(worst)}
            print(f"bench: {title}: {name}: {max(asked)} origin requests, worst {median(worst) * 1000:.0f} ms", file=sys.stderr)
    return results


def measure_syscalls(servers):
    """System calls of the worker per HIT on a kept connection."""
    if not shutil.which("strace"):
        return None
    client = Client(servers.port["ours"])
    client.get("/1024")
    out = servers.dir / "strace"
    trace = subprocess.Popen(["strace", "-c", "-o", out, "-p", str(servers.worker())], stderr=subprocess.DEVNULL)
    time.sleep(1)
    for _ in range(1000):
        client.get("/1024")
    trace.terminate()
    trace.wait(10)
    calls = re.findall(r"(\d+)(?:\s+\d+)?\s+(\w+)$", out.read_text(), re.M)
    return {name: round(int(n) / 1000, 2) for n, name in calls if int(n) >= 500 and name != "total"}


# ----------------------------------------------------------------------------------------------------------- reporting


def thousands(rate):
    return f"{rate / 1000:.1f}"


def verdict(value, budget, better):
    met = value >= budget if better == "more" else value <= budget
    return "met" if met else "missed"


def report(results):
    lines = [f"Measured on {results['machine']}.", ""]
    rates = results["rates"]
    rivals = [n for n in next(iter(rates.values())) if not n.endswith("TLS")]
    lines += ["HIT, thousand requests/s, one nginx worker on one core, wrk on the other, keep-alive:", ""]
    lines += ["| body | " + " | ".join(rivals) + " | of nginx without cache | of the best peer |"]
    lines += ["|---" * (len(rivals) + 3) + "|"]
    for label, row in rates.items():
        ours, bare = row["swrcache"], row["nginx, no cache"]
        best = max(v for n, v in row.items() if n in rivals and n not in ("swrcache", "nginx, no cache"))
        lines.append(f"| {label} | " + " | ".join(thousands(row[n]) for n in rivals) + f" | {ours / bare:.2f} | {ours / best:.2f} |")
    lines += ["", "\"nginx, no cache\" is `return 200` at 1 KiB and a static file above. The same over TLS:", ""]
    lines += ["| body | swrcache | proxy_cache | ratio |", "|---|---|---|---|"]
    for label, row in rates.items():
        ours, theirs = row["swrcache, TLS"], row["proxy_cache, TLS"]
        lines.append(f"| {label} | {thousands(ours)} | {thousands(theirs)} | {ours / theirs:.2f} |")
    lines += ["", "A page has expired and the origin takes 3 s (worst of the rounds, ms):", ""]
    lines += ["| | HIT, p99 | first request after expiry | the next on its connection |", "|---|---|---|---|"]
    for name, row in results["expiry"].items():
        lines.append(f"| {name} | " + " | ".join(f"{row[k] * 1000:.2f}" for k in ("hit p99", "first", "next")) + " |")
    names = list(next(iter(results["storms"].values())))
    lines += ["", "Many clients want the same at once (requests to the origin; the worst wait, ms):", ""]
    lines += ["| | " + " | ".join(names) + " |", "|---" * (len(names) + 1) + "|"]
    for title, row in results["storms"].items():
        cells = [f"{row[n]['origin requests']}; {row[n]['worst wait'] * 1000:.0f}" for n in names]
        lines.append(f"| {title} | " + " | ".join(cells) + " |")
    if results["syscalls"]:
        calls = ", ".join(f"`{name}` {n:g}" for name, n in results["syscalls"].items())
        lines += ["", f"System calls of the worker per HIT on a kept connection: {calls}."]
    lines += ["", "| budget | value | |", "|---|---|---|"]
    lines += [f"| {what} | {value} | {word} |" for what, value, word in budgets(results)]
    return "\n".join(lines) + "\n"


def budgets(results):
    rates, storms = results["rates"], results["storms"]
    kib = rates["1 KiB"]
    value = kib["swrcache"] / kib["nginx, no cache"]
    yield "HIT of 1 KiB at least 0.90 of `return 200`", f"{value:.2f}", verdict(value, 0.90, "more")
    for label, row in rates.items():
        best = max(v for n, v in row.items() if not n.endswith("TLS") and n not in ("swrcache", "nginx, no cache"))
        value = row["swrcache"] / best
        yield f"HIT of {label} at least the best peer", f"{value:.2f}", verdict(value, 1.0, "more")
        value = row["swrcache, TLS"] / row["proxy_cache, TLS"]
        yield f"HIT of {label} over TLS at least 1.2 of proxy_cache", f"{value:.2f}", verdict(value, 1.2, "more")
    ours = results["expiry"]["swrcache"]
    for which in ("first", "next"):
        value = ours[which] / ours["hit p99"]
        yield f"the {which} request after expiry at most 1.2 of HIT p99", f"{value:.2f}", verdict(value, 1.2, "less")
    for title, row in storms.items():
        if "no-store" not in title:
            n = row["swrcache"]["origin requests"]
            yield f"{title}: one origin request", f"{n}", verdict(n, 1, "less")
        limit = 0.215 if "no-store" in title else 0.108 if title.startswith("50 ") else None
        if limit:
            worst = row["swrcache"]["worst wait"]
            yield f"{title}: at most {limit * 1000:.0f} ms", f"{worst * 1000:.0f} ms", verdict(worst, limit, "less")


def machine():
    model = re.search(r"model name\s*:\s*(.*)", Path("/proc/cpuinfo").read_text())
    nginx = subprocess.run([BUILD / "nginx", "-v"], capture_output=True, text=True).stderr.strip().split()[-1]
    peers = []
    for command, pattern in ((["haproxy", "-v"], r"version ([\d.]+)"), (["varnishd", "-V"], r"varnish-([\d.]+)"), (["traffic_server", "-V"], r"Server ([\d.]+)")):
        if shutil.which(command[0]):
            out = subprocess.run(command, capture_output=True, text=True)
            peers.append(f"{command[0]} {re.search(pattern, out.stdout + out.stderr).group(1)}")
    return f"{model.group(1) if model else 'an unknown processor'}, {os.cpu_count()} cores, {', '.join([nginx] + peers)}"


def into_readme(text):
    """Puts the tables between the marks in README.md."""
    path = ROOT / "README.md"
    begin, end = "<!-- bench -->", "<!-- /bench -->"
    old = path.read_text()
    head, _, rest = old.partition(begin)
    tail = rest.partition(end)[2] if end in rest else rest
    path.write_text(f"{head}{begin}\n## How fast\n\n`make bench` measured this; it runs anywhere.\n\n{text}\n{end}{tail}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="each thing once and briefly")
    parser.add_argument("--readme", action="store_true", help="put the tables into README.md too")
    options = parser.parse_args()
    if not (BUILD / "nginx").exists():
        sys.exit("bench: build/vendored/nginx is not there; run `make module` first")
    if os.cpu_count() < 2:
        sys.exit("bench: needs two cores, one for the servers and one for the load")
    rounds, seconds, many = (1, 1, 200) if options.quick else (5, 2, 1000)
    os.sched_setaffinity(0, {1})
    origin = Origin()
    servers = Servers(origin)
    try:
        results = {
            "machine": machine(),
            "rates": measure_rates(servers, rounds, seconds),
            "expiry": measure_expiry(servers, 1 if options.quick else 3),
            "storms": measure_storms(servers, origin, 1 if options.quick else 3, many),
            "syscalls": measure_syscalls(servers),
        }
        alarms = [l for l in (servers.dir / "error.log").read_text().splitlines() if re.search(r"\[(alert|crit|emerg)\]", l)]
    finally:
        servers.stop()
    text = report(results)
    print(text)
    if alarms:
        sys.exit("bench: nginx's error log has alarms:\n" + "\n".join(alarms[:10]))
    if not options.quick:
        (ROOT / "bench" / "RESULTS.md").write_text("# Results\n\n" + text)
        (ROOT / "bench" / "results.json").write_text(json.dumps(results, indent=1) + "\n")
        if options.readme:
            into_readme(text)


if __name__ == "__main__":
    main()
