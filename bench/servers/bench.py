#!/usr/bin/env python3
"""Side-by-side measurements of swrcache and other caches on this machine.

    bench/servers/bench.py            everything, in a quarter of an hour; writes bench/RESULTS.md and bench/results.json
    bench/servers/bench.py --readme   the same, and five numbers into README.md
    bench/servers/bench.py --render bench/results.json   makes the tables anew from an earlier run
    bench/servers/bench.py --quick    each thing once and briefly, a minute and a half: shows that it runs, not how fast;
                              writes build/bench/
    bench/servers/bench.py --only pages --only misses   some parts; writes build/bench/

All are measured in turn, round after round, and compared by ratios within a round: what else the machine does then
meets all alike. Servers have one core, the load another. Everything is on loopback and in memory, and ends with the
program. Peers take part where they are installed: `make bench-deps`.
"""

import argparse
import gzip
import itertools
import json
import multiprocessing
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path

sys.dont_write_bytecode = True  # nothing is left beside the sources

import clients
import origin as source
import pages
import report
from servers import BUILD, CACHE, CACHE_READ, CACHE_USUAL, OURS, RETURN, STATIC, Servers, processes, worker

ROOT = Path(__file__).resolve().parents[2]
PEERS = ROOT / "build/releases/peers"
STAMPEDES = {  # name: clients, policy, whether it was there before and has expired
    "expired": (1000, "soon", True),
    "cold": (1000, "hour", False),
    "cold50": (50, "hour", False),
    "nostore50": (50, "nostore", False),
}
ORIGIN_MS = 100
PAGES = (4 << 10, 32 << 10)
# What browsers accept at least, and what they accept.
ACCEPTED = {"gzip": "gzip", "br": "gzip, br"}
# As the body is called in the tables that is as long as the encoded one, and stored so.
IDENTITY = report.IDENTITY
STALE_AFTER = 7  # seconds: max-age=5, and nginx counts in whole ones
# Seconds before a request whose time is taken. The origin may have to share the load's core: that it has been asked
# to refresh is then over before the next request, and not part of what a client of the cache waits for.
PAUSE = 0.02


@dataclass
class Plan:
    """How much of everything."""

    sizes: tuple
    tls_sizes: tuple
    rounds: int  # of rates
    seconds: int  # of wrk
    hits: int  # whose latency is taken, a round
    keys: int  # that expire, per rival
    bursts: int  # rounds of stampedes
    encoded: int  # pages, in all
    limit: int  # seconds for the whole program


FULL = Plan((1 << 10, 16 << 10, 128 << 10, 1 << 20), (1 << 10, 16 << 10, 128 << 10, 1 << 20), 7, 1, 100, 25, 5, 1000, 1800)
QUICK = Plan((1 << 10, 128 << 10), (1 << 10,), 1, 1, 10, 4, 1, 100, 300)


def say(text):
    print(f"bench: {text}", file=sys.stderr, flush=True)


# --------------------------------------------------------------------------------------------------------------- rates


def asked(servers, target):
    """How often the origin was asked for it."""
    with clients.Connection(servers.origin_port) as connection:
        return int(connection.get(f"/count{target}")[1])


def why_not_a_hit(servers, rival, size, tls):
    """Fills the cache. None if what comes then comes from it, with the right bytes."""
    target = rival.target(size)
    try:
        with clients.Connection(rival.tls_port if tls else rival.port, tls) as connection:
            for _ in range(3):
                if connection.get(target)[1] != source.body(size):
                    return "wrong bytes"
                time.sleep(0.02)
            before = asked(servers, target)
            for _ in range(5):
                connection.get(target)
            return "does not keep it" if asked(servers, target) > before else None
    except (OSError, ConnectionError) as error:
        return str(error) or type(error).__name__


