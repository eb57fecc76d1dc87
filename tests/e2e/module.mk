.PHONY: check-e2e
TESTS ?=
check-e2e: all $(B)/posix_check $(B)/hostile ## real daemons and a real mount; TESTS="names" picks some
	@sh tests/e2e/run.sh $(TESTS)

$(B)/posix_check: $(B)/tests/e2e/posix_check.o
	$(CC) $^ -o $@ $(LDFLAGS_ALL)
$(B)/hostile: $(B)/tests/e2e/hostile.o $(SHARED_CORE)
	$(CC) $^ -o $@ $(LDFLAGS_ALL) $(CORE_LIBS)
