#!/usr/bin/env bash
# Installs the packages that scripts/deb.sh has built with apt into a new Debian in a folder, and runs Debian's nginx there: caches,
# upgrades, removes, purges. SUITE: those of another release. Needs root, and may mount; all that it mounts and starts ends with the
# namespaces that it does so in.
set -euo pipefail
cd "$(dirname "$0")/.."

# shellcheck disable=SC1091
here=$(. /etc/os-release && echo "$VERSION_CODENAME")
suite=${SUITE:-$here}
built=$PWD/build/deb
[ "$suite" = "$here" ] || built+=/$suite
# shellcheck disable=SC2046 # names of packages are words
fail() { echo "deb test: $*" >&2 && exit 1; }
step() { echo "deb test: $*"; }

# in_root COMMAND...
in_root() {
    chroot "$root" env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin DEBIAN_FRONTEND=noninteractive \
        ${http_proxy:+http_proxy="$http_proxy"} ${https_proxy:+https_proxy="$https_proxy"} "$@"
}
apt() { in_root apt-get -q -y --no-install-recommends "$@" >>"$root/apt.log" 2>&1 || { tail -20 "$root/apt.log" >&2; fail "apt-get $*"; }; }
# all FOLDER: the packages in a folder of the root
all() { (cd "$root" && printf '/%s\n' "$1"/*.deb); }
version_of() { in_root dpkg-query -W -f '${Version}' "$1"; }

# The same packages with a higher version.
newer() {
    local deb folder
    for deb in "$built"/*.deb; do
        [[ $deb != *-dbgsym_* ]] || continue
        folder=$(mktemp -d -p "$work")
        dpkg-deb -R "$deb" "$folder"
        sed -i "s/$version/$version+1/" "$folder/DEBIAN/control"
        dpkg-deb --root-owner-group -b "$folder" "$root/newer/" >/dev/null
    done
}

# With a network, for what the packages depend on.
install() {
    mount -t proc proc "$root/proc"
    apt update
    step "apt installs $(cd "$root/debs" && echo *.deb)"
    apt install $(all debs)
    [ "$(readlink "$root$enabled")" = /usr/share/nginx/modules-available/mod-http-swr-cache.conf ] || fail "$enabled is not there"
    in_root nginx -t
}

# Without one.
run() {
    mount -t proc proc "$root/proc"
    ip link set lo up
    cat >"$root/etc/nginx/conf.d/swr.conf" <<'END'
swr_cache_zone zone=main:8m;
server {
    listen 127.0.0.1:8080;
    location / {
        swr_cache main;
        proxy_pass http://127.0.0.1:8081;
        add_header X-Cache $swr_cache_status always;
    }
    location = /swr { swr_cache_stats; allow 127.0.0.1; deny all; }
}
server {
    listen 127.0.0.1:8081;
    location / {
        add_header Cache-Control "max-age=1, stale-while-revalidate=60";
        return 200 "$msec";
    }
}
END
    # Debian's own site would listen on every address.
    rm "$root/etc/nginx/sites-enabled/default"
    start
    sees MISS
    sees HIT
    sleep 2
    sees UPDATING
    sleep 0.5
    sees HIT
    [[ $(in_root swrcachectl status --node http://127.0.0.1:8080/swr) == *main* ]] || fail "swrcachectl shows no zone main"

    [ -n "$(cd "$root" && find usr/lib/systemd lib/systemd -name swrcachectl-follow.service)" ] || fail "there is no unit for swrcachectl follow"
    [ -z "$(find "$root/etc/systemd" -name '*swrcachectl*')" ] || fail "swrcachectl follow is enabled"

    step "an upgrade to $version+1, while nginx runs"
    apt install $(all newer)
    [ "$(version_of libnginx-mod-http-swr-cache)" = "$version+1" ] || fail "the version after the upgrade"
    in_root nginx -t 2>/dev/null
    kill -HUP "$nginx"
    sees "HIT UPDATING"
    stop
    start
    sees MISS
    stop

    step "removed, and nginx goes on without"
    apt remove libnginx-mod-http-swr-cache libswrcache0 swrcachectl
    [ ! -L "$root$enabled" ] || fail "$enabled is still there"
    ! in_root nginx -t 2>/dev/null || fail "nginx knows swr_cache without the module"
    rm "$root/etc/nginx/conf.d/swr.conf"
    in_root nginx -t 2>/dev/null || fail "nginx without the module"

    step "installed again, and purged"
    apt install $(all newer)
    [ -L "$root$enabled" ] || fail "$enabled is not there again"
    apt purge libnginx-mod-http-swr-cache libswrcache0 libswrcache-dev swrcachectl
    left=$(cd "$root" && find etc usr var \( -iname '*swr*cache*' -o -iname '*swr-cache*' \) -not -path '*/apt/*')
    [ -z "$left" ] || fail "a purge leaves $left"
    in_root nginx -t 2>/dev/null || fail "nginx after the purge"
}

start() {
    chroot "$root" nginx -g 'daemon off;' &
    nginx=$!
    for _ in $(seq 50); do
        ! curl -s -o /dev/null http://127.0.0.1:8081/ || return 0
        sleep 0.1
    done
    fail "nginx does not listen"
}

stop() {
    kill -QUIT "$nginx"
    wait "$nginx"
}

# sees STATUSES: one of these
sees() {
    local got
    got=$(curl -s -o /dev/null -D - http://127.0.0.1:8080/ | tr -d '\r' | sed -n 's/^X-Cache: //p')
    [[ " $1 " == *" $got "* ]] || fail "$got, not $1"
    step "$got"
}

# A program against the development files, linked here and run there, where the C library may be newer.
links() {
    local lib
    lib=$(cd "$root" && echo usr/lib/*/libswrcache.so)
    cat >"$work/version.c" <<'C'
#include <stdio.h>
#include <swrcache.h>
int main(void) { return puts(swrcache_version()) < 0; }
C
    export PKG_CONFIG_SYSROOT_DIR=$root PKG_CONFIG_LIBDIR=$root/${lib%/*}/pkgconfig
    # shellcheck disable=SC2046 # words
    gcc "$work/version.c" -o "$root/version" -Wl,--allow-shlib-undefined $(pkg-config --cflags --libs swrcache)
    step "a C program with libswrcache $(in_root /version)"
}

version=$(dpkg-deb -f "$built"/swrcachectl_*.deb Version)
enabled=/etc/nginx/modules-enabled/50-mod-http-swr-cache.conf
if [ $# -gt 0 ]; then
    root=$2 work=$3
    "$1"
    exit
fi

# A Debian with nothing in it: made once.
scripts/root.sh "$suite" "$built/debian"
lintian --fail-on error "$built"/*.changes
step "lintian finds no error"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
root=$work/root
cp -a "$built/debian" "$root"
mkdir "$root/debs" "$root/newer"
find "$built" -maxdepth 1 -name '*.deb' -not -name '*-dbgsym_*' -exec cp -t "$root/debs" {} +
newer
unshare --mount --pid --fork --kill-child "$0" install "$root" "$work"
links
unshare --mount --net --pid --fork --kill-child "$0" run "$root" "$work"
step "passed"