def measure_rates(servers, plan, scheme, sizes):
    """Requests/s of HITs: {size: {rival: [a number a round]}}."""
    rates = {}
    for size in sizes:
        rates[size] = {}
        rivals = []
        for rival in servers.rivals.values():
            if not rival.serves(size, scheme):
                continue
            if wrong := why_not_a_hit(servers, rival, size, scheme == "https"):
                servers.left_out[f"{rival.name}, HIT of {report.human(size)}, {scheme}"] = wrong
                continue
            rivals.append(rival)
            rates[size][rival.name] = []
        for turn in range(plan.rounds):
            shift = turn * 2 % max(1, len(rivals))
            for rival in rivals[shift:] + rivals[:shift]:
                before = asked(servers, rival.target(size))
                rate, wrong = clients.wrk(
                    rival.url(size, scheme), plan.seconds, 8 if size >= 1 << 20 else 32, servers.cores.load
                )
                if not wrong and asked(servers, rival.target(size)) > before:
                    wrong = "asked the origin meanwhile"
                if wrong:
                    servers.left_out[f"{rival.name}, HIT of {report.human(size)}, {scheme}"] = wrong
                rates[size][rival.name].append(rate if not wrong else None)
        rates[size] = {name: values for name, values in rates[size].items() if None not in values}
        say(f"{scheme} {report.human(size)}: " + ", ".join(
            f"{name} {report.median(values):.0f}/s" for name, values in rates[size].items()
        ))
    return rates


def processor_time(pids):
    """Seconds that they have used."""
    fields = [Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split() for pid in pids]
    return sum(int(f[11]) + int(f[12]) for f in fields) / os.sysconf("SC_CLK_TCK")


def measure_counting(servers, plan):
    """Nanoseconds of the worker's processor time that a HIT of 1 KiB takes, with the statistics' counting and without it:
    {with, without}. One process does both by turns: two processes of the same build differ by more than counting costs."""
    rival = servers.by_turns
    if not rival:
        servers.left_out["what counting costs"] = "build/by-turns is not there: scripts/module.sh by-turns"
        return {}
    wrong = why_not_a_hit(servers, rival, 1024, False)
    if not wrong:
        _, wrong = clients.wrk(rival.url(1024, "http"), 4 * plan.rounds, 32, servers.cores.load)
    if wrong:
        servers.left_out[f"{rival.name}, HIT of 1 KiB"] = wrong
        return {}
    took = re.search(r"took ([\d.]+) ns with counting, ([\d.]+) ns without", servers.end("by-turns"))
    say(f"counting: {took.group(0)}")
    return {"with": float(took.group(1)), "without": float(took.group(2))}


# --------------------------------------------------------------------------------------------------------------- pages


def compressed(rival, target, coding):
    """The body as this client gets it, once it is compressed; that a cache may do a moment after the first request."""
    fields = f"Accept-Encoding: {ACCEPTED[coding]}\r\n"
    with clients.Connection(rival.port) as connection:
        for _ in range(200):
            _, head, content = connection.exchange(target, fields)
            found = re.search(r"(?im)^content-encoding: *(\w+)", head)
            # Who has no Brotli answers by gzip.
            if found and (found.group(1) == coding or rival.name != OURS):
                return found.group(1), content
            time.sleep(0.02)
    raise ConnectionError("does not compress it")


def pages_to_compare(servers, size, coding):
    """Who serves the page compressed, each with its path and the length of the body; and the same length as it is."""
    target = source.path(size, "hour", "page-0")
    found = {}
    for name, rival in servers.compressing.items():
        try:
            used, content = compressed(rival, target, coding)
            if used == "gzip" and gzip.decompress(content) != pages.page(size, 0):
                raise ConnectionError("wrong bytes")
        except (OSError, ConnectionError) as error:
            servers.left_out[f"{name}, page of {report.human(size)}, {coding}"] = str(error)
            continue
        found[name] = rival, target, len(content)
    if OURS in found:
        length = found[OURS][2]
        found[IDENTITY] = servers.rivals[OURS], source.path(length, "hour", "as-it-is"), length
        with clients.Connection(servers.rivals[OURS].port) as connection:
            connection.get(found[IDENTITY][1])
    return found


