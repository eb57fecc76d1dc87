# rig.sh - one fault on one file of one daemon, and what comes of it; after ../e2e/lib.sh.
#
# golden_make stores a tree and keeps the directories of all daemons as they were when these were killed, and when they
# were stopped. A case starts from a copy, damages it, starts everything under supervisors that start again what ends, and
# looks. Forbidden are: another tree than was stored, work that fails, a daemon that ends without end but for a refusal
# whose sentence names the file, a refusal that made things worse, anything that hangs.
TOOLS=${TOOLS:-build/debug}
GOLDEN=$WORK/golden
ENDS_MAX=4
supervisors=
failing= # the daemon whose disk gives errors when $WORK/bad-disk says so

tree() { timeout 60 sh "$TOP/tests/faults/tree.sh" "$MNT" "$WORK/noise" "$@"; }

# ---- daemons under supervisors

# launch NAME VARIABLE=VALUE...: with that environment.
launch() {
    name=$1
    shift
    case $name in
    master) program=gfs-master ;;
    *) program=chunkd ;;
    esac
    rm -f "$RUN/$name.ends"
    (
        ends=0
        while [ $ends -lt $ENDS_MAX ] && [ ! -e "$RUN/over" ]; do
            env "$@" "$BIN/$program" "$RUN/$name.conf" </dev/null >>"$RUN/$name.log" 2>&1 &
            echo $! >"$RUN/$name.pid"
            code=0
            wait $! 2>/dev/null || code=$?
            echo $code >>"$RUN/$name.ends"
            ends=$((ends + 1))
            sleep 0.1
        done
    ) &
    supervisors="$supervisors $!"
}
# launch_all [BOOT-ID]: without one all are processes of the boot that golden_make's were of.
launch_all() {
    rm -f "$RUN/over"
    for name in master chunkd-1 chunkd-2 chunkd-3; do
        sed -i '/^boot_id/d' "$RUN/$name.conf"
        [ -z "${1:-}" ] || echo "boot_id = $1" >>"$RUN/$name.conf"
        if [ "$name" = "$failing" ]; then
            launch "$name" LD_PRELOAD="$TOP/$TOOLS/bad_disk.so" BAD_DISK="$WORK/bad-disk"
        else
            launch "$name" LC_ALL=C
        fi
    done
}
# end_all SIGNAL
end_all() {
    unmounted
    : >"$RUN/over"
    for name in master chunkd-1 chunkd-2 chunkd-3; do
        kill "-$1" "$(pid_of $name)" 2>/dev/null || true
    done
    for s in $supervisors; do
        wait "$s" 2>/dev/null || true
    done
    supervisors=
}
# gave_up NAME: it has ended again and again.
gave_up() { [ "$(wc -l 2>/dev/null <"$RUN/$1.ends" || echo 0)" -ge $ENDS_MAX ]; }
# alive COUNT: so many chunkservers have a lease.
alive() { [ "$("$BIN/gfsctl" --json status 2>/dev/null | grep -c '"alive": true')" -ge "$1" ]; }
# The master serves, and so does each chunkserver; or has given up.
settled() {
    serving=3
    for i in 1 2 3; do
        ! gave_up chunkd-$i || serving=$((serving - 1))
    done
    gave_up master || alive $serving
}
# within SECONDS command...: as wait_for, but says whether.
within() {
    end=$(($(date +%s) + $1))
    shift
    until "$@" >/dev/null 2>&1; do
        [ "$(date +%s)" -lt "$end" ] || return 1
        sleep 0.1
    done
}

mounted() {
    timeout 30 "$BIN/gfs-fuse" "$GFS_MASTERS:/" "$MNT" -o "host=h1,rack=r1,pidfile=$RUN/fuse.pid,log=$RUN/fuse.log" \
        </dev/null >>"$RUN/fuse.log" 2>&1
}
unmounted() {
    [ -e "$RUN/fuse.pid" ] || return 0
    p=$(pid_of fuse)
    timeout 20 umount "$MNT" 2>/dev/null || umount -l "$MNT" 2>/dev/null || true
    within 20 ended "$p" || kill -9 "$p"
    rm -f "$RUN/fuse.pid"
}

