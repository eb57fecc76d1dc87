# What happens to the masters when ZooKeeper is in trouble: needs its package and Java.
.PHONY: failover-zookeeper
failover-zookeeper: all e2e-tools ## ZooKeeper dies, is split, goes back to an old copy under three masters: nothing may be lost
	@sh deploy/packages.sh zookeeper
	@sh tests/failover/zookeeper.sh