def measure_pages(servers, plan):
    """HITs of HTML for clients that accept codings: {"SIZE CODING": {"rates": {rival: [...]}, "lengths": {rival: bytes}}}."""
    results = {}
    for size, coding in itertools.product(PAGES, ACCEPTED):
        compared = pages_to_compare(servers, size, coding)
        rates = {name: [] for name in compared}
        options = ["-H", f"Accept-Encoding: {ACCEPTED[coding]}"]
        names = list(compared)
        for turn in range(plan.rounds):
            shift = turn * 2 % max(1, len(names))
            for name in names[shift:] + names[:shift]:
                rival, target, _ = compared[name]
                url = f"http://127.0.0.1:{rival.port}{target}"
                rate, wrong = clients.wrk(url, plan.seconds, 32, servers.cores.load, options)
                if wrong:
                    servers.left_out[f"{name}, page of {report.human(size)}, {coding}"] = wrong
                rates[name].append(rate)
        rates = {name: values for name, values in rates.items() if None not in values}
        lengths = {name: length for name, (_, _, length) in compared.items()}
        results[f"{size} {coding}"] = {"rates": rates, "lengths": lengths}
        say(f"page of {report.human(size)}, {coding}: " + ", ".join(
            f"{name} {report.median(values):.0f}/s" for name, values in rates.items()
        ))
    return results


class Reader(multiprocessing.Process):
    """Asks for the heads of pages, one after the other, until each is encoded. It is a process of its own and gets no bodies, so that it
    holds up nobody more while they are not encoded than afterwards."""

    def __init__(self, rival, targets):
        super().__init__(daemon=True)
        self.rival, self.targets = rival, targets
        self.over, self.left = multiprocessing.Event(), multiprocessing.Value("i", len(targets))

    def run(self):
        fields = "Accept-Encoding: gzip\r\n"
        missing = list(self.targets)
        deadline = time.monotonic() + clients.TIMEOUT
        try:
            with clients.Connection(self.rival.port) as connection:
                while missing and time.monotonic() < deadline:
                    heads = []
                    for target in missing:
                        heads.append(connection.head(target, fields))
                        time.sleep(0.002)
                    missing = [t for t, head in zip(missing, heads) if "content-encoding: gzip" not in head.lower()]
        finally:
            self.left.value = len(missing)
            self.over.set()


def hits_beside(rival, reader):
    """Latencies of HITs while the reader reads."""
    took = []
    with clients.Connection(rival.port) as connection:
        target = rival.target(1024)
        connection.get(target)
        reader.start()
        while not reader.over.is_set():
            time.sleep(0.003)
            took.append(connection.seconds(target))
    reader.join()
    return took


def measure_encoding(servers, plan):
    """p99 of HITs, the same pages read while they are encoded and afterwards: [{with, without, hits, missing} a round]."""
    rival, ours = servers.compressing[OURS], servers.rivals[OURS]
    a_round = plan.encoded // plan.bursts
    results = []
    for turn in range(plan.bursts):
        targets = [source.path(32 << 10, "hour", f"page-{1 + turn * a_round + n}") for n in range(a_round)]
        with clients.Connection(rival.port) as connection:
            for target in targets:
                connection.get(target)
        reader = Reader(rival, targets)
        during = hits_beside(ours, reader)
        # As often as they were read before.
        after = [took for _ in range(3) for took in hits_beside(ours, Reader(rival, targets))]
        results.append({
            "with": report.percentile(during, 0.99), "without": report.percentile(after, 0.99),
            "hits": len(during), "missing": reader.left.value,
        })
        say(f"encoding: HIT p99 {results[-1]['with'] * 1000:.2f} ms of {len(during)}, without {results[-1]['without'] * 1000:.2f}")
    return results


# --------------------------------------------------------------------------------------------------------------- misses


