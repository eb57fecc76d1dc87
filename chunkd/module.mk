# The chunkserver's program.
PROGRAMS += $(BIN)/chunkd

$(BIN)/chunkd: $(B)/chunkd/main.o $(CHUNKD_CORE) $(SHARED_IO) $(SHARED_CORE)
	@mkdir -p $(@D)
	$(CC) $^ -o $@ $(LDFLAGS_ALL) $(CORE_LIBS) $(UV_LIBS)
