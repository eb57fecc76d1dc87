# Self-healing in full, with figures. MIB= is how much is stored.
.PHONY: heal rebuild
HEAL_MIB = $(if $(MIB),$(MIB),2048)
heal: all ## a chunkserver dies, a rack dies, one is added, with 2 GiB stored (MIB=); FILES=100000 are deleted: figures
	@MIB='$(HEAL_MIB)' sh tests/heal/heal.sh
	@FILES='$(if $(filter file,$(origin FILES)),100000,$(FILES))' sh tests/heal/deletes.sh
rebuild: all ## speed of re-replication against cp on the same disk, and what fio loses meanwhile (MIB=)
	@MIB='$(HEAL_MIB)' sh tests/heal/rebuild.sh
