# The monitor: keeps a cluster's primary master alive, from outside.
PROGRAMS += $(BIN)/gfs-monitor
MONITOR_CORE := $(call objs,deploy/monitor/core/*.c)
CORES += $(MONITOR_CORE)

$(BIN)/gfs-monitor: $(call objs,deploy/monitor/*.c deploy/monitor/io/*.c) $(MONITOR_CORE) $(SHARED_IO) $(SHARED_CORE)
	@mkdir -p $(@D)
	$(CC) $^ -o $@ $(LDFLAGS_ALL) $(CORE_LIBS) $(UV_LIBS) -lzookeeper_st
