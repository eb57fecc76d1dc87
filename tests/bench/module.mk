# Measures. bench-meta: FILES=, DIR= choose how many files and where the data goes (removed afterwards).
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

# The bench: gfs, its peer and the limit side by side (rows, systems.sh). QUICK=1 ROWS="..." SYSTEMS="..." DISK=DIR PASSES=3
BENCH_TOOLS := $(addprefix $(BIN)/,fsload measure master_load)
$(BIN)/fsload: $(B)/tests/bench/fsload.o
	@mkdir -p $(@D)
	$(CC) $(LDFLAGS_ALL) $^ -o $@
$(BIN)/measure: $(B)/tests/bench/measure.o
	@mkdir -p $(@D)
	$(CC) $(LDFLAGS_ALL) $^ -o $@

$(BIN)/master_load: $(B)/tests/bench/master_load.o $(SHARED_CORE) $(SHARED_IO)
	@mkdir -p $(@D)
	$(CC) $(LDFLAGS_ALL) $^ -o $@ $(CORE_LIBS) $(UV_LIBS)

.PHONY: bench
bench: all $(BENCH_TOOLS) ## gfs, MooseFS and FUSE's limit side by side: QUICK=1 ROWS="..." SYSTEMS="..." DISK=DIR
	@sh deploy/packages.sh bench || echo 'bench: goes on with what is installed' >&2
	@BIN='$(BIN)' QUICK='$(QUICK)' ROWS='$(ROWS)' SYSTEMS='$(SYSTEMS)' DISK='$(DISK)' sh tests/bench/bench.sh

.PHONY: many-files
many-files: all $(BIN)/master_load ## starts and promotions of three masters with FILES="500000 5000000" files (DIR=)
	@BIN='$(BIN)' FILES='$(if $(filter command line environment,$(origin FILES)),$(FILES))' DIR='$(DIR)' sh tests/bench/many_files.sh
