# SPDX-License-Identifier: Apache-2.0
# Installing, packaging, and trying both on other machines than this one. Part of the Makefile.

UNITDIR     ?= $(PREFIX)/lib/systemd/system
SYSUSERSDIR ?= $(PREFIX)/lib/sysusers.d
TMPFILESDIR ?= $(PREFIX)/lib/tmpfiles.d
MANDIR      ?= $(PREFIX)/share/man
DOCDIR      ?= $(PREFIX)/share/doc/zajel
STRIP       ?= strip
# Empty: symbols stay in the programs, for those who strip them themselves.
INSTALL_STRIP ?= -s --strip-program=$(STRIP)

define DEB_PACKAGES
debhelper            makes Debian packages
dpkg-dev             makes Debian packages
lintian              checks them
endef

define CROSS_PACKAGES
debootstrap          libraries of other machines and systems
dpkg-dev             names of architectures
gcc-aarch64-linux-gnu  the compiler for a 64-bit Pi
gcc-arm-linux-gnueabihf the compiler for a 32-bit Pi
qemu-user-static     runs what it made
endef

define ROOT_PACKAGES
debootstrap          another Debian in a folder
endef

export DEB_PACKAGES CROSS_PACKAGES ROOT_PACKAGES

.PHONY: install reference deb test-arm test-trixie test-fresh sysroot setup-deb setup-cross setup-root

setup-deb:
	@packaging/setup "$$BUILD_PACKAGES" "$$DEB_PACKAGES"
setup-cross:
	@packaging/setup "$$BUILD_PACKAGES" "$$TEST_PACKAGES" "$$CROSS_PACKAGES"
setup-root:
	@packaging/setup "$$ROOT_PACKAGES"

install: all
	install -d $(addprefix $(DESTDIR),$(PREFIX)/bin $(UNITDIR) $(SYSUSERSDIR) $(TMPFILESDIR) $(MANDIR)/man8 $(DOCDIR))
	install -m 755 $(INSTALL_STRIP) $(programs) $(DESTDIR)$(PREFIX)/bin
	for unit in zajel-relay zajel-gateway; do \
	    sed 's,@PREFIX@,$(PREFIX),g' packaging/$$unit.service | \
	        install -m 644 /dev/stdin $(DESTDIR)$(UNITDIR)/$$unit.service && \
	    install -m 644 packaging/$$unit.sysusers $(DESTDIR)$(SYSUSERSDIR)/$$unit.conf && \
	    install -m 644 packaging/$$unit.tmpfiles $(DESTDIR)$(TMPFILESDIR)/$$unit.conf || exit 1; \
	done
	install -m 644 packaging/man/*.8 $(DESTDIR)$(MANDIR)/man8
	install -m 644 README.md LICENSE packaging/configuration.md packaging/*.conf.example firmware-notes/operators.md \
	    $(DESTDIR)$(DOCDIR)

reference: setup-build
	+@$(again) VARIANT=release all
	@packaging/reference build/release >packaging/configuration.md

# --- Packages -------------------------------------------------------------------------------------

ARCH ?= $(shell dpkg --print-architecture 2>/dev/null)
native := $(shell dpkg --print-architecture 2>/dev/null)

deb: setup-deb $(if $(filter $(native),$(ARCH)),,sysroot-$(ARCH))
	@packaging/deb $(ARCH) $(if $(filter $(native),$(ARCH)),,$(CURDIR)/build/sysroot/bookworm-$(ARCH))

# --- Other machines and systems -------------------------------------------------------------------

sysroot-%: setup-cross
	@packaging/sysroot $* bookworm build/sysroot/bookworm-$* "$$BUILD_PACKAGES" "$$TEST_PACKAGES"

test-arm: test-arm64 test-armhf

test-arm64 test-armhf: test-%: sysroot-%
	+@$(again) VARIANT=$* ARCH=$* SYSROOT=$(CURDIR)/build/sysroot/bookworm-$* all unit-tests
	@ZAJEL_BUILD=build/$* ZAJEL_EMULATOR='$(emulator_$*) -L build/sysroot/bookworm-$*' tests/run unit

emulator_arm64 := qemu-aarch64-static
emulator_armhf := qemu-arm-static

.PHONY: test-arm64 test-armhf unit-tests
unit-tests: $(unit_tests)

# Of the packages for tests, those that the unit tests need.
test-trixie: setup-root
	@names=$$(printf '%s\n' "$$BUILD_PACKAGES" "$$TEST_PACKAGES" | sed 's/[: ].*//' | \
	    grep -E '^(lib|zlib|gcc|binutils|pkgconf|python3|openssl)' | paste -sd,); \
	packaging/root trixie build/root/trixie "make,$$names" 'make -s -j$(JOBS) VARIANT=trixie all unit-tests && \
	    ZAJEL_BUILD=build/trixie tests/run unit'

# README.md, "Try it": git and make are there, and nothing else.
test-fresh: setup-root
	@FRESH=1 packaging/root bookworm build/root/fresh 'make,git,sudo,ca-certificates' \
	    'YES=1 packaging/try-run && YES=1 make test$(if $(QUICK), QUICK=$(QUICK))'
