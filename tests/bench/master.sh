# shellcheck shell=sh
# master.sh - for bench.sh: the master alone, and the primary of three loggers, asked by 1 to 64 mounts. The other two keep the
# state, too, and one or both serve it. Where all share the processors that is most of what they cost, so 64 mounts ask once
# more while each master is confined to two fifths of a processor: what two more loggers cost on machines of their own.

ALONE_PORT=$((GFS_PORT + 60))
alone_make() { # alone_make TARGET SHADOWS
    mkdir -p "$DATA/alone-$2"
    make -s -C "$TOP" "$1" N=0 MNT="$WORK/alone-$2" RUN="$DATA/alone-$2" PORT="$ALONE_PORT" SHADOWS="$2" \
        BINDIR="$BIN" SKIP_BUILD=1 >>"$WORK/alone-$2.log" 2>&1
}
# Which of the masters serves, in $WORK/alone.primary, once all of them are in step; else it fails.
alone_primary() { # alone_primary SHADOWS
    list=$(seq -f "127.0.0.%.0f:$ALONE_PORT" 1 $(($1 > 0 ? 3 : 1)) | paste -sd,)
    "$BIN/gfsctl" --masters "$list" status >"$WORK/alone.status" 2>&1 || return 1
    ! grep -q ', starting,' "$WORK/alone.status" || return 1
    sed -n -E 's/^master ([0-9.:]+), primary,.*/\1/p' "$WORK/alone.status" | grep . >"$WORK/alone.primary"
}

# Confining a master: a control group of its own, of either version. What it may use of each SHARE_PERIOD_US.
SHARE_US=2000
SHARE_PERIOD_US=5000
if [ -e /sys/fs/cgroup/cgroup.controllers ]; then
    SHARES=/sys/fs/cgroup/gfsbench$$
else
    SHARES=/sys/fs/cgroup/cpu/gfsbench$$
fi
confine() { # confine PID
    mkdir "$SHARES-$1" 2>/dev/null || return 1
    if [ -e /sys/fs/cgroup/cgroup.controllers ]; then
        echo +cpu >/sys/fs/cgroup/cgroup.subtree_control && echo "$SHARE_US $SHARE_PERIOD_US" >"$SHARES-$1/cpu.max"
    else
        echo $SHARE_PERIOD_US >"$SHARES-$1/cpu.cfs_period_us" && echo $SHARE_US >"$SHARES-$1/cpu.cfs_quota_us"
    fi 2>/dev/null && echo "$1" >"$SHARES-$1/cgroup.procs"
}
free_shares() { # once the masters are gone
    for group in "$SHARES"-*; do
        [ ! -d "$group" ] || rmdir "$group"
    done
}

# alone_load CONNECTIONS SUFFIX: adds to $WORK/alone.out; operations get the suffix.
alone_load() {
    warm $((3 * MIB / 2))
    "$TOOLS/master_load" "$(cat "$WORK/alone.primary")" $((RUN_S / 2 + 1)) "$1" >"$WORK/alone.step" 9>&- &&
        sed "s/^\([0-9]* [a-z]*\) /\1$2 /" "$WORK/alone.step" >>"$WORK/alone.out"
}
alone_steps() { # alone_steps SHADOWS STEPS
    : >"$WORK/alone.out"
    for step in $2; do
        alone_load "$step" '' || return 1
    done
    for p in $(cat "$DATA/alone-$1"/master*.pid); do
        confine "$p" || { say "no control group for processor time: masters are not confined"; return 0; }
    done
    alone_load 64 _confined
}

# master_alone tmpfs|disk: adds lines "master TABLE CONNECTIONS OPERATION RATE SHADOWS" to the results. Each set of masters in
# turn, as often as there are passes.
master_alone() {
    steps='1 2 4 8 16 32 64'
    [ -z "${QUICK:-}" ] || steps='1 8 64'
    for pass in $(seq 1 "$PASSES"); do
        for shadows in 0 1 2; do
            alone=$shadows
            # shellcheck disable=SC2046
            if alone_make up $shadows 9>&- && until_true 20 alone_primary $shadows &&
                weigh $$ $(cat "$DATA/alone-$shadows"/master*.pid) && alone_steps $shadows "$steps"; then
                while read -r connections operation rate; do
                    printf 'master\t%s\t%s\t%s\t%s\t%s\n' "$1" "$connections" "$operation" "$rate" $shadows
                done <"$WORK/alone.out" >>"$RESULTS"
                say "$1 $pass/$PASSES master_alone, $shadows shadows: $(grep '^64 mkdir' "$WORK/alone.out" | paste -sd' ')"
            else
                say "the master alone, $shadows shadows: FAILED; see $WORK/alone-$shadows.log"
            fi
            alone_make down $shadows || say "the masters with $shadows shadows did not stop: see $WORK/alone-$shadows.log"
            free_shares
            alone=
            rm -rf "$DATA/alone-$shadows"
        done
    done
}
