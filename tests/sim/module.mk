# The simulator: real cores under simulated time.
SIM_ENV := $(call objs,tests/sim/sim*.c)
SIM_OBJS := $(call objs,tests/sim/*.c)

$(B)/sim: $(SIM_OBJS) $(CORES)
	$(CC) $(LDFLAGS_ALL) $^ -o $@ $(CORE_LIBS) $(LMDB_LIBS)

SEEDS ?= 10000
SEED ?= 1
.PHONY: sim check-sim
sim: $(B)/sim ## run the simulator: SEEDS=n of them from SEED=first
	$(B)/sim --seeds $(SEEDS) --start $(SEED)
check-sim: $(B)/sim ## the simulator's part of make check: 200 seeds
	$(B)/sim --seeds $(if $(filter file default undefined,$(origin SEEDS)),200,$(SEEDS)) --start 1
