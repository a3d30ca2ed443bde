#!/usr/bin/env bash
# Runs the tests named by its arguments, all of them whatever fails, and ends with a line that counts.
#
#   scripts/test.sh unit              all that need no nginx
#   scripts/test.sh chaos             the store under thousands of deaths, at random moments and at every write, and under
#                                     thousands of orders of accesses; nginx under hundreds of deaths, and restarted with a
#                                     full cache of 1 GiB; a quarter of an hour
#   scripts/test.sh hosts [NAME]      the C library in the servers that `scripts/clib.sh hosts` has built
#   scripts/test.sh vendored [NAME]   end to end on build/vendored; only tests whose names have NAME in them
#   scripts/test.sh debian [NAME]     end to end on build/debian; so trixie and forky, and dynamic and static (scripts/dist_test.sh)
#   scripts/test.sh wordpress [NAME]  a real WordPress behind build/vendored
#   scripts/test.sh conformance       the suite of cache-tests.fyi
set -uo pipefail
cd "$(dirname "$0")/.."

log=$(mktemp)
trap 'rm -f "$log"' EXIT
passed=0 failed=0 skipped=0

if cargo nextest --version >/dev/null 2>&1; then
    doctests() { suite "examples in the documentation" cargo test --doc; }
    run() { cargo nextest run --no-fail-fast --status-level retry --final-status-level flaky "$@"; }
else
    doctests() { :; }
    run() { cargo test --no-fail-fast "$@"; }
fi

# count WORD: so many, by the closing lines of cargo nextest and of cargo test
# ("Summary [...] 11 tests run: 10 passed (1 slow), 1 failed, 2 skipped", "test result: ok. 10 passed; 0 failed; 1 ignored")
count() {
    sed -n -e "s/.*tests\? run:.*[ ,]\([0-9]*\) $1.*/\1/p" \
        -e "s/^test result:.* \([0-9]*\) ${1/skipped/ignored};.*/\1/p" "$log" | awk '{ n += $1 } END { print n + 0 }'
}

# suite TITLE COMMAND...
suite() {
    local code bad
    echo "=== $1"
    "${@:2}" 2>&1 | tee "$log"
    code=${PIPESTATUS[0]}
    bad=$(($(count failed) + $(count "timed out")))
    # It did not build, or died on the way.
    [ "$code" != 0 ] && [ "$bad" = 0 ] && bad=1
    passed=$((passed + $(count passed))) failed=$((failed + bad)) skipped=$((skipped + $(count skipped)))
}

e2e() {
    # Its tests run what lies beside them.
    cargo build --quiet -p swrcachectl || failed=$((failed + 1))
    export SWR_NGINX=build/$1/nginx SWR_MODULE=build/$1/ngx_http_swr_cache_module.so
    [ "$1" != static ] || SWR_MODULE=static
    suite "end to end on $("$SWR_NGINX" -v 2>&1)" run --test e2e ${2:+"$2"}
}

while [ $# -gt 0 ]; do
    case $1 in
    unit)
        suite "without nginx" run
        suite "swrcachectl without a server" run -p swrcachectl
        suite "the example for axum" run -p swrcache-axum
        suite "deaths at every write to the store, and orders of accesses" \
            run --features crash-points --test store_crash --test store_mending --test store_interleavings
        doctests
        ;;
    chaos)
        export SWRCACHE_KILLS=${SWRCACHE_KILLS:-2000} SWRCACHE_EVERY_WRITE=1
        suite "$SWRCACHE_KILLS deaths at random" cargo test --release --test store_processes -- killed_children
        suite "deaths at every write to the store" cargo test --release --features crash-points --test store_crash --test store_mending
        export SWRCACHE_SCHEDULES=${SWRCACHE_SCHEDULES:-2000}
        suite "$SWRCACHE_SCHEDULES orders of accesses of each kind" \
            cargo test --release --features crash-points --test store_interleavings
        suite "deaths with files" cargo test --release --test store_file
        export SWRCACHE_WORKER_KILLS=${SWRCACHE_WORKER_KILLS:-300}
        suite "$SWRCACHE_WORKER_KILLS deaths of nginx's workers, twice" cargo test --test e2e chaos
        export SWRCACHE_RESTART_ENTRIES=${SWRCACHE_RESTART_ENTRIES:-200000}
        suite "the first hit after a restart, $SWRCACHE_RESTART_ENTRIES entries" \
            cargo test --test e2e persist_first_hit -- --nocapture
        ;;
    vendored | debian | trixie | forky | dynamic | static | hosts | wordpress)
        name=
        case ${2:-} in '' | unit | vendored | debian | trixie | forky | dynamic | static | hosts | wordpress | conformance) ;; *) name=$2 ;; esac
        case $1 in
        hosts) suite "the C library in its hosts" run --test hosts ${name:+"$name"} ;;
        wordpress) suite "a real WordPress" run --test wordpress ${name:+"$name"} ;;
        *) e2e "$1" "$name" ;;
        esac
        [ -z "$name" ] || shift
        ;;
    conformance)
        suite "conformance" scripts/conformance.sh
        scored=$(sed -n 's/^required \([0-9]*\) of [0-9]*, optimal \([0-9]*\) of .*/\1 + \2/p' "$log")
        passed=$((passed + ${scored:-0}))
        ;;
    *)
        echo "test: what is $1?" >&2
        exit 2
        ;;
    esac
    shift
done

echo "$passed passed, $failed failed, $skipped skipped"
[ "$failed" = 0 ] && [ "$passed" -gt 0 ]
