# SPDX-License-Identifier: Apache-2.0
# Builds, tests and installs Zajel. GNU make 4.3 or newer.
#
#   make            the three programs, as build/release/zajel-*
#   make setup      installs the Debian packages that are missing (build, test and lint)
#   make run        the whole path on this machine: relay, gateway, practice WhatsApp (RESET=1 starts afresh)
#   make test       every test (QUICK=1: the short ones)
#   make bench      prints the figures
#   make lint       the rules of the code, by script
#   make asan       unit and daemon tests under the address and undefined behaviour sanitizers
#   make valgrind   unit tests under valgrind
#   make format     lays the C code out by .clang-format
#   make dictionary trains a compression dictionary (CORPUS=FILE, one JSON message a line, gzip or plain)
#   make reference  writes the configuration reference anew from the programs' own tables
#   make install    to $(DESTDIR)$(PREFIX)
#   make deb        Debian packages, into build/deb (ARCH=arm64 or armhf: for the Pi)
#   make test-arm, make test-trixie, make test-fresh
#                   unit tests of the ARM builds; unit tests on Debian 13; the README's commands on a bare Debian
#
# Objects lie under build/<variant>/. `make build/asan/zajel-relay` builds one file of a variant.
# ROOMS="sync/protocol sync/kit" links the tests with these rooms alone, while others are in pieces.

.DELETE_ON_ERROR:
.SECONDARY:
.SUFFIXES:
MAKEFLAGS += --no-builtin-rules

PREFIX      ?= /usr/local
JOBS        ?= $(shell nproc)
ROOMS       ?= relay sync/gateway sync/sandbox sync/kit sync/protocol

# --- Packages -------------------------------------------------------------------------------------
# One line each: package, or package:command where any program of that name will do; then what for.

define BUILD_PACKAGES
gcc:cc               the C compiler
libc6-dev            the C library
binutils:ar          the linker and archiver
pkgconf:pkg-config   where the libraries are
libwebsockets-dev    the link between branch and centre
libssl-dev           TLS sessions of the link
libmicrohttpd-dev    every other HTTP server
libcurl4-openssl-dev the way to WhatsApp
libsqlite3-dev       the stores
liblz4-dev           compression
libmbedtls-dev       sealing and certificates
libjansson-dev       JSON
libinih-dev          configuration files
libcrypt-dev         passwords
libqrencode-dev      enrolment codes
endef

define TEST_PACKAGES
libcmocka-dev        unit tests
openssl:openssl      whether others read our certificates
zlib1g-dev           the sample of traffic in the tests
python3:python3      tests of the daemons
faketime:faketime    clocks that are wrong, in those tests
npm:npm              tests with clients from npm
systemd:systemd-analyze how well the units are hardened
mandoc:mandoc        whether the man pages are clean
chromium:chromium    tests of the pages
chromium-sandbox     that browser for an ordinary user
chromium-driver:chromedriver the way to drive that browser
endef

define LINT_PACKAGES
clang-format:clang-format layout of the code
clang-tidy:clang-tidy     likely bugs
shellcheck:shellcheck     shell scripts
endef

define VALGRIND_PACKAGES
valgrind:valgrind    memory errors
libc6-dbg            names of the C library's functions
endef

export BUILD_PACKAGES TEST_PACKAGES LINT_PACKAGES VALGRIND_PACKAGES

# --- Variants and flags ---------------------------------------------------------------------------

# The variant is named by VARIANT=, or by the file asked for.
VARIANT ?= $(firstword $(word 2,$(subst /, ,$(filter build/%,$(MAKECMDGOALS)))) release)
B       := build/$(VARIANT)

# For another machine: ARCH is Debian's name of it, SYSROOT a folder with its libraries (packaging/sysroot).
PKG_CONFIG ?= pkg-config
ifneq ($(SYSROOT),)
TRIPLET    := $(shell dpkg-architecture -a $(ARCH) -q DEB_HOST_MULTIARCH)
CC         := $(TRIPLET)-gcc --sysroot=$(SYSROOT)
STRIP      := $(TRIPLET)-strip
PKG_CONFIG := env PKG_CONFIG_SYSROOT_DIR=$(SYSROOT) \
              PKG_CONFIG_LIBDIR=$(SYSROOT)/usr/lib/$(TRIPLET)/pkgconfig:$(SYSROOT)/usr/share/pkgconfig pkg-config
endif
LIBRARIES  := libwebsockets libmicrohttpd sqlite3 liblz4 libcurl inih jansson libqrencode libcrypt openssl
LIB_CFLAGS := $(shell $(PKG_CONFIG) --cflags $(LIBRARIES) 2>/dev/null)
LIB_LIBS   := $(shell $(PKG_CONFIG) --libs $(LIBRARIES) 2>/dev/null) -lmbedtls -lmbedx509 -lmbedcrypto

