#!/bin/sh
# master_failover.sh - three masters on machines of their own: the primary is killed, stopped and resumed, handed over, cut off
# (both ways, one way, from the other masters alone), loses power, and is away for OUTAGE seconds (30), in ROUNDS rounds
# (6), while programs work on two mounts. No program sees an error; every acknowledged operation is there, none was done twice; what one
# mount was told is seen by the other; reading goes on. MONITOR=zookeeper: with a monitor and a ZooKeeper server on each
# machine. FAULTS chooses. At the end: how long operations took at most, by fault. One outage in five is of OUTAGE seconds, the
# others are short. STALLS is a file where these times are appended.
: "${ROUNDS:=6}" "${OUTAGE:=30}"
# What hangs is not ended: epochs alone must protect.
GFS_MONITOR_CONF='fence = no'
GFS_MASTER_CONF='trash_seconds = 0
heartbeat_ms = 200
lease_ms = 1000
session_ms = 60000
request_timeout_ms = 1000
away_grace_ms = 30000
segment_bytes = 1048576
checkpoint_records = 4000
preallocate_bytes = 16777216'
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/lib_netns.sh"
. "$(dirname "$0")/lib_machines.sh"
OTHER=$WORK/other
STALLS=${STALLS:-$WORK/stalls}
machines_cleanup() {
    touch "$WORK/enough"
    for m in "$OTHER" "$WORK/new"; do
        umount "$m" 2>/dev/null || umount -l "$m" 2>/dev/null || true
    done
    for m in other new; do
        [ ! -e "$RUN/$m.pid" ] || (wait_for "the mount to end" 10 ended "$(cat "$RUN/$m.pid")") || true
    done
}

# ---- programs
goes_on() { # goes_on "after what": both loads do something again, and what one mount is told the other sees
    a=$(operations a)
    b=$(operations b)
    wait_for "mount a to go on after $1" 60 progress a "$a"
    wait_for "mount b to go on after $1" 60 progress b "$b"
    kill -0 "$load_a" "$load_b" || fail "a program ended after $1: $(cat "$WORK"/*.err)"
    seen=$((seen + 1))
    quick "a new file after $1" sh -c 'echo "$1" >"$2"' sh "$seen" "$MNT/seen/$seen"
    same "what the other mount sees of it after $1" "$(cat "$OTHER/seen/$seen")" "$seen"
}
state_of() { timeout 5 getfattr --absolute-names --only-values -n user.gfs.state "$1" 2>&1 | tr '\n' ' '; }
everything() { # what the mounts and the masters say now
    echo "mount a: $(state_of "$MNT")"
    echo "mount b: $(state_of "$OTHER")"
    for k in 1 2 3; do
        echo "master $k: $(said_by $k | cut -c1-600)"
    done
}
reads() { # what was read before, and what was not
    quick "ls $1" ls -l "$MNT/still/unread"
    quick "git log $1" git -C "$OTHER/still/repo" log
}

machines_up 3
mount_at c1 "$MNT" fuse
mount_at c2 "$OTHER" other
mkdir "$MNT/still" "$MNT/still/unread" "$MNT/elsewhere" "$MNT/seen"
for i in $(seq 1 50); do
    echo "content $i" >"$MNT/still/unread/f$i"
