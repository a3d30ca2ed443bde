# swrcache: an HTTP cache in front of any origin, as an nginx module.
#
#   make run      what it does, shown on a running nginx that stays until Ctrl-C
#   make module   the module for the vendored nginx; NGINX=/usr/sbin/nginx: for the one that is installed, in build/SERVER-VERSION;
#                 NGINX_SOURCE=folder: its sources, where Debian's nginx-dev has not brought them
#   make lib      the C library, which needs cargo and a C compiler alone; make install PREFIX=/usr/local LIBDIR=PREFIX/lib DESTDIR=:
#                 header, libraries, swrcache.pc, CMake package
#   make dist     build/dist/swrcache-VERSION.tar.xz: what users get, in sources, with the crates that it is made of
#   make deb      Debian packages of the module, the C library and swrcachectl for this release, in build/deb
#   make test-dist, make test-deb   nginx's own build takes the module from the tarball; a new Debian takes the packages
#   make ctl      swrcachectl, with its manual page and completions, in build/ctl
#   make test     every test, the end-to-end tests on the vendored nginx and Debian's
#   make test-matrix   the end-to-end tests on the nginx of later Debian releases too: 1.22, 1.26, 1.28, 1.30
#   make test-wordpress   a real WordPress behind nginx-conf/wordpress-fastcgi.conf, with php-fpm and MariaDB, which it installs
#   make conformance   the suite of cache-tests.fyi, compared with tests/conformance/missed.txt; part of `make test`
#   make fuzz     each parser on arbitrary bytes, a while
#   make test-chaos   the store under thousands of deaths and orders of accesses, nginx under hundreds of deaths, and its
#                     first hit after a restart with a full cache
#   make miri     the store's protocols under Miri: undefined behaviour, races, weak order
#   make msrv     compiles with the oldest Rust that will do, Debian 13's
#   make check    formatting, lints, symbols
#   make deny     licences, sources and known faults of the crates in Cargo.lock, by deny.toml
#   make bench    measurements side by side with other caches into bench/RESULTS.md, five of them into README.md; and bench-store;
#                 parts of it, into build/bench: bench/servers/bench.py --only NAME
#   make bench-store   the store alone: density, hit ratios, throughput, scale, restarts; into bench/store.md; fails where a budget is missed

NGINX ?=
# Read by scripts/module.sh.
export NGINX_SOURCE DEBIAN_NGINX

# One place for all that cargo builds. The module has folders of its own in there: another set of features.
export CARGO_TARGET_DIR ?= $(CURDIR)/target

PREFIX ?= /usr/local
LIBDIR ?= $(PREFIX)/lib
DESTDIR ?=

.PHONY: dist deb test-dist test-deb ctl lib install hosts header abi sanitize help deps module modules run demo unit e2e conformance fuzz miri test test-matrix test-wordpress test-chaos bench bench-store bench-quick bench-c bench-deps msrv deny check clean

help:
	@sed -n 's/^#   //p' Makefile

deps:
	@scripts/deps.sh

module: deps
	@scripts/module.sh $(NGINX)

modules: deps
	@scripts/module.sh vendored
	@scripts/module.sh debian

# The program for operators, with its manual page and the completions of shells.
ctl:
	@cargo build --release -p swrcachectl
	@mkdir -p build/ctl
	@cp $(CARGO_TARGET_DIR)/release/swrcachectl build/ctl/
	@build/ctl/swrcachectl man >build/ctl/swrcachectl.1
	@for shell in bash zsh fish; do build/ctl/swrcachectl completions $$shell >build/ctl/swrcachectl.$$shell; done

dist:
	@scripts/dist.sh

deb:
	@scripts/deps.sh packaging/packages.txt
	@scripts/deb.sh

# KINDS: some of them.
KINDS ?= dynamic static patched
test-dist: deps dist
	@scripts/dist_test.sh $(KINDS)
	@scripts/test.sh $(foreach kind,$(filter-out patched,$(KINDS)),$(kind) cycle $(kind) delivery)

# As root.
test-deb: deb
	@scripts/deps.sh packaging/test-packages.txt
	@scripts/deb_test.sh

