#!/bin/sh
# monitor.sh - the master under gfs-monitor: SIGKILL, SIGSTOP and a hand-over in the middle of work need no operator, and
# programs on the mount do not notice but for the time; masters outlive their monitor.
export MONITOR=local
GFS_MONITOR_CONF='hang_ms = 2000'
export GFS_MONITOR_CONF
. "$(dirname "$0")/lib.sh"
cluster_up
first=$(status_field epoch)
watched() { "$BIN/gfsctl" status --json | tr -d ' \n' | grep -q '"watched":true'; }
wait_for "the master to hear of its monitor" 10 watched

(
    i=0
    while [ ! -e "$WORK/enough" ]; do
        mkdir "$MNT/d$i" || exit 1
        echo "d$i" >>"$WORK/acked"
        i=$((i + 1))
    done
) &
work=$!
progress() { [ "$(wc -l <"$WORK/acked")" -gt "$1" ]; }
goes_on() { # goes_on "after what": directories are being made again
    have=$(wc -l <"$WORK/acked")
    wait_for "directories to be made after $1" 30 progress "$have"
}
next_epoch() { [ "$(status_field epoch)" -gt "$1" ]; }
pid_changed() { [ "$(pid_of master)" != "$1" ]; }

wait_for "work to begin" 10 progress 3
old=$(pid_of master)
kill -9 "$old"
wait_for "the master to be started again" 10 pid_changed "$old"
goes_on "SIGKILL of the master"
wait_for "a new epoch" 10 next_epoch "$first"

epoch=$(status_field epoch)
kill -STOP "$(pid_of master)"
wait_for "the hung master to be replaced" 30 next_epoch "$epoch"
goes_on "SIGSTOP of the master"

wait_for "the master to hear of its monitor" 10 watched
epoch=$(status_field epoch)
expect "gfsctl handover" "$BIN/gfsctl" handover
same "epoch after the hand-over" "$(status_field epoch)" $((epoch + 1))
goes_on "a hand-over"

say "the monitor dies, the master does not"
epoch=$(status_field epoch)
old=$(pid_of master)
kill_hard monitor
goes_on "SIGKILL of the monitor"
unwatched() { ! watched; }
wait_for "status to say that nobody watches" 10 unwatched
cluster_up # starts the monitor again
wait_for "the monitor to take the master over" 10 watched
same "pid of the master" "$(pid_of master)" "$old"
same "epoch" "$(status_field epoch)" "$epoch"
if "$BIN/gfs-monitor" "$RUN/monitor.conf" >"$WORK/second.log" 2>&1; then
    fail "a second monitor was started"
fi
expect "the second monitor says why" grep -q "another monitor is running" "$WORK/second.log"

touch "$WORK/enough"
wait $work || fail "mkdir saw an error"
while read -r d; do
    expect "acknowledged $d is there" test -d "$MNT/$d"
done <"$WORK/acked"
master=$(pid_of master)
cluster_down
wait_for "the master to be gone with its monitor" 10 ended "$master"
