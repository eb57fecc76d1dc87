#!/bin/sh
# master_failover.sh - three masters: the primary is killed, stopped and resumed, handed over, and away for OUTAGE seconds
# (30), in ROUNDS rounds (5), while programs work on two mounts. No program sees an error; every acknowledged operation is
# there, none was done twice; reading goes on during the outage. MONITOR=zookeeper: with a monitor for each master.
export SHADOWS=2
: "${MONITOR:=local}" "${ROUNDS:=5}" "${OUTAGE:=30}"
# What hangs is not ended: epochs alone must protect.
GFS_MONITOR_CONF='fence = no'
export MONITOR GFS_MONITOR_CONF
. "$(dirname "$0")/lib.sh"
TOOLS=${E2E_TOOLS:-$TOP/build/${E2E_BUILD:-debug}}
OTHER=$WORK/other
mkdir -p "$OTHER"
MASTERS=$(for k in 1 2 3; do echo "127.0.0.$k:$PORT"; done | paste -sd,)
export GFS_MASTERS=$MASTERS
test_cleanup() {
    touch "$WORK/enough"
    for m in "$OTHER" "$WORK/new"; do
        umount "$m" 2>/dev/null || umount -l "$m" 2>/dev/null || true
    done
    for m in other new; do
        [ ! -e "$RUN/$m.pid" ] || (wait_for "the mount to end" 10 gone "$(cat "$RUN/$m.pid")") || true
    done
}
mount_at() { # mount_at DIRECTORY NAME
    mkdir -p "$1"
    timeout 20 "$BIN/gfs-fuse" "$MASTERS:/" "$1" -o "host=$2,log=$RUN/$2.log,pidfile=$RUN/$2.pid" || fail "the mount $2"
}

# ---- who is who
master_of() { [ "$1" = 1 ] && echo master || echo "master-$1"; }
said_by() { # what master NUMBER says, in one line
    timeout 5 "$BIN/gfsctl" --masters "127.0.0.$1:$PORT" status --json 2>/dev/null | tr -d ' \n'
    echo
}
primaries() { # EPOCH NUMBER of each that says that it is the primary
    for k in 1 2 3; do
        said_by $k | sed -n -E "s/.*\"addr\":\"127.0.0.$k:$PORT\",\"role\":\"primary\",\"epoch\":([0-9]+).*/\1 $k/p"
    done
}
primary() { primaries | sort -n | tail -n 1 | cut -d' ' -f2; } # its number, of the newest epoch
epoch() { primaries | sort -n | tail -n 1 | cut -d' ' -f1; }
index_of() { # newest record in the state of master NUMBER
    said_by "$1" | sed -n -E "s/.*\"addr\":\"127.0.0.$1:$PORT\",\"role\":\"[a-z]+\",\"epoch\":[0-9]+,\"index\":([0-9]+).*/\1/p"
}
has_all() { [ "$(index_of "$1")" -ge "$2" ] 2>/dev/null; }
in_step() { # whoever was away has what the primary NUMBER has: one fault at a time
    index=$(index_of "$1")
    for k in 1 2 3; do
        wait_for "master $k to have record $index" 60 has_all $k "$index"
    done
}
promoted() { [ "$(epoch)" -gt "$1" ] 2>/dev/null; } # above EPOCH
monitors() {
    for f in "$RUN"/monitor*.pid; do
        cat "$f"
    done
}

# ---- programs
operations() { sed -n 's/^ops //p' "$WORK/$1.ops" | tail -n 1; } # of load NAME
progress() { [ "$(operations "$1")" -gt "$2" ]; }
goes_on() { # goes_on "after what": both loads do something again
    a=$(operations a)
    b=$(operations b)
    wait_for "mount a to go on after $1" 60 progress a "$a"
    wait_for "mount b to go on after $1" 60 progress b "$b"
    kill -0 "$load_a" "$load_b" || fail "a program ended after $1: $(cat "$WORK"/*.err)"
}
state_of() { timeout 5 getfattr --absolute-names --only-values -n user.gfs.state "$1" 2>&1 | tr '\n' ' '; }
everything() { # what the mounts and the masters say now
    echo "mount a: $(state_of "$MNT")"
    echo "mount b: $(state_of "$OTHER")"
    for k in 1 2 3; do
        echo "master $k: $(said_by $k | cut -c1-600)"
    done
}
quick() { # quick "what" COMMAND...: succeeds, in 20 seconds
    what=$1
    shift
    timeout 20 "$@" >/dev/null 2>"$WORK/quick.err" || fail "$what: $(head -n 3 "$WORK/quick.err"); $(everything | tr '\n' ';')"
}

