.PHONY: check-e2e
TESTS ?=
check-e2e: all $(B)/posix_check $(B)/hostile $(B)/bad_disk.so ## real daemons and a real mount; TESTS="names" picks some
	@sh tests/e2e/run.sh $(TESTS)

$(B)/posix_check: $(B)/tests/e2e/posix_check.o
	$(CC) $^ -o $@ $(LDFLAGS_ALL)
$(B)/bad_disk.so: tests/e2e/bad_disk.c
	@mkdir -p $(@D)
	$(CC) -std=gnu17 -O1 -g -Wall -Wextra -shared -fPIC $< -o $@ -ldl
$(B)/hostile: $(B)/tests/e2e/hostile.o $(SHARED_CORE)
	$(CC) $^ -o $@ $(LDFLAGS_ALL) $(CORE_LIBS)
