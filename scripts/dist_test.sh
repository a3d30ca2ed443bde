#!/usr/bin/env bash
# Builds the module from the tarball of scripts/dist.sh by nginx's own configure and make, without a network and without a crate that
# is not in the tarball, for the end-to-end tests:
#
#   scripts/dist_test.sh dynamic   --add-dynamic-module and `make modules` -> build/dynamic, with the nginx of build/vendored, which has
#                                  the same options
#   scripts/dist_test.sh static    --add-module and `make` -> build/static: an nginx with the module in it
#   scripts/dist_test.sh patched   has an nginx of the same version and signature, but with a field more in its requests, refuse the
#                                  module of build/dynamic
#   scripts/dist_test.sh           all three
set -euo pipefail
cd "$(dirname "$0")/.."

version=$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -1)
work=$PWD/build/addon
tree=$PWD/build/dist/swrcache-$version
fail() { echo "dist test: $*" >&2 && exit 1; }

alone=()
! unshare --net true 2>/dev/null || alone=(unshare --net)

# built KIND TARGET ARGUMENTS: configures a copy of the sources of nginx in KIND, and makes TARGET
built() {
    local kind=$1 target=$2
    rm -rf "${work:?}/$kind" && cp -r "$tree/vendor/nginx-src/nginx" "$work/$kind"
    [ $kind != patched ] || sed -i 's/^struct ngx_http_request_s {/&\n    void *patched;/' "$work/$kind/src/http/ngx_http_request.h"
    # The arguments are quoted as a shell wants them (nginx -V).
    (cd "$work/$kind" && eval "auto/configure $3" && "${alone[@]}" make -j"$(nproc)" "$target") >"$work/$kind.log" 2>&1 ||
        { tail -30 "$work/$kind.log" >&2; fail "$kind: build/addon/$kind.log"; }
}

scripts/module.sh vendored
rm -rf "$tree" && mkdir -p "$work/cargo" build/dynamic build/static
# With the time of now, by which cargo sees that sources have changed.
tar -xmf "build/dist/swrcache-$version.tar.xz" -C build/dist
export CARGO_HOME=$work/cargo CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$PWD/target}/dist
same=$(build/vendored/nginx -V 2>&1 | sed -n 's/^configure arguments: //p')

dynamic() {
    built dynamic modules "$same --builddir=objs --add-dynamic-module=$tree"
    cp build/vendored/nginx "$work/dynamic/objs/ngx_http_swr_cache_module.so" build/dynamic/
    scripts/symbols.sh build/dynamic/*.so
}

static() {
    built static build "$same --builddir=objs --add-module=$tree"
    cp "$work/static/objs/nginx" build/static/
    scripts/symbols.sh build/static/nginx
}

patched() {
    built patched build "--with-compat --with-cc-opt=-O0 --without-http_fastcgi_module --without-http_uwsgi_module \
        --without-http_scgi_module --without-http_grpc_module --without-http_memcached_module"
    mkdir -p "$work/patched/logs"
    echo "load_module $PWD/build/dynamic/ngx_http_swr_cache_module.so; events {} http {}" >"$work/patched/nginx.conf"
    local said
    said=$("$work/patched/objs/nginx" -p "$work/patched" -c nginx.conf -t 2>&1 || true)
    [[ $(grep -c '\[emerg\]' <<<"$said") = 1 && $said == *"built for another nginx of this version"*ngx_http_request_t.* ]] ||
        fail "a patched nginx says: $said"
    echo "dist test: a patched nginx says:" "$(grep '\[emerg\]' <<<"$said")"
}

for kind in "${@:-dynamic static patched}"; do
    for one in $kind; do "$one"; done
done
