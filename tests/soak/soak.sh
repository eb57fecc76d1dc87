#!/bin/sh
# soak.sh - programs on a mount for MINUTES (30), with a fault every 5 s: daemons and a mount killed, daemons stopped for
# a while, bytes of chunks changed, a disk filled. SEED chooses the faults.
#
# On the first mount, which stays, every program must go on without an error. On a second, which is killed now and then,
# crash_load journals what it is told and crash_check compares; it does so every minute. After each fault every daemon
# must serve and every chunk must come to have all its copies again; at the end they are all read and compared. Memory and
# descriptors of every process are sampled; they must not go on growing, nor in the last third, in which no daemon is
# killed.
N=4
GFS_MASTER_CONF='trash_seconds = 20
heartbeat_ms = 200
lease_ms = 1000
session_ms = 10000
request_timeout_ms = 1000
away_grace_ms = 4000
chunk_bytes = 1048576
segment_bytes = 4194304
checkpoint_records = 20000'
GFS_CHUNKD_CONF='flush_ms = 1000
aside_ms = 10000'
. "$(dirname "$0")/../e2e/lib.sh"
TOOLS=${TOOLS:-build/debug}
MINUTES=${MINUTES:-30}
SEED=${SEED:-$(date +%s)}
DISK_MIB=1024
WRITERS=3
MNT2=$WORK/mnt2
STATE=$WORK/state
POSIX_CHECK=$TOP/$TOOLS/posix_check
export POSIX_CHECK
if [ "$(id -u)" != 0 ] || [ ! -c /dev/fuse ]; then
    say "skipped: a soak needs root and /dev/fuse"
    exit 0
fi

load= loops=
test_cleanup() {
    : >"$STATE/stop"
    for p in $load $loops; do
        kill -9 "$p" 2>/dev/null || true
    done
    umount -l "$MNT2" 2>/dev/null || true
    sh "$TOP/tests/e2e/sweep.sh" "$WORK" >/dev/null
    for i in $(seq 1 $N); do
        umount -l "$RUN/chunkd-$i" 2>/dev/null || true
    done
}
number=0
random() { echo $(($(echo "$SEED $number $1" | cksum | cut -d' ' -f1) / 7 % $2)); }
daemons() { echo master $(seq -f 'chunkd-%.0f' 1 $N); }

# ---- the programs on the first mount

