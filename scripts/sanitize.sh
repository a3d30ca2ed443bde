#!/usr/bin/env bash
# The C library under sanitisers and valgrind: tests/c (misuse of all kinds, many threads), and the hosts of examples/c
# with the script that they have to pass. Each tool first has to catch a fault made on purpose.
#
#   quick       misuse alone: a part of plain
#   plain       the library as it is, C under AddressSanitizer and UndefinedBehaviorSanitizer, by gcc and clang
#   address     the library under AddressSanitizer too
#   thread      the library, the standard library and the threaded hosts under ThreadSanitizer
#   valgrind    the library as it is, with gcc's hosts
#
# `address` and `thread` need a nightly toolchain with its source (rustup toolchain install nightly --component rust-src);
# without one they are left out, and that is said. Without arguments: all.
set -euo pipefail
cd "$(dirname "$0")/.."

out=$PWD/build/c/sanitized
target=${CARGO_TARGET_DIR:-$PWD/target}
host=$(rustc -vV | sed -n 's/^host: //p')
plain=$PWD/build/c/lib/libswrcache.a
system=(-lpthread -ldl -lm)

fail() { echo "sanitize: $*" >&2 && exit 1; }

# must_catch WHAT PROGRAM: a program with a fault, which has to be noticed
must_catch() {
    if "${@:2}" >/dev/null 2>&1; then
        fail "$1 does not notice a fault made on purpose"
    fi
}

# faults FOLDER COMMAND...: programs with faults, built by a command that takes a source and what to make of it
faults() {
    local folder=$1
    cat >"$folder/overrun.c" <<'C'
#include <stdlib.h>
int main(int c, char **v) { char *volatile a = malloc(4); (void)v; a[c + 3] = 1; c = a[c + 3]; free(a); return c - 1; }
C
    # The key is said to be longer than it is: the library reads beyond its end.
    cat >"$folder/lie.c" <<'C'
#include <stdlib.h>
#include "swrcache.h"
int main(void) {
    swrcache_options options = {.struct_size = sizeof options, .size = 8 << 20};
    swrcache_decision decision = {.struct_size = sizeof decision};
    swrcache_request request = {.struct_size = sizeof request, .method = "GET", .key_len = 64};
    swrcache_cache *cache;
    swrcache_policy *policy;
    request.key = calloc(1, 4);
    if (swrcache_open(&options, &cache) || swrcache_policy_new(&policy))
        return 0;
    return swrcache_lookup(cache, policy, &request, &decision);
}
C
    # Two threads have the library write to the same decision.
    cat >"$folder/race.c" <<'C'
#include <pthread.h>
#include "swrcache.h"
static swrcache_cache *cache;
static swrcache_policy *policy;
static swrcache_decision decision = {.struct_size = sizeof decision};
static void *look(void *arg) {
    swrcache_request request = {.struct_size = sizeof request, .method = "PUT", .key = "k", .key_len = 1};
    for (int i = 0; i < 1000; i++)
        swrcache_lookup(cache, policy, &request, &decision);
    return arg;
}
int main(void) {
    swrcache_options options = {.struct_size = sizeof options, .size = 8 << 20};
    pthread_t thread;
    if (swrcache_open(&options, &cache) || swrcache_policy_new(&policy))
        return 0;
    pthread_create(&thread, 0, look, 0);
    look(0);
    return pthread_join(thread, 0);
}
C
    for fault in overrun lie race; do
        "${@:2}" "$folder/$fault.c" "$folder/$fault"
    done
}

# Below, `made` compiles one program: made SOURCES... PROGRAM -- LIBRARIES...

# hosts FOLDER CC CXX: the hosts as the tests want them, in FOLDER/COMPILER-KIND
hosts() {
    local folder=$1 cc=$2 cxx=$3
    mkdir -p "$folder/$cc-static" "$folder/$cxx-static"
    made "$cc" examples/c/evhttp_proxy.c examples/c/proxy.c "$folder/$cc-static/evhttp_proxy" -- -levent
    made "$cc" examples/c/prefork_server.c examples/c/proxy.c "$folder/$cc-static/prefork_server" -- -levent
    made "$cc" examples/c/mhd_server.c "$folder/$cc-static/mhd_server" -- -lmicrohttpd -lcurl
    made "$cxx" examples/c/cxx_server.cpp "$folder/$cxx-static/cxx_server" --
}

# alike FOLDER CC CXX: the other builds that the tests name are these
alike() {
    local name
    for name in gcc clang; do
        [ -e "$1/$name-static" ] || ln -sfn "$2-static" "$1/$name-static"
        [ -e "$1/$name-shared" ] || ln -sfn "$2-static" "$1/$name-shared"
    done
    for name in g++ clang++; do
        [ -e "$1/$name-static" ] || ln -sfn "$3-static" "$1/$name-static"
        [ -e "$1/$name-shared" ] || ln -sfn "$3-static" "$1/$name-shared"
    done
}

# script FOLDER TESTS...: the hosts' tests on the hosts there
script() {
    SWR_C=$1 cargo test --quiet --test hosts -- "${@:2}"
}

# made COMPILER SOURCES... PROGRAM -- LIBRARIES...; flags, lib and runtime are the caller's
made() {
    local compiler=$1 std=-std=c11 objects=() words=() program
    shift
    while [ "$1" != -- ]; do words+=("$1") && shift; done
    shift
    program=${words[-1]}
    unset 'words[-1]'
    case $compiler in *++) std=-std=c++17 ;; esac
    for source in "${words[@]}"; do
        objects+=("$program.$(basename "$source").o")
        "$compiler" $std "${flags[@]}" -Iinclude -c "$source" -o "${objects[-1]}"
    done
    "$compiler" "${objects[@]}" -o "$program" "$lib" "${runtime[@]}" "$@" "${system[@]}"
}

