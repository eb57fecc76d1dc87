# Branch coverage of the cores by the simulator alone. SEEDS=200, SEED=1; MISSED=1 lists what is not reached;
# tests/cov/excluded.txt names what cannot be.
COV_SOURCES = $(patsubst $(B)/%.o,%.c,$(CORES))
COV_SEEDS = $(if $(filter file,$(origin SEEDS)),200,$(SEEDS))
.PHONY: cov cov-run
cov: ## branch coverage of the cores by the simulator alone (SEEDS=200, MISSED=1)
	@$(MAKE) -s BUILD=cov SEEDS=$(COV_SEEDS) SEED=$(SEED) MISSED=$(MISSED) cov-run
cov-run: $(B)/sim
	@find $(B) -name '*.gcda' -delete
	@$(B)/sim --seeds $(SEEDS) --start $(SEED) --seconds 600
	@perl tests/cov/cov.pl $(B) tests/cov/excluded.txt $(if $(MISSED),--missed) $(COV_SOURCES)
