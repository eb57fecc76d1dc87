# gfs: a distributed filesystem. `make help` lists the targets.
.DEFAULT_GOAL := all
BUILD ?= debug
B := build/$(BUILD)
PREFIX ?= /usr/local
DESTDIR ?=

MSGPACK := $(shell pkg-config --exists msgpack-c 2>/dev/null && echo msgpack-c || echo msgpack)
CPPFLAGS_ALL := -iquote . -D_GNU_SOURCE -DFUSE_USE_VERSION=314 $(CPPFLAGS)
WARN := -Wall -Wextra -Wshadow -Wconversion -Wstrict-prototypes -Wmissing-prototypes -Wvla -Wundef \
        -Wformat=2 -Wimplicit-fallthrough -Wpointer-arith -Wwrite-strings
OPT := -O2 -g
SAN :=
ifeq ($(BUILD),asan)
OPT := -O1 -g -fno-omit-frame-pointer
SAN := -fsanitize=address,undefined -fno-sanitize-recover=undefined
endif
ifeq ($(BUILD),cov)
OPT := -O0 -g -w
SAN := --coverage
endif
ifneq ($(WERROR),)
WARN += -Werror
endif
CFLAGS_ALL := -std=gnu17 $(OPT) $(WARN) $(SAN) -pthread $(CFLAGS)
LDFLAGS_ALL := $(SAN) -pthread $(LDFLAGS)

# Pure libraries see no libuv or libfuse flags.
CORE_LIBS := $(shell pkg-config --libs $(MSGPACK) libxxhash 2>/dev/null)
LMDB_LIBS := -llmdb
UV_LIBS := $(shell pkg-config --libs libuv 2>/dev/null)
FUSE_CFLAGS := $(shell pkg-config --cflags fuse3 2>/dev/null)
FUSE_LIBS := $(shell pkg-config --libs fuse3 2>/dev/null)
CHECK_LIBS := $(shell pkg-config --libs check 2>/dev/null)

objs = $(patsubst %.c,$(B)/%.o,$(wildcard $(1)))
SHARED_CORE := $(call objs,shared/base/*.c shared/proto/*.c shared/env/*.c)
SHARED_IO   := $(call objs,shared/io/*.c)
MASTER_CORE := $(call objs,master/core/*.c)
CHUNKD_CORE := $(call objs,chunkd/core/*.c)
FUSE_CORE   := $(call objs,fuse/core/*.c)
CORES       := $(SHARED_CORE) $(MASTER_CORE) $(CHUNKD_CORE) $(FUSE_CORE)

BIN := build/bin
ifneq ($(BUILD),debug)
BIN := $(B)/bin
endif

include $(wildcard */module.mk */*/module.mk)

$(B)/fuse/io/%.o: fuse/io/%.c
	@mkdir -p $(@D)
	$(CC) $(CPPFLAGS_ALL) $(FUSE_CFLAGS) $(CFLAGS_ALL) -MMD -MP -c $< -o $@
$(B)/%.o: %.c
	@mkdir -p $(@D)
	$(CC) $(CPPFLAGS_ALL) $(CFLAGS_ALL) -MMD -MP -c $< -o $@

.PHONY: all clean help
all: $(PROGRAMS) ## build every program into build/bin/
clean: ## remove build/
	rm -rf build
help: ## list the targets
	@grep -hE '^[a-z0-9-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | sort | expand -t 16

-include $(shell find $(B) -name '*.d' 2>/dev/null)
