#!/bin/sh
# drain.sh - four chunkservers on three racks: replicas spread, one is emptied and switched off, one is away in
# maintenance, a directory goes to two replicas and back to three. The files stay what they were.
N=4
RACKS=3
export RACKS
GFS_MASTER_CONF='heartbeat_ms = 200
lease_ms = 1000
session_ms = 5000
request_timeout_ms = 1000
chunk_bytes = 1M
away_grace_ms = 3000
trash_seconds = 0
balance_kib_s = 1048576'
export GFS_MASTER_CONF
. "$(dirname "$0")/lib.sh"
ctl() { "$BIN/gfsctl" "$@"; }
# field NAME ID: of a chunkserver in the status.
field() { ctl --json status | grep "\"id\": $2," | sed -E "s/.*\"$1\": ([^,}]+).*/\1/"; }
id_of() { ctl --json status | grep ":$((PORT + $1))\"" | sed -E 's/.*"id": ([0-9]+),.*/\1/'; }
sums() { (cd "$MNT" && find . -type f | sort | xargs sha256sum); }
lacking() { ctl --json replicas / -r | sed -E 's/.*"lacking": ([0-9]+).*/\1/'; }
# chunks N PATH: how many chunks below it have N replicas.
chunks() { ctl --json replicas "$2" -r | sed -E 's/.*"chunks_by_copies": \[([^]]*)\].*/\1/' | tr -d ' ' | cut -d, -f$(($1 + 1)); }
none_lacks() { [ "$(lacking)" = 0 ]; }

cluster_up
mkdir "$MNT/two" "$MNT/plain"
for i in 1 2 3 4 5 6; do
    head -c 2500000 /dev/urandom >"$MNT/two/$i"
    head -c 1500000 /dev/urandom >"$MNT/plain/$i"
done
sync -f "$MNT"
sums >"$WORK/sums"
unchanged() {
    remount
    sums >"$WORK/sums.now"
    cmp -s "$WORK/sums" "$WORK/sums.now" || fail "files changed: $(diff "$WORK/sums" "$WORK/sums.now" | head -3)"
}
wait_for "three replicas of everything" 30 none_lacks
same "chunks with three replicas" "$(chunks 3 /)" 30
ctl status | grep -q "share racks" && fail "three racks are enough: $(ctl status)"

# Emptied and switched off: nothing is missed, nothing is copied again.
gone=$(id_of 1)
ctl drain "127.0.0.1:$((PORT + 1))" --wait >"$WORK/drain" || fail "drain: $(cat "$WORK/drain")"
grep -q "drained: may be switched off" "$WORK/drain" || fail "drain says: $(cat "$WORK/drain")"
same "chunks with three replicas on the other three" "$(chunks 3 /)" 30
kill_hard chunkd-1
wait_for "its death to be noticed" 10 sh -c "[ \"\$('$BIN/gfsctl' status --json | grep -c '\"alive\": true')\" = 3 ]"
none_lacks || fail "chunks lack replicas after a drained chunkserver was switched off"
unchanged_without_it=$(sums | cmp - "$WORK/sums" && echo yes)
same "files without it" "$unchanged_without_it" yes

# Two chunkservers have no room for three replicas: a drain says that it cannot end.
other=$(id_of 2)
ctl drain "$other" --wait >"$WORK/drain" 2>&1 && fail "two chunkservers cannot hold three replicas"
grep -q "cannot be emptied" "$WORK/drain" || fail "drain says: $(cat "$WORK/drain")"
ctl status | grep -q "warning: chunkserver $other cannot be emptied" || fail "status warns of nothing"
ctl undrain "$other" >/dev/null
same "drained no more" "$(field draining "$other")" false

# The first comes back empty and takes replicas again.
cluster_up
ctl undrain "$gone" >/dev/null

# Away in maintenance: longer than the grace, over a restart of the master, and nothing is copied.
away=$(id_of 3)
had=$(field member_of "$away")
ctl maintenance "$away" 10m | grep -q "maintenance for" || fail "maintenance is not shown"
kill_hard chunkd-3
sleep 5
kill_hard master
cluster_up_master() { # the master alone: make up would start the chunkserver too
    setsid "$BIN/gfs-master" "$RUN/master.conf" </dev/null >>"$RUN/master.log" 2>&1 &
    echo $! >"$RUN/master.pid"
}
cluster_up_master
wait_for "the master to serve" 20 ctl status
sleep 8
wait_for "the books of the new master" 20 sh -c "[ \"\$('$BIN/gfsctl' --json status | grep '\"id\": $away,' | sed -E 's/.*\"member_of\": ([^,}]+).*/\1/')\" = $had ]"
ctl maintenance "$away" 0 >/dev/null
moved() { [ "$(field member_of "$away")" = 0 ]; }
wait_for "its replicas to be replaced once maintenance is over" 40 moved
wait_for "three replicas of everything" 40 none_lacks
cluster_up
unchanged

# A directory with fewer, and with three again.
ctl replicas "$MNT/two" 2 -r >/dev/null
same "what the directory says" "$(getfattr --absolute-names --only-values -n user.gfs.replicas "$MNT/two")" 2
same "what its files say" "$(getfattr --absolute-names --only-values -n user.gfs.replicas "$MNT/two/3")" 2
two() { [ "$(chunks 2 /two)" = 18 ]; }
wait_for "two replicas of the directory's files" 40 two
same "the others keep three" "$(chunks 3 /plain)" 12
head -c 300000 /dev/urandom >"$MNT/two/new" && sync "$MNT/two/new"
same "a new file's replicas" "$(chunks 2 /two/new)" 1
rm "$MNT/two/new"
wait_for "the replicas too many to go" 60 sh -c "[ \"\$(find '$RUN'/chunkd-*/chunks -type f | wc -l)\" -le 72 ]"
unchanged
setfattr -n user.gfs.replicas -v 9 "$MNT/two" 2>/dev/null && fail "nine replicas were accepted"
ctl replicas "$MNT/two" 3 -r >/dev/null
three() { [ "$(chunks 3 /two)" = 18 ]; }
wait_for "three replicas of the directory's files" 40 three
setfattr -x user.gfs.replicas "$MNT/two"
same "listed where it is set only" "$(getfattr -d -m - "$MNT/two" 2>/dev/null | grep -c replicas)" 0
unchanged