done
git init -q "$MNT/still/repo"
(cd "$MNT/still/repo" && cp "$TOP"/tests/e2e/*.sh . && git add . && git -c user.name=x -c user.email=x@y commit -qm one)
"$TOOLS/failover_load" "$MNT/a" "$WORK/enough" "$WORK/a.ops" >"$WORK/a.out" 2>"$WORK/a.err" &
load_a=$!
"$TOOLS/failover_load" "$OTHER/b" "$WORK/enough" "$WORK/b.ops" >"$WORK/b.out" 2>"$WORK/b.err" &
load_b=$!
wait_for "work to begin" 30 progress a 20
wait_for "work to begin" 30 progress b 20

# ---- faults: of the machine of the primary, NUMBER, which serves in EPOCH
killed() {
    kill -9 "$(pid_of "master-$1")"
    wait_for "a promotion after SIGKILL" 60 promoted "$2"
}
stopped() { # and resumed, when another one serves
    p=$(pid_of "master-$1")
    kill -STOP "$p"
    lost=$1
    wait_for "a promotion after SIGSTOP" 60 promoted "$2"
    goes_on "SIGSTOP"
    kill -CONT "$p"
    lost=
    wait_for "the old primary to give up" 60 gave_up "$1"
}
handed() {
    handed_over() { "$BIN/gfsctl" handover >"$WORK/handover.out" 2>&1; }
    wait_for "gfsctl handover" 30 handed_over
    say "$(cat "$WORK/handover.out")"
    wait_for "another primary" 30 promoted "$2"
}
severed() { # cut off as $how says, healed when another one serves
    cut_off "$1" "$how"
    lost=$1
    wait_for "a promotion after a cut ($how)" 60 promoted "$2"
    reads "while machine $1 is cut off ($how)"
    goes_on "a cut ($how)"
    heal "$1"
    lost=
    wait_for "the old primary to give up" 60 gave_up "$1"
}
powerless() { # and boots, when another one serves
    machine_off "$1" "$linger"
    lost=$1
    wait_for "a promotion after a power cut" 60 promoted "$2"
    reads "while machine $1 has no power"
    goes_on "a power cut"
    machine_on "$1"
    lost=
    wait_for "the old primary to be back" 60 gave_up "$1"
}
# Nobody promotes anybody for a while; reading goes on, also of what nobody here has read, and on a new mount.
away() {
    start=$(date +%s)
    # shellcheck disable=SC2046
    kill -STOP $(monitors)
    kill -9 "$(pid_of "master-$1")"
    sync -f "$TOP" || true
    echo 3 >/proc/sys/vm/drop_caches 2>/dev/null || true
    quick "ls -R in the outage" ls -lR "$OTHER/still"
    # shellcheck disable=SC2016
    quick "cat of files never opened here" sh -c 'cat "$1"/f*' sh "$OTHER/still/unread"
    same "what was read" "$(cat "$OTHER/still/unread/f7")" "content 7"
    quick "git status in the outage" git -C "$MNT/still/repo" --no-optional-locks status
    touch "$MNT/elsewhere/waits" & # its directory is locked by the kernel meanwhile
    waits=$!
    mount_at c2 "$WORK/new" new
    quick "reading on the new mount" cat "$WORK/new/still/unread/f9"
    quick "unmounting it" umount "$WORK/new"
    while [ $(($(date +%s) - start)) -lt "$seconds" ]; do
        reads "in the outage"
        kill -0 $waits 2>/dev/null || fail "a change was answered without a primary"
        sleep 1
    done
    # shellcheck disable=SC2046
    kill -CONT $(monitors)
    wait_for "a promotion after the outage" 60 promoted "$2"
    wait $waits || fail "touch, begun in the outage, failed"
}

# next_fault: chooses; $fault is the function and $kind what is said of it.
next_fault() {
    # shellcheck disable=SC2086
    set -- $FAULTS
    shift $((round % $#))
    fault=$1 kind=$1
    case $fault in
    severed)
        cuts=$((cuts + 1))
        case $((cuts % 4)) in
        1) how=both kind="cut off" ;;
        2) how=in kind="cut off from what others say" ;;
        3) how=out kind="cut off from those who listen" ;;
        0) how=masters kind="cut off from the masters" ;;
        esac
        ;;
    powerless)
        kind="power cut"
        case $((round % 3)) in
        0) linger=0 ;;
        1) linger=-1 ;;
        2) linger=150 ;;
        esac
        ;;
    away)
        outages=$((outages + 1)) seconds=10
        [ $((outages % 5)) != 1 ] || seconds=$OUTAGE
        kind="away for $seconds s"
        ;;
    esac
}
slow_lines() { grep -vc '^ops' "$WORK/$1.ops" || true; }
longest() { grep -v '^ops' "$WORK/$1.ops" | tail -n "+$(($2 + 1))" | awk '$2 > m {m = $2} END {print m + 0}'; } # since line

: "${FAULTS:=killed severed handed powerless stopped away severed}"
if ! has_disks; then
    say "no loop devices with ext4: power is not cut"
    FAULTS=$(echo "$FAULTS" | sed 's/powerless//g')
fi
round=0 cuts=0 outages=0 seen=0
while [ $round -lt "$ROUNDS" ]; do
    wait_for "a primary" 60 has_primary
    before=$(epoch)
    who=$(primary)
    in_step "$who"
    wait_for "all servers of ZooKeeper" 90 zookeeper_whole
    slow_a=$(slow_lines a)
    slow_b=$(slow_lines b)
    next_fault
    $fault "$who" "$before"
    goes_on "it was $kind"
    wait_for "a primary" 60 has_primary
    stall_a=$(longest a "$slow_a")
    stall_b=$(longest b "$slow_b")
    say "round $((round + 1)): master $who, $kind; epoch $before, then $(epoch), master $(primary); longest operations $stall_a, $stall_b ms"
    [ "$fault" = away ] || printf '%s %s\n%s %s\n' "$stall_a" "$kind" "$stall_b" "$kind" >>"$STALLS"
    round=$((round + 1))
done
touch "$WORK/enough"
wait "$load_a" || fail "$(cat "$WORK/a.err")"
wait "$load_b" || fail "$(cat "$WORK/b.err")"
"$TOOLS/failover_load" --check "$OTHER/a" "$WORK/a.ops.list" >>"$WORK/a.out" 2>&1 || fail "$(tail -n 1 "$WORK/a.out")"
"$TOOLS/failover_load" --check "$MNT/b" "$WORK/b.ops.list" >>"$WORK/b.out" 2>&1 || fail "$(tail -n 1 "$WORK/b.out")"
say "$(head -n 1 "$WORK/a.out"); $(head -n 1 "$WORK/b.out")"
wait_for "everything to be replicated" 60 fully_replicated
expect "gfsctl fsck" "$BIN/gfsctl" fsck >/dev/null
say "longest operation of each mount in a round, in ms:"
sort -k2 -k1n "$STALLS" | awk -v who="  $NAME: " '
    function rank(p) { return t[int(p * (n - 1) + 0.999999) + 1] }
    function show() {
        if (n > 0) {
            printf "%s%-32s %3d times: min %d, median %d, p99 %d, max %d\n", who, kind, n, t[1], rank(0.5), rank(0.99), t[n]
        }
    }
    { ms = $1; sub(/^[0-9]+ /, "") }
    $0 != kind { show(); kind = $0; n = 0 }
    { t[++n] = ms }
    END { show() }'
