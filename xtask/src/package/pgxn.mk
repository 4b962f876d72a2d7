# Makes and installs the extension from its sources, as `pgxn install cache_sync` and people do.
# Needs Rust, libclang, and the headers of the PostgreSQL that PG_CONFIG belongs to.
PG_CONFIG ?= pg_config
CARGO ?= cargo
CARGO_TARGET_DIR ?= $(CURDIR)/target
export CARGO_TARGET_DIR
major := $(shell $(PG_CONFIG) --version | sed -E 's/^PostgreSQL ([0-9]+).*/\1/')
# pgrx asks this one, not the wrapper that some systems have in the PATH.
export PGRX_PG_CONFIG_PATH := $(shell $(PG_CONFIG) --bindir)/pg_config
lib := $(DESTDIR)$(shell $(PG_CONFIG) --pkglibdir)
extension := $(DESTDIR)$(shell $(PG_CONFIG) --sharedir)/extension
scripts := $(CARGO_TARGET_DIR)/extension/sql

all:
	$(CARGO) build --locked --profile extension --package cache-sync-pg --no-default-features --features pg$(major)
	$(CARGO) run --locked --quiet --package xtask -- sql $(scripts)

install:
	install -d $(lib) $(extension)
	install -m 755 $(CARGO_TARGET_DIR)/extension/libcache_sync.so $(lib)/cache_sync.so
	install -m 644 pg_ext/cache_sync.control $(scripts)/cache_sync--*.sql $(extension)

uninstall:
	rm -f $(lib)/cache_sync.so $(extension)/cache_sync.control $(extension)/cache_sync--*.sql

.PHONY: all install uninstall
