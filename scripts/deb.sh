#!/usr/bin/env bash
# Builds the Debian packages for the release that this machine runs: build/deb/*.deb, from the tarball of scripts/dist.sh, with the
# cargo and rustc in PATH and without a network.
#
# REVISION is Debian's part of the version. In an unpacked tarball it builds what is there.
set -euo pipefail
cd "$(dirname "$0")/.."

version=$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -1)
revision=${REVISION:-1~deb$(. /etc/os-release && echo "$VERSION_ID")}
out=$PWD/build/deb
tree=$PWD/build/dist/swrcache-$version
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$PWD/target}/dist

rm -rf "$tree" "$out"/*.deb "$out"/*.changes "$out"/*.buildinfo && mkdir -p "$out" build/dist
# With the time of now, by which cargo sees that sources have changed.
if [ -d vendor ]; then
    tar -c --exclude=./build --exclude=./target --transform "s|^\.|swrcache-$version|" . | tar -xm -C build/dist
    time=$(stat -c %Y Cargo.toml)
else
    scripts/dist.sh
    tar -xmf "build/dist/swrcache-$version.tar.xz" -C build/dist
    time=$(git log -1 --format=%ct)
fi

cd "$tree"
cp -r packaging/debian debian
cat >debian/changelog <<END
swrcache ($version-$revision) unstable; urgency=medium

  * CHANGELOG.md has what is new in version $version.

 -- $(sed -n 's/^Maintainer: //p' debian/control)  $(date -u -R -d "@$time")
END
# Only root can take the network away from what it starts, and not in every container.
alone=()
! unshare --net true 2>/dev/null || alone=(unshare --net)
"${alone[@]}" dpkg-buildpackage --build=binary --no-sign >"$out/build.log" 2>&1 || {
    tail -40 "$out/build.log" >&2
    echo "deb: failed; all of it is in build/deb/build.log" >&2
    exit 1
}
mv ../swrcache_* ../*.deb "$out"
cd "$out"
rm -r "$tree"
ls -1 -s --block-size=KiB -- *.deb