def measure_misses(servers, plan):
    """What costs a request that the cache can't answer: {"SIZE WHAT": {rival: {"rate": [...], "seconds": [... of processor time]}}}."""
    script = servers.dir / "unlike.lua"
    script.write_text(clients.UNLIKE)
    process = {name: "swrcache-misses" if name == OURS else "nginx" for name in servers.missing}
    results = {}
    for size, what in itertools.product((1 << 10, 128 << 10), ("once", "never")):
        results[f"{size} {what}"] = row = {name: {"rate": [], "seconds": []} for name in servers.missing}
        names = list(row)
        for turn in range(plan.rounds):
            shift = turn % len(names)
            for name in names[shift:] + names[:shift]:
                url = f"http://127.0.0.1:{servers.missing[name].port}/{what}/{size}"
                unlike = ["-s", script] if what == "once" else []
                tag = ["--", f"{turn}-{size}"] if what == "once" else []
                pids = processes(servers, process[name])
                before = processor_time(pids)
                rate, wrong = clients.wrk(url, plan.seconds, 32, servers.cores.load, unlike, tag)
                if wrong:
                    servers.left_out[f"{name}, MISS of {report.human(size)}, {what}"] = wrong
                    continue
                row[name]["rate"].append(rate)
                row[name]["seconds"].append((processor_time(pids) - before) / (rate * plan.seconds))
        say(f"MISS of {report.human(size)}, {what}: " + ", ".join(
            f"{name} {report.median(values['rate']):.0f}/s, {report.median(values['seconds']) * 1e6:.0f} us"
            for name, values in row.items()
        ))
    return results


# ---------------------------------------------------------------------------------------------------------- after expiry


def expiring(rival, name, key, later_ms):
    """The path of an answer that `store_what_expires` stored; the origin takes its time to make it again."""
    return source.path(1024, "soon", f"{name}-{rival.port}-{key}", later_ms=later_ms)


def store_what_expires(servers, plan):
    """All that is to be expired later, so that nothing has to wait for that. Returns when it will be so."""
    for rival in servers.rivals.values():
        if not rival.caches:
            continue
        with clients.Connection(rival.port) as connection:
            for key in range(plan.keys):
                connection.get(expiring(rival, "expiry", key, 3000))
            for key in range(plan.bursts):
                connection.get(expiring(rival, "stampede", key, ORIGIN_MS))
    return time.monotonic() + STALE_AFTER


def paced(connection, target):
    """Seconds that a request takes some time after the one before."""
    time.sleep(PAUSE)
    return connection.seconds(target)


def hit_latencies(rival, n):
    with clients.Connection(rival.port) as connection:
        target = rival.target(1024)
        connection.get(target)
        return [paced(connection, target) for _ in range(n)]


def after_expiry(rival, target):
    """The first request after expiry, and the next one on the same connection."""
    with clients.Connection(rival.port) as connection:
        connection.get(rival.target(1024))
        return {"first": paced(connection, target), "next": paced(connection, target)}


def measure_expiry(servers, plan):
    """Latencies while the origin takes 3 s to refresh: {rival: {hit: [...], first: [...], next: [...]}}."""
    rivals = [rival for rival in servers.rivals.values() if rival.caches and rival.name != CACHE_READ]
    results = {rival.name: {"hits": [], "first": [], "next": []} for rival in rivals}
    for _ in range(5):
        for rival in rivals:
            results[rival.name]["hits"].append(hit_latencies(rival, plan.hits))

    def one(rival, key):
        try:
            took = after_expiry(rival, expiring(rival, "expiry", key, 3000))
        except (OSError, ConnectionError) as error:
            servers.left_out[f"{rival.name}, expiry"] = str(error)
            return
        for what in ("first", "next"):
            results[rival.name][what].append(took[what])

    # A request at a time; only those that wait for the origin, and so do nothing, overlap with others.
    threads = []
    for key in range(plan.keys):
        for rival in rivals:
            threads.append(threading.Thread(target=one, args=(rival, key), daemon=True))
            threads[-1].start()
            threads[-1].join(4 * PAUSE)
    for thread in threads:
        thread.join(clients.TIMEOUT)
    for name, row in results.items():
        hits = row.pop("hits")
        # Of the rounds' percentiles the median, or one disturbed round would be everybody's p99.
        row |= {f"hit p{p}": report.median([report.percentile(r, p / 100) for r in hits]) for p in (50, 99)}
        say(f"expiry: {name}: HIT p99 {row['hit p99'] * 1000:.2f} ms, first {report.median(row['first']) * 1000:.2f}, "
            f"next {report.median(row['next']) * 1000:.2f}")
    return results


