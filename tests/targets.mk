# The targets of a clone, beside those of Makefile.
#
#   make deps     installs what all of these need (scripts/packages.txt, tests/packages.txt)
#   make test     every test, the end-to-end tests on the vendored nginx and Debian's
#   make test-matrix   the end-to-end tests on the nginx of later Debian releases too: 1.22, 1.26, 1.28, 1.30
#   make test-wordpress   a real WordPress behind nginx-conf/wordpress-fastcgi.conf, with php-fpm and MariaDB, which it installs
#   make conformance   the suite of cache-tests.fyi, compared with tests/conformance/missed.txt; part of `make test`
#   make dist     build/dist/swrcache-VERSION.tar.xz: what users get, in sources, with the crates that it is made of
#   make test-dist, make test-deb   nginx's own build takes the module from the tarball; a new Debian takes the packages
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

.PHONY: deps modules dist test-dist test-deb hosts sanitize header abi unit e2e conformance test test-matrix test-wordpress test-chaos \
    bench bench-store bench-quick bench-c bench-deps fuzz miri check msrv deny

deps:
	@scripts/deps.sh

modules: deps
	@scripts/module.sh vendored
	@scripts/module.sh debian

dist:
	@scripts/dist.sh

# KINDS: some of them.
KINDS ?= dynamic static patched
test-dist: deps dist
	@scripts/dist_test.sh $(KINDS)
	@scripts/test.sh $(foreach kind,$(filter-out patched,$(KINDS)),$(kind) cycle $(kind) delivery)

# As root. SUITE: another release of Debian.
test-deb:
	@scripts/deps.sh packaging/test-packages.txt
	@$(MAKE) --no-print-directory deb
	@scripts/deb_test.sh

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

unit: deps
	@scripts/test.sh unit

# FILTER: a part of the tests' names.
e2e: deps module
	@scripts/test.sh vendored $(FILTER)

# ID: names of tests of the suite, to see what they send and receive.
conformance: deps module
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

test-wordpress: deps module
	@scripts/deps.sh tests/wordpress/packages.txt
	@scripts/test.sh wordpress

# A quarter of an hour, 1 GiB on the disk. SWRCACHE_KILLS: how many deaths at random moments; SWRCACHE_SEED: which.
test-chaos: deps module
	@scripts/test.sh chaos

# Side by side with nginx's own cache, and with the other caches that `make bench-deps` has installed; a quarter of an hour,
# on a quiet machine. `make bench-quick` takes one and only shows that it runs.
bench: deps module
	@scripts/module.sh by-turns
	@bench/servers/bench.py --readme
	@bench/servers/store.py

# Some minutes, 6 GiB of memory.
bench-store: deps module
	@bench/servers/store.py

bench-quick: deps module
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
	RUSTFLAGS="--cfg fuzzing" cargo check --locked --manifest-path fuzz/Cargo.toml --target-dir $(CARGO_TARGET_DIR)/fuzz
	RUSTDOCFLAGS="-D warnings" cargo doc --no-deps -p swrcache -p swrcache-axum
	cargo clippy --release -p swrcache-nginx --features vendored --target-dir $(CARGO_TARGET_DIR)/nginx -- -D warnings
	cargo build --release --lib
	scripts/symbols.sh build/vendored/*.so build/debian/*.so $(CARGO_TARGET_DIR)/release/libswrcache.rlib
	scripts/clib.sh lib
	scripts/symbols.sh build/c/lib/libswrcache.so build/c/lib/libswrcache.a
	scripts/abi.sh check

# With the oldest Rust that will do, in a root of its own; as root.
msrv:
	@scripts/deps.sh packaging/test-packages.txt
	@scripts/msrv.sh

deny:
	@scripts/deny.sh
