#!/usr/bin/env bash
# Builds the Debian packages for the release that this machine runs: build/deb/*.deb, from the tarball of scripts/dist.sh, with the
# cargo and rustc in PATH and without a network. In an unpacked tarball it builds what is there.
#
#   SUITE               another release, as in trixie: the same in a Debian of that release, with its rustc, into build/deb/SUITE; as root
#   REVISION            Debian's part of the version
#   DEBFULLNAME, DEBEMAIL  who builds the packages, and answers for them
set -euo pipefail
cd "$(dirname "$0")/.."

version=$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -1)
out=$PWD/build/deb
tree=$PWD/build/dist/swrcache-$version

# put FOLDER: the sources with the crates into FOLDER/swrcache-VERSION; with the time of now, by which cargo sees that they have changed
put() {
    mkdir -p "$1"
    if [ -d vendor ]; then
        tar -c --exclude=./build --exclude=./target --transform "s|^\.|swrcache-$version|" . | tar -xm -C "$1"
    else
        scripts/dist.sh
        tar -xmf "build/dist/swrcache-$version.tar.xz" -C "$1"
    fi
}

# In a Debian of another release: `make deb`, as there.
elsewhere() {
    local root=$out/$1/builder packages
    mapfile -t packages < <(sed 's/#.*//' packaging/packages.txt | xargs -n1)
    mkdir -p "$out/$1"
    scripts/root.sh "$1" "$root" cargo "${packages[@]}"
    rm -rf "$root"/swrcache-* "$out/$1"/*.{deb,changes,buildinfo}
    put "$root"
    unshare --mount --pid --fork --kill-child chroot "$root" env -i -C "/swrcache-$version" PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root \
        CARGO_TARGET_DIR=/target ${REVISION:+REVISION="$REVISION"} ${DEBFULLNAME:+DEBFULLNAME="$DEBFULLNAME"} ${DEBEMAIL:+DEBEMAIL="$DEBEMAIL"} \
        sh -c 'mount -t proc proc /proc && make deb'
    mv "$root/swrcache-$version/build/deb"/* "$out/$1"
}

# shellcheck disable=SC1091
here=$(. /etc/os-release && echo "${VERSION_CODENAME:-}")
if [ "${SUITE:-$here}" != "$here" ]; then
    elsewhere "$SUITE"
    exit
fi

revision=${REVISION:-1~deb$(. /etc/os-release && echo "$VERSION_ID")}
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$PWD/target}/dist

rm -rf "$tree" "$out"/*.deb "$out"/*.changes "$out"/*.buildinfo && mkdir -p "$out"
put build/dist
time=$(git log -1 --format=%ct 2>/dev/null || stat -c %Y Cargo.toml)

cd "$tree"
cp -r packaging/debian debian
[ -z "${DEBEMAIL:-}" ] || sed -i "s|^Maintainer: .*|Maintainer: ${DEBFULLNAME:-$DEBEMAIL} <$DEBEMAIL>|" debian/control
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
