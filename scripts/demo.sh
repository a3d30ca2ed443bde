#!/usr/bin/env bash
# Shows on a real nginx what the cache does, with nginx-conf/minimal.conf and an origin that takes seconds, and checks
# that what it says is so.
#
#   scripts/demo.sh        ends after the show, with 1 if anything was not as it should be
#   scripts/demo.sh stay   leaves nginx and the origin running until Ctrl-C
set -uo pipefail
cd "$(dirname "$0")/.."

seconds=2
built=$(realpath "${SWR_BUILD:-build/vendored}")
target=${CARGO_TARGET_DIR:-target}
nginx_pid='' origin_pid=''
failed=0

# The standard library is all it uses; cargo would build what every test needs first.
mkdir -p "$target"
rustc --edition 2024 -O -o "$target/demo_origin" examples/demo_origin.rs || exit 1
# Workers run as nobody under root, so the folder must be open to others.
dir=$(mktemp -d) && chmod 755 "$dir"

# shellcheck disable=SC2317 # called by the trap
finish() {
    trap - EXIT INT TERM
    for pid in $nginx_pid $origin_pid; do
        kill -TERM "$pid" 2>/dev/null
        wait "$pid" 2>/dev/null
    done
    rm -rf "$dir"
}
trap finish EXIT
trap 'echo; exit $failed' INT TERM

free_port() {
    local port
    while :; do
        port=$((12000 + RANDOM % 20000))
        (: <"/dev/tcp/127.0.0.1/$port") 2>/dev/null || break
    done
    echo $port
}

wait_for() {
    for _ in $(seq 100); do
        (: <"/dev/tcp/127.0.0.1/$1") 2>/dev/null && return
        sleep 0.05
    done
    echo "FAILED: nothing listens on port $1" >&2
    [ -f "$dir/error.log" ] && cat "$dir/error.log" >&2
    exit 1
}

start_origin() {
    "$target/demo_origin" "127.0.0.1:$origin" $seconds &
    origin_pid=$!
    wait_for "$origin"
}

stop_origin() {
    kill "$origin_pid"
    wait "$origin_pid" 2>/dev/null
    origin_pid=''
}

say() { printf '\n%s\n' "$*"; }

# ask PATH [CURL ARGUMENTS...]: shows the request and its answer; keeps them in $head, $body and $took (milliseconds).
ask() {
    local path=$1 took_s
    shift
    rm -f "$dir/body"
    took_s=$(curl -sS -o "$dir/body" -D "$dir/head" -w '%{time_total}' "$@" "$url$path")
    took=$(awk -v s="${took_s:-0}" 'BEGIN { printf "%d", s * 1000 }')
    head=$(tr -d '\r' <"$dir/head")
    body=$(cat "$dir/body" 2>/dev/null)
    printf '  %-10s Age: %-3s %5d ms   %s %s\n' "$(field X-Cache)" "$(field Age)" "$took" \
        "$(head -1 <<<"$head" | cut -d' ' -f2)" "$body"
}

field() { sed -n "s/^$1: //Ip" <<<"$head" | head -1; }

# must WHAT, then a condition: says so when it does not hold.
must() {
    local what=$1
    shift
    "$@" || { echo "  FAILED: expected $what"; failed=1; }
}

is() { [ "$(field X-Cache)" = "$1" ]; }
quick() { [ "$took" -lt 500 ]; }

origin=$(free_port)
port=$(free_port)
while [ "$port" = "$origin" ]; do port=$(free_port); done
url=http://127.0.0.1:$port

echo 'types {}' >"$dir/mime.types"
sed -e "s|modules/ngx_http_swr_cache_module.so|$built/ngx_http_swr_cache_module.so|" \
    -e "s|listen 8080|listen 127.0.0.1:$port|" -e "s|127.0.0.1:3000|127.0.0.1:$origin|" \
    -e "s|^http {|http { access_log off; client_body_temp_path temp; proxy_temp_path temp; fastcgi_temp_path temp; \
uwsgi_temp_path temp; scgi_temp_path temp;|" nginx-conf/minimal.conf >"$dir/nginx.conf"

start_origin
"$built/nginx" -p "$dir/" -c nginx.conf -e error.log -g 'daemon off; pid nginx.pid; error_log error.log notice;' &
nginx_pid=$!
wait_for "$port"

echo "nginx with nginx-conf/minimal.conf is on $url; the origin takes $seconds s for each page and says"
echo "  Cache-Control: max-age=4, stale-while-revalidate=6, stale-if-error=3600"

say "The first visitor waits for the origin:"
ask /news
must "a MISS that takes as long as the origin" is MISS
must "at least $seconds s" [ "$took" -ge $((seconds * 1000)) ]
first=$body

say "All others are served from memory:"
ask /news
must "a HIT" is HIT
must "at once" quick

say "Four seconds after it was asked for, the page has expired. The first visitor after that, like everyone else, gets
it at once, while the origin works on the new one in the background:"
sleep 2.5
for _ in 1 2 3; do
    ask /news
    must "UPDATING" is UPDATING
    must "at once" quick
    must "the page as it was" [ "$body" = "$first" ]
done
must "an Age beyond max-age" [ "$(field Age)" -ge 4 ]

say "When the origin is done, the new page is there; its Age starts over:"
sleep $seconds.5
ask /news
must "a HIT" is HIT
must "at once" quick
must "the new page" [ "$body" != "$first" ]
must "an Age below max-age" [ "$(field Age)" -lt 4 ]
second=$body

say "A page without ETag and Last-Modified. The cache gives it both, so browsers can ask whether it has changed:"
ask /about
must "a MISS" is MISS
ask /about
must "a HIT" is HIT
modified=$(field Last-Modified)
etag=$(field ETag)
echo "  Last-Modified: $modified"
echo "  ETag: $etag"
must "a Last-Modified" [ -n "$modified" ]

say "Now the origin is stopped, and the news grow old beyond the window for refreshing. They are still there:"
stop_origin
sleep 8
ask /news
must "STALE" is STALE
must "the last page" [ "$body" = "$second" ]

say "And a browser that asks whether /about has changed since then gets its answer without an origin, in a 304:"
ask /about -H "If-Modified-Since: $modified"
must "a 304" grep -q '^HTTP/1.1 304' <<<"$head"
must "at once" quick
ask /about -H "If-None-Match: $etag"
must "a 304" grep -q '^HTTP/1.1 304' <<<"$head"

if grep -E '\[(alert|crit|emerg)\]|panicked' "$dir/error.log"; then
    echo "FAILED: the lines above are in nginx's error log"
    failed=1
fi
say "$([ $failed = 0 ] && echo "All as it should be." || echo "FAILED: see above.")"

if [ "${1:-}" = stay ]; then
    start_origin
    say "The origin is back. Both stay until Ctrl-C; try:"
    echo "  curl -i $url/news"
    # An interrupt ends the wait, and the trap cleans up.
    wait "$nginx_pid"
fi
exit $failed
