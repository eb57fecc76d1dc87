# The mount's program.
PROGRAMS += $(BIN)/gfs-fuse
FUSE_IO := $(call objs,fuse/io/*.c)

$(BIN)/gfs-fuse: $(B)/fuse/main.o $(FUSE_IO) $(FUSE_CORE) $(SHARED_IO) $(SHARED_CORE)
	@mkdir -p $(@D)
	$(CC) $^ -o $@ $(LDFLAGS_ALL) $(CORE_LIBS) $(UV_LIBS) $(FUSE_LIBS)
$(B)/fuse/main.o: CPPFLAGS_ALL += $(FUSE_CFLAGS)
