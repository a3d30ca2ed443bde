"""From what was measured to tables, ratios, and budgets met or missed."""

import statistics

from servers import CACHE, CACHE_READ, CACHE_USUAL, FASTCGI, OURS, PASS, RETURN, STATIC, VARNISH

IDENTITY = "as many bytes, stored so"
BEST = "proxy_cache, best"
STAMPEDES = {
    "expired": "1,000 at once, expired key",
    "cold": "1,000 at once, cold key",
    "cold50": "50 at once, cold key",
    "nostore50": "50 at once, cold key, `no-store`",
}


def median(values):
    return statistics.median(values) if values else float("nan")


def percentile(values, p):
    values = sorted(values)
    return values[min(len(values) - 1, int(len(values) * p))]


def human(size):
    return f"{size >> 20} MiB" if size >= 1 << 20 else f"{size >> 10} KiB"


def milliseconds(seconds):
    ms = seconds * 1000
    return f"{ms:.2f}" if ms < 10 else f"{ms:,.0f}"


def ratio(ours, theirs):
    """The median of the rounds' ratios: what slows a round down slows both."""
    return median([a / b for a, b in zip(ours, theirs)])


def with_best(row):
    """proxy_cache's two fast configurations are one rival: the better of them."""
    fast = [name for name in (CACHE, CACHE_READ) if name in row]
    best = max(fast, key=lambda name: median(row[name]), default=None)
    rest = {name: values for name, values in row.items() if name not in fast}
    return ({BEST: row[best]} if best else {}) | rest


def table(head, rows):
    line = lambda cells: "| " + " | ".join(cells) + " |"
    return "\n".join([line(head), line(["---"] * len(head)), *map(line, rows)])


# --------------------------------------------------------------------------------------------------------------- budgets


# How numbers are shown.
def times(value):
    return f"{value:.2f} x"


def ms(value):
    return f"{value * 1000:,.1f} ms"


def count(value):
    return f"{value:g}"


def budgets(results):
    """(what, measured, budget, how to show a number, whether more is better), of all parts that were measured."""
    for part in (rate_budgets, page_budgets, miss_budgets, expiry_budgets, stampede_budgets, other_budgets):
        yield from part(results)


def rate_budgets(results):
    for size, row in results.get("http", {}).items():
        ours, row, name = row.get(OURS), with_best(row), human(int(size))
        if not ours:
            continue
        if name == "1 KiB" and RETURN in row:
            yield f"HIT of {name}, of `return 200` of the same bytes", ratio(ours, row[RETURN]), 0.9, times, True
        peers = {peer: values for peer, values in row.items() if peer not in (OURS, RETURN, STATIC)}
        if peers:
            best = max(peers, key=lambda peer: median(peers[peer]))
            yield f"HIT of {name}, of the best cache beside it ({best})", ratio(ours, peers[best]), 1.0, times, True
    for size, row in results.get("https", {}).items():
        plain, row, name = results.get("http", {}).get(size, {}), with_best(row), human(int(size))
        if OURS in row and BEST in row:
            called, ceiling = tls_ceiling(row, plain)
            what = f"HIT of {name} over TLS, of `proxy_cache` at its best ({called}: {ceiling:.2f})"
            # As without encryption, nine tenths of what can be had at all are asked for.
            yield what, ratio(row[OURS], row[BEST]), min(1.2, max(1.0, 0.9 * ceiling)), times, True


def tls_ceiling(row, plain):
    """How much faster than `proxy_cache` a server can be over TLS: as `return 200` is, or (where that has no such text) as one would be whose
    HIT costs nothing but its encryption, which is what ours costs more than without."""
    if RETURN in row:
        return "`return 200`", ratio(row[RETURN], row[BEST])
    if OURS not in plain:
        return "not known", float("inf")
    encryption = 1 / median(row[OURS]) - 1 / median(plain[OURS])
    return "encryption alone", 1 / median(row[BEST]) / encryption


