# The operator's tool.
PROGRAMS += $(BIN)/gfsctl

# Of the master's core it needs the format of log records only.
$(BIN)/gfsctl: $(call objs,deploy/gfsctl/*.c) $(B)/master/core/record.o $(SHARED_IO) $(SHARED_CORE)
	@mkdir -p $(@D)
	$(CC) $^ -o $@ $(LDFLAGS_ALL) $(CORE_LIBS) $(UV_LIBS)
