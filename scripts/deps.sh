#!/usr/bin/env bash
# Installs what the list that is named has and this machine lacks; without one, what scripts/packages.txt and tests/packages.txt have,
# and what else the tests run with. Costs nothing when all is there.
set -euo pipefail
cd "$(dirname "$0")/.."
lists=("$@")
[ $# -gt 0 ] || lists=(scripts/packages.txt tests/packages.txt)

say() { echo "deps: $*"; }

if ! command -v cargo >/dev/null; then
    say "no cargo here; install Rust first (https://rustup.rs or your distribution's rustc and cargo)" >&2
    exit 1
fi

mapfile -t wanted < <(sed 's/#.*//' "${lists[@]}" | xargs -n1)

if ! command -v dpkg-query >/dev/null; then
    say "this is not Debian or Ubuntu, so nothing is installed for you; needed (by Debian's names): ${wanted[*]}"
    exit 0
fi

installed=$(dpkg-query -W -f='${Package} ${db:Status-Status}\n' "${wanted[@]}" 2>/dev/null |
    awk '$2 == "installed" { print $1 }' || true)
missing=()
for package in "${wanted[@]}"; do
    grep -qxF "$package" <<<"$installed" || missing+=("$package")
done

# node and npm may be here from elsewhere than Debian.
if command -v node >/dev/null && command -v npm >/dev/null; then
    mapfile -t missing < <(printf '%s\n' "${missing[@]}" | grep -vxE 'nodejs|npm|' || true)
fi

if [ ${#missing[@]} -gt 0 ]; then
    sudo=
    if [ "$(id -u)" != 0 ]; then
        if ! command -v sudo >/dev/null; then
            say "missing: ${missing[*]}; can't install them: not root, and there is no sudo" >&2
            exit 1
        fi
        sudo=sudo
    fi
    say "installing ${missing[*]}"
    # While this file says 101, no package that is installed may start its service.
    policy=/usr/sbin/policy-rc.d
    if [ ! -e $policy ]; then
        trap '$sudo rm -f $policy' EXIT
        printf '#!/bin/sh\nexit 101\n' | $sudo tee $policy >/dev/null
        $sudo chmod 755 $policy
    fi
    $sudo apt-get update -q
    $sudo env DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends "${missing[@]}"
    say "no service was started; 'systemctl disable NAME' those that should not start at boot either"
fi

# The tests run under cargo-nextest where it is; without it `cargo test` does.
if [ $# = 0 ] && ! cargo nextest --version >/dev/null 2>&1; then
    say "installing cargo-nextest"
    cargo install --quiet --locked cargo-nextest ||
        say "cargo-nextest could not be installed; the tests will run under cargo test"
fi

# The newer nginxes that the tests run on, too. Without them the rest works.
if [ $# = 0 ]; then
    scripts/releases.sh trixie forky ||
        say "the nginxes of other Debian releases could not be fetched; 'make test-matrix' will not run"
fi
