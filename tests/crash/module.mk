# Power cuts on real filesystems, with real daemons and a real kernel.
CRASH_TOOLS := $(B)/crash_load $(B)/crash_check $(B)/crash_cut
.PHONY: crash
crash: all $(CRASH_TOOLS) ## 100 power cuts (CUTS=, SEED=) of ext4 and xfs disks under load; nothing acknowledged may be lost
	@CUTS='$(or $(CUTS),100)' SEED='$(SEED)' TOOLS='$(B)' sh tests/crash/crash.sh

e2e-tools: $(CRASH_TOOLS)

CRASH_SHARED := $(B)/tests/crash/journal.o $(B)/tests/crash/model.o
$(B)/crash_load: $(B)/tests/crash/load.o $(CRASH_SHARED)
	$(CC) $^ -o $@ $(LDFLAGS_ALL)
$(B)/crash_check: $(B)/tests/crash/check.o $(CRASH_SHARED)
	$(CC) $^ -o $@ $(LDFLAGS_ALL)
$(B)/crash_cut: $(B)/tests/crash/cut.o $(B)/tests/crash/journal.o
	$(CC) $^ -o $@ $(LDFLAGS_ALL)
