#!/bin/sh
# rebuild.sh - how fast what a dead chunkserver held is copied by the others, against `cp -r` and `sync` of the same
# files on the same disk; and what fio on the mount loses while the master gives copies a share of 40 percent.
# Completion and content are asserted; rates and ratios are printed.
N=4
MIB=${MIB:-2048}
SECONDS_OF_FIO=${SECONDS_OF_FIO:-5}
settings='trash_seconds = 0
heartbeat_ms = 200
lease_ms = 1000
session_ms = 10000
request_timeout_ms = 5000
away_grace_ms = 1000
balance_percent = 0'
GFS_MASTER_CONF="$settings
rereplication_share = 100"
GFS_CHUNKD_CONF='flush_ms = 1000
aside_ms = 0'
export GFS_MASTER_CONF GFS_CHUNKD_CONF
. "$(dirname "$0")/../e2e/lib.sh"
. "$(dirname "$0")/figures.sh"

# Not in memory any more, without emptying the memory of the whole machine.
forget() {
    find "$@" -type f | while read -r f; do
        dd if="$f" iflag=nocache count=0 status=none
    done
}
cp_rate() { # cp_rate DIRECTORY: sets rate to the bytes a second of cp -r and sync
    forget "$1"
    began=$(now_ms)
    cp -r "$1" "$WORK/copy"
    sync -f "$WORK/copy"
    rate=$(($(du -sb "$1" | cut -f1) * 1000 / ($(now_ms) - began)))
    rm -rf "$WORK/copy"
}
content() {
    remount
    (cd "$MNT" && sha256sum --quiet -c "$WORK/sums") || fail "files changed"
    ctl fsck --compare >"$WORK/fsck" 2>&1 || fail "fsck: $(tail -n 5 "$WORK/fsck")"
    say "all files have their sha256; fsck --compare: $(tail -n 1 "$WORK/fsck")"
}
some_copy_begun() { [ "$(progress begun)" -gt 0 ]; }
fio_rate() { # fio_rate NAME ARGUMENTS...: sets rate to KiB a second, read and written
    job=$1
    shift
    in_background fio --name="$job" --directory="$MNT/fio" --filename=data --size=256m --ioengine=psync --time_based \
        --runtime="$SECONDS_OF_FIO" --output-format=terse --terse-version=3 --output="$WORK/fio.out" "$@" \
        >"$WORK/fio.err" 2>&1 || fail "fio: $(tail -n 3 "$WORK/fio.err")"
    rate=$(tail -n 1 "$WORK/fio.out" | awk -F';' '{ print $7 + $48 }')
}
fio_both() { # sets sequential and mixed
    fio_rate sequential --rw=write --bs=1m --end_fsync=1
    sequential=$rate
    fio_rate mixed --rw=randrw --rwmixread=70 --bs=64k --end_fsync=1 --randseed=1
    mixed=$rate
}

cluster_up
for i in 1 2 3 4 5 6 7 8; do
    head -c $((MIB * 131072)) /dev/urandom | tee "$MNT/$i" | sha256sum | sed "s|-|$i|" >>"$WORK/sums"
done
sync -f "$MNT"
wait_for "three copies" 60 all_copied

say "share 100, nobody on the mount: chunkd-4 dies for good"
cp_rate "$RUN/chunkd-4/chunks"
before=$rate
forget "$RUN"/chunkd-[123]/chunks
kill_hard chunkd-4
mv "$RUN/chunkd-4" "$WORK/dead"
rm -f "$RUN/chunkd-4.pid"
wait_for "the copies to begin" 30 grep -q "re-replication begins" "$RUN/master.log"
table_until 1800 grep -q "re-replication ends" "$RUN/master.log"
N=3
cp_rate "$WORK/dead/chunks"
rm -rf "$WORK/dead"
after=$rate
wait_for "three copies" 30 all_copied
ended=$(grep -h "re-replication ends" "$RUN/master.log" | tail -n 1)
echo "  ${ended#* info }"
copied=$(echo "$ended" | sed -E 's/.* ([0-9]+) MiB copied in ([0-9.]+) s.*/\1 \2/')
rebuilt=$(echo "$copied" | awk '{ printf "%.0f", $1 * 1048576 / ($2 > 0 ? $2 : 0.1) }')
copy=$(((before + after) / 2))
content

say "share 40: fio alone, with chunkd-4 empty and chunkd-3 dead, and alone again"
GFS_MASTER_CONF="$settings
rereplication_share = 40"
cluster_down
cluster_up
mkdir "$MNT/fio"
fio_both # lays its file out
fio_both
sequential_before=$sequential mixed_before=$mixed
N=4
cluster_up
N=2
kill_hard chunkd-3
rm -rf "$RUN/chunkd-3" "$RUN/chunkd-3.pid"
wait_for "the copies to begin" 30 some_copy_begun
began=$(now_ms)
left=$(progress left_bytes)
fio_both
still=$(progress left_bytes)
beside=$((left - still))
beside_ms=$(($(now_ms) - began))
sequential_during=$sequential mixed_during=$mixed
[ "$still" -gt 0 ] || say "the copies ended before fio did: store more (MIB=), or let fio run shorter (SECONDS_OF_FIO=)"
wait_for "three copies" 900 all_copied
fio_both
rm -r "$MNT/fio"
content

both() { echo $((($1 + $2) / 2)); }
mib() { per "$1" "$2"; }
say "rebuild: $(mib $rebuilt 1048576) MiB/s; cp -r and sync: $(mib $before 1048576) MiB/s before," \
    "$(mib $after 1048576) MiB/s after; ratio $(per $rebuilt $copy)"
line() { # line WHAT BEFORE DURING AFTER
    alone=$(both "$2" "$4")
    say "$1: alone $(mib "$2" 1024) and $(mib "$4" 1024) MiB/s, beside copies $(mib "$3" 1024) MiB/s; ratio $(per "$3" $alone)"
}
line "sequential write" "$sequential_before" "$sequential_during" "$sequential"
line "70/30 random reads and writes of 64 KiB" "$mixed_before" "$mixed_during" "$mixed"
say "beside them copies ran at $(mb_s $beside $beside_ms) MB/s"
