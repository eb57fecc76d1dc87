#!/bin/sh
# shadow.sh - three masters: the shadows follow the primary, say how they are, and come back from whatever is done to their
# directories: killed, state damaged, wiped, too far behind for the log.
export SHADOWS=2
. "$(dirname "$0")/lib.sh"
GFS_MASTER_CONF="$GFS_MASTER_CONF
checkpoint_records = 2000
segment_bytes = 1M"
cluster_up
. "$(dirname "$0")/lib_set.sh"

follows() { # master NUMBER has all that the primary has
    [ "$(field "127.0.0.$1:$PORT" role)" = shadow ] &&
        [ "$(field "127.0.0.$1:$PORT" index)" = "$(field "127.0.0.$first:$PORT" index)" ] &&
        [ "$(files_at "$1")" = "$(files_at "$first")" ]
}
all_follow() {
    for k in 1 2 3; do
        [ $k = "$first" ] || follows $k || return 1
    done
}

first=$(primary)
expect "one of three masters is the primary" test -n "$first"
make_files one 100
wait_for "the shadows to have what the primary has" 30 all_follow

victim=$((first % 3 + 1))
say "shadow $victim is killed while files are made"
old=$(pid_of "$(master_of $victim)")
kill -9 "$old"
make_files two 100
wait_for "the shadow to be back" 60 follows $victim

say "its state is damaged while it is down"
stopped() { # stopped NUMBER COMMAND...: the command while the monitor cannot start that master
    v=$(master_of "$1")
    shift
    kill -STOP "$(pid_of monitor)"
    kill_hard "$v"
    "$@"
    kill -CONT "$(pid_of monitor)"
}
flip() { # bits in rows: they lie at the ends of pages
    for page in $(seq 4 60); do
        printf '\377' | dd of="$RUN/$(master_of $victim)/live/data.mdb" bs=1 conv=notrunc \
            seek=$((page * 4096 + 4080)) 2>/dev/null
    done
}
stopped $victim flip
wait_for "the shadow to be back" 60 follows $victim
expect "it says why it built its state anew" grep -q 'live environment is not used' \
    "$RUN/$(master_of $victim).log"

say "its directory is wiped, and the log of the others does not reach back"
make_files three 2500
make_files four 2500
wipe() { rm -rf "$RUN/$(master_of $victim)" && mkdir "$RUN/$(master_of $victim)"; }
expect "a checkpoint" "$BIN/gfsctl" --masters "127.0.0.$first:$PORT" checkpoint now
stopped $victim wipe
make_files five 500
wait_for "the shadow to be back" 90 follows $victim
same "primary" "$(primary)" "$first"
same "errors" "$(grep -hE 'state is given up|one identity' "$RUN"/master*.log | head -1)" ""
for d in one two; do
    same "files of $d" "$(ls "$MNT/$d" | wc -l)" 100
done

say "the primary is told to stop: it yields, and another one takes over at once"
kill -TERM "$(pid_of "$(master_of "$first")")"
took_over() { now=$(primary) && [ -n "$now" ] && [ "$now" != "$first" ]; }
wait_for "another primary" 20 took_over
make_files six 10
expect "it yielded" grep -q 'stopping: Terminated' "$RUN/$(master_of "$first").log"
same "files" "$(ls "$MNT/six" | wc -l)" 10
