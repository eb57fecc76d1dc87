#!/bin/sh
# power_cut.sh - five power cuts of ext4 and xfs disks under load; the many are `make crash`. This seed has
# two chunkservers cut, the master, one chunkserver, everything with the mount, and all four disks.
CUTS=5
SEED=${SEED:-25}
. "$(dirname "$0")/../crash/crash.sh"
