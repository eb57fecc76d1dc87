#!/bin/sh
# log_disk.sh - one of three logs loses what it stored: in the middle, at the end, whole files; at a shadow and at the primary,
# while they run and while they are down. It comes back from the others; nothing is cut off silently.
export SHADOWS=2
. "$(dirname "$0")/lib.sh"
GFS_MASTER_CONF="$GFS_MASTER_CONF
segment_bytes = 64K
log_scrub_s = 1"
cluster_up
. "$(dirname "$0")/lib_set.sh"

log_of() { echo "$RUN/$(master_of "$1").log"; }
serves() { [ -n "$(primary)" ]; }
all_follow() {
    now=$(primary)
    [ -n "$now" ] || return 1
    for k in 1 2 3; do
        [ "$(files_at $k)" = "$(files_at "$now")" ] &&
            [ "$(field "127.0.0.$k:$PORT" unreadable)" = 0 ] || return 1
    done
}
segment() { # segment MASTER NUMBER: file, the first is 1, the last -1
    if [ "$2" = -1 ]; then
        ls "$RUN/$(master_of "$1")"/log/log-* | tail -1
    else
        ls "$RUN/$(master_of "$1")"/log/log-* | sed -n "$2p"
    fi
}
flip() { # flip FILE OFFSET...: a page of it turns into something else
    file=$1
    shift
    for off in "$@"; do
        yes rot | head -c 4096 | dd of="$file" bs=1 seek="$off" conv=notrunc status=none
    done
}
mended() { # mended MASTER COUNT: times that its log says so
    [ "$(grep -c 'operation log is mended' "$(log_of "$1")")" -ge "$2" ]
}
stopped() { # stopped MASTER COMMAND...: the command while the monitor cannot start that master
    v=$(master_of "$1")
    shift
    kill -STOP "$(pid_of monitor)"
    kill_hard "$v"
    "$@"
    kill -CONT "$(pid_of monitor)"
}
whole() { # whole MASTER: its log, by gfsctl
    "$BIN/gfsctl" oplog verify "$RUN/$(master_of "$1")" >"$WORK/verify" 2>&1
}

first=$(primary)
expect "one of three masters is the primary" test -n "$first"
victim=$((first % 3 + 1))
make_files one 200
wait_for "the shadows to have what the primary has" 30 all_follow
expect "several full segments" test -n "$(segment "$victim" 6)"

say "a shadow's disk loses pages while it runs, and a whole segment"
flip "$(segment $victim 2)" 20480 32768
if whole $victim; then fail "gfsctl oplog verify takes a damaged log for whole"; fi
expect "it says what is missing" grep -q "records .* are not here" "$WORK/verify"
wait_for "its log to be mended" 30 mended $victim 1
: >"$(segment $victim 3)"
wait_for "its log to be mended again" 30 mended $victim 2
wait_for "all to be whole" 30 all_follow

say "the primary's disk does"
flip "$(segment "$first" 2)" 20480
flip "$(segment "$first" 4)" 0
wait_for "its log to be mended" 30 mended "$first" 1
make_files two 50
wait_for "all to be whole" 30 all_follow
same "primary" "$(primary)" "$first"

say "a shadow is killed, and its log damaged in the middle, at the end, in headers, over two segments"
damage() {
    flip "$(segment "$1" 1)" 0
    flip "$(segment "$1" 2)" 0 61440
    flip "$(segment "$1" 3)" 8192 12288
    rm "$(segment "$1" 5)"
    last=$(segment "$1" -1)
    flip "$last" 8192
    if "$BIN/gfsctl" oplog dump "$RUN/$(master_of "$1")" >"$WORK/dump"; then fail "gfsctl oplog dump takes a damaged log for whole"; fi
    expect "it says what is missing" grep -q '^# records .* are not here' "$WORK/dump"
}
stopped $victim damage $victim
make_files three 30
wait_for "all to be whole" 60 all_follow
expect "it says that it was damaged" grep -q 'operation log is damaged' "$(log_of $victim)"

say "the primary is killed, and its log damaged likewise"
stopped "$first" damage "$first"
wait_for "a primary" 60 serves
make_files four 30
wait_for "all to be whole" 60 all_follow

say "the primary's log is removed, but not its checkpoints: that is for a person to look at; its whole directory"
first=$(primary)
lose_log() { rm -r "$RUN/$(master_of "$1")/log"; }
wipe() { rm -r "$RUN/$(master_of "$1")"/*; }
refused() { grep -q 'the log is gone, but checkpoint .* is here' "$(log_of "$1")"; }
expect "a checkpoint" "$BIN/gfsctl" --masters "127.0.0.$first:$PORT" checkpoint now
stopped "$first" lose_log "$first"
wait_for "a primary" 60 serves
wait_for "the one without its log to be refused" 30 refused "$first"
wipe "$first"
make_files five 30
wait_for "all to be whole" 90 all_follow

for k in 1 2 3; do
    expect "the log of master $k is whole: $(cat "$WORK/verify")" whole $k
done
same "files" "$(find "$MNT" -type f | wc -l)" 340
