# A cluster on this machine, and installing on others.
N ?= 3
MNT ?= /mnt/gfs
RUN ?= build/run
PORT ?= 9400
BINDIR ?= $(BIN)
CLUSTER_ENV = MONITOR='$(MONITOR)' SHADOWS='$(SHADOWS)' N='$(N)' RACKS='$(RACKS)' MNT='$(MNT)' RUN='$(RUN)' PORT='$(PORT)' BINDIR='$(BINDIR)'

# A second make builds: only after the packages are there can the flags of the libraries be known.
.PHONY: up down install
up: ## install what is missing, build, start a cluster here, mount it: N=3 SHADOWS=2 MONITOR=local MNT=/mnt/gfs RUN=build/run PORT=9400
	@test -n "$(SKIP_BUILD)" || sh deploy/packages.sh $(if $(filter zookeeper,$(MONITOR)),zookeeper,build)
	+@test -n "$(SKIP_BUILD)" || $(MAKE) -s -j2 all
	@$(CLUSTER_ENV) sh deploy/up.sh
down: ## unmount and stop that cluster (same variables); data stays
	@$(CLUSTER_ENV) sh deploy/down.sh

BINPATH = $(DESTDIR)$(PREFIX)/bin
install: all ## install programs, mount helpers, units and examples: DESTDIR= PREFIX=/usr/local
	install -d $(BINPATH) $(DESTDIR)/sbin $(DESTDIR)$(PREFIX)/share/gfs $(DESTDIR)$(PREFIX)/lib/systemd/system
	install -m 755 $(PROGRAMS) $(BINPATH)
	ln -sf $(PREFIX)/bin/gfs-fuse $(DESTDIR)/sbin/mount.gfs
	ln -sf $(PREFIX)/bin/gfs-fuse $(DESTDIR)/sbin/mount.fuse.gfs
	install -m 644 deploy/examples/master.conf deploy/examples/chunkd.conf deploy/examples/monitor.conf $(DESTDIR)$(PREFIX)/share/gfs
	for u in gfs-master.service gfs-monitor.service gfs-zookeeper.service gfs-chunkd@.service; do \
	    sed 's|@bindir@|$(PREFIX)/bin|' deploy/systemd/$$u >$(DESTDIR)$(PREFIX)/lib/systemd/system/$$u || exit 1; done
