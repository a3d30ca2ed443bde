#!/usr/bin/env bash
# Fetches programs of other Debian releases, with the libraries that they run on, into build/releases/NAME. Costs nothing when
# they are there.
#
#   scripts/releases.sh trixie | forky ...  the release's nginx, with its headers
#   scripts/releases.sh peers               the caches to measure beside that are much newer than this system's
#
# apt works in a folder of its own with a list of its own: the system's packages, lists and settings stay as they are. What
# comes is checked as any package is: the release's signature covers the list, whose checksums cover the packages. Programs are
# told to use the libraries beside them, since those of this system may be older than what they were built for.
set -euo pipefail
cd "$(dirname "$0")/.."

libraries=(libc6 libcrypt1 libgcc-s1 libpcre2-8-0 libssl3t64 libzstd1 zlib1g)
nginx=(nginx nginx-dev)
# What Varnish has become, and HAProxy.
peers=(
    vinyl-cache libvinylapi3 libedit2 libjemalloc2 libncursesw6 libtinfo6 libbsd0 libmd0 libstdc++6
    haproxy liblua5.4-0 libopentracing1 libopentracing-c-wrapper0t64
)

suite() {
    case $1 in
    peers) echo forky ;;
    *) echo "$1" ;;
    esac
}

programs() {
    case $1 in
    peers) echo vinyld haproxy ;;
    *) echo nginx ;;
    esac
}

all=$PWD/build/releases apt=$PWD/build/releases/apt

missing=()
for release; do
    for program in $(programs "$release"); do
        [ -x "$all/$release/$program" ] || { missing+=("$release") && break; }
    done
done
[ ${#missing[@]} -gt 0 ] || exit 0

# The mirror that the system itself uses.
mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 'Component: main' | grep -m1 '/debian/$') || {
    echo "releases: apt knows no mirror of Debian; ${missing[*]} can't be fetched" >&2
    exit 1
}
rm -rf "$apt" && mkdir -p "$apt/lists/partial" "$apt/archives/partial"
touch "$apt/status"
cat >"$apt/debian.sources" <<END
Types: deb
URIs: $mirror
Suites: $(for release in "${missing[@]}"; do suite "$release"; done | sort -u | tr '\n' ' ')
Components: main
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg
END
cat >"$apt/apt.conf" <<END
Dir::State "$apt";
Dir::State::status "$apt/status";
Dir::Cache "$apt";
Dir::Etc::SourceList "$apt/debian.sources";
Dir::Etc::SourceParts "/dev/null";
APT::Sandbox::User "$(id -un)";
END
export APT_CONFIG=$apt/apt.conf
apt-get update -q

for release in "${missing[@]}"; do
    into=$all/$release
    rm -rf "$into" && mkdir -p "$into/packages" "$into/root"
    [ "$release" = peers ] && packages=("${peers[@]}") || packages=("${nginx[@]}")
    packages+=("${libraries[@]}")
    (cd "$into/packages" && apt-get download -q "${packages[@]/%//$(suite "$release")}")
    for package in "$into"/packages/*.deb; do
        dpkg-deb --extract "$package" "$into/root"
    done
    loader=$(find "$into/root" -name 'ld-linux-*.so.*' | head -1)
    for program in $(programs "$release"); do
        patchelf --set-interpreter "$loader" --force-rpath --set-rpath "$(dirname "$loader")" "$into/root/usr/sbin/$program"
        ln -s "root/usr/sbin/$program" "$into/$program"
        case $program in vinyld) "$into/$program" -V ;; *) "$into/$program" -v ;; esac
    done
done
rm -rf "$apt" "$all"/*/packages
