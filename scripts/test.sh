#!/usr/bin/env bash
# Runs the tests named by its arguments, all of them whatever fails, and ends with a line that counts.
#
#   scripts/test.sh unit              all that need no nginx
#   scripts/test.sh vendored [NAME]   end to end on build/vendored; only tests whose names have NAME in them
#   scripts/test.sh debian [NAME]     end to end on build/debian
set -uo pipefail
cd "$(dirname "$0")/.."

log=$(mktemp)
trap 'rm -f "$log"' EXIT
passed=0 failed=0 skipped=0

if cargo nextest --version >/dev/null 2>&1; then
    run() { cargo nextest run --no-fail-fast --status-level fail --final-status-level fail "$@"; }
    # "Summary [...] 11 tests run: 10 passed (1 slow), 1 failed, 2 skipped", timeouts being failures
    number() { sed -n "s/.*tests\? run:.*[ ,]\([0-9]*\) $1.*/\1/p" "$log"; }
else
    run() { cargo test --no-fail-fast "$@"; }
    # "test result: ok. 10 passed; 0 failed; 1 ignored; ..."
    number() { sed -n "s/^ *test result:.* \([0-9]*\) ${1/skipped/ignored};.*/\1/p" "$log"; }
fi

# suite TITLE ARGUMENTS...
suite() {
    local title=$1 code bad
    shift
    echo "=== $title"
    run "$@" 2>&1 | tee "$log"
    code=${PIPESTATUS[0]}
    sum() { number "$1" | awk '{ n += $1 } END { print n + 0 }'; }
    bad=$(($(sum failed) + $(sum "timed out")))
    # It did not build, or died on the way.
    [ "$code" != 0 ] && [ "$bad" = 0 ] && bad=1
    passed=$((passed + $(sum passed))) failed=$((failed + bad)) skipped=$((skipped + $(sum skipped)))
}

e2e() {
    export SWR_NGINX=build/$1/nginx SWR_MODULE=build/$1/ngx_http_swr_cache_module.so
    suite "end to end on $("$SWR_NGINX" -v 2>&1)" --test e2e ${2:+"$2"}
}

while [ $# -gt 0 ]; do
    case $1 in
    unit) suite "without nginx" ;;
    vendored | debian)
        name=
        case ${2:-} in '' | unit | vendored | debian) ;; *) name=$2 ;; esac
        e2e "$1" "$name"
        [ -z "$name" ] || shift
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
