#!/usr/bin/env bash
# Fetches the nginx of other Debian releases, with its headers and the libraries that it runs on, into build/releases/RELEASE.
# Costs nothing when they are there.
#
#   scripts/releases.sh RELEASE...
#
# apt works in a folder of its own with a list of its own: the system's packages, lists and settings stay as they are. What
# comes is checked as any package is: the release's signature covers the list, whose checksums cover the packages. nginx is
# told to use the libraries beside it, since those of this system may be older than what it was built for.
set -euo pipefail
cd "$(dirname "$0")/.."

packages=(nginx nginx-dev libc6 libcrypt1 libgcc-s1 libpcre2-8-0 libssl3t64 libzstd1 zlib1g)
all=$PWD/build/releases apt=$PWD/build/releases/apt

missing=()
for release; do
    [ -x "$all/$release/nginx" ] || missing+=("$release")
done
[ ${#missing[@]} -gt 0 ] || exit 0

# The mirror that the system itself uses.
mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 'Component: main' | grep -m1 '/debian/$') || {
    echo "releases: apt knows no mirror of Debian; nginx of ${missing[*]} can't be fetched" >&2
    exit 1
}
rm -rf "$apt" && mkdir -p "$apt/lists/partial" "$apt/archives/partial"
touch "$apt/status"
cat >"$apt/debian.sources" <<END
Types: deb
URIs: $mirror
Suites: ${missing[*]}
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
    (cd "$into/packages" && apt-get download -q "${packages[@]/%//$release}")
    for package in "$into"/packages/*.deb; do
        dpkg-deb --extract "$package" "$into/root"
    done
    loader=$(find "$into/root" -name 'ld-linux-*.so.*' | head -1)
    patchelf --set-interpreter "$loader" --force-rpath --set-rpath "$(dirname "$loader")" "$into/root/usr/sbin/nginx"
    "$into/root/usr/sbin/nginx" -v
    ln -s root/usr/sbin/nginx "$into/nginx"
done
rm -rf "$apt" "$all"/*/packages