def page_budgets(results):
    for key, row in results.get("pages", {}).items():
        rates, lengths = row["rates"], row["lengths"]
        what = f"HIT of a {page_name(key)}"
        for name, called, least in (
            (IDENTITY, "a HIT of as many bytes that are stored so", 0.9), (CACHE, "`proxy_cache` with `gzip on`", 8.0),
            (FASTCGI, "`fastcgi_cache` with `gzip on`", 8.0), (VARNISH, "Vinyl Cache with `do_gzip`", 1.1),
        ):
            if name in rates and OURS in rates:
                yield f"{what}, of {called}", ratio(rates[OURS], rates[name]), least, times, True
        if key.endswith(" br") and OURS in lengths and CACHE in lengths:
            yield f"bytes of a {page_name(key)}, of nginx's `gzip_comp_level 1`", lengths[OURS] / lengths[CACHE], 0.8, times, False
    if rounds := results.get("encoding"):
        value = median([r["with"] / r["without"] for r in rounds])
        yield "HIT p99 while pages are encoded, of the same without", value, 1.2, times, False
        yield "pages that were not encoded in half a minute", sum(r["missing"] for r in rounds), 0, count, False


def miss_budgets(results):
    for key, row in results.get("misses", {}).items():
        if all(row.get(name, {}).get("seconds") for name in (OURS, CACHE)):
            value = ratio(row[OURS]["seconds"], row[CACHE]["seconds"])
            yield f"{miss_name(key)}: processor time, of `proxy_cache`", value, 1.0, times, False


def expiry_budgets(results):
    if (row := results.get("expiry", {}).get(OURS)) and row["first"]:
        yield "first request after expiry, of HIT p99", median(row["first"]) / row["hit p99"], 1.2, times, False
        yield "the next on its connection, of HIT p99", median(row["next"]) / row["hit p99"], 1.2, times, False


def stampede_budgets(results):
    for name, title in STAMPEDES.items():
        rounds = results.get("stampedes", {}).get(name, {}).get(OURS)
        if not rounds:
            continue
        worst = median([r["worst"] for r in rounds])
        if name != "nostore50":
            yield f"{title}: requests to the origin", max(r["asked"] for r in rounds), 1, count, False
        if name == "expired":
            yield f"{title}: clients that waited for the origin", median([r["waited"] for r in rounds]), 0, count, False
        if name in ("cold50", "nostore50"):
            yield f"{title}: longest wait", worst, 0.108 if name == "cold50" else 0.215, ms, False
        yield f"{title}: requests that failed", max(r["failed"] for r in rounds), 0, count, False


def other_budgets(results):
    if counting := results.get("counting"):
        exact = lambda value: f"{value:.3f} x"
        yield "HITs of 1 KiB by the processor's time, of the same without counting", counting["without"] / counting["with"], 0.99, exact, True
    if calls := results.get("syscalls", {}).get(OURS):
        yield "system calls for a HIT", sum(calls.values()), 2, count, False


def verdict(value, budget, more):
    if value >= budget if more else value <= budget:
        return "met"
    if not budget or value != value:
        return "**missed**"
    return f"**missed** by {abs(value / budget - 1) * 100:.0f} %"


def budget_table(results):
    return table(["what", "measured", "budget", ""], [
        [what, show(value), f"{'>=' if more else '<='} {show(budget)}", verdict(value, budget, more)]
        for what, value, budget, show, more in budgets(results)
    ])


# ---------------------------------------------------------------------------------------------------------------- tables


def rate_table(rates):
    rows = {size: with_best(row) for size, row in rates.items()}
    order = [OURS, BEST, CACHE_USUAL, "HAProxy", VARNISH, "Traffic Server", "Squid", RETURN, STATIC]
    names = [name for name in order if any(name in row for row in rows.values())]

    def cell(row, name):
        if name not in row:
            return "-"
        rate = f"{median(row[name]) / 1000:.1f}"
        return rate if name == OURS or OURS not in row else f"{rate} ({ratio(row[OURS], row[name]):.2f} x)"

    return table(["", *(human(int(size)) for size in rows)], [
        [name, *(cell(row, name) for row in rows.values())] for name in names
    ])