golden_make() {
    cluster_up
    head -c 1000000 /dev/urandom >"$WORK/noise"
    tree store 1
    "$BIN/gfsctl" checkpoint now >/dev/null
    tree store 2
    "$BIN/gfsctl" checkpoint now >/dev/null
    tree store 3
    tree change golden
    wait_for "all copies" 30 fully_replicated
    sleep 2 # until chunkservers have synced everything
    remount
    tree list >"$WORK/stored" || fail "the tree cannot be listed"
    p=$(pid_of fuse)
    umount "$MNT"
    wait_for "gfs-fuse to end" 15 ended "$p"
    rm -f "$RUN/fuse.pid"
    kill_hard master chunkd-1 chunkd-2 chunkd-3
    cp -a "$RUN" "$GOLDEN.killed"
    launch_all
    wait_for "the cluster" 30 alive 3
    end_all TERM
    cp -a "$RUN" "$GOLDEN.clean"
}

# ---- a case

# forbidden SENTENCE
forbidden() {
    [ -n "$outcome_bad" ] || outcome_bad="FORBIDDEN: $*"
}
# The first thing out of the ordinary that the daemon, the master or the mount logged.
said() {
    for log in "$RUN/$1.log" "$RUN/master.log" "$RUN/fuse.log"; do
        grep -hE '^[^ ]+ (warn|error) |^(gfs-master|chunkd): ' "$log" 2>/dev/null |
            grep -vE 'onnection (was )?(lost|refused)|safe mode|cannot register|heartbeat|is away|re-replication|lease' |
            head -n 1 | sed -E 's/^[0-9TZ:.-]+ (warn|error) //'
    done | head -n 1 | cut -c1-160
}
# sentence_about NAME FILE: its last words, if they name the file.
sentence_about() {
    grep -hE '^[^ ]+ error |^(gfs-master|chunkd): ' "$RUN/$1.log" | tail -n 1 | grep -F -e "$2" | cut -c1-200 || true
}
# look WHEN: mounts; the tree is what was stored.
look() {
    if ! mounted; then
        forbidden "$1: no mount: $(tail -n 1 "$RUN/fuse.log")"
        return
    fi
    tree list >"$WORK/found" 2>"$WORK/found.err" ||
        forbidden "$1: not everything can be read: $(head -n 1 "$WORK/found.err")"
    cmp -s "$WORK/stored" "$WORK/found" ||
        forbidden "$1: another tree: $(diff "$WORK/stored" "$WORK/found" | grep '^[<>]' | head -n 2 | cut -c1-120 | tr '\n' ' ')"
    tree changed golden 2>"$WORK/found.err" || forbidden "$1: synced bytes differ: $(head -n 1 "$WORK/found.err")"
}
work() { # work NUMBER
    { tree change "$1" && tree changed "$1"; } 2>"$WORK/work.err" || forbidden "work $1 fails: $(head -n 1 "$WORK/work.err")"
}
start() { # start WHEN [BOOT-ID]
    launch_all "${2:-}"
    within 40 settled || forbidden "$1: hangs: $(tail -qn 1 "$RUN"/*.log | tr '\n' ' ' | cut -c1-200)"
}
compared() { "$BIN/gfsctl" fsck && "$BIN/gfsctl" fsck --compare; }
# A disk that failed a sync gets nothing more: with two others, chunks wait for a third. Those that are there are equal.
set_aside() {
    grep -q 'its disk is failing' "$RUN/master.log" || return 1
    "$BIN/gfsctl" fsck --compare | tail -n 2 | tr '\n' ' ' | grep -q ' 0 of them lost.* 0 chunks bad, 0 differing'
}

# It does not start any more.
after_refusal() { # WHO FILE BOOT-ID
    message=$(sentence_about "$1" "$(basename "$2")")
    outcome="refused"
    [ -n "$message" ] || forbidden "$1 ended ($(tr '\n' ' ' <"$RUN/$1.ends")) without a sentence about $2: $(tail -n 1 "$RUN/$1.log" | cut -c1-200)"
    ! grep -qvx 1 "$RUN/$1.ends" || forbidden "crash loop: $(tr '\n' ' ' <"$RUN/$1.ends")"
    if [ "$1" = master ]; then
        # What was there is there still: with the file as it was, it starts.
        end_all KILL
        cp -a "$golden/$1/$2" "$RUN/$1/$2"
        start "with the file as it was" "${3:-}"
        look "with the file as it was"
        work 1
    else
        look "without it"
        work 1
        outcome="refused, others serve"
        rm -rf "${RUN:?}/$1"
        mkdir "$RUN/$1"
        launch "$1" LC_ALL=C
        within 60 compared && outcome="$outcome, blank disk filled" ||
            forbidden "a blank disk is not filled: $("$BIN/gfsctl" fsck | tail -n 1)"
    fi
}
after_start() { # WHO
    look start
    work 1
    if [ "$1" != master ]; then
        "$BIN/gfsctl" scrub now "127.0.0.1:$((PORT + ${1#chunkd-}))" --wait >"$WORK/scrub" 2>&1 || forbidden "scrub: $(cat "$WORK/scrub")"
    fi
    within 60 compared || forbidden "not whole again: $("$BIN/gfsctl" fsck --compare | tail -n 2 | tr '\n' ' ')"
    message=$(said "$1")
    [ -n "$message" ] && outcome="mended" || outcome="no harm"
    if [ -e "$RUN/$1.ends" ]; then
        outcome="$outcome after a restart"
        ! grep -qvx 1 "$RUN/$1.ends" || outcome="$outcome (status $(tr '\n' ' ' <"$RUN/$1.ends"))"
    fi
}

