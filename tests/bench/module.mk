# Measures. FILES=, DIR= choose how many files and where the data goes (removed afterwards).
BENCH_META := $(BIN)/bench_meta
FILES ?= 2000000
BENCH_DIR = $(if $(DIR),$(DIR),build/bench-meta)

$(BENCH_META): $(B)/tests/bench/bench_meta.o $(SHARED_CORE) $(MASTER_CORE) $(SHARED_IO)
	@mkdir -p $(@D)
	$(CC) $(LDFLAGS_ALL) $^ -o $@ $(CORE_LIBS) $(LMDB_LIBS) $(UV_LIBS)

.PHONY: bench-meta
bench-meta: $(BENCH_META) ## 2 million files through the master's core (FILES=, DIR=)
	@mkdir -p $(dir $(BENCH_DIR))
	rm -rf $(BENCH_DIR)
	$(BENCH_META) $(BENCH_DIR) $(FILES)