def page_name(key):
    """Of what `measure_pages` calls "SIZE CODING"."""
    size, coding = key.split()
    return f"{human(int(size))} page for a client that takes {'gzip' if coding == 'gzip' else 'gzip and br'}"


def page_table(rows):
    names = [name for name in (OURS, IDENTITY, CACHE, FASTCGI, VARNISH) if any(name in row["rates"] for row in rows.values())]

    def cell(row, name):
        rates, length = row["rates"], row["lengths"].get(name)
        if name not in rates:
            return "-"
        rate = f"{median(rates[name]) / 1000:.1f}"
        compared = "" if name == OURS or OURS not in rates else f" ({ratio(rates[OURS], rates[name]):.2f} x)"
        return f"{rate}{compared}; {length:,} bytes"

    heads = [f"{human(int(key.split()[0]))}, {key.split()[1]}" for key in rows]
    called = {CACHE: "`proxy_cache`, `gzip on`", FASTCGI: "`fastcgi_cache`, `gzip on`", VARNISH: "Vinyl Cache, `do_gzip`"}
    return table(["", *heads], [[called.get(name, name), *(cell(row, name) for row in rows.values())] for name in names])


def encoding_table(rounds):
    return table(["", *(f"round {n + 1}" for n in range(len(rounds)))], [
        ["while they are encoded", *(f"{milliseconds(r['with'])} ms of {r['hits']}" for r in rounds)],
        ["while they are served", *(f"{milliseconds(r['without'])} ms" for r in rounds)],
    ])


def miss_name(key):
    """Of what `measure_misses` calls "SIZE WHAT"."""
    size, what = key.split()
    return f"MISS of {human(int(size))}" if what == "once" else f"`no-store`, {human(int(size))}"


def miss_table(rows):
    def cell(values):
        if not values["rate"]:
            return "-"
        return f"{median(values['rate']) / 1000:.1f}; {median(values['seconds']) * 1e6:.0f} us"

    names = [name for name in (OURS, CACHE, PASS) if any(name in row for row in rows.values())]
    return table(["", *map(miss_name, rows)], [
        [name if name == OURS else f"`{name}`", *(cell(row[name]) for row in rows.values())] for name in names
    ])


def expiry_table(expiry):
    rows = []
    for name, row in expiry.items():
        cells = [f"{milliseconds(median(row[w]))} ({milliseconds(max(row[w]))})" if row[w] else "-" for w in ("first", "next")]
        rows.append([called(name), milliseconds(row["hit p50"]), milliseconds(row["hit p99"]), *cells])
    return table(["", "HIT p50", "HIT p99", "first after expiry (worst)", "next on its connection (worst)"], rows)


def stampede_table(stampedes):
    names = list(dict.fromkeys(name for row in stampedes.values() for name in row))

    def cell(rounds):
        failed = max(r["failed"] for r in rounds)
        worst = milliseconds(median([r["worst"] for r in rounds]))
        return f"{max(r['asked'] for r in rounds)}; {worst} ms" + (f"; {failed} failed" if failed else "")

    return table(["", *(STAMPEDES[key] for key in stampedes)], [
        [called(name), *(cell(row[name]) if row.get(name) else "-" for row in stampedes.values())] for name in names
    ])


def called(name):
    return {
        RETURN: "`return 200` (no cache: what so many clients cost)",
        CACHE: "`proxy_cache`, `background_update`, `lock`",
        CACHE_USUAL: "the same with `tcp_nopush on`",
    }.get(name, name)


def syscall_table(syscalls):
    return table(["", "calls", "which"], [
        [called(name) if name == CACHE else name, f"{sum(calls.values()):g}",
         ", ".join(f"`{call}`" + (f" {n:g}" if n != 1 else "") for call, n in calls.items())]
        for name, calls in syscalls.items()
    ])


