#!/bin/sh
# logger_only.sh - two masters and a third that only holds the log: any one of the three may be away, changes go on; it is never
# the primary. A hand-over while programs work is heard of by nobody.
export SHADOWS=1
. "$(dirname "$0")/lib.sh"
cluster_up
. "$(dirname "$0")/lib_set.sh"

role_is() { [ "$(field "127.0.0.$1:$PORT" role)" = "$2" ]; }
leads() { [ "$(primary)" = "$1" ]; }
logged() { field "127.0.0.$1:$PORT" log; }
in_step() { [ "$(logged 3)" = "$(logged "$(primary)")" ]; }
dirs=0
make_dir() {
    dirs=$((dirs + 1))
    mkdir "$MNT/d$dirs" || fail "mkdir"
}

wait_for "the third to say what it is" 20 role_is 3 logger
first=$(primary)
second=$((3 - first))
expect "one of the other two is the primary, not $first" role_is "$first" primary
wait_for "the other to be its shadow" 30 role_is "$second" shadow
expect "status says so to people" sh -c "'$BIN/gfsctl' --masters $list status | grep -q '127.0.0.3:$PORT, logger'"
make_dir
wait_for "it to hold the log" 10 in_step

say "the shadow is stopped: log and changes go on with the logger"
kill -STOP "$(pid_of monitor)"
kill_hard "$(master_of $second)"
make_dir
make_dir
kill -CONT "$(pid_of monitor)"
wait_for "the shadow to be back" 30 role_is $second shadow

say "the primary is killed: the shadow takes over, with what the logger has"
kill -9 "$(pid_of "$(master_of "$first")")"
make_dir
expect "the shadow has become the primary" leads $second
wait_for "the other to be its shadow" 60 role_is "$first" shadow

say "the logger is killed and comes back"
kill -STOP "$(pid_of monitor)"
kill_hard "$(master_of 3)"
make_dir
kill -CONT "$(pid_of monitor)"
wait_for "the logger to be back" 30 role_is 3 logger
wait_for "it to hold the log" 30 in_step

say "the primary is handed over"
"$BIN/gfsctl" handover || fail "gfsctl handover"
make_dir
expect "the other one has become the primary" leads "$first"
while [ $dirs -gt 0 ]; do
    expect "directory $dirs is there" test -d "$MNT/d$dirs"
    dirs=$((dirs - 1))
done
cluster_down