lib:
	@scripts/clib.sh lib

install: lib
	@LIBDIR="$(LIBDIR)" scripts/clib.sh install "$(PREFIX)" "$(DESTDIR)"

# The C library in real servers: examples/c. `make test` has this too.
hosts: deps
	@scripts/clib.sh hosts
	@scripts/test.sh hosts $(FILTER)

# All of examples/c and tests/c under AddressSanitizer, UndefinedBehaviorSanitizer, ThreadSanitizer and valgrind; some minutes.
# PART: plain, address, thread or valgrind alone; quick is the part that `make test` has.
sanitize: deps
	@scripts/sanitize.sh $(PART)

header:
	SWRCACHE_WRITE_HEADER=1 cargo test --quiet --test header the_committed_header

abi: lib
	@scripts/abi.sh write

# The show, then the server stays; `make demo` ends after the show, and fails if something was not as it should be.
run: module
	@scripts/demo.sh stay

demo: module
	@scripts/demo.sh

unit: deps
	@scripts/test.sh unit

# FILTER: a part of the tests' names.
e2e: module
	@scripts/test.sh vendored $(FILTER)

# ID: names of tests of the suite, to see what they send and receive.
conformance: module
	@scripts/conformance.sh $(ID)

test: modules
	@scripts/clib.sh hosts
	@scripts/sanitize.sh quick
	@scripts/test.sh unit vendored debian hosts conformance

# MATRIX: some of them.
MATRIX ?= debian trixie vendored forky
test-matrix: deps
	@set -e; for nginx in $(MATRIX); do scripts/module.sh $$nginx; done
	@scripts/test.sh $(MATRIX)

test-wordpress: module
	@scripts/deps.sh tests/wordpress/packages.txt
	@scripts/test.sh wordpress

# A quarter of an hour, 1 GiB on the disk. SWRCACHE_KILLS: how many deaths at random moments; SWRCACHE_SEED: which.
test-chaos: module
	@scripts/test.sh chaos

# Side by side with nginx's own cache, and with the other caches that `make bench-deps` has installed; a quarter of an hour,
# on a quiet machine. `make bench-quick` takes one and only shows that it runs.
bench: module
	@scripts/module.sh by-turns
	@bench/servers/bench.py --readme
	@bench/servers/store.py

# Some minutes, 6 GiB of memory.
bench-store: module
	@bench/servers/store.py

bench-quick: module
	@scripts/module.sh by-turns
	@bench/servers/bench.py --quick

# What the C library costs, beside the engine's own calls and others, by threads and by processes, into bench/c-library.md.
bench-c: deps
	@scripts/bench_c.sh

bench-deps: deps
	@scripts/deps.sh bench/servers/packages.txt
	@scripts/releases.sh peers

# SECONDS: how long each target runs.
fuzz:
	@scripts/fuzz.sh $(SECONDS)

# SEEDS: how many orders of each model, 4 unless told otherwise, the same ones each time. One order of all models takes some
# five minutes of a processor: ten minutes on two; an hour is the end.
miri:
	@scripts/miri.sh $(SEEDS)

check: modules
	cargo fmt --all --check
	cargo clippy --all-targets -- -D warnings
	cargo clippy --test e2e --test hosts --test wordpress -- -D warnings
	cargo clippy -p swrcachectl -p swrcache-axum --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --no-deps -p swrcache -p swrcache-axum
	cargo clippy --release -p swrcache-nginx --features vendored --target-dir $(CARGO_TARGET_DIR)/nginx -- -D warnings
	cargo build --release --lib
	scripts/symbols.sh build/vendored/*.so build/debian/*.so $(CARGO_TARGET_DIR)/release/libswrcache.rlib
	scripts/clib.sh lib
	scripts/symbols.sh build/c/lib/libswrcache.so build/c/lib/libswrcache.a
	scripts/abi.sh check

# With the oldest Rust that will do, in a root of its own; as root.
msrv:
	@scripts/msrv.sh

deny:
	@scripts/deny.sh

clean:
	cargo clean
	rm -rf build