in_one() { made "$cc" "$1" "$2" --; }

has_nightly() {
    [ -d "$(rustc +nightly --print sysroot 2>/dev/null)/lib/rustlib/src/rust/library" ] && return
    echo "sanitize: no nightly toolchain with rust-src: $1 is left out" >&2
    return 1
}

# instrumented NAME: the library and the standard library, built with a sanitiser; sets lib and runtime
instrumented() {
    RUSTFLAGS=-Zsanitizer=$1 cargo +nightly rustc --quiet -Zbuild-std --target "$host" --release --lib --crate-type staticlib \
        --target-dir "$target/sanitize-$1"
    lib=$target/sanitize-$1/$host/release/libswrcache.a
    # Rust's own: the compilers' may be older than what its code asks for.
    local short=${1/address/asan}
    short=${short/thread/tsan}
    runtime=(-Wl,--whole-archive "$(rustc +nightly --print sysroot)/lib/rustlib/$host/lib/librustc-nightly_rt.$short.a"
        -Wl,--no-whole-archive -rdynamic -lrt -lstdc++)
}

# misuse_plain CC: tests/c
misuse_plain() {
    local cc=$1 folder=$out/plain/$1 checks
    flags=(-g -O1 -fno-omit-frame-pointer -fsanitize=address,undefined -fno-sanitize-recover=all)
    lib=$plain runtime=(-fsanitize=address,undefined)
    mkdir -p "$folder"
    faults "$folder" in_one
    for symbol in __asan_init __ubsan_handle_; do
        nm "$folder/overrun" | grep $symbol >/dev/null || fail "$folder/overrun lacks $symbol"
    done
    must_catch "$cc's AddressSanitizer" "$folder/overrun"
    must_catch "$cc's AddressSanitizer in the library" "$folder/lie"
    made "$cc" tests/c/*.c "$folder/soundness" --
    checks=$("$folder/soundness")
    echo "sanitize: misuse, C under $cc's address and undefined: $checks"
}

# What `make test` has.
quick() { misuse_plain gcc; }

plain() {
    local cc cxx folder
    for cc in gcc clang; do
        misuse_plain $cc
        cxx=g++
        [ $cc = gcc ] || cxx=clang++
        folder=$out/plain/$cc
        hosts "$folder" $cc $cxx
        alike "$folder" $cc $cxx
        script "$folder" cycle prefork
    done
}

address() {
    has_nightly address || return 0
    local cc=clang folder=$out/address checks
    flags=(-g -O1 -fno-omit-frame-pointer -fsanitize=address)
    mkdir -p "$folder"
    instrumented address
    faults "$folder" in_one
    must_catch AddressSanitizer "$folder/overrun"
    must_catch "AddressSanitizer in the library" "$folder/lie"
    made "$cc" tests/c/*.c "$folder/soundness" --
    checks=$("$folder/soundness")
    echo "sanitize: misuse, all under address: $checks"
    hosts "$folder" clang clang++
    alike "$folder" clang clang++
    script "$folder" cycle prefork
}

thread() {
    has_nightly thread || return 0
    local cc=clang folder=$out/thread checks
    flags=(-g -O1 -fsanitize=thread)
    mkdir -p "$folder"
    instrumented thread
    faults "$folder" in_one
    must_catch ThreadSanitizer "$folder/race"
    made "$cc" tests/c/*.c "$folder/soundness" --
    checks=$("$folder/soundness" threads)
    echo "sanitize: threads, all under thread: $checks"
    hosts "$folder" clang clang++
    alike "$folder" clang clang++
    script "$folder" mhd cxx
}

valgrind_() {
    local cc=gcc folder=$out/valgrind checks name
    flags=(-g -O1) lib=$plain runtime=()
    mkdir -p "$folder/bin"
    local run=(valgrind --quiet --error-exitcode=9 --leak-check=full --show-leak-kinds=definite --errors-for-leak-kinds=definite
        --fair-sched=yes)
    faults "$folder" in_one
    must_catch valgrind "${run[@]}" "$folder/overrun"
    must_catch "valgrind in the library" "${run[@]}" "$folder/lie"
    made "$cc" tests/c/*.c "$folder/soundness" --
    checks=$("${run[@]}" "$folder/soundness")
    echo "sanitize: misuse under valgrind: $checks"
    hosts "$folder/bin" gcc g++
    for name in gcc-static/evhttp_proxy gcc-static/prefork_server gcc-static/mhd_server g++-static/cxx_server; do
        mkdir -p "$folder/hosts/${name%/*}"
        printf '#!/bin/sh\nexec %s "%s" "$@"\n' "${run[*]}" "$folder/bin/$name" >"$folder/hosts/$name"
        chmod +x "$folder/hosts/$name"
    done
    alike "$folder/hosts" gcc g++
    SWR_SLOW=1 script "$folder/hosts" gcc --test-threads=1
}

scripts/clib.sh lib
for what in "${@:-plain address thread valgrind}"; do
    for part in $what; do
        case $part in
        quick | plain | address | thread) $part ;;
        valgrind) valgrind_ ;;
        *) fail "what is $part?" ;;
        esac
    done
done