cluster_up
mount_at "$OTHER" other
mkdir "$MNT/still" "$MNT/still/unread" "$MNT/elsewhere"
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

killed() {
    kill -9 "$(pid_of "$(master_of "$1")")"
    wait_for "a promotion after SIGKILL" 60 promoted "$2"
}
stopped() { # and resumed, when another one serves
    p=$(pid_of "$(master_of "$1")")
    kill -STOP "$p"
    wait_for "a promotion after SIGSTOP" 60 promoted "$2"
    goes_on "SIGSTOP"
    kill -CONT "$p"
    gave_up() { said_by "$1" | grep -q '"role":"shadow"' && ! primaries | grep -q " $1\$"; }
    wait_for "the old primary to give up" 60 gave_up "$1"
}
handed() {
    handed_over() { "$BIN/gfsctl" handover >"$WORK/handover.out" 2>&1; }
    wait_for "gfsctl handover" 30 handed_over
    say "$(cat "$WORK/handover.out")"
    wait_for "another primary" 30 promoted "$2"
}
# Nobody promotes anybody for a while; reading goes on, also of what nobody here has read, and on a new mount.
away() {
    start=$(date +%s)
    # shellcheck disable=SC2046
    kill -STOP $(monitors)
    kill -9 "$(pid_of "$(master_of "$1")")"
    sync -f "$TOP" || true
    echo 3 >/proc/sys/vm/drop_caches 2>/dev/null || true
    quick "ls -R in the outage" ls -lR "$OTHER/still"
    # shellcheck disable=SC2016
    quick "cat of files never opened here" sh -c 'cat "$1"/f*' sh "$OTHER/still/unread"
    same "what was read" "$(cat "$OTHER/still/unread/f7")" "content 7"
    quick "git status in the outage" git -C "$MNT/still/repo" --no-optional-locks status
    touch "$MNT/elsewhere/waits" & # its directory is locked by the kernel meanwhile
    waits=$!
    mount_at "$WORK/new" new
    quick "reading on the new mount" cat "$WORK/new/still/unread/f9"
    quick "unmounting it" umount "$WORK/new"
    while [ $(($(date +%s) - start)) -lt "$OUTAGE" ]; do
        quick "ls in the outage" ls -l "$MNT/still/unread"
        quick "git log in the outage" git -C "$OTHER/still/repo" log
        kill -0 $waits 2>/dev/null || fail "a change was answered without a primary"
        sleep 1
    done
    # shellcheck disable=SC2046
    kill -CONT $(monitors)
    wait_for "a promotion after the outage" 60 promoted "$2"
    wait $waits || fail "touch, begun in the outage, failed"
}

round=0
while [ $round -lt "$ROUNDS" ]; do
    before=$(epoch)
    who=$(primary)
    [ -n "$who" ] || fail "no master is the primary"
    in_step "$who"
    slow=$(cat "$WORK"/*.ops | grep -vc '^ops') || true
    case $((round % 4)) in
    0) fault=killed ;;
    1) fault=stopped ;;
    2) fault=away ;;
    3) fault=handed ;;
    esac
    $fault "$who" "$before"
    goes_on "it was $fault"
    say "round $((round + 1)): master $who, $fault; epoch $before, then $(epoch); longest operation $(
        cat "$WORK"/*.ops | grep -v '^ops' | tail -n "+$((slow + 1))" | awk '$2 > m {m = $2} END {print m + 0}') ms"
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
