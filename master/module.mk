# The master's program.
PROGRAMS += $(BIN)/gfs-master

$(BIN)/gfs-master: $(B)/master/main.o $(MASTER_CORE) $(SHARED_IO) $(SHARED_CORE)
	@mkdir -p $(@D)
	$(CC) $^ -o $@ $(LDFLAGS_ALL) $(CORE_LIBS) $(LMDB_LIBS) $(UV_LIBS)