case_begin() { # END
    outcome=- message= outcome_bad= boot=
    golden=$GOLDEN.killed
    [ "$1" != stopped ] || golden=$GOLDEN.clean
    [ "$1" = killed ] || boot=another-boot
    rm -rf "$RUN"
    cp -a "$golden" "$RUN"
    rm -f "$RUN"/*.log "$RUN"/*.ends "$RUN/over" "$WORK/bad-disk"
}
# What was done in the case is there after another start, too.
started_again() {
    end_all KILL
    start "another start" $boot
    look "another start"
    tree changed 1 2>/dev/null || forbidden "another start: synced bytes differ"
}
case_end() { # NAME
    end_all KILL
    if grep -hE 'invariant broken|runtime error:|ERROR: (Address|Leak)Sanitizer' "$RUN"/*.log >"$WORK/broken"; then
        forbidden "$(head -n 1 "$WORK/broken" | cut -c1-200)"
    fi
    [ -z "$outcome_bad" ] || cp -a "$RUN" "$WORK/bad-$(echo "$1" | tr '/ ' '--')"
}

# fault_case WHO FILE OFFSET FAULT END: damage. Sets outcome, message and, if something forbidden happened, outcome_bad.
fault_case() {
    case_begin "$5"
    code=0
    "$TOOLS/fault_damage" "$RUN/$1/$2" "$4" "$3" || code=$?
    [ $code != 3 ] || return 0 # it is what it was
    [ $code = 0 ] || fail "$1/$2 cannot be damaged"
    start "start" $boot
    if gave_up "$1"; then
        after_refusal "$1" "$2" $boot
    else
        after_start "$1"
        started_again
    fi
    case_end "$*"
}

# error_case WHO CALL FILE WHEN END: reads, writes or syncs of files with FILE in their path give EIO, from the start on or
# in the middle of work. Results as above.
error_case() {
    case_begin "$5"
    failing=$1
    [ "$4" != start ] || echo "$2 $3" >"$WORK/bad-disk"
    start "start" $boot
    if gave_up "$1"; then
        message=$(sentence_about "$1" "$(basename "$3")")
        outcome="refused"
        [ -n "$message" ] || forbidden "$1 ended without a sentence about $3: $(tail -n 1 "$RUN/$1.log" | cut -c1-200)"
        ! grep -qvx 1 "$RUN/$1.ends" || forbidden "crash loop: $(tr '\n' ' ' <"$RUN/$1.ends")"
        end_all KILL
        rm -f "$WORK/bad-disk"
        start "when it can be read" $boot
    fi
    look start
    if [ "$4" = work ]; then
        echo "$2 $3" >"$WORK/bad-disk"
        tree change 1 2>"$WORK/work.err" &
        changing=$!
        "$BIN/gfsctl" checkpoint now >/dev/null 2>&1 || true
        within 3 test -e "$RUN/$1.ends" || true
        rm -f "$WORK/bad-disk"
        within 30 settled || forbidden "does not come back: $(tail -n 1 "$RUN/$1.log" | cut -c1-200)"
        wait $changing || forbidden "work 1 fails: $(head -n 1 "$WORK/work.err")"
        tree changed 1 2>"$WORK/work.err" || forbidden "work 1 is not there: $(head -n 1 "$WORK/work.err")"
    else
        work 1
    fi
    whole() { compared || set_aside; }
    within 60 whole || forbidden "not whole again: $("$BIN/gfsctl" fsck --compare | tail -n 2 | tr '\n' ' ')"
    if [ "$outcome" = - ]; then
        message=$(said "$1")
        [ -n "$message" ] && outcome="mended" || outcome="no harm"
        [ ! -e "$RUN/$1.ends" ] || outcome="$outcome after a restart"
    fi
    started_again
    failing=
    case_end "$*"
}
