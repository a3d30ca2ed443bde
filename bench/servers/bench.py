#!/usr/bin/env python3
"""Side-by-side measurements of swrcache and other caches on this machine.

    bench/servers/bench.py            everything, under ten minutes; writes bench/RESULTS.md and bench/results.json
    bench/servers/bench.py --readme   the same, and five numbers into README.md
    bench/servers/bench.py --render bench/results.json   makes the tables anew from an earlier run
    bench/servers/bench.py --quick    each thing once and briefly, under a minute: shows that it runs, not how fast;
                              writes build/bench/

All are measured in turn, round after round, and compared by ratios within a round: what else the machine does then
meets all alike. Servers have one core, the load another. Everything is on loopback and in memory, and ends with the
program. Peers take part where they are installed: `make bench-deps`.
"""

import argparse
import json
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
import report
from servers import BUILD, CACHE, CACHE_READ, CACHE_USUAL, OURS, RETURN, STATIC, Servers, worker

ROOT = Path(__file__).resolve().parents[2]
STAMPEDES = {  # name: clients, policy, whether it was there before and has expired
    "expired": (1000, "soon", True),
    "cold": (1000, "hour", False),
    "cold50": (50, "hour", False),
    "nostore50": (50, "nostore", False),
}
ORIGIN_MS = 100
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
    limit: int  # seconds for the whole program


FULL = Plan((1 << 10, 16 << 10, 128 << 10, 1 << 20), (1 << 10, 16 << 10, 128 << 10, 1 << 20), 7, 1, 100, 25, 5, 900)
QUICK = Plan((1 << 10, 128 << 10), (1 << 10,), 1, 1, 10, 4, 1, 180)


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
            results[name][floor.name].append(outcome(clients.burst(floor.port, "/1024", n), 0))
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
        ("nginx", [BUILD / "nginx", "-v"]), ("HAProxy", ["haproxy", "-v"]), ("Varnish", ["varnishd", "-V"]),
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
    }


def measure(plan):
    began = time.time()
    with Servers(plan.sizes) as servers:
        os.sched_setaffinity(0, {servers.cores.load})
        expired_at = store_what_expires(servers, plan)
        results = {
            "machine": machine(),
            "rounds": plan.rounds,
            "seconds": plan.seconds,
            "http": measure_rates(servers, plan, "http", plan.sizes),
            "https": measure_rates(servers, plan, "https", plan.tls_sizes),
            "counting": measure_counting(servers, plan),
        }
        time.sleep(max(0, expired_at - time.monotonic()))
        results |= {
            "expiry": measure_expiry(servers, plan),
            "stampedes": measure_stampedes(servers, plan),
            "syscalls": measure_syscalls(servers),
        }
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
    parser.add_argument("--readme", action="store_true", help="put five numbers into README.md too")
    parser.add_argument("--render", type=Path, metavar="JSON", help="make the tables anew from an earlier run")
    options = parser.parse_args()
    plan = QUICK if options.quick else FULL
    into = ROOT / ("build/bench" if options.quick else "bench")

    os.environ["PATH"] += ":/usr/local/sbin:/usr/sbin"  # where servers are, and not every user looks
    if options.render:
        results = json.loads(options.render.read_text())
    else:
        if not (BUILD / "nginx").exists():
            sys.exit(f"bench: {BUILD}/nginx is not there; run `make module` first")
        limits = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (limits[1], limits[1]))
        stop_in_time(plan.limit)
        results = measure(plan)
        into.mkdir(parents=True, exist_ok=True)
        (into / "results.json").write_text(json.dumps(results, indent=1) + "\n")

    text = report.markdown(results)
    print(text)
    if options.quick:
        (into / "RESULTS.md").write_text("# Results\n\n" + text)
    else:
        report.between_marks(into / "RESULTS.md", "bench", text)
    if options.readme:
        report.between_marks(ROOT / "README.md", "bench", report.summary(results))
    ours = [what for what in results["left_out"] if what.startswith(OURS)]
    if results["alarms"] or ours:
        sys.exit("\n".join(["bench: something is wrong with swrcache:", *ours, *results["alarms"][:10]]))


if __name__ == "__main__":
    main()
