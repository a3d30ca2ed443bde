#!/usr/bin/env bash
# The binary interface of the C library, as libabigail sees it through the header.
#
#   scripts/abi.sh check   fails on a change that is not recorded in abi/, unless the SONAME has changed too
#   scripts/abi.sh write   records the interface as it is
#
# What is dumped is a library of stubs made of include/swrcache.h, with the constants as an enum: the debug information of the Rust
# library tells of everything inside it. That header and library agree, tests/sources/header and the comparison of symbols below say.
set -euo pipefail
cd "$(dirname "$0")/.."

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
soname=$(sed -n 's/.*-soname,\(libswrcache.so.[0-9]*\)".*/\1/p' build.rs)
recorded=abi/libswrcache.abi
library=build/c/lib/libswrcache.so

python3 - >"$work/stubs.c" <<'PY'
import re
text = open("include/swrcache.h").read()
print('#include "swrcache.h"')
names = re.findall(r"^(?:#define|  )? ?(SWRCACHE_\w+) (?:= )?\d+,?$", text, re.M)
print("enum swrcache_constants {", ", ".join(f"{n}_ = {n}" for n in names), "};")
print("void swrcache_constants(enum swrcache_constants constant) { (void)constant; }")
for prototype in re.findall(r"^(?:int|void|uint32_t|const char \*) ?\*?swrcache_\w+\([^;]*\);", text, re.M):
    print(prototype[:-1], "{ __builtin_trap(); }")
PY
# Without the folder's name, which differs from run to run.
gcc -g -fPIC -shared -Iinclude -ffile-prefix-map="$work/=" -Wl,-soname,"$soname" -o "$work/stubs.so" "$work/stubs.c"
abidw --no-comp-dir-path --no-show-locs --no-corpus-path --out-file "$work/now.abi" "$work/stubs.so"

exported() { nm -D --defined-only "$1" | awk '{ print $NF }' | grep -v '^swrcache_constants$' | sort; }
if ! diff <(exported "$work/stubs.so") <(exported $library) >"$work/symbols"; then
    echo "abi: the header and $library have not the same functions:" >&2
    cat "$work/symbols" >&2
    exit 1
fi

case ${1:-check} in
write)
    cp "$work/now.abi" $recorded
    echo "abi: $recorded written"
    ;;
check)
    was=$(sed -n "s/.*soname='\([^']*\)'.*/\1/p" $recorded | head -1)
    if abidiff "$recorded" "$work/now.abi" >"$work/report" 2>&1; then
        echo "abi: as recorded ($soname)"
    elif [ "$was" != "$soname" ]; then
        echo "abi: another interface, and another SONAME ($was, now $soname); 'make abi' records it"
    else
        cat "$work/report"
        echo "abi: the interface is not what $recorded says. Is it compatible (new functions, new members at the end of structs" >&2
        echo "abi: with a struct_size)? Then 'make abi' records it. If not, it needs another SONAME: build.rs." >&2
        exit 1
    fi
    ;;
esac
