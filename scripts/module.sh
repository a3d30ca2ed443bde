#!/usr/bin/env bash
# Builds the nginx module.
#
#   scripts/module.sh [vendored]      with nginx 1.28 of the crate nginx-src            -> build/vendored/
#   scripts/module.sh by-turns        the same, but its statistics count by turns, for bench/         -> build/by-turns/
#   scripts/module.sh debian          for Debian's nginx, with the sources in nginx-dev -> build/debian/
#   scripts/module.sh trixie | forky  for that of another release (scripts/releases.sh) -> build/trixie/, build/forky/
#   scripts/module.sh NGINX           for an nginx that is installed                    -> build/SERVER-VERSION/
#
# For an NGINX from elsewhere than Debian, NGINX_SOURCE names its unpacked sources, a release or a clone; it may be Angie,
# freenginx, OpenResty or Tengine too. Its own `nginx -V` says how it was configured.
# Each folder gets nginx and ngx_http_swr_cache_module.so. Never built with --workspace: that would unify
# features and leak the C library's symbols into nginx.
set -euo pipefail
cd "$(dirname "$0")/.."

target=${CARGO_TARGET_DIR:-$PWD/target}

fail() { echo "module: $*" >&2; exit 1; }

# put FOLDER NGINX MODULE: renames into place, so that an nginx that runs keeps the files it has mapped.
put() {
    mkdir -p "$1"
    cp "$2" "$1/nginx.new" && mv "$1/nginx.new" "$1/nginx"
    cp "$3" "$1/module.new" && mv "$1/module.new" "$1/ngx_http_swr_cache_module.so"
    echo "module: $1/ngx_http_swr_cache_module.so for $(about "$1/nginx")"
}

# What a server is, as in "nginx/1.28.3": the first line that names a version, since Tengine says which nginx it is made of, too.
about() { "$1" -v 2>&1 | sed -n 's/^.* version: \([^ ]*\).*/\1/p' | head -1; }

# The same of its sources.
version() {
    printf '%s\n' '#include "nginx.h"' '#if __has_include("angie.h")' '#include "angie.h"' ANGIE_VER \
        '#elif defined TENGINE_VER' TENGINE_VER '#else' NGINX_VER '#endif' |
        cc -E -P "-I$1/src/core" - | tail -1 | sed 's/" *"//g; s/"//g; s/ .*//'
}

# vendored NAME FEATURES: into build/NAME
vendored() {
    local messages out
    # The messages say where this very build put nginx; older builds may lie beside it.
    messages=$(cargo build --release -p swrcache-nginx --features "$2" --target-dir "$target/nginx" \
        --message-format=json-render-diagnostics)
    out=$(sed -n 's|.*"out_dir":"\([^"]*/swrcache-nginx-sys-[^"/]*/out\)".*|\1|p' <<<"$messages")
    put "build/$1" "$out/objs/nginx" "$target/nginx/release/libngx_http_swr_cache_module.so"
}

# configure FOLDER ARGUMENTS...: with a copy of $source, for $nginx, unless that has been done
configure() {
    local folder=$1 script=./configure is
    is="$source ${*:2} $("$nginx" -V 2>&1)"
    [ "$(cat "$folder/configured" 2>/dev/null)" = "$is" ] && return
    rm -rf "$folder/src" && mkdir -p "$folder/src" && cp -RL "$source/." "$folder/src"
    rm -rf "$folder/src/objs"
    [ -f "$source/configure" ] || script=auto/configure
    (cd "$folder/src" && $script "${@:2}") >"$folder/configure.log" 2>&1 ||
        { tail -20 "$folder/configure.log" >&2; fail "configure failed: $folder/configure.log"; }
    printf '%s' "$is" >"$folder/configured"
}

# module NAME: with the nginx that is configured in build/NAME/src
module() {
    NGINX_SOURCE_DIR=$PWD/build/$1/src NGINX_BUILD_DIR=$PWD/build/$1/src/objs \
        cargo build --release -p swrcache-nginx --target-dir "$target/$1"
}

# The arguments that configure needs of those of the nginx that is to load the module, one a line. Modules from elsewhere are no
# part of nginx's own structs, and their sources are not here.
arguments() {
    "$1" -V 2>&1 | sed -n 's/^configure arguments: //p' | xargs -rn1 printf '%s\n' | grep -vE '^--add-(dynamic-)?module='
}

# A place of its own for each server and version, and for each nginx where several are of one version.
place() {
    local name n=''
    name=$(about "$1" | tr '/[:upper:]' '-[:lower:]')
    while [ "$(cat "build/$name$n/for" 2>/dev/null || echo "$1")" != "$1" ]; do n=-$((${n#-} + 1)); done
    echo "$name$n"
}

# installed NGINX [NAME]
installed() {
    local nginx source=${NGINX_SOURCE:-/usr/share/nginx/src} name want have words=()
    nginx=$(realpath -e "$1" 2>/dev/null) && [ -x "$nginx" ] ||
        fail "$1 is not there; 'make deps' brings Debian's, or leave NGINX out for the vendored one"
    [ -f "$source/src/core/nginx.h" ] ||
        fail "no nginx sources in $source; install nginx-dev, or set NGINX_SOURCE"
    source=$(realpath "$source")
    want=$(about "$nginx")
    have=$(version "$source")
    [ "$have" = "$want" ] || fail "$nginx is $want, but the sources in $source are $have; they must be the same"
    name=${2:-$(place "$nginx")}
    mkdir -p "build/$name"
    if [ -f "$source/conf_flags" ]; then
        # shellcheck disable=SC1091 # Debian's own list, an array called NGX_CONF_FLAGS
        . "$source/conf_flags"
        words=("${NGX_CONF_FLAGS[@]}")
    else
        mapfile -t words < <(arguments "$nginx")
    fi
    # Such an nginx may have TLS or not: the module has to know how its connections look then.
    if [[ " ${words[*]} " == *" --with-compat "* ]]; then
        words+=(--with-http_ssl_module)
    fi
    configure "build/$name" "${words[@]}"
    module "$name"
    printf '%s' "$nginx" >"build/$name/for"
    put "build/$name" "$nginx" "$target/$name/release/libngx_http_swr_cache_module.so"
}

# A new field of nginx's requests fails the build for a server that is tested, and is a warning for others.
case ${1:-vendored} in vendored | debian | trixie | forky) export SWR_CACHE_KNOWS_NGINX=1 ;; esac

case ${1:-vendored} in
vendored) vendored vendored vendored ;;
by-turns) vendored by-turns vendored,counting-by-turns ;;
debian)
    NGINX_SOURCE=/usr/share/nginx/src
    installed "${DEBIAN_NGINX:-/usr/sbin/nginx}" debian
    ;;
trixie | forky)
    NGINX_SOURCE=build/releases/$1/root/usr/share/nginx/src
    installed "build/releases/$1/nginx" "$1"
    ;;
*) installed "$1" ;;
esac
