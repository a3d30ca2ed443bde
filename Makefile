# swrcache: an HTTP cache in front of any origin, as an nginx module.
#
#   make run      what it does, shown on a running nginx that stays until Ctrl-C
#   make module   the module for the vendored nginx; NGINX=/usr/sbin/nginx: for the one that is installed, in build/SERVER-VERSION;
#                 NGINX_SOURCE=folder: its sources, where Debian's nginx-dev has not brought them
#   make lib      the C library, which needs cargo and a C compiler alone; make install PREFIX=/usr/local LIBDIR=PREFIX/lib DESTDIR=:
#                 header, libraries, swrcache.pc, CMake package
#   make deb      Debian packages of the module, the C library and swrcachectl for this release, in build/deb; SUITE=trixie: for another
#   make ctl      swrcachectl, with its manual page and completions, in build/ctl

NGINX ?=
# Read by scripts/module.sh.
export NGINX_SOURCE DEBIAN_NGINX
# Read by scripts/deb.sh.
export SUITE

# One place for all that cargo builds. The module has folders of its own in there: another set of features.
export CARGO_TARGET_DIR ?= $(CURDIR)/target

PREFIX ?= /usr/local
LIBDIR ?= $(PREFIX)/lib
DESTDIR ?=

.PHONY: help run demo module lib install ctl deb clean

help:
	@sed -n 's/^#   //p' $(MAKEFILE_LIST)

module:
	@scripts/deps.sh scripts/packages.txt
	@scripts/module.sh $(NGINX)

# The show, then the server stays; `make demo` ends after the show, and fails if something was not as it should be.
run: module
	@scripts/demo.sh stay

demo: module
	@scripts/demo.sh

lib:
	@scripts/clib.sh lib

install: lib
	@LIBDIR="$(LIBDIR)" scripts/clib.sh install "$(PREFIX)" "$(DESTDIR)"

# The program for operators, with its manual page and the completions of shells.
ctl:
	@cargo build --release -p swrcachectl
	@mkdir -p build/ctl
	@cp $(CARGO_TARGET_DIR)/release/swrcachectl build/ctl/
	@build/ctl/swrcachectl man >build/ctl/swrcachectl.1
	@for shell in bash zsh fish; do build/ctl/swrcachectl completions $$shell >build/ctl/swrcachectl.$$shell; done

deb:
	@scripts/deps.sh packaging/packages.txt
	@scripts/deb.sh

clean:
	cargo clean
	rm -rf build

# What tests and measures; a tarball is without.
-include tests/targets.mk
