#!/usr/bin/env bash
# With the oldest Rust that the manifest names, which is Debian 13's, in roots of their own: `make lib install` where there is nothing
# but cargo, a C compiler and make (build/bare), and the module and swrcachectl (build/msrv). As root.
set -euo pipefail
cd "$(dirname "$0")/.."

registry=${CARGO_HOME:-$HOME/.cargo}/registry
fail() { echo "msrv: $*" >&2; exit 1; }

want=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' Cargo.toml)
cargo fetch --locked

# root FOLDER PACKAGES...: a root with these packages and what is in this folder
root() {
    local root=$1 have
    scripts/root.sh trixie "$@"
    rm -rf "$root/swrcache" "$root/installed" && mkdir -p "$root/swrcache" "$root/root/.cargo/registry"
    git ls-files -z | xargs -0 cp --parents -t "$root/swrcache"
    cp -a "$registry/cache" "$registry/index" "$root/root/.cargo/registry/"
    have=$(chroot "$root" rustc --version)
    [[ $have == "rustc $want."* ]] || fail "the manifest says $want, and Debian 13 has $have"
}
# within ROOT COMMAND...
within() { chroot "$1" env -C /swrcache HOME=/root CARGO_NET_OFFLINE=true CARGO_TARGET_DIR=/target "${@:2}"; }

root build/bare cargo rustc gcc libc6-dev make
within build/bare make --silent lib install PREFIX=/usr LIBDIR=/usr/lib/swr DESTDIR=/installed
cat >build/bare/swrcache/version.c <<'C'
#include <stdio.h>
#include <swrcache.h>
int main(void) { return puts(swrcache_version()) < 0; }
C
within build/bare gcc version.c -I/installed/usr/include -L/installed/usr/lib/swr -lswrcache -o version
within build/bare env LD_LIBRARY_PATH=/installed/usr/lib/swr ./version
echo "msrv: 'make lib install' needs $(chroot build/bare rustc --version), gcc and make"

root build/msrv cargo rustc gcc make libclang-dev libpcre2-dev zlib1g-dev libssl-dev
within build/msrv cargo check --locked
within build/msrv cargo check --locked -p swrcachectl
within build/msrv cargo check --locked --release -p swrcache-nginx --features vendored --target-dir /target/nginx
echo "msrv: $(chroot build/msrv rustc --version) compiles the module, the C library and swrcachectl"
