#!/bin/sh
# refused.sh - masters that do not belong together: a log or a checkpoint of another cluster, of a format that is not known, a
# directory that was copied, an address of another one, another list, a directory of another cluster. Each is refused with the
# reason and the file or the peer, nothing is overwritten, and the others go on.
export SHADOWS=2 N=1
. "$(dirname "$0")/lib.sh"

# ---- single masters. The segment made ahead, log/next, holds nothing.
files_of() { (cd "$1" && find . -type f ! -path ./log/next -exec cksum {} + | sort); } # directory
alone() { # alone NAME: gfs-master on $WORK/NAME until it serves
    printf 'listen = 127.0.0.1:%s\ndir = %s\n' $((PORT + 9)) "$WORK/$1" >"$WORK/alone.conf"
    "$BIN/gfs-master" "$WORK/alone.conf" >>"$WORK/alone.log" 2>&1 &
    p=$!
    wait_for "the master $1 to serve" 20 "$BIN/gfsctl" --masters "127.0.0.1:$((PORT + 9))" status
}
checkpointed() { # checkpointed NAME
    mkdir "$WORK/$1"
    alone "$1"
    "$BIN/gfsctl" --masters "127.0.0.1:$((PORT + 9))" checkpoint now >/dev/null || fail "a checkpoint of $1"
    kill "$p"
    wait "$p" || fail "the master $1 ended with status $?"
}
refused() { # refused "what" "pattern": $WORK/bad is not served, and stays as it is
    files_of "$WORK/bad" >"$WORK/before"
    printf 'listen = 127.0.0.1:%s\ndir = %s\n' $((PORT + 9)) "$WORK/bad" >"$WORK/bad.conf"
    if timeout 20 "$BIN/gfs-master" "$WORK/bad.conf" >"$WORK/out" 2>&1; then
        fail "$1 was accepted"
    fi
    [ $? != 124 ] || fail "$1 was accepted, or hangs"
    grep -qE "$WORK/bad: .*$2" "$WORK/out" || fail "$1: it says '$(cat "$WORK/out")', expected /$2/"
    files_of "$WORK/bad" >"$WORK/after"
    changed=$(comm -3 "$WORK/before" "$WORK/after")
    same "files that were changed by $1" "$changed" ""
    rm -rf "$WORK/bad"
}
take() { cp -r "$WORK/$1" "$WORK/bad"; } # take NAME: to make something wrong of it

say "single masters: what is of another cluster"
checkpointed one
alone one # so that its checkpoint is not the last there is
kill "$p"
wait "$p"
checkpointed two
take one
cp "$WORK"/two/checkpoints/* "$WORK/bad/checkpoints"
refused "a checkpoint of another cluster" 'checkpoints/ckpt-.*\.sum is of cluster 0x[0-9a-f]+, the log of 0x'
take one
rm "$WORK"/bad/log/*
cp "$WORK"/two/log/* "$WORK/bad/log"
refused "the log of another cluster" 'checkpoints/ckpt-.*\.sum is of cluster'
take one
cp "$WORK"/two/log/log-* "$WORK/bad/log"
refused "segments of another cluster" 'log/log-[0-9]+ at 0: cluster id: expected 0x[0-9a-f]+, found 0x'
take one
printf 'listen = 127.0.0.1:%s\ncluster = other\ndir = %s\n' $((PORT + 9)) "$WORK/bad" >"$WORK/x.conf"
if timeout 20 "$BIN/gfs-master" "$WORK/x.conf" >"$WORK/out" 2>&1; then fail "another name was accepted"; fi
expect "both names: $(cat "$WORK/out")" grep -q 'belongs to cluster "gfs", but the configuration says "other"' "$WORK/out"

# ---- one of three
cluster_up
. "$(dirname "$0")/lib_set.sh"
first=$(primary)
expect "one of three masters is the primary" test -n "$first"
make_files begin 50
sick=$((first % 3 + 1))
dir=$RUN/$(master_of $sick)
conf=$dir.conf
in_step() { # they all have the same
    for k in 1 2 3; do
        [ "$(files_at $k)" = "$(files_at "$first")" ] || return 1
    done
}
records() { "$BIN/gfsctl" oplog dump "$1" | cksum; }
begin() { # begin COMMAND...: done while that master does not run; what was said before does not count
    kill -STOP "$(pid_of monitor)"
    kill_hard "$(master_of $sick)"
    for k in 1 2 3; do
        : >"$RUN/$(master_of $k).log"
    done
    "$@"
    had=$(records "$dir")
    kill -CONT "$(pid_of monitor)"
}
says() { grep -qE "$2" "$RUN/$(master_of "$1").log"; } # says MASTER "pattern"
round=0
# refuses "what" "what it says" "what the primary says": and nothing is written to its log, while the others go on
refuses() {
    wait_for "$1 to be refused" 30 says $sick "$2"
    wait_for "the primary to say so of $1" 30 says "$first" "$3"
    round=$((round + 1))
    make_files "round$round" 20
    missed() { "$BIN/gfsctl" status | grep -q "warning: logs away or behind: 127.0.0.$sick:"; }
    wait_for "status to name who is missing ($1)" 30 missed
    same "records of the one refused ($1)" "$(records "$dir")" "$had"
    begin restore
    wait_for "it to be back after $1" 60 in_step
    same "the primary after $1" "$(primary)" "$first"
}
restore() { rm -rf "$dir" && cp -r "$WORK/good" "$dir" && cp "$WORK/good.conf" "$conf"; }
replace() { # replace DIRECTORY: instead of its own, which is kept
    keep
    rm -rf "$dir"
    cp -r "$1" "$dir"
}
keep() { rm -rf "$WORK/good" && cp -r "$dir" "$WORK/good" && cp "$conf" "$WORK/good.conf"; }
change() { # change SED: its configuration
    keep
    sed -i "$1" "$conf"
}
wait_for "all to have the same" 30 in_step

say "one of three: its directory is a copy of the primary's"
begin replace "$RUN/$(master_of "$first")"
refuses "a copied directory" 'both have one identity' "master 127.0.0.$sick:.*both have one identity.*empty the copy"

say "it says that it is the primary's address"
begin change "\$ a advertise = 127.0.0.$first:$PORT"
refuses "an address of another one" 'both say that they are' "master 127.0.0.$sick:.*both say that they are this one of the list"

say "its configuration differs"
begin change "\$ a log_ack = all"
refuses "log_ack" 'they disagree: make masters and log_ack the same' "master 127.0.0.$sick:.*they disagree"
begin change "s/^masters = .*/masters = 127.0.0.$sick:$PORT,127.0.0.$first:$PORT/"
refuses "another list" 'they disagree' "they disagree: make masters and log_ack the same"

say "its directory is of another cluster of the same name"
begin replace "$WORK/two"
refuses "a directory of another cluster" "master 127.0.0.$first:.* is of another cluster" "master 127.0.0.$sick:.* is of another cluster"
same "files" "$(find "$MNT" -type f | wc -l)" 150
