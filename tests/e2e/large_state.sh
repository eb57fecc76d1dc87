#!/bin/sh
# large_state.sh - a state that is too large to be read through before it is used (here any is): after a kill it is used at once
# and read meanwhile; what is damaged ends the master, and its next start builds it from what is good. After a power cut it is
# copied from the newest checkpoint whose sums fit.
. "$(dirname "$0")/lib.sh"
short=$GFS_MASTER_CONF
boot() { # boot NUMBER: the machine's
    GFS_MASTER_CONF="$short
large_state_bytes = 4096
boot_id = boot-$1"
    cluster_up
}
make_files() { # make_files DIRECTORY
    mkdir "$MNT/$1"
    (cd "$MNT/$1" && seq -f 'f%.0f' 1 100 | xargs touch)
    echo "$1" >"$MNT/$1/f1"
    sync "$MNT/$1/f1"
}
all_there() { # all_there DIRECTORY...
    for d in "$@"; do
        [ "$(ls "$MNT/$d" | wc -l)" = 100 ] && [ "$(cat "$MNT/$d/f1")" = "$d" ] || return 1
    done
}
said() { # said COUNT TEXT: the master's log has it so often
    [ "$(grep -c "$2" "$RUN/master.log")" = "$1" ]
}

boot 1
make_files one
expect "a checkpoint" "$BIN/gfsctl" checkpoint now
make_files two
expect "a checkpoint" "$BIN/gfsctl" checkpoint now
make_files three

say "a kill"
kill_hard master
boot 1
expect "all files" all_there one two three
wait_for "the state to be read through" 10 said 1 'read through'

say "a power cut"
kill_hard master
boot 2
expect "all files" all_there one two three
make_files four
expect "a checkpoint" "$BIN/gfsctl" checkpoint now
expect "two are kept" sh -c "[ \$('$BIN/gfsctl' checkpoint list '$RUN/master' | wc -l) = 2 ]"
expect "their sums fit" "$BIN/gfsctl" checkpoint verify "$RUN/master"

damage() { # damage FILE: many of its pages
    for page in $(seq 4 40); do
        printf '\377' | dd of="$1" bs=1 conv=notrunc seek=$((page * 4096 + 4080)) status=none
    done
}
say "a power cut, and the newest checkpoint is damaged"
kill_hard master
damage "$(ls "$RUN"/master/checkpoints/*.mdb | tail -n 1)"
boot 3
expect "all files" all_there one two three four
expect "it says why" grep -q 'is not used' "$RUN/master.log"

say "a kill, and the state is damaged"
kill_hard master
damage "$RUN/master/live/data.mdb"
up_again() { (boot 3) >/dev/null 2>&1; }
up_again || true
wait_for "it to end" 20 ended "$(pid_of master)"
wait_for "it to be up again" 30 up_again
expect "all files" all_there one two three four
expect "it says why" grep -qE 'is not used: (two processes|it failed)' "$RUN/master.log"
make_files five
kill_hard master
boot 3
expect "all files" all_there one two three four five
