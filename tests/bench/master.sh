# shellcheck shell=sh
# master.sh - for bench.sh: the master alone, and the primary of three, asked by 1 to 64 mounts.

ALONE_PORT=$((GFS_PORT + 60))
alone_make() { # alone_make TARGET MASTERS
    mkdir -p "$DATA/alone-$2"
    make -s -C "$TOP" "$1" N=0 MNT="$WORK/alone-$2" RUN="$DATA/alone-$2" PORT="$ALONE_PORT" SHADOWS=$(($2 - 1)) \
        BINDIR="$BIN" SKIP_BUILD=1 >>"$WORK/alone-$2.log" 2>&1
}
# Which of the masters serves, once all of them are in step; else nothing, and it fails.
alone_primary() { # alone_primary MASTERS
    list=$(seq -f "127.0.0.%.0f:$ALONE_PORT" 1 "$1" | paste -sd,)
    "$BIN/gfsctl" --masters "$list" status >"$WORK/alone.status" 2>&1 || return 1
    ! grep -q ', starting,' "$WORK/alone.status" || return 1
    sed -n -E 's/^master ([0-9.:]+), primary,.*/\1/p' "$WORK/alone.status" | grep .
}

# master_alone tmpfs|disk: adds lines "master TABLE CONNECTIONS OPERATION RATE MASTERS" to the results. Each number of masters in
# turn, as often as there are passes.
master_alone() {
    steps='1 2 4 8 16 32 64'
    [ -z "${QUICK:-}" ] || steps='1 8 64'
    for pass in $(seq 1 "$PASSES"); do
        for masters in 1 3; do
            alone=$masters
            # shellcheck disable=SC2086
            if alone_make up $masters 9>&- && until_true 20 alone_primary $masters &&
                weigh $$ $(cat "$DATA/alone-$masters"/master*.pid) &&
                "$TOOLS/master_load" "$(alone_primary $masters)" $((RUN_S / 2 + 1)) $steps >"$WORK/alone.out" 9>&-; then
                while read -r connections operation rate; do
                    printf 'master\t%s\t%s\t%s\t%s\t%s\n' "$1" "$connections" "$operation" "$rate" $masters
                done <"$WORK/alone.out" >>"$RESULTS"
                say "$1 $pass/$PASSES master_alone, $masters masters: $(tail -n 1 "$WORK/alone.out")"
            else
                say "the master alone, $masters masters: FAILED; see $WORK/alone-$masters.log"
            fi
            alone_make down $masters || say "$masters masters did not stop: see $WORK/alone-$masters.log"
            alone=
            rm -rf "$DATA/alone-$masters"
        done
    done
}
