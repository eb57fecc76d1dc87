#!/bin/sh
# syscalls.sh - what reads and small writes cost a chunkserver, counted with strace: a read is pread and nothing
# else on the disk, a write without fsync waits for no sync of its own.
. "$(dirname "$0")/lib.sh"
MIB=32
WRITES=500
sleep 60 &
sleeper=$!
test_cleanup() { kill $sleeper ${tracers:-} 2>/dev/null || true; }

# attach PID FILE: strace in the background, and wait until it is attached.
attach() {
    strace -f -y -qq -e trace=file,desc -o "$2" -p "$1" 2>"$2.err" &
    tracers="$tracers $!"
    tries=100
    until grep -q '^TracerPid:[[:space:]]*[1-9]' "/proc/$1/status"; do
        tries=$((tries - 1))
        kill -0 $! 2>/dev/null && [ $tries -gt 0 ] || return 1
        sleep 0.1
    done
}
tracers=
if ! attach $sleeper "$WORK/sleeper"; then
    say "skipped: strace may not attach to a process here: $(cat "$WORK/sleeper.err")"
    exit 0
fi
kill $sleeper $tracers 2>/dev/null || true

trace_start() { # trace_start NAME
    tracers=
    for i in 1 2 3; do
        attach "$(pid_of "chunkd-$i")" "$WORK/$1-$i" || fail "strace: $(cat "$WORK/$1-$i.err")"
    done
    started=$(date +%s)
}
trace_stop() {
    kill -INT $tracers
    wait $tracers 2>/dev/null || true
    tracers=
    seconds=$(($(date +%s) - started + 1))
}
# count NAME CALLS: calls on files, on all chunkservers; the network and the loop's own wake-ups are not files.
count() {
    grep -hE "^[0-9]+ +($2)\(" "$WORK/$1"-[123] | grep -cvE "^[0-9]+ +[a-z0-9_]+\([0-9]+<(socket|anon_inode|pipe|UNIX|TCP)" || true
}
at_most() { # at_most "what" COUNT LIMIT
    say "$1: $2, allowed $3"
    [ "$2" -le "$3" ] || fail "$1: $2, allowed $3"
}
READS='read|readv|pread64|preadv|preadv2'
OPENS='open|openat|openat2|creat'
SYNCS='fsync|fdatasync|sync_file_range|syncfs|msync'
WRITES_TO_FILES='write|writev|pwrite64|pwritev|pwritev2|ftruncate|truncate|fallocate'
NAMES='stat|lstat|fstat|newfstatat|statx|access|faccessat|faccessat2|unlink|unlinkat|rename|renameat|renameat2|mkdir|mkdirat|link|linkat|getdents64|lseek|flock|fcntl'

cluster_up
dd if=/dev/urandom of="$WORK/data" bs=1M count=$MIB status=none
cp "$WORK/data" "$MNT/data"
sync "$MNT/data"
remount
sleep 2.5 # the periodic flush after the writes is over

say "reading $MIB MiB, nothing cached by the mount"
trace_start read
cmp "$WORK/data" "$MNT/data" || fail "the data"
trace_stop
reads=$(count read "$READS")
expect "strace saw the reads" [ "$reads" -ge $((MIB / 4)) ]
at_most "reads of files" "$reads" $((MIB * 16 + 8))
at_most "files opened" "$(count read "$OPENS")" 3
at_most "metadata calls" "$(count read "$NAMES")" 0
at_most "writes to files" "$(count read "$WRITES_TO_FILES")" 0
at_most "syncs" "$(count read "$SYNCS")" 0

say "$WRITES scattered writes of 4 KiB without fsync"
trace_start write
perl -e '
    open(my $f, "+<", $ARGV[0]) or die "$!\n";
    for my $i (0 .. $ARGV[1] - 1) {
        sysseek($f, $i * 65536 + 8192, 0) or die "$!\n";
        syswrite($f, chr($i % 256) x 4096) == 4096 or die "$!\n";
    }
    close($f) or die "$!\n";
    ' "$MNT/data" "$WRITES" || fail "the writes"
trace_stop
written=$(count write "$WRITES_TO_FILES")
expect "strace saw the writes" [ "$written" -ge $((WRITES * 3)) ]
# On each of three chunkservers: one write for each, and batches of the meta log.
at_most "writes to files" "$written" $(((WRITES + 10 * seconds) * 3))
# The mark that the replica is dirty, then with each periodic flush the data, the meta log and the mark again.
at_most "syncs" "$(count write "$SYNCS")" $(((1 + 3 * seconds) * 3))
at_most "files opened" "$(count write "$OPENS")" 3
at_most "metadata calls" "$(count write "$NAMES")" 0
