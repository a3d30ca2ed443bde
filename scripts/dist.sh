#!/usr/bin/env bash
# Makes build/dist/swrcache-VERSION.tar.xz of what is committed: all that users get, in sources, with the crates that it is made of,
# so that it builds without a network (scripts/dist_test.sh). What only testing and measuring need stays out.
#
# The same commit gives the same bytes. THIRD-PARTY-NOTICES in it has the licences of the crates, for what is made of them.
set -euo pipefail
cd "$(dirname "$0")/.."

version=$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -1)
name=swrcache-$version
out=$PWD/build/dist
only_here=(.ci .config .gitignore .github abi bench/{micro,servers,results.json} clippy.toml deny.toml examples/axum fuzz rustfmt.toml tests
    scripts/{abi,bench_c,conformance,deb_test,deny,dist,dist_test,fuzz,miri,msrv,releases,sanitize,symbols,test}.sh scripts/dist_crates.py)

[ -z "$(git status --porcelain --untracked-files=no)" ] || echo "dist: what is not committed stays out" >&2
time=$(git log -1 --format=%ct)
rm -rf "$out" && mkdir -p "$out"
git archive --prefix="$name/" HEAD | tar -x -C "$out"
cd "$out/$name"
rm -r "${only_here[@]}"

# Tests and benchmarks are not here, and no member of the workspace needs the crates of theirs.
awk '/^\[/ { is_out = /^\[(dev-dependencies|\[test\]|\[bench\])/ } /^#/ { about = about $0 "\n"; next }
    !is_out { printf "%s%s\n", about, $0 } { about = "" }' Cargo.toml |
    sed 's|"examples/axum", ||' | cat -s >manifest
mv manifest Cargo.toml
cp Cargo.lock lock
cargo metadata --format-version 1 >/dev/null
# Crates have gone from the list; none has another version.
if grep '^version = ' Cargo.lock | sort | comm -23 - <(grep '^version = ' lock | sort) | grep .; then
    echo "dist: Cargo.lock has other versions than the tests have seen" >&2
    exit 1
fi
rm lock
cargo vendor --quiet --locked
cat >>.cargo/config.toml <<'END'

[source.crates-io]
replace-with = "vendor"

[source.vendor]
directory = "vendor"
END
python3 "$OLDPWD/scripts/dist_crates.py" vendor THIRD-PARTY-NOTICES
cargo metadata --locked --offline --format-version 1 >/dev/null

cd "$out"
tar --sort=name --mtime="@$time" --owner=0 --group=0 --numeric-owner --mode=a+rX,u+w,go-w -c "$name" | xz -T1 -7 >"$name.tar.xz"
rm -r "${out:?}/$name"
echo "dist: build/dist/$name.tar.xz, $(stat -c %s "$name.tar.xz") bytes, sha256 $(sha256sum "$name.tar.xz" | cut -c1-64)"
