#!/usr/bin/env bash
# Runs tests/c/soundness.c under AddressSanitizer with UndefinedBehaviorSanitizer (gcc and clang), and under valgrind; and the
# hosts' tests on hosts built with the sanitisers. Says so if a sanitiser is not really in.
set -euo pipefail
cd "$(dirname "$0")/.."

scripts/clib.sh hosts
out=build/c/sanitized
mkdir -p $out
lib=build/c/lib/libswrcache.a
flags=(-g -O1 -fno-omit-frame-pointer -fsanitize=address,undefined -fno-sanitize-recover=all -Iinclude)
rest=(-lpthread -ldl -lm)

# linked PROGRAM: both sanitisers are in it, and the first one speaks up.
linked() {
    for symbol in __asan_init __ubsan_handle_; do
        if ! nm "$1" | grep $symbol >/dev/null; then
            echo "sanitize: $1 lacks $symbol" >&2
            exit 1
        fi
    done
}

for compiler in gcc clang; do
    $compiler -std=c11 "${flags[@]}" tests/c/soundness.c -o $out/soundness-$compiler $lib "${rest[@]}"
    linked $out/soundness-$compiler
    echo 'int main(int c, char **v) { char a[4]; (void)v; return a[c + 3]; }' |
        $compiler "${flags[@]}" -x c - -o $out/wrong-$compiler
    if $out/wrong-$compiler 2>/dev/null; then
        echo "sanitize: $compiler's sanitisers see nothing" >&2
        exit 1
    fi
    checks=$($out/soundness-$compiler)
    echo "sanitize: soundness by $compiler: $checks"
done

checks=$(valgrind --quiet --error-exitcode=9 --leak-check=full --show-leak-kinds=definite \
    --errors-for-leak-kinds=definite --fair-sched=yes build/c/gcc-static/soundness)
echo "sanitize: soundness under valgrind: $checks"

for build in gcc-shared gcc-static clang-shared clang-static; do
    mkdir -p $out/hosts/$build
    compiler=${build%-*}
    for host in evhttp_proxy prefork_server; do
        $compiler -std=c11 "${flags[@]}" examples/c/$host.c examples/c/proxy.c -o $out/hosts/$build/$host $lib -levent "${rest[@]}"
    done
    $compiler -std=c11 "${flags[@]}" examples/c/mhd_server.c -o $out/hosts/$build/mhd_server $lib -lmicrohttpd -lcurl "${rest[@]}"
    cxx=g++
    [ "$compiler" = gcc ] || cxx=clang++
    mkdir -p "$out/hosts/$cxx-${build#*-}"
    $cxx -std=c++17 "${flags[@]}" examples/c/cxx_server.cpp -o "$out/hosts/$cxx-${build#*-}/cxx_server" $lib "${rest[@]}"
done
SWR_C=$PWD/$out/hosts cargo test --quiet --test hosts -- cycle prefork