# Of each part: its name, what stands above its table, and the table.
TABLES = (
    ("http", "HITs, thousand requests/s on kept connections (in brackets: swrcache is so many times as fast). `return 200` and static "
     "files are no caches: they show what nginx can do; at 16 KiB `return 200` puts its text together from pieces:", rate_table),
    ("https", "The same over TLS:", rate_table),
    ("pages", "HITs of HTML for clients that take gzip, and gzip and br: thousand requests/s (in brackets: swrcache is so many times as "
     "fast), and the length of the body. What has no br answers by gzip:", page_table),
    ("encoding", "HIT p99 while pages of 32 KiB are being encoded (by gzip 9 and br 9, on the worker's own core), and while the same pages "
     "are read afterwards:", encoding_table),
    ("misses", "What is not in the cache: thousand requests/s, and processor time of the server for a request. A MISS is of a URL that nobody "
     "has asked for, and is stored; `no-store` is one URL again and again. `proxy_cache` has no lock here, which costs it more:", miss_table),
    ("expiry", "A page has expired and the origin takes 3 s to make it anew. Milliseconds, median (worst):", expiry_table),
    ("stampedes", "Many clients ask at the same moment and the origin takes 100 ms. Requests to the origin (most of the rounds); the "
     "longest wait of any client (median of the rounds):", stampede_table),
    ("syscalls", "System calls of the worker for a HIT of 1 KiB, the wait for events apart:", syscall_table),
)


def markdown(results):
    machine = results["machine"]
    versions = ", ".join(f"{name} {version}" for name, version in machine["versions"].items())
    parts = [] if results["rounds"] > 2 else ["A quick run: it shows that all of this works, not how fast it is."]
    parts += [
        f"{machine['processor']}, {machine['cores']} cores, Linux {machine['kernel']}, TCP by {machine['congestion']}; {versions}. One worker or thread on "
        f"one core, the load on another; medians of interleaved rounds ({results['rounds']} for rates) of {results['seconds']} s. The ratios "
        "are the result: absolute numbers are this machine's.",
        "Budgets:",
        budget_table(results),
    ]
    for name, title, shown in TABLES:
        if results.get(name):
            parts += [title, shown(results[name])]
    if results["left_out"]:
        parts += ["Left out:", "\n".join(f"- {what}: {why}" for what, why in results["left_out"].items())]
    return "\n\n".join(parts) + "\n"


def summary(results):
    """Five numbers for README.md, beside nginx's own cache at its best."""
    rows = []

    def row(what, ours, theirs, show):
        rows.append([what, show(ours), show(theirs)])

    for size, rates in results["http"].items():
        if size in ("1024", str(128 << 10)):
            ours, best = rates[OURS], with_best(rates)[BEST]
            row(f"HITs in a second, bodies of {human(int(size))}, on one core", median(ours), median(best), lambda rate: f"{rate:,.0f}")
    expiry = results["expiry"]
    row("the next request on the connection that met an expired page, whose origin takes 3 s",
        *(median(expiry[name]["next"]) for name in (OURS, CACHE)), lambda seconds: f"{milliseconds(seconds)} ms")
    for key, what in {"cold50": "50 visitors at once for a page that nobody has, origin 100 ms: the longest wait",
                      "nostore50": "the same for a page that may not be stored"}.items():
        waits = (median([r["worst"] for r in results["stampedes"][key][name]]) for name in (OURS, CACHE))
        row(what, *waits, lambda seconds: f"{milliseconds(seconds)} ms")
    machine = results["machine"]
    return f"On an {machine['processor']} with {machine['cores']} cores, one worker of nginx {machine['versions']['nginx']}:\n\n" + table(
        ["", "swrcache", "`proxy_cache` at its best"], rows)


def between_marks(path, name, text):
    """Puts a text between the marks of that name, in place of what stands there."""
    begin, end = f"<!-- {name} -->", f"<!-- /{name} -->"
    before, _, rest = path.read_text().partition(begin)
    _, mark, after = rest.partition(end)
    if not mark:
        raise ValueError(f"{path} has no {begin} ... {end}")
    path.write_text(f"{before}{begin}\n{text.strip()}\n{end}{after}")
