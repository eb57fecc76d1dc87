#!/bin/sh
# kill_chunkd.sh - SIGKILL of a chunkserver while files are written: no error reaches the program, nothing is lost, its
# stale replicas are recognised by version and not read.
. "$(dirname "$0")/lib.sh"
cluster_up
mkdir "$MNT/d" "$WORK/src"
write_files() { # write_files FROM TO
    i=$1
    while [ "$i" -lt "$2" ]; do
        head -c $((i * 7919 % 300000 + 1)) /dev/urandom >"$WORK/src/$i"
        cp "$WORK/src/$i" "$MNT/d/$i" || return 1
        i=$((i + 1))
    done
}
dd if=/dev/urandom of="$WORK/src/big" bs=1M count=96 status=none
write_files 0 60 || fail "writing before the kill"

say "kill chunkd-2 while a big file and small files are written"
(cp "$WORK/src/big" "$MNT/d/big" && sync "$MNT/d/big") &
big=$!
(write_files 60 140) &
small=$!
sleep 0.5
kill_hard chunkd-2
wait $big || fail "cp of the big file saw an error"
wait $small || fail "cp of a small file saw an error"
expect "everything is there with two chunkservers" diff -r "$WORK/src" "$MNT/d"

say "overwrite while it is away, bring it back, drop the others' caches: its old data must not show"
i=0
while [ $i -lt 60 ]; do
    head -c $((i * 7919 % 300000 + 1)) /dev/urandom >"$WORK/src/$i"
    dd if="$WORK/src/$i" of="$MNT/d/$i" bs=64k conv=notrunc,fsync status=none || fail "overwrite of $i"
    i=$((i + 1))
done
cluster_up
remount
expect "no stale byte is read" diff -r "$WORK/src" "$MNT/d"
wait_for "three copies of everything" 60 fully_replicated

say "every single chunkserver can now serve everything"
for i in 1 2 3; do
    kill_hard "chunkd-$i"
    expect "everything is readable without chunkd-$i" diff -r "$WORK/src" "$MNT/d"
    cluster_up
    wait_for "three live chunkservers" 20 sh -c "[ \$('$BIN/gfsctl' status --json | grep -o '\"alive\": *true' | wc -l) = 3 ]"
done
