#!/usr/bin/env bash
# Builds the nginx module.
#
#   scripts/module.sh                 with the vendored nginx       -> build/vendored/
#   scripts/module.sh /usr/sbin/nginx for an nginx that is installed -> build/debian/
#
# The second form configures the nginx sources that the package nginx-dev brings; for an nginx from
# elsewhere, NGINX_SOURCE names its (unpacked) sources, and its own `nginx -V` says how it was configured.
# Each folder gets nginx and ngx_http_swr_cache_module.so. Never built with --workspace: that would unify
# features and leak the C library's symbols into nginx.
set -euo pipefail
cd "$(dirname "$0")/.."

nginx=${1:-}
target=${CARGO_TARGET_DIR:-$PWD/target}

fail() { echo "module: $*" >&2; exit 1; }

# put FOLDER NGINX MODULE: renames into place, so that an nginx that runs keeps the files it has mapped.
put() {
    mkdir -p "$1"
    cp "$2" "$1/nginx.new" && mv "$1/nginx.new" "$1/nginx"
    cp "$3" "$1/module.new" && mv "$1/module.new" "$1/ngx_http_swr_cache_module.so"
    echo "module: $1/ngx_http_swr_cache_module.so for $("$1/nginx" -v 2>&1)"
}

vendored() {
    local messages out
    # The messages say where this very build put nginx; older builds may lie beside it.
    messages=$(cargo build --release -p swrcache-nginx --features vendored --target-dir "$target/nginx" \
        --message-format=json-render-diagnostics)
    out=$(sed -n 's|.*"out_dir":"\([^"]*/swrcache-nginx-sys-[^"/]*/out\)".*|\1|p' <<<"$messages")
    put build/vendored "$out/objs/nginx" "$target/nginx/release/libngx_http_swr_cache_module.so"
}

# The arguments of the nginx that is to load the module, for its source's configure.
configure() {
    local source=$1
    if [ -f "$source/conf_flags" ]; then
        # shellcheck disable=SC1091 # Debian's own list, an array called NGX_CONF_FLAGS
        . "$source/conf_flags"
        (cd "$source" && ./configure "${NGX_CONF_FLAGS[@]}")
    else
        local arguments
        arguments=$("$nginx" -V 2>&1 | sed -n 's/^configure arguments: //p')
        (cd "$source" && eval "./configure $arguments")
    fi
}

installed() {
    local from=${NGINX_SOURCE:-/usr/share/nginx/src} into=build/debian/src have want
    [ -x "$nginx" ] || fail "$nginx is not there; 'make deps' installs Debian's, or leave NGINX out for the vendored one"
    [ -f "$from/src/core/nginx.h" ] ||
        fail "no nginx sources in $from; install nginx-dev, or set NGINX_SOURCE"
    want=$("$nginx" -v 2>&1 | sed 's|.*nginx/\([0-9.]*\).*|\1|')
    have=$(sed -n 's/^#define NGINX_VERSION *"\(.*\)"/\1/p' "$from/src/core/nginx.h")
    [ "$have" = "$want" ] || fail "$nginx is $want, but the sources in $from are $have; they must be the same"

    # Configured again only when that nginx or its sources are others.
    local is
    is="$from $("$nginx" -V 2>&1)"
    if [ "$(cat "$into/configured" 2>/dev/null)" != "$is" ]; then
        rm -rf "$into" && mkdir -p "$into" && cp -RL "$from/." "$into"
        configure "$into" >build/debian/configure.log 2>&1 ||
            { tail -20 build/debian/configure.log >&2; fail "configure failed: build/debian/configure.log"; }
        printf '%s' "$is" >"$into/configured"
    fi
    NGINX_SOURCE_DIR=$PWD/$into NGINX_BUILD_DIR=$PWD/$into/objs cargo build --release -p swrcache-nginx --target-dir "$target/debian"
    put build/debian "$nginx" "$target/debian/release/libngx_http_swr_cache_module.so"
}

if [ -z "$nginx" ]; then vendored; else installed; fi
