#!/usr/bin/env bash
# The store under Miri, which sees undefined behaviour, races, and what the language's weak order of accesses allows; and what of the
# nginx module needs no nginx.
# Needs a nightly Rust with Miri: `rustup component add --toolchain nightly miri rust-src`.
#
#   scripts/miri.sh [SEEDS [NAME]]    so many orders (4 unless told otherwise) of the tests whose names have NAME in them
#
# One order of all of them takes some five minutes of a processor. It is given up after three times that: then a test waits
# for what never comes.
set -euo pipefail
cd "$(dirname "$0")/.."

seeds=${1:-4}
if ! cargo +nightly miri --version >/dev/null 2>&1; then
    echo "miri: not here; 'rustup component add --toolchain nightly miri rust-src' brings it" >&2
    exit 1
fi
# Apart from the system, whose clock would make each run another one. Members are kept as numbers in a page that a fork
# wipes, so their pointers are exposed.
export MIRIFLAGS="-Zmiri-isolation-error=hide -Zmiri-permissive-provenance -Zmiri-many-seeds=0..$seeds"
log=$(mktemp)
trap 'rm -f "$log"' EXIT
if ! timeout $((seeds * 900)) cargo +nightly miri test --features crash-points --test store_interleavings --test nginx \
    --target-dir "${CARGO_TARGET_DIR:-$PWD/target}/miri" ${2:+"$2"} >"$log" 2>&1; then
    cat "$log"
    echo "miri: it failed, or took longer than $((seeds * 15)) minutes" >&2
    exit 1
fi
grep -E '^test result' "$log" | sort | uniq -c | sed 's/; finished.*//'
echo "miri: $seeds seeds, nothing found"