# program_loop NAME: until something is wrong or it is time; writes what was wrong to $STATE/wrong.
program_loop() {
    rounds=0
    while [ ! -e "$STATE/stop" ]; do
        if ! sh "$TOP/tests/soak/programs.sh" "$1" "$MNT/$1" "$WORK/scratch/$1" >"$STATE/$1.log" 2>&1; then
            [ -e "$STATE/stop" ] || echo "$1, round $((rounds + 1)): $(tail -n 3 "$STATE/$1.log" | cut -c1-200 | tr '\n' ' ')" >>"$STATE/wrong"
            return
        fi
        rounds=$((rounds + 1))
        echo $rounds >"$STATE/$1.rounds"
    done
}
programs_start() {
    for p in git make sqlite tar rsync dbench fio posix; do
        case $p in
        make) needs="make cc" ;;
        sqlite) needs=sqlite3 ;;
        posix) needs=$POSIX_CHECK ;;
        *) needs=$p ;;
        esac
        for command in $needs; do
            command -v "$command" >/dev/null || { say "missing: $command; without $p"; continue 2; }
        done
        echo 0 >"$STATE/$p.rounds"
        program_loop $p &
        loops="$loops $!"
        programs="${programs:-} $p"
    done
}
rounds_done() { for p in $programs; do printf '%s %s  ' "$p" "$(cat "$STATE/$p.rounds")"; done; }
nothing_wrong() {
    [ ! -e "$STATE/wrong" ] || fail "after fault $number ($fault), SEED=$SEED: $(cat "$STATE/wrong")"
    ! grep -lE 'invariant broken|runtime error:|ERROR: (Address|Leak)Sanitizer' "$RUN"/*.log || fail "a daemon broke an invariant after fault $number ($fault)"
}

# ---- the journal on the second mount

mount2() {
    rm -f "$STATE/fuse2.pid"
    timeout 60 "$BIN/gfs-fuse" "$GFS_MASTERS:/" "$MNT2" -o "host=h2,rack=r2,pidfile=$STATE/fuse2.pid,log=$RUN/fuse2.log" \
        </dev/null >>"$RUN/fuse2.log" 2>&1 || fail "the second mount: $(tail -n 2 "$RUN/fuse2.log")"
}
load_start() {
    [ -d "$MNT2/journal" ] || mkdir "$MNT2/journal"
    "$TOOLS/crash_load" "$MNT2/journal" "$STATE" $WRITERS $((SEED + number)) >"$STATE/load.log" 2>&1 &
    load=$!
}
load_stop() {
    kill -TERM $load 2>/dev/null || true
    load_ended() { ! kill -0 $load 2>/dev/null; }
    wait_for "the load to end" 120 load_ended
    wait $load || fail "after fault $number ($fault), SEED=$SEED: $(tail -n 3 "$STATE/load.log")"
    load=
}
whole() { "$BIN/gfsctl" fsck >"$STATE/fsck" 2>&1; }
journal_checked() {
    "$TOOLS/crash_check" "$MNT2/journal" "$STATE" $WRITERS >"$STATE/checked" 2>&1 ||
        fail "after fault $number ($fault), SEED=$SEED: $(cat "$STATE/checked")"
}
check() {
    load_stop
    p=$(cat "$STATE/fuse2.pid")
    umount "$MNT2"
    wait_for "the second gfs-fuse to end" 30 ended "$p"
    mount2
    journal_checked
    load_start
}

# ---- faults

serving() { "$BIN/gfsctl" --json status | grep -c '"alive": true' | grep -qx $N; }
fault_kill() { # NAME...
    kill_hard "$@"
    sleep "0.$(random pause 10)"
    cluster_up
}
fault_stop() { # NAME
    p=$(pid_of "$1")
    kill -STOP "$p"
    sleep "$(random stopped 4).5"
    kill -CONT "$p"
}
fault_mount() {
    code=0
    kill -9 $load 2>/dev/null || true
    wait $load 2>/dev/null || code=$?
    [ $code = 137 ] || fail "after fault $((number - 1)), SEED=$SEED: $(tail -n 3 "$STATE/load.log")" # it ended before
    p=$(cat "$STATE/fuse2.pid")
    "$TOOLS/crash_cut" "$STATE/cuts" 16 0 -- "$p" # killed: its line says so
    wait_for "the second gfs-fuse to be gone" 20 ended "$p"
    umount -l "$MNT2"
    mount2
    journal_checked
    load_start
}
# Eight bytes in eight files of one chunkserver; it is told to read everything, so that all is mended before it is the
# turn of another.
fault_corrupt() { # NUMBER
    find "$RUN/chunkd-$1/chunks" -type f -size +8k | shuf -n 8 --random-source=/dev/urandom >"$STATE/victims" || true
    while read -r f; do
        printf 'rot' | dd of="$f" bs=1 seek=$((1000 + $(random offset 6000))) conv=notrunc,nocreat status=none 2>/dev/null || true
    done <"$STATE/victims"
    timeout 60 "$BIN/gfsctl" scrub now "127.0.0.1:$((PORT + $1))" --wait >"$STATE/scrub" 2>&1 || fail "scrub of chunkd-$1: $(cat "$STATE/scrub")"
}
fault_full() { # NUMBER
    fallocate -l "$(df --output=avail -B1 "$RUN/chunkd-$1" | tail -n 1)" "$RUN/chunkd-$1/filler" 2>/dev/null || true
    sleep 3
    rm -f "$RUN/chunkd-$1/filler"
}
one_fault() {
    one=$((1 + $(random which $N)))
    kind=$(random kind 12)
    # No daemon is killed in the last third: what leaks has time to show.
    [ $(($(date +%s) - began)) -lt $((MINUTES * 40)) ] || kind=$((6 + kind % 6))
    case $kind in
    0 | 1) fault="master killed" && fault_kill master ;;
    2 | 3) fault="chunkd-$one killed" && fault_kill "chunkd-$one" ;;
    4) fault="chunkd-$one and chunkd-$((one % N + 1)) killed" && fault_kill "chunkd-$one" "chunkd-$((one % N + 1))" ;;
    5) fault="master and chunkd-$one killed" && fault_kill master "chunkd-$one" ;;
    6) fault="second mount killed" && fault_mount ;;
    7) fault="master stopped" && fault_stop master ;;
    8) fault="chunkd-$one stopped" && fault_stop "chunkd-$one" ;;
    9 | 10) fault="chunks of chunkd-$one corrupted" && fault_corrupt "$one" ;;
    *) fault="disk of chunkd-$one full" && fault_full "$one" ;;
    esac
    wait_for "all to serve after fault $number ($fault), SEED=$SEED" 60 serving
    wait_for "all copies after fault $number ($fault), SEED=$SEED" 120 whole
}

# ---- memory and descriptors

sample() {
    for who in $(daemons) fuse fuse2; do
        case $who in
        fuse2) p=$(cat "$STATE/fuse2.pid") ;;
        *) p=$(pid_of "$who") ;;
        esac
        rss=$(awk '/^VmRSS/ { print $2 }' "/proc/$p/status" 2>/dev/null) || continue
        echo "$who $(($(date +%s) - began)) ${rss:-0} $(ls "/proc/$p/fd" 2>/dev/null | wc -l)"
    done >>"$STATE/samples"
}
# growth: for each process the most memory (KiB) and descriptors in each quarter of the time; ends with status 1 if the
# last quarter has much more than all before it: half as much again and 64 MiB, or and 100 descriptors.
growth() {
    awk -v total="$1" '
        { q = int(4 * $2 / (total + 1)); if ($3 > rss[$1, q]) rss[$1, q] = $3; if ($4 > fds[$1, q]) fds[$1, q] = $4; seen[$1] = 1 }
        END {
            printf "  %-10s %10s %10s %10s %10s   %s\n", "process", "MiB 1/4", "2/4", "3/4", "4/4", "descriptors 1/4 2/4 3/4 4/4"
            for (who in seen) {
                line = sprintf("  %-10s", who); r = 0; f = 0
                for (q = 0; q < 4; q++) line = line sprintf(" %10.1f", rss[who, q] / 1024)
                line = line "  "
                for (q = 0; q < 4; q++) line = line sprintf(" %5d", fds[who, q])
                for (q = 0; q < 3; q++) { if (rss[who, q] > r) r = rss[who, q]; if (fds[who, q] > f) f = fds[who, q] }
                if (rss[who, 3] > r * 1.5 + 65536) { line = line "  MEMORY GROWS"; bad = 1 }
                if (fds[who, 3] > f * 1.5 + 100) { line = line "  DESCRIPTORS GROW"; bad = 1 }
                print line
            }
            exit bad
        }' "$STATE/samples"
}

mkdir -p "$STATE" "$MNT2" "$WORK/scratch"
for i in $(seq 1 $N); do
    mkdir -p "$RUN/chunkd-$i"
    mount -t tmpfs -o size=${DISK_MIB}m tmpfs "$RUN/chunkd-$i"
done
cluster_up
mount2
fault=none
began=$(date +%s)
last_check=$began
say "SEED=$SEED, $MINUTES minutes"
programs_start
load_start
while [ $(($(date +%s) - began)) -lt $((MINUTES * 60)) ]; do
    number=$((number + 1))
    turn=$(date +%s)
    one_fault
    nothing_wrong
    kill -0 $load 2>/dev/null || load_stop
    if [ $(($(date +%s) - last_check)) -ge 60 ]; then
        check
        last_check=$(date +%s)
        say "$((last_check - began)) s, $number faults, $(cat "$STATE/checked"); $(rounds_done)"
    fi
    sample
    took=$(($(date +%s) - turn))
    [ $took -ge 5 ] || sleep $((5 - took))
done
fault="the last one"
load_stop
: >"$STATE/stop"
for p in $loops; do
    stopped() { ! kill -0 "$p" 2>/dev/null; }
    wait_for "programs to end" 180 stopped
done
loops=
nothing_wrong
for p in $programs; do
    [ "$(cat "$STATE/$p.rounds")" -gt 0 ] || fail "$p did not get through once"
done
journal_checked
wait_for "all copies at the end" 120 whole
"$BIN/gfsctl" fsck --compare >"$STATE/fsck" 2>&1 || fail "fsck --compare: $(tail -n 5 "$STATE/fsck")"
say "$number faults: rounds: $(rounds_done); $(cat "$STATE/checked"); fsck --compare: $(tail -n 1 "$STATE/fsck")"
growth $(($(date +%s) - began)) || fail "a process goes on growing"
