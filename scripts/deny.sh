#!/usr/bin/env bash
# The licences and sources of all crates in Cargo.lock, and versions of them with known faults, by deny.toml.
set -euo pipefail
cd "$(dirname "$0")/.."

if ! cargo deny --version >/dev/null 2>&1; then
    echo "deny: installing cargo-deny, some minutes"
    cargo install --quiet --locked cargo-deny
fi
cargo deny --workspace check bans licenses sources
