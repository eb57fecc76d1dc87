# Single faults on what daemons keep on disk.
.PHONY: faults
FAULT_TOOLS := $(B)/fault_damage $(B)/bad_disk.so
faults: all $(FAULT_TOOLS) ## every structure on disk damaged in every way: a table of what happened (ONLY=REGEX)
	@TOOLS='$(B)' sh tests/faults/faults.sh

e2e-tools: $(FAULT_TOOLS)

$(B)/fault_damage: $(B)/tests/faults/damage.o
	$(CC) $^ -o $@ $(LDFLAGS_ALL)
