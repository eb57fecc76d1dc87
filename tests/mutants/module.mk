# Planted bugs: each must be found by the simulator. SEEDS=n is how many it may take, NAMES= which.
BASE ?= --base
MUTANT_TABLE := tests/mutants/mutants.txt
MUTANT_SEEDS = $(if $(filter file,$(origin SEEDS)),400,$(SEEDS))
MUTANT_ENV = CC='$(CC)' MUT_CFLAGS='$(CPPFLAGS_ALL) $(CFLAGS_ALL)' MUT_LDFLAGS='$(LDFLAGS_ALL)' MUT_BUILD='$(B)' \
    MUT_SIM='$(B)/sim' MUT_UNIT='$(B)/check_unit' MUT_OBJECTS='$(SIM_OBJS) $(CORES)' MUT_LIBS='$(CORE_LIBS) $(LMDB_LIBS)' \
    MUT_UNIT_OBJECTS='$(UNIT_OBJS) $(CORES) $(SHARED_IO)' MUT_UNIT_LIBS='$(CHECK_LIBS) $(CORE_LIBS) $(LMDB_LIBS) $(UV_LIBS)'

.PHONY: mutants check-mutants
mutants: $(B)/sim $(B)/check_unit ## plants bugs one by one: the simulator must find each (NAMES=, SEEDS=400)
	@$(MUTANT_ENV) perl tests/mutants/mutants.pl $(MUTANT_TABLE) $(BASE) --seeds $(MUTANT_SEEDS) $(NAMES)
check-mutants: $(B)/sim $(B)/check_unit ## a few of them, for make check
	@$(MUTANT_ENV) perl tests/mutants/mutants.pl $(MUTANT_TABLE) --sample --seeds 100
