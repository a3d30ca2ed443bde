#!/usr/bin/env bash
# Compiles the module and the C library with the oldest Rust that the manifest names, which is Debian 13's, in a root of its own in
# build/msrv. Needs root and debootstrap.
set -euo pipefail
cd "$(dirname "$0")/.."

root=build/msrv
registry=${CARGO_HOME:-$HOME/.cargo}/registry
packages=cargo,rustc,gcc,make,libclang-dev,libpcre2-dev,zlib1g-dev,libssl-dev,ca-certificates

fail() { echo "msrv: $*" >&2; exit 1; }

[ "$(id -u)" = 0 ] || fail "needs root, for a root of its own"
command -v debootstrap >/dev/null || fail "needs debootstrap"
# A mirror that apt knows, since it can be reached.
mirror=$(apt-get indextargets --format '$(SITE)' 'Created-By: Packages' 2>/dev/null | head -1)
[ -e $root/etc/debian_version ] ||
    debootstrap --variant=minbase --include=$packages trixie $root "${mirror:-http://deb.debian.org/debian}"

cargo fetch --locked
rm -rf $root/swrcache && mkdir -p $root/swrcache $root/root/.cargo/registry
git ls-files -z | xargs -0 cp --parents -t $root/swrcache
cp -a "$registry/cache" "$registry/index" $root/root/.cargo/registry/
want=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' Cargo.toml)
have=$(chroot $root rustc --version)
[[ $have == "rustc $want."* ]] || fail "the manifest says $want, and Debian 13 has $have"
build() { chroot $root env -C /swrcache HOME=/root cargo check --offline --locked "$@"; }
build --target-dir /target
build --release -p swrcache-nginx --features vendored --target-dir /target/nginx
echo "msrv: $have compiles the module and the C library"
