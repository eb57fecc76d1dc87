# Fuzz targets: `make check-fuzz` runs every target over its corpus and seeded mutations; with clang,
# `make fuzz TARGET=frame TIME=60` runs libFuzzer on one.
FUZZ_NAMES := $(patsubst tests/fuzz/fuzz_%.c,%,$(wildcard tests/fuzz/fuzz_*.c))
FUZZ_CORES = $(SHARED_CORE) $(MASTER_CORE)

define FUZZ_RULE
$(B)/fuzz_$(1): $(B)/tests/fuzz/fuzz_$(1).o $(B)/tests/fuzz/driver.o $$(FUZZ_CORES)
	$$(CC) $$^ -o $$@ $$(LDFLAGS_ALL) $$(CORE_LIBS) $$(LMDB_LIBS)
endef
$(foreach n,$(FUZZ_NAMES),$(eval $(call FUZZ_RULE,$(n))))

RUNS ?= 200000
.PHONY: check-fuzz fuzz
check-fuzz: $(FUZZ_NAMES:%=$(B)/fuzz_%) ## run every fuzz target over its corpus and RUNS mutations
	@for n in $(FUZZ_NAMES); do \
	    $(B)/fuzz_$$n -r $(RUNS) $$(ls tests/fuzz/corpus/$$n/* 2>/dev/null) || exit 1; done

TARGET ?= ops
TIME ?= 60
fuzz: ## libFuzzer (clang) on TARGET= for TIME= seconds
	@mkdir -p build/fuzz/corpus-$(TARGET)
	clang -iquote . -D_GNU_SOURCE -std=gnu17 -g -O1 -fsanitize=fuzzer,address,undefined \
	    tests/fuzz/fuzz_$(TARGET).c $(wildcard shared/base/*.c shared/proto/*.c shared/env/*.c master/core/*.c) \
	    -o build/fuzz/$(TARGET) $(CORE_LIBS) $(LMDB_LIBS)
	build/fuzz/$(TARGET) -max_total_time=$(TIME) -max_len=65536 build/fuzz/corpus-$(TARGET) \
	    $(wildcard tests/fuzz/corpus/$(TARGET))