# ------------------------------------------------------------------------------------------------------------- stampedes



def measure_stampedes(servers, plan):
    """Many ask at once: {stampede: {rival: [{asked, worst, waited, failed} a round]}}."""
    rivals = [rival for rival in servers.rivals.values() if rival.caches and rival.name not in (CACHE_READ, CACHE_USUAL)]
    results = {}
    for name, (n, policy, was_there) in STAMPEDES.items():
        results[name] = {rival.name: [] for rival in rivals}
        # What so many clients cost where nobody waits for anything.
        floor = servers.rivals[RETURN]
        results[name][floor.name] = []
        for turn in range(plan.bursts):
            results[name][floor.name].append(outcome(clients.burst(floor.port, floor.target(1024), n), 0))
            for rival in rivals:
                if was_there:
                    target = expiring(rival, "stampede", turn, ORIGIN_MS)
                else:
                    target = source.path(1024, policy, f"{name}-{rival.port}-{turn}", ORIGIN_MS, ORIGIN_MS)
                before = asked(servers, target)
                took = clients.burst(rival.port, target, n)
                time.sleep(ORIGIN_MS / 1000 + 0.05)  # until a refresh is done
                results[name][rival.name].append(outcome(took, asked(servers, target) - before))
        say(f"{name}: " + ", ".join(
            f"{rival} {max(r['asked'] for r in rows)} asked, worst {report.median([r['worst'] for r in rows]) * 1000:.0f} ms"
            for rival, rows in results[name].items()
        ))
    return results


def outcome(took, asked_origin):
    good = [seconds for seconds in took if seconds != float("inf")]
    return {
        "asked": asked_origin,
        "worst": max(good, default=float("nan")),
        "waited": sum(seconds >= ORIGIN_MS / 1000 for seconds in good),
        "failed": len(took) - len(good),
    }


# ---------------------------------------------------------------------------------------------------------- system calls


def measure_syscalls(servers):
    """The worker's system calls per HIT of 1 KiB on a kept connection, the wait for events apart."""
    if not shutil.which("strace"):
        servers.left_out["system calls"] = "strace is not installed"
        return {}
    results = {}
    for name, process in ((OURS, "swrcache"), (CACHE, "nginx"), (STATIC, "nginx"), (RETURN, "nginx")):
        rival, requests, log = servers.rivals[name], 500, servers.dir / "strace.log"
        with clients.Connection(rival.port) as connection:
            connection.get(rival.target(1024))
            trace = subprocess.Popen(
                ["strace", "-qq", "-o", log, "-p", worker(servers, process)], stderr=subprocess.PIPE, text=True
            )
            try:
                time.sleep(0.5)
                for _ in range(requests):
                    connection.get(rival.target(1024))
            finally:
                trace.terminate()
                said = trace.communicate(timeout=10)[1]
        calls = re.findall(r"^(\w+)\(", log.read_text() if log.exists() else "", re.M)
        if not calls:
            servers.left_out["system calls"] = f"strace: {said.strip()}"
            return {}
        counts = {call: calls.count(call) / requests for call in dict.fromkeys(calls) if call != "epoll_wait"}
        # Timers and the like come now and then; what belongs to a request comes with each.
        results[name] = {call: round(n, 2) for call, n in counts.items() if n >= 0.5}
        say(f"system calls: {name}: {results[name]}")
    return results


# ----------------------------------------------------------------------------------------------------------------- main


