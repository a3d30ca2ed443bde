#!/usr/bin/env bash
# Runs the suite of cache-tests.fyi against the module in build/vendored; tests/conformance/missed.txt says what is missed.
#
#   scripts/conformance.sh          everything, compared with the list
#   scripts/conformance.sh ID...    these tests, with what was sent and received
set -euo pipefail
cd "$(dirname "$0")/../tests/conformance"

# The suite itself is a package, in the version that the lock file names.
if ! cmp -s package-lock.json node_modules/.installed; then
    npm ci --ignore-scripts --no-audit --no-fund --loglevel=error
    cp package-lock.json node_modules/.installed
fi
build=../../${SWR_BUILD:-build/vendored}
node run.mjs "$build/nginx" "$build/ngx_http_swr_cache_module.so" "$@"
