#!/bin/sh
# heal.sh - five chunkservers on three racks, MIB stored: one chunkserver dies for good, then a whole rack, then a rack
# is added. Each time everything is back to the copies it wants by itself, where it should be, and the files are what
# they were. Order, completion and content are asserted; times and rates are printed.
#
# Racks: r1 has chunkd-1 and 4, r2 has 2 and 5, r3 has 3. Every chunkserver has a tmpfs of its own, so that each has a
# fill of its own; those that are alone in their rack, then or later, have twice the room: they hold twice as much.
N=5
RACKS=3
export RACKS
MIB=${MIB:-2048}
chunk=67108864
[ "$MIB" -ge 1024 ] || chunk=8388608 # few chunks cannot be spread evenly
GFS_MASTER_CONF="trash_seconds = 0
heartbeat_ms = 200
lease_ms = 1000
session_ms = 10000
request_timeout_ms = 2000
away_grace_ms = 5000
balance_kib_s = ${BALANCE_KIB_S:-1048576}
chunk_bytes = $chunk"
GFS_CHUNKD_CONF='flush_ms = 1000
aside_ms = 0'
export GFS_MASTER_CONF GFS_CHUNKD_CONF
. "$(dirname "$0")/../e2e/lib.sh"
. "$(dirname "$0")/figures.sh"

disk() { # disk CHUNKD
    case $1 in
    2 | 3) room=$((MIB * 3 + 512)) ;;
    *) room=$((MIB * 3 / 2 + 256)) ;;
    esac
    mkdir -p "$RUN/chunkd-$1"
    mount -t tmpfs -o "size=${room}m" tmpfs "$RUN/chunkd-$1"
}
disk_gone() { # disk_gone CHUNKD
    umount "$RUN/chunkd-$1" 2>/dev/null || true
    rmdir "$RUN/chunkd-$1" 2>/dev/null || true
}
test_cleanup() {
    for i in 1 2 3 4 5 6 7; do disk_gone $i; done
}
put() { # put FILE BYTES
    head -c "$2" /dev/urandom | tee "$MNT/$1" | sha256sum | sed "s|-|$1|" >>"$WORK/sums"
}
# same_content CHUNKSERVERS: the first so many live. Files as they were, all replicas of all chunks equal.
same_content() {
    p=$(pid_of fuse)
    umount "$MNT"
    wait_for "gfs-fuse to end" 15 ended "$p"
    keep=$N
    N=$1
    cluster_up
    N=$keep
    (cd "$MNT" && sha256sum --quiet -c "$WORK/sums") || fail "files changed"
    ctl fsck --compare >"$WORK/fsck" 2>&1 || fail "fsck: $(tail -n 5 "$WORK/fsck")"
    say "all files have their sha256; fsck --compare: $(tail -n 1 "$WORK/fsck")"
}
report() { # report WHAT COPIES-BEFORE BYTES-BEFORE
    bytes=$(($(done_bytes) - $3))
    say "$1: $(($(progress begun) - $2)) copies, $((bytes >> 20)) MiB, done $(per $took_ms 1000) s after it was seen," \
        "$(mb_s $bytes $took_ms) MB/s"
}
done_bytes() { # copied so far, of all classes
    ctl --json rereplication | flat | grep -oE '"done_bytes":[0-9]+' | cut -d: -f2 | awk '{ s += $1 } END { printf "%.0f\n", s }'
}

for i in 1 2 3 4 5; do disk $i; done
cluster_up
mkdir "$MNT/big" "$MNT/small" "$MNT/two"
setfattr -n user.gfs.replicas -v 2 "$MNT/two" # with one server gone, chunks with one copy left
began=$(now_ms)
for i in 1 2 3 4 5 6 7; do put big/$i $((MIB * 131072)); done
put two/1 $((MIB * 65536))
put two/2 $((MIB * 32768))
i=0
while [ $i -lt 1000 ]; do
    [ $((i % 10)) = 0 ] && where=two || where=small
    put $where/s$i $(((i * 7919 % 64 + 1) * 1000 + i))
    i=$((i + 1))