def machine():
    model = re.search(r"model name\s*:\s*(.*)", Path("/proc/cpuinfo").read_text())
    versions = {}
    for name, command in (
        ("nginx", [BUILD / "nginx", "-v"]), ("HAProxy", ["haproxy", "-v"]), ("Vinyl Cache", ["vinyld", "-V"]),
        ("Traffic Server", ["traffic_server", "-V"]), ("Squid", ["squid", "-v"]),
    ):
        try:
            out = subprocess.run(command, capture_output=True, text=True, timeout=10)
            versions[name] = re.search(r"\d+\.\d+[\d.]*", out.stdout + out.stderr).group()
        except (OSError, AttributeError, subprocess.TimeoutExpired):
            pass
    return {
        "processor": model.group(1) if model else os.uname().machine, "cores": os.cpu_count(),
        "kernel": os.uname().release, "versions": versions,
        "congestion": Path("/proc/sys/net/ipv4/tcp_congestion_control").read_text().strip(),
    }


# Each part by its name, in the order in which they are measured: `expiry` and `stampedes` find expired what was stored at the beginning.
PARTS = {
    "http": lambda servers, plan: measure_rates(servers, plan, "http", plan.sizes),
    "https": lambda servers, plan: measure_rates(servers, plan, "https", plan.tls_sizes),
    "counting": measure_counting,
    "pages": measure_pages,
    "encoding": measure_encoding,
    "misses": measure_misses,
    "expiry": measure_expiry,
    "stampedes": measure_stampedes,
    "syscalls": lambda servers, plan: measure_syscalls(servers),
}


def measure(plan, parts):
    began = time.time()
    with Servers(plan.sizes) as servers:
        os.sched_setaffinity(0, {servers.cores.load})
        expired_at = store_what_expires(servers, plan)
        results = {"machine": machine(), "rounds": plan.rounds, "seconds": plan.seconds}
        for name in parts:
            if name in ("expiry", "stampedes"):
                time.sleep(max(0, expired_at - time.monotonic()))
            results[name] = PARTS[name](servers, plan)
        results |= {"left_out": servers.left_out, "alarms": servers.error_logs(), "took": round(time.time() - began)}
    return json.loads(json.dumps(results))  # as it will be read again


def stop_in_time(seconds):
    """Ctrl-C, a TERM and the end of the time all leave through the same door, which stops the servers."""
    def leave(sign, _):
        sys.exit(f"bench: stopped by {signal.Signals(sign).name}")

    for sign in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGALRM):
        signal.signal(sign, leave)
    signal.alarm(seconds)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="each thing once and briefly")
    parser.add_argument("--only", action="append", choices=PARTS, help="this part; may be repeated")
    parser.add_argument("--readme", action="store_true", help="put five numbers into README.md too")
    parser.add_argument("--render", type=Path, metavar="JSON", help="make the tables anew from an earlier run")
    options = parser.parse_args()
    plan = QUICK if options.quick else FULL
    is_whole = not options.quick and not options.only
    into = ROOT / ("bench" if is_whole else "build/bench")

    # Where servers are, and not every user looks; newer ones first.
    os.environ["PATH"] = f"{PEERS}:{os.environ['PATH']}:/usr/local/sbin:/usr/sbin"
    if options.render:
        results = json.loads(options.render.read_text())
    else:
        if not (BUILD / "nginx").exists():
            sys.exit(f"bench: {BUILD}/nginx is not there; run `make module` first")
        limits = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (limits[1], limits[1]))
        stop_in_time(plan.limit)
        results = measure(plan, [name for name in PARTS if name in (options.only or PARTS)])
        into.mkdir(parents=True, exist_ok=True)
        (into / "results.json").write_text(json.dumps(results, indent=1) + "\n")

    text = report.markdown(results)
    print(text)
    if not is_whole:
        (into / "RESULTS.md").write_text("# Results\n\n" + text)
    else:
        report.between_marks(into / "RESULTS.md", "bench", text)
    if options.readme and is_whole:
        report.between_marks(ROOT / "README.md", "bench", report.summary(results))
    ours = [what for what in results["left_out"] if what.startswith(OURS)]
    if results["alarms"] or ours:
        sys.exit("\n".join(["bench: something is wrong with swrcache:", *ours, *results["alarms"][:10]]))


if __name__ == "__main__":
    main()
