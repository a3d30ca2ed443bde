#!/usr/bin/env bash
# Makes a Debian in a folder, with these packages in it, unless it is there: scripts/root.sh SUITE FOLDER [PACKAGE...]
#
# Needs root and debootstrap, and takes the mirror that the system itself uses. What debootstrap mounts ends with it.
set -euo pipefail

suite=$1 folder=$2
packages=(ca-certificates "${@:3}")
fail() { echo "root: $*" >&2 && exit 1; }
[ "$(id -u)" = 0 ] || fail "needs to be root, for a Debian of its own in $folder"
command -v debootstrap >/dev/null || fail "needs debootstrap"
unshare --mount --net --pid --fork sh -c 'mount -t tmpfs none /mnt && mount -t proc proc /proc' 2>/dev/null ||
    fail "can't mount or make namespaces here; in a container: 'docker run --privileged'"
[ ! -d "$folder" ] || exit 0

# shellcheck disable=SC2016 # apt's
mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 'Component: main' | awk '/\/debian\/$/ && !n++')
mkdir -p "$(dirname "$folder")"
log=$folder.log
rm -rf "$folder.new"
unshare --mount debootstrap --variant=minbase --include="$(IFS=, && echo "${packages[*]}")" "$suite" "$folder.new" \
    "${mirror:-http://deb.debian.org/debian}" >"$log" 2>&1 ||
    { tail -20 "$log" >&2; fail "debootstrap of $suite: $log"; }
# As this machine reaches its mirror.
apt-config dump | grep -E '^Acquire::(https?|Check-|Retries)' >"$folder.new/etc/apt/apt.conf.d/as-outside" || true
cp /etc/resolv.conf "$folder.new/etc/"
# No package that is installed may start a service.
printf '#!/bin/sh\nexit 101\n' >"$folder.new/usr/sbin/policy-rc.d"
chmod 755 "$folder.new/usr/sbin/policy-rc.d"
mv "$folder.new" "$folder"
