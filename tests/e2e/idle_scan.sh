#!/bin/sh
# idle_scan.sh - nobody reads and nobody asks for a scan: everything stored is read once in the period all the same, a
# flipped bit is found and mended, and so is a block nobody can read.
GFS_CHUNKD_CONF='flush_ms = 500
scrub_period_s = 8'
export GFS_CHUNKD_CONF
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/lib_disk.sh"
cluster_up_on_bad_disks
for i in 1 2 3 4; do
    head -c 2000000 /dev/urandom >"$MNT/$i"
done
sync -f "$MNT"
wait_for "three copies" 20 fully_replicated
sums >"$WORK/sums"
pass=$(scrub_field pass 2)

say "a bit flipped, a sector lost: found by the scan that runs anyway"
set -- "$RUN"/chunkd-2/chunks/*/*
printf X | dd of="$1" bs=1 seek=777777 conv=notrunc status=none
flipped=$1
faults "sector ${2#"$RUN/"} 100000"
mended() { [ "$(scrub_field repaired 2)" = 2 ] && [ "$(scrub_field damaged 2)" = 0 ]; }
wait_for "two blocks to be found and mended" 40 mended
cmp "$flipped" "$RUN/chunkd-1/${flipped#"$RUN/chunkd-2/"}" || fail "what was flipped is not as elsewhere"
same "found on the others" "$(scrub_field found 1)$(scrub_field found 3)" 00

say "it covers everything, again and again, and nothing is overdue"
came_round() { [ "$(scrub_field pass 2)" -gt $((pass + 1)) ]; }
wait_for "the next pass" 40 came_round
within() { [ "$(scrub_field oldest_ms "$1")" -lt 16000 ]; }
for i in 1 2 3; do
    wait_for "everything on chunkd-$i to be verified" 40 within "$i"
    same "chunkd-$i is overdue" "$(scrub_field overdue "$i")" false
    same "the scan of chunkd-$i stands still" "$(scrub_field stalled "$i")" false
done
remount
(cd "$MNT" && sha256sum --quiet -c "$WORK/sums") || fail "files changed"
