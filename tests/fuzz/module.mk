# Fuzz targets: `make check-fuzz` runs every target over its corpus and seeded mutations; with clang,
# `make fuzz TARGET=frame TIME=60` runs libFuzzer on one.
FUZZ_NAMES := $(patsubst tests/fuzz/fuzz_%.c,%,$(wildcard tests/fuzz/fuzz_*.c))
FUZZ_CORES = $(SHARED_CORE) $(MASTER_CORE) $(CHUNKD_CORE)

define FUZZ_RULE
$(B)/fuzz_$(1): $(B)/tests/fuzz/fuzz_$(1).o $(B)/tests/fuzz/driver.o $(B)/tests/fuzz/mem_env.o $$(FUZZ_CORES)
	$$(CC) $$^ -o $$@ $$(LDFLAGS_ALL) $$(CORE_LIBS) $$(LMDB_LIBS)
endef
$(foreach n,$(FUZZ_NAMES),$(eval $(call FUZZ_RULE,$(n))))

# Mutations of each target: those that open whole logs are slower.
RUNS ?=
RUNS_oplog := 10000
RUNS_meta_log := 20000
.PHONY: check-fuzz fuzz
check-fuzz: $(FUZZ_NAMES:%=$(B)/fuzz_%) ## run every fuzz target over its corpus and RUNS mutations
	@$(foreach n,$(FUZZ_NAMES),$(B)/fuzz_$(n) -r $(or $(RUNS),$(RUNS_$(n)),200000) \
	    $(wildcard tests/fuzz/corpus/$(n)/*) &&) true

TARGET ?= ops
TIME ?= 60
LIBFUZZER_FLAGS := -O1 -fsanitize=fuzzer-no-link,address,undefined
fuzz: ## libFuzzer (clang) on TARGET= for TIME= seconds
	@mkdir -p build/fuzz/corpus-$(TARGET)
	+@$(MAKE) -s -j2 BUILD=fuzz CC=clang CFLAGS='$(LIBFUZZER_FLAGS)' build/fuzz/libfuzzer_$(TARGET)
	build/fuzz/libfuzzer_$(TARGET) -max_total_time=$(TIME) -max_len=65536 build/fuzz/corpus-$(TARGET) \
	    $(wildcard tests/fuzz/corpus/$(TARGET))

# Only for BUILD=fuzz, from the rule above.
$(B)/libfuzzer_%: $(B)/tests/fuzz/fuzz_%.o $(B)/tests/fuzz/mem_env.o $(FUZZ_CORES)
	$(CC) $^ -o $@ -fsanitize=fuzzer,address,undefined $(LDFLAGS_ALL) $(CORE_LIBS) $(LMDB_LIBS)
