# Unit tests of every core: one program, one suite per line of suites.def.
UNIT_OBJS := $(call objs,tests/unit/*.c) $(call objs,tests/sim/sim*.c)

$(B)/check_unit: $(UNIT_OBJS) $(CORES) $(SHARED_IO)
	$(CC) $(LDFLAGS_ALL) $^ -o $@ $(CHECK_LIBS) $(CORE_LIBS) $(LMDB_LIBS) $(UV_LIBS)

# A fork for each test is slow with a sanitizer's address space; a finding ends the run anyway.
# No test measures time: a loaded machine must not fail one.
UNIT_ENV := CK_TIMEOUT_MULTIPLIER=20 $(if $(filter asan,$(BUILD)),CK_FORK=no)
.PHONY: check-unit
check-unit: $(B)/check_unit ## run the unit tests (CK_RUN_SUITE=name for one suite)
	$(UNIT_ENV) $(B)/check_unit