done
sync -f "$MNT"
say "$(du -sm --apparent-size "$MNT" | cut -f1) MiB in $(find "$MNT" -type f | wc -l) files written in $(per $(($(now_ms) - began)) 1000) s"
settled() { all_copied && sleep 2 && all_copied; } # few large chunks can lie unevenly at first
wait_for "all copies" 300 settled
chunks=$(status_field chunks)
three=$(status_field copies_3) # chunks that want three
ctl status | sed 's/^/  /'

say "(a) chunkd-5 dies for good"
copies=$(progress begun)
bytes=$(done_bytes)
chunkd_dies 5
disk_gone 5
wait_for "its absence to be seen" 20 some_lack
table_until 900 all_copied
report "after one chunkserver" "$copies" "$bytes"
same "chunks with three copies" "$(status_field copies_3)" "$three"
singles=$(progress last_copies_begun)
at=$(($(progress last_copy_begun_at) - copies))
say "the $singles chunks with one copy left were among the first $at copies of $(($(progress begun) - copies))"
[ "$singles" -gt 0 ] || fail "no chunk had one copy left"
[ "$at" -le $((singles + 16)) ] || fail "chunks with one copy left had to wait for others"
grep -h "re-replication" "$RUN/master.log" | tail -n 2 | sed 's/^/  /'
same_content 4

say "(b) rack r3 dies: chunkd-3"
copies=$(progress begun)
bytes=$(done_bytes)
singles=$(progress last_copies_begun)
chunkd_dies 3
disk_gone 3
wait_for "its absence to be seen" 20 some_lack
table_until 900 all_copied
report "after one rack" "$copies" "$bytes"
same "chunks with three copies" "$(status_field copies_3)" "$three"
say "$(($(progress last_copies_begun) - singles)) chunks had one copy left; the last of them was number" \
    "$(($(progress last_copy_begun_at) - copies))"
warned() { ctl status | grep -q '^warning: .*rack'; }
wait_for "a warning that there are too few racks" 20 warned
ctl status | grep '^warning' | sed 's/^/  /'
same_content 2

say "(c) rack r4 comes: chunkd-6 and chunkd-7"
copies=$(progress begun)
bytes=$(done_bytes)
for i in 6 7; do
    disk $i
    sed -E "s|chunkd-1|chunkd-$i|; s|^listen = .*|listen = 127.0.0.1:$((PORT + i))|; s|^host = .*|host = h$i|; s|^rack = .*|rack = r4|" \
        "$RUN/chunkd-1.conf" >"$RUN/chunkd-$i.conf"
    setsid "$BIN/chunkd" "$RUN/chunkd-$i.conf" </dev/null >>"$RUN/chunkd-$i.log" 2>&1 &
    echo $! >"$RUN/chunkd-$i.pid"
done
here() { [ "$(field alive 6)" = true ] && [ "$(field alive 7)" = true ]; }
wait_for "the new chunkservers" 20 here
# Percent points between the fullest and the emptiest disk.
apart() {
    ctl --json status | grep '"alive": true' | sed -E 's/.*"total": ([0-9]+), "avail": ([0-9]+).*/\1 \2/' | awk '
        { f = 100 * ($1 - $2) / $1; if (NR == 1 || f < low) low = f; if (NR == 1 || f > high) high = f }
        END { printf "%d\n", high - low }'
}
members() { echo $(($(field member_of "$1") + $(field member_of "$2"))); }
# Chunks that want three copies have one on each of r1, r2 and r4; disks are even, and nothing moves.
balanced() {
    [ "$(progress left_chunks)" = 0 ] && [ "$(members 6 7)" -ge "$three" ] && [ "$(members 1 4)" -ge "$three" ] &&
        [ "$(field member_of 2)" -ge "$three" ] && [ "$(apart)" -le 6 ] && fully_replicated &&
        ! ctl status | grep -q '^warning'
}
say "fullest and emptiest disk: $(apart) percent points apart"
table_until 1800 balanced
report "after a rack was added" "$copies" "$bytes"
say "fullest and emptiest disk: $(apart) percent points apart"
ctl status | sed 's/^/  /'
same "chunks with three copies" "$(status_field copies_3)" "$three"
same "chunks" "$(status_field chunks)" "$chunks"
same_content 2
