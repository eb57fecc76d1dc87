#!/bin/sh
# no_primary.sh - the primary master dies and nobody takes over for a while, then all masters but one shadow: everything can be
# read, also by a new mount and after the leases of the chunkservers; changes wait, can be killed, and are made once when
# there is a primary again; a mount can be unmounted at once. (In a directory where a change waits the kernel lets nobody look:
# they have one of their own here.)
export SHADOWS=2 MONITOR=local
. "$(dirname "$0")/lib.sh"
MASTERS=127.0.0.1:$PORT,127.0.0.2:$PORT,127.0.0.3:$PORT
export GFS_MASTERS=$MASTERS
OTHER=$WORK/other
THIRD=$WORK/third
STRICT=$WORK/strict
BOUNDED=$WORK/bounded
mkdir -p "$OTHER" "$THIRD" "$STRICT" "$BOUNDED"
test_cleanup() {
    for m in "$OTHER" "$THIRD" "$STRICT" "$BOUNDED"; do
        umount "$m" 2>/dev/null || umount -l "$m" 2>/dev/null || true
    done
}
mount_at() { # mount_at DIRECTORY NAME [OPTIONS]
    expect "the mount $2" timeout 60 "$BIN/gfs-fuse" "$MASTERS:/" "$1" -o "host=$2,log=$RUN/$2.log,pidfile=$RUN/$2.pid${3:+,$3}"
}
state() { timeout 10 getfattr --absolute-names --only-values -n user.gfs.state "${1:-$MNT}"; }
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
mkdir "$MNT/tree" "$MNT/changes" "$MNT/killed"
cp -r fuse/core "$MNT/tree/core"
head -c 3000000 /dev/urandom >"$WORK/big"
cp "$WORK/big" "$MNT/tree/big"
sync "$MNT/tree/big"
find "$MNT/tree" | sed "s,^$MNT,," | sort >"$WORK/names"
sum=$(all_of "$MNT/tree")

mount_at "$STRICT" strict stale_reads=off
mount_at "$BOUNDED" bounded stale_reads=bounded:10s

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

say "mounts that are to read what is recent, or only what is certain"
same "bytes of all files, known to be recent" "$(all_of "$BOUNDED/tree")" "$sum"
cat "$STRICT/tree/big" >"$WORK/certain" &
strict=$!
sleep 2
kill -0 $strict || fail "stale_reads=off read without a primary"
case $(state "$STRICT") in
"no primary for "*", and stale_reads=off; "[1-9]*" requests wait") ;;
*) fail "user.gfs.state says: $(state "$STRICT")" ;;
esac
if timeout 10 "$BIN/gfsctl" why "$STRICT/tree/big" 2>"$WORK/why"; then fail "why says that nothing is missing"; fi
expect "why says what it waits for: $(cat "$WORK/why")" grep -q 'its mount has no primary for .* stale_reads=off' "$WORK/why"
expect "status says what to do" sh -c "'$BIN/gfsctl' status | grep -q 'warning: no master is the primary: .* 2 are there and 2 are needed'"

say "a new mount reads"
mount_at "$OTHER" other
same "bytes of all files there" "$(all_of "$OTHER/tree")" "$sum"
exec 7<"$OTHER/tree/big"
expect "status by a shadow" sh -c "'$BIN/gfsctl' status | grep -q shadow"
expect "why by a shadow says that there is no primary" sh -c "'$BIN/gfsctl' why '$MNT/tree/big' 2>&1 | grep -q 'no primary'"

dies=$(state | sed -nE 's/.*shadow 127\.0\.0\.([0-9]).*/master-\1/p' | sed 's/master-1/master/')
[ -n "$dies" ] && [ "$dies" != "$who" ] || fail "no shadow is named: $(state)"
say "the shadow that was read from ($dies) dies, too: one is left"
mount_at "$THIRD" third
kill_hard "$dies"
forget
same "bytes of all files by the last shadow" "$(all_of "$MNT/tree")" "$sum"
same "bytes of all files by the last shadow on another mount" "$(all_of "$OTHER/tree")" "$sum"
case $(state) in
*"reading from shadow 127.0.0."*) ;;
*) fail "user.gfs.state says: $(state)" ;;
esac
for change in "mkdir $THIRD/killed/d" "touch $THIRD/killed/f" "rm $THIRD/tree/big"; do
    $change &
    waits=$!
    sleep 1
    kill -0 $waits 2>/dev/null || fail "$change was answered without a primary"
    kill -9 $waits
    wait_for "$change to be killed" 5 ended $waits
done
p=$(cat "$RUN/third.pid")
start=$(date +%s)
expect "umount" umount "$THIRD"
wait_for "gfs-fuse to end" 5 ended "$p"
[ $(($(date +%s) - start)) -le 5 ] || fail "umount took $(($(date +%s) - start)) s"
[ ! -e "$WORK/made" ] && [ ! -e "$WORK/written" ] || fail "something was changed without a primary"

say "there is a primary again"
cluster_up
wait_for "mkdir to end" 60 test -e "$WORK/made"
wait_for "cp to end" 60 test -e "$WORK/written"
wait_for "what would read certain things only to end" 60 ended $strict
same "what it read" "$(cksum <"$WORK/certain")" "$(cksum <"$WORK/big")"
expect "the directory" test -d "$MNT/changes/made"
same "what was copied" "$(cat "$MNT/changes/written")" waiting
same "an open file of the other mount" "$(cksum <&7)" "$(cksum <"$WORK/big")"
exec 7<&-
echo changed >"$OTHER/changes/made/file"
same "a change by the other mount" "$(cat "$MNT/changes/made/file")" changed
find "$MNT/tree" | sed "s,^$MNT,," | sort | cmp - "$WORK/names" || fail "names differ"
same "what was killed before anybody could do it" "$(ls "$MNT/killed")" ""
for m in other strict bounded; do
    p=$(cat "$RUN/$m.pid")
    expect "umount of the mount $m" timeout 15 umount "$WORK/$m"
    wait_for "its gfs-fuse to end" 20 ended "$p"
done
