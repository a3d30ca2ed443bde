#!/usr/bin/env bash
# Builds the C library and what is linked with it.
#
#   scripts/clib.sh lib     build/c/lib: libswrcache.so with its links, libswrcache.a
#   scripts/clib.sh install PREFIX [DESTDIR]   LIBDIR (default: PREFIX/lib) is where libraries go; STRIP (default: strip) strips them
#   scripts/clib.sh hosts   the examples in examples/c, by gcc and clang, shared and static -> build/c/COMPILER-KIND/
set -euo pipefail
cd "$(dirname "$0")/.."

target=${CARGO_TARGET_DIR:-$PWD/target}
lib=build/c/lib
version=$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -1)
soname=$(sed -n 's/.*-soname,\(libswrcache.so.[0-9]*\)".*/\1/p' build.rs)
strict=(-g -O2 -Wall -Wextra -Werror -pedantic -Iinclude)

# put FILE FOLDER NAME: renames into place, and only what has changed, so that what is linked is not linked again.
put() {
    cmp -s "$1" "$2/$3" && return
    cp "$1" "$2/$3.new" && mv "$2/$3.new" "$2/$3"
}

library() {
    mkdir -p $lib
    # Without an rlib beside them cargo optimises across crates. The whole at once takes a sixth off a lookup.
    local whole=(--config 'profile.release.lto="fat"' --config profile.release.codegen-units=1) kind
    # ENCODE=no: without encoders, which are more than half of its size.
    local features=ffi
    [ "${ENCODE:-yes}" = no ] || features+=,encode
    for kind in cdylib staticlib; do
        cargo rustc --quiet --release --lib --no-default-features --features "$features" --crate-type $kind --target-dir "$target/clib" "${whole[@]}"
    done
    put "$target/clib/release/libswrcache.so" $lib "libswrcache.so.$version"
    put "$target/clib/release/libswrcache.a" $lib libswrcache.a
    ln -sf "libswrcache.so.$version" "$lib/$soname"
    ln -sf "$soname" $lib/libswrcache.so
}

# into PREFIX [DESTDIR]: header, libraries, pkg-config file, CMake package and licence; LIBDIR is where libraries go
into() {
    local prefix=$1 root=${2:-} libdir=${LIBDIR:-$1/lib}
    case $prefix$libdir in /*/*) ;; *) echo "clib: PREFIX and LIBDIR must begin with /" >&2 && exit 2 ;; esac
    local to=$root$libdir
    local pkgconfig=$to/pkgconfig cmake=$to/cmake/swrcache licence=$root$prefix/share/doc/swrcache
    local fill=(-e "s|@PREFIX@|$prefix|" -e "s|@LIBDIR@|$libdir|" -e "s|@VERSION@|$version|" -e "s|@SONAME@|$soname|"
        -e "s|@ABI@|${soname##*.}|")
    install -d "$root$prefix/include" "$to" "$pkgconfig" "$cmake" "$licence"
    install -m 644 include/swrcache.h include/swrcache.hpp "$root$prefix/include"
    install -m 755 "$lib/libswrcache.so.$version" "$to"
    "${STRIP:-strip}" --strip-unneeded "$to/libswrcache.so.$version"
    install -m 644 $lib/libswrcache.a "$to"
    "${STRIP:-strip}" --strip-debug "$to/libswrcache.a"
    install -m 644 LICENSE "$licence"
    ln -sf "libswrcache.so.$version" "$to/$soname"
    ln -sf "$soname" "$to/libswrcache.so"
    sed "${fill[@]}" packaging/swrcache.pc.in >"$pkgconfig/swrcache.pc"
    for file in swrcacheConfig.cmake swrcacheConfigVersion.cmake; do
        sed "${fill[@]}" packaging/$file >"$cmake/$file"
    done
}

# link COMPILER KIND NAME SOURCES... -- LIBRARIES...
link() {
    local compiler=$1 kind=$2 out=build/c/$1-$2/$3 newest=0 sources=() std
    shift 3
    while [ "$1" != -- ]; do
        sources+=("$1") && shift
    done
    shift
    case $compiler in *++) std=-std=c++17 ;; *) std=-std=c11 ;; esac
    for source in "${sources[@]}" include/* examples/c/*.h tests/c/*.h $lib/libswrcache.a "$lib/libswrcache.so.$version"; do
        [ "$out" -nt "$source" ] || newest=1
    done
    [ $newest = 0 ] && return
    mkdir -p "$(dirname "$out")"
    local with
    case $kind in
    shared) with=(-L$lib -lswrcache "-Wl,-rpath,$PWD/$lib") ;;
    static) with=($lib/libswrcache.a -lpthread -ldl -lm) ;;
    esac
    "$compiler" $std "${strict[@]}" ${CFLAGS:-} "${sources[@]}" -o "$out.new" "${with[@]}" "$@"
    mv "$out.new" "$out"
}

hosts() {
    local compiler kind cxx
    for compiler in gcc clang; do
        cxx=g++
        [ $compiler = gcc ] || cxx=clang++
        for kind in shared static; do
            link $compiler $kind evhttp_proxy examples/c/evhttp_proxy.c examples/c/proxy.c -- -levent
            link $compiler $kind prefork_server examples/c/prefork_server.c examples/c/proxy.c -- -levent
            link $compiler $kind mhd_server examples/c/mhd_server.c -- -lmicrohttpd -lcurl -lpthread
            link $compiler $kind soundness tests/c/*.c -- -lpthread
            link $cxx $kind cxx_server examples/c/cxx_server.cpp -- -lpthread
        done
    done
}

if [ "${1:-}" = install ]; then
    into "${@:2}"
    exit
fi
for what in "${@:-lib}"; do
    case $what in
    lib) library ;;
    hosts)
        library
        hosts
        ;;
    *) echo "clib: what is $what?" >&2 && exit 2 ;;
    esac
done
