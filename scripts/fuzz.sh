#!/usr/bin/env bash
# Runs each fuzz target for a while (20 seconds unless told otherwise). What a run finds worth keeping beside fuzz/corpus
# lies in the build folder, and the next run starts from it; an input that fails is left in fuzz/artifacts.
#
#   scripts/fuzz.sh [SECONDS [TARGET...]]
set -euo pipefail
cd "$(dirname "$0")/.."

seconds=${1:-20}
shift || true
target=${CARGO_TARGET_DIR:-$PWD/target}
mapfile -t all < <(sed -n 's/^name = "\(.*\)"/\1/p' fuzz/Cargo.toml | tail -n +2)
[ $# -gt 0 ] || set -- "${all[@]}"

if ! cargo fuzz --version >/dev/null 2>&1; then
    echo "fuzz: installing cargo-fuzz"
    cargo install --quiet --locked cargo-fuzz
fi

# The parsers are safe Rust, so no sanitizer is needed, and the stable compiler will do.
for name; do
    found=$target/fuzz-corpus/$name
    mkdir -p "$found"
    echo "=== $name"
    cargo fuzz run --sanitizer none --target-dir "$target/fuzz" "$name" "$found" "fuzz/corpus/$name" -- \
        -max_total_time="$seconds" -max_len=4096 -timeout=5 -verbosity=0 -print_final_stats=1 2>&1 |
        grep -vE '^(stat::(new_units|slowest)|WARNING|###|"| *(Finished|Running|Compiling))'
done
echo "fuzz: $# targets, $seconds s each, nothing found"
