# The operator's tool.
PROGRAMS += $(BIN)/gfsctl

# Of the master's core it needs the formats of log records and checkpoints.
$(BIN)/gfsctl: $(call objs,deploy/gfsctl/*.c) $(MASTER_CORE) $(SHARED_IO) $(SHARED_CORE)
	@mkdir -p $(@D)
	$(CC) $^ -o $@ $(LDFLAGS_ALL) $(CORE_LIBS) $(LMDB_LIBS) $(UV_LIBS)