# A compiler newer than the one the project is written with may know more warnings; they must stop nobody
# from building it, so they are errors only with that one.
WERROR ?= $(if $(filter 12,$(firstword $(subst ., ,$(shell $(CC) -dumpversion 2>/dev/null)))),1,0)

WARNINGS := -Wall -Wextra -Wconversion -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wformat=2 -Wvla \
            $(if $(filter 1,$(WERROR)),-Werror)

MACHINE            := $(firstword $(subst -, ,$(shell $(CC) -dumpmachine 2>/dev/null)))
HARDENING_x86_64   := -fcf-protection
HARDENING_aarch64  := -mbranch-protection=standard
HARDENING          := -fstack-protector-strong -fstack-clash-protection $(HARDENING_$(MACHINE))
FORTIFY            := -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=2

FLAGS_release  := -O2 $(FORTIFY)
FLAGS_asan     := -O1 -fno-omit-frame-pointer -fsanitize=address,undefined -fno-sanitize-recover=all
FLAGS_coverage := -O0 --coverage
FLAGS_arm64    := $(FLAGS_release)
FLAGS_armhf    := $(FLAGS_release)
FLAGS_trixie   := $(FLAGS_release)
ifeq ($(FLAGS_$(VARIANT)),)
$(error There is no variant "$(VARIANT)": the Makefile knows release, asan, coverage, arm64, armhf and trixie)
endif

# Files beyond 2 GiB and times beyond 2038 on 32-bit machines too.
LARGE := -D_FILE_OFFSET_BITS=64 -D_TIME_BITS=64

# NDEBUG is never defined: the asserts stay.
ALL_CFLAGS  := -std=c11 -D_GNU_SOURCE -I. $(LARGE) -g $(FLAGS_$(VARIANT)) $(HARDENING) $(WARNINGS) $(LIB_CFLAGS) \
               $(CPPFLAGS) $(CFLAGS)
ALL_LDFLAGS := $(FLAGS_$(VARIANT)) $(HARDENING) -Wl,-z,relro,-z,now,-z,noexecstack -Wl,--as-needed $(LDFLAGS)
ALL_LIBS    := $(LIB_LIBS) -lpthread -lm $(LDLIBS)

# --- What there is --------------------------------------------------------------------------------

rooms    := relay sync/gateway sync/sandbox sync/kit sync/protocol
mains    := $(wildcard relay/main.c sync/gateway/main.c sync/sandbox/main.c)
programs := $(foreach main,$(mains),$B/zajel-$(notdir $(patsubst %/main.c,%,$(main))))

