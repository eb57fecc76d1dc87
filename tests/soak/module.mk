# Programs on a mount for long, with faults.
.PHONY: soak
soak: all e2e-tools ## MINUTES=30 of programs on a mount with a fault every 5 s; memory and descriptors (SEED=)
	@MINUTES='$(or $(MINUTES),30)' SEED='$(SEED)' TOOLS='$(B)' sh tests/soak/soak.sh
