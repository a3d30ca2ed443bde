#!/usr/bin/env bash
# What the C library costs, into bench/c-library.md: beside the engine's own calls and other crates (bench/micro/c_abi.rs), and by
# threads and processes (bench/micro/c_lookup.c). On a quiet machine; a minute. CRITERION=1: then each one by itself, by criterion.
set -euo pipefail
cd "$(dirname "$0")/.."

scripts/clib.sh lib
lib=$PWD/build/c/lib out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT
gcc -std=c11 -O2 -Wall -Wextra -Werror -pedantic -Iinclude bench/micro/c_lookup.c -o "$out/c_lookup" "-L$lib" -lswrcache "-Wl,-rpath,$lib" -lpthread

export SWRCACHE_LIBRARY=$lib/libswrcache.so
cargo bench --quiet --bench c_abi -- --table | grep '^|' >"$out/calls"
"$out/c_lookup" >"$out/crews"
{
    echo "# The C library, measured"
    echo
    echo "By \`make bench-c\` on $(nproc) cores ($(sed -n 's/^model name\s*: //p' /proc/cpuinfo | head -1)). The clock is the caller's and stands still."
    echo
    echo "## Beside the calls below it, and others"
    echo
    echo "One thread; lower quartiles of turns of 4 ms that all take in turn. \`quick_cache\` is a map in one process with a bound and"
    echo "nothing else, \`http-cache-semantics\` is the rules and no store."
    echo
    cat "$out/calls"
    echo
    echo "## By threads and processes"
    echo
    echo "Nanoseconds between two operations of all workers together, which is their time divided by their count; lower quartiles."
    echo
    cat "$out/crews"
} >"$out/c-library.md"
mv "$out/c-library.md" bench/c-library.md
cat bench/c-library.md
[ -z "${CRITERION:-}" ] || cargo bench --quiet --bench c_abi
