$(B)/schema_doc: $(B)/shared/proto/doc/schema_doc.o
	$(CC) $^ -o $@ $(LDFLAGS_ALL)
.PHONY: docs
docs: $(B)/schema_doc ## write build/PROTOCOL.txt, the protocol document, from the tables
	$(B)/schema_doc > build/PROTOCOL.txt && echo "wrote build/PROTOCOL.txt"
