# shellcheck shell=sh
# master.sh - for bench.sh: the master alone, and the primary of three loggers, asked by 1 to 64 mounts. Of the other two one or
# both keep the state, too: where all share the processors, that is most of what they cost.

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

# master_alone tmpfs|disk: adds lines "master TABLE CONNECTIONS OPERATION RATE SHADOWS" to the results. Each set of masters in
# turn, as often as there are passes.
master_alone() {
    steps='1 2 4 8 16 32 64'
    [ -z "${QUICK:-}" ] || steps='1 8 64'
    for pass in $(seq 1 "$PASSES"); do
        for shadows in 0 1 2; do
            alone=$shadows
            # shellcheck disable=SC2086
            if alone_make up $shadows 9>&- && until_true 20 alone_primary $shadows &&
                weigh $$ $(cat "$DATA/alone-$shadows"/master*.pid) &&
                "$TOOLS/master_load" "$(cat "$WORK/alone.primary")" $((RUN_S / 2 + 1)) $steps >"$WORK/alone.out" 9>&-; then
                while read -r connections operation rate; do
                    printf 'master\t%s\t%s\t%s\t%s\t%s\n' "$1" "$connections" "$operation" "$rate" $shadows
                done <"$WORK/alone.out" >>"$RESULTS"
                say "$1 $pass/$PASSES master_alone, $shadows shadows: $(tail -n 1 "$WORK/alone.out")"
            else
                say "the master alone, $shadows shadows: FAILED; see $WORK/alone-$shadows.log"
            fi
            alone_make down $shadows || say "the masters with $shadows shadows did not stop: see $WORK/alone-$shadows.log"
            alone=
            rm -rf "$DATA/alone-$shadows"
        done
    done
}