# Files that go into the programs as they are, by room; sync/kit/embed.h says how the code finds them.
embeds_relay         := $(wildcard relay/desk/*.html relay/desk/*.css relay/desk/*.js relay/desk/*.svg)
embeds_sync/gateway  := $(wildcard $(addprefix sync/gateway/board/*.,html css js svg))
embeds_sync/sandbox  := $(wildcard $(addprefix sync/sandbox/pages/*.,html css js svg))
embeds_sync/protocol := $(wildcard sync/protocol/dictionary-*.bin)

# objects of a room, without its main.c
objects = $(patsubst %.c,$B/%.o,$(filter-out %/main.c,$(wildcard $(1)/*.c))) \
          $(patsubst %,$B/embed/%.o,$(embeds_$(1)))
archive = $B/$(notdir $(1)).a

unit_tests   := $(patsubst %.c,$B/%,$(wildcard tests/unit/test_*.c))
unit_support := $(patsubst %.c,$B/%.o,$(wildcard tests/unit/support*.c))
shims        := $(patsubst %.c,$B/%.so,$(wildcard tests/daemon/shim_*.c))
helpers      := $(patsubst %.c,$B/%,$(filter-out tests/daemon/shim_%,$(wildcard tests/daemon/*.c)))
benches      := $(patsubst %.c,$B/%,$(wildcard tests/bench/*.c))

.PHONY: all tests benches setup setup-build setup-test setup-lint setup-valgrind run test bench lint asan \
        valgrind format dictionary clean force

all: $(programs)

tests: all $(unit_tests) $(shims) $(helpers)

benches: $(benches)

# --- Building -------------------------------------------------------------------------------------

write_if_changed = mkdir -p $(@D); echo '$(1)' | cmp -s - $@ || echo '$(1)' >$@

# Rewritten only when the flags change, so that everything is then built again.
$B/flags: force
	@$(PKG_CONFIG) --exists $(LIBRARIES) || \
	    { echo 'Some libraries are missing; "make setup" installs them.' >&2; exit 1; }
	@$(call write_if_changed,$(CC) $(ALL_CFLAGS) $(ALL_LDFLAGS) $(ALL_LIBS))

$B/%.o: %.c $B/flags
	@mkdir -p $(@D)
	@echo "  CC    $@"
	@$(CC) $(ALL_CFLAGS) -fPIE -MMD -MP -c -o $@ $<

$B/embed/%.o: % sync/kit/embed.S $B/flags
	@mkdir -p $(@D)
	@echo "  EMBED $@"
	@$(CC) $(ALL_CFLAGS) -DEMBED_FILE='"$<"' -DEMBED_NAME=embed_$$(printf %s '$(<F)' | tr -c '[:alnum:]' _) \
	    -c -o $@ sync/kit/embed.S

# The list of objects is a prerequisite of its own: an archive is also made again when a source goes away.
define room_rules
$(call archive,$(1)): $(call objects,$(1)) $B/$(1)/objects
	@echo "  AR    $$@"
	@rm -f $$@
	@ar qcs $$@ $(call objects,$(1))
$B/$(1)/objects: force
	@$$(call write_if_changed,$(call objects,$(1)))
endef
$(foreach room,$(rooms),$(eval $(call room_rules,$(room))))

common := $(call archive,sync/kit) $(call archive,sync/protocol)
every  := $(foreach room,$(ROOMS),$(call archive,$(room)))

define link
@mkdir -p $(@D)
@echo "  LINK  $@"
@$(CC) $(ALL_LDFLAGS) -pie -o $@ $(filter %.o,$^) -Wl,--start-group $(filter %.a,$^) -Wl,--end-group \
    $(ALL_LIBS)
endef

$B/zajel-relay: $B/relay/main.o $(call archive,relay) $(common)
	$(link)

$B/zajel-gateway: $B/sync/gateway/main.o $(call archive,sync/gateway) $(common)
	$(link)

$B/zajel-sandbox: $B/sync/sandbox/main.o $(call archive,sync/sandbox) $(common)
	$(link)

$(unit_tests): ALL_LIBS += -lcmocka -lz
$(benches): ALL_LIBS += -lz
$(unit_tests): $B/%: $B/%.o $(unit_support) $(every)
	$(link)

$(helpers) $(benches): $B/%: $B/%.o $(every)
	$(link)

$(shims): $B/%.so: %.c $B/flags
	@mkdir -p $(@D)
	@echo "  SHIM  $@"
	@$(CC) $(filter-out -fsanitize=%,$(ALL_CFLAGS)) -fPIC -shared -MMD -MP -MF $(@:.so=.d) -o $@ $< -ldl

-include $(shell [ ! -d $B ] || find $B -name '*.d')

# --- Packages, by who needs them ------------------------------------------------------------------

setup:
	@packaging/setup "$$BUILD_PACKAGES" "$$TEST_PACKAGES" "$$LINT_PACKAGES"
setup-build:
	@packaging/setup "$$BUILD_PACKAGES"
setup-test:
	@packaging/setup "$$BUILD_PACKAGES" "$$TEST_PACKAGES"
setup-lint:
	@packaging/setup "$$BUILD_PACKAGES" "$$TEST_PACKAGES" "$$LINT_PACKAGES"
setup-valgrind:
	@packaging/setup "$$BUILD_PACKAGES" "$$TEST_PACKAGES" "$$VALGRIND_PACKAGES"

# --- Doing something with it ----------------------------------------------------------------------
# Each asks make again for what it builds: the libraries may only have come with the setup before.
again = $(MAKE) --no-print-directory -s $(if $(filter -j%,$(MAKEFLAGS)),,-j$(JOBS))

run: setup-build
	+@$(again) VARIANT=release all
	@exec sync/sandbox/run

test: setup-test
	+@$(again) VARIANT=release tests
	@ZAJEL_BUILD=build/release tests/run unit daemon clients browser

asan: setup-test
	+@$(again) VARIANT=asan tests
	@ZAJEL_BUILD=build/asan tests/run unit daemon

valgrind: setup-valgrind
	+@$(again) VARIANT=release tests
	@ZAJEL_BUILD=build/release tests/run valgrind

bench: setup-test
	+@$(again) VARIANT=release all benches
	@for bench in $(wildcard tests/bench/bench_*.py) $(filter build/release/tests/bench/bench_%,$(benches)); do \
	    case $$bench in *.py) python3 $$bench ;; *) $$bench ;; esac || exit 1; \
	done

lint: setup-lint
	@tests/lint/run -std=c11 -D_GNU_SOURCE -I. $(LARGE) $(LIB_CFLAGS)

format: setup-lint
	@git ls-files -co --exclude-standard '*.c' '*.h' | xargs -r clang-format -i

dictionary: setup-build
	+@$(again) VARIANT=release build/release/tests/bench/train
	build/release/tests/bench/train $(CORPUS)
	@echo 'build/dictionary.bin is trained. Both ends know a dictionary by its number: it becomes a new file,'
	@echo 'sync/protocol/dictionary-N.bin, and never replaces an old one.'

clean:
	rm -rf build

include packaging/packaging.mk
