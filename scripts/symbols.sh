#!/usr/bin/env bash
# nginx loads modules RTLD_GLOBAL: the module must export what nginx looks for and nothing else, and the
# cache itself must know no symbol of nginx.
#
# The C library exports what begins with swrcache_ and nothing else.
#
# An nginx that the module is linked into exports nothing of it.
#
#   scripts/symbols.sh MODULE... NGINX LIBRARY.rlib libswrcache.so libswrcache.a
set -euo pipefail

expected=$'ngx_module_names\nngx_module_order\nngx_modules'
for file; do
    case $file in
    *libswrcache.so)
        if found=$(nm -D --defined-only "$file" | awk '{ print $NF }' | grep -v '^swrcache_'); then
            echo "symbols: $file exports [${found//$'\n'/ }]" >&2
            exit 1
        fi
        if found=$(nm -D "$file" | grep -m3 -E '\bngx_'); then
            echo "symbols: $file knows nginx: $found" >&2
            exit 1
        fi
        ;;
    */nginx)
        if found=$(nm -D --defined-only "$file" | awk '{ print $NF }' | grep -m3 -E '^(_R|_ZN|__?rust|rust_|swrcache_|ngx_http_swr|ZSTD_|Brotli)'); then
            echo "symbols: $file exports [${found//$'\n'/ }]" >&2
            exit 1
        fi
        ;;
    *.rlib | *.a)
        if found=$(nm "$file" 2>/dev/null | grep -m3 -E '\bngx_'); then
            echo "symbols: $file knows nginx: $found" >&2
            exit 1
        fi
        ;;
    *)
        found=$(nm -D --defined-only "$file" | awk '{ print $NF }' | sort)
        if [ "$found" != "$expected" ]; then
            echo "symbols: $file exports [${found//$'\n'/ }], expected [${expected//$'\n'/ }]" >&2
            exit 1
        fi
        ;;
    esac
    echo "symbols: $file ok"
done
