#!/bin/sh
# no_primary.sh - the primary master dies and nobody takes over for a while: everything can be read, also by a new mount
# and after the leases of the chunkservers; changes wait, and are made once when there is a primary again. (In a directory
# where one waits the kernel lets nobody look: they have one of their own here.)
export SHADOWS=2 MONITOR=local
. "$(dirname "$0")/lib.sh"
MASTERS=127.0.0.1:$PORT,127.0.0.2:$PORT,127.0.0.3:$PORT
export GFS_MASTERS=$MASTERS
OTHER=$WORK/other
mkdir -p "$OTHER"
test_cleanup() { umount "$OTHER" 2>/dev/null || umount -l "$OTHER" 2>/dev/null || true; }
state() { getfattr --absolute-names --only-values -n user.gfs.state "$MNT"; }
primary_name() { # of its files in $RUN
    case $(state) in
    "primary 127.0.0.1:"*) echo master ;;
    "primary 127.0.0."[23]":"*) state | sed -E 's/primary 127\.0\.0\.([0-9]).*/master-\1/' ;;
    *) fail "no primary: $(state)" ;;
    esac
}
all_of() { timeout 60 sh -c 'cd "$1" && find . -type f | sort | xargs -d "\n" cat | cksum' sh "$1"; }
forget() { echo 3 >/proc/sys/vm/drop_caches; }

cluster_up
mkdir "$MNT/tree" "$MNT/changes"
cp -r fuse/core "$MNT/tree/core"
head -c 3000000 /dev/urandom >"$WORK/big"
cp "$WORK/big" "$MNT/tree/big"
sync "$MNT/tree/big"
find "$MNT/tree" | sed "s,^$MNT,," | sort >"$WORK/names"
sum=$(all_of "$MNT/tree")

who=$(primary_name)
say "the primary ($who) dies, and the monitor"
kill_hard monitor "$who"
forget
expect "ls -R" timeout 60 ls -lR "$MNT" >/dev/null
same "bytes of all files" "$(all_of "$MNT/tree")" "$sum"
case $(state) in
"no primary for "*"reading from shadow 127.0.0."*) ;;
*) fail "user.gfs.state says: $(state)" ;;
esac

echo waiting >"$WORK/waiting"
(mkdir "$MNT/changes/made" && echo done >"$WORK/made") &
(cp "$WORK/waiting" "$MNT/changes/written" && echo done >"$WORK/written") &
sleep 2 # the leases of the chunkservers end: they are of 1 s
forget
same "bytes of all files without leases" "$(all_of "$MNT/tree")" "$sum"
[ ! -e "$WORK/made" ] && [ ! -e "$WORK/written" ] || fail "something was changed without a primary"

say "a new mount reads"
expect "a new mount" timeout 60 "$BIN/gfs-fuse" "$MASTERS:/" "$OTHER" -o "host=other,log=$RUN/other.log,pidfile=$RUN/other.pid"
same "bytes of all files there" "$(all_of "$OTHER/tree")" "$sum"
exec 7<"$OTHER/tree/big"
expect "status by a shadow" sh -c "'$BIN/gfsctl' status | grep -q shadow"
expect "why by a shadow says that there is no primary" sh -c "'$BIN/gfsctl' why '$MNT/tree/big' 2>&1 | grep -q 'no primary'"

say "there is a primary again"
cluster_up
wait_for "mkdir to end" 60 test -e "$WORK/made"
wait_for "cp to end" 60 test -e "$WORK/written"
expect "the directory" test -d "$MNT/changes/made"
same "what was copied" "$(cat "$MNT/changes/written")" waiting
same "an open file of the other mount" "$(cksum <&7)" "$(cksum <"$WORK/big")"
exec 7<&-
echo changed >"$OTHER/changes/made/file"
same "a change by the other mount" "$(cat "$MNT/changes/made/file")" changed
find "$MNT/tree" | sed "s,^$MNT,," | sort | cmp - "$WORK/names" || fail "names differ"
p=$(cat "$RUN/other.pid")
expect "umount of the other mount" timeout 15 umount "$OTHER"
wait_for "its gfs-fuse to end" 20 gone "$p"
