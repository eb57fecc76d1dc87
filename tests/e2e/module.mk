.PHONY: check-e2e e2e-tools
TESTS ?=
# What the tests use beside the programs; other folders add theirs.
e2e-tools: $(B)/posix_check $(B)/hostile $(B)/bad_disk.so $(B)/failover_load
check-e2e: all e2e-tools ## real daemons and a real mount; TESTS="names" picks some
	@sh tests/e2e/run.sh $(TESTS)

.PHONY: failover
failover: all e2e-tools ## ROUNDS=200 of failover of the masters under load, some of OUTAGE=120 seconds (MONITOR=, FAULTS=)
	@ROUNDS='$(or $(ROUNDS),200)' OUTAGE='$(or $(OUTAGE),120)' MONITOR='$(or $(MONITOR),local)' FAULTS='$(FAULTS)' E2E_LIMIT=86400 \
	    sh tests/e2e/run.sh master_failover

$(B)/failover_load: $(B)/tests/e2e/failover_load.o
	$(CC) $^ -o $@ $(LDFLAGS_ALL)
$(B)/posix_check: $(B)/tests/e2e/posix_check.o
	$(CC) $^ -o $@ $(LDFLAGS_ALL)
$(B)/bad_disk.so: tests/e2e/bad_disk.c
	@mkdir -p $(@D)
	$(CC) -std=gnu17 -O1 -g -Wall -Wextra -shared -fPIC $< -o $@ -ldl
$(B)/hostile: $(B)/tests/e2e/hostile.o $(SHARED_CORE)
	$(CC) $^ -o $@ $(LDFLAGS_ALL) $(CORE_LIBS)
