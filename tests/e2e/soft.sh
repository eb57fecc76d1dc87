#!/bin/sh
# soft.sh - one of three servers left: a write on a soft mount fails with EIO when its time is over, one on a hard mount
# waits and completes when a second server is back.
. "$(dirname "$0")/lib.sh"
SOFT=$WORK/soft
mkdir -p "$SOFT"
test_cleanup() { umount "$SOFT" 2>/dev/null || umount -l "$SOFT" 2>/dev/null || true; }
cluster_up
for wrong in 0 -1 x ''; do
    ! "$BIN/gfs-fuse" "127.0.0.1:$PORT:/" "$SOFT" -o "soft=$wrong" 2>/dev/null || fail "soft=$wrong was accepted"
done
"$BIN/gfs-fuse" "127.0.0.1:$PORT:/" "$SOFT" -o "soft=2,log=$RUN/soft.log,pidfile=$RUN/soft.pid" || fail "the soft mount"
dd if=/dev/urandom of="$WORK/data" bs=64k count=32 status=none
for f in hard soft; do
    dd if=/dev/zero of="$MNT/$f" bs=64k count=32 conv=fsync status=none || fail "writing"
done
wait_for "three copies" 20 fully_replicated
expect "the soft mount writes while all is well" dd if="$WORK/data" of="$SOFT/other" bs=64k conv=fsync status=none

kill_hard chunkd-2 chunkd-3
say "one server left: the hard mount waits"
dd if="$WORK/data" of="$MNT/hard" bs=64k conv=notrunc,fsync status=none &
writer=$!

say "the soft one fails"
start=$(date +%s)
if dd if="$WORK/data" of="$SOFT/soft" bs=64k conv=notrunc,fsync 2>"$WORK/err"; then
    fail "a write with one of three servers left succeeded"
fi
seconds=$(($(date +%s) - start))
grep -q "Input/output error" "$WORK/err" || fail "expected EIO, got: $(cat "$WORK/err")"
say "EIO after $seconds s"
[ $seconds -le 15 ] || fail "2 s for a call took $seconds s"
kill -0 $writer 2>/dev/null || fail "the write on the hard mount did not wait"

say "a second server returns: what waited completes"
setsid "$BIN/chunkd" "$RUN/chunkd-2.conf" </dev/null >>"$RUN/chunkd-2.log" 2>&1 &
echo $! >"$RUN/chunkd-2.pid"
wait $writer || fail "the write on the hard mount failed"
expect "it wrote" cmp "$WORK/data" "$MNT/hard"
dd if="$WORK/data" of="$SOFT/soft" bs=64k conv=notrunc,fsync status=none || fail "the soft mount writes again"
expect "the soft mount reads what it wrote" cmp "$WORK/data" "$SOFT/soft"
p=$(pid_of soft)
umount "$SOFT"
wait_for "the soft gfs-fuse to end" 15 ended "$p"
