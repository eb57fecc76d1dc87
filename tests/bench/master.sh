# shellcheck shell=sh
# master.sh - for bench.sh: the master alone, asked by 1 to 64 mounts.

# master_alone tmpfs|disk: adds lines "master TABLE CONNECTIONS OPERATION RATE" to the results.
master_alone() {
    d=$DATA/master-alone
    port=$((GFS_PORT + 19))
    mkdir -p "$d"
    printf 'cluster = gfs\nlisten = 127.0.0.1:%s\ndir = %s\n' $port "$d" >"$WORK/master-alone.conf"
    "$BIN/gfs-master" "$WORK/master-alone.conf" </dev/null >"$WORK/master-alone.log" 2>&1 9>&- &
    alone=$!
    steps='1 2 4 8 16 32 64'
    [ -z "${QUICK:-}" ] || steps='1 8 64'
    until_true 10 "$BIN/gfsctl" --masters 127.0.0.1:$port status
    # shellcheck disable=SC2086
    if "$TOOLS/master_load" 127.0.0.1:$port $((RUN_S / 2 + 1)) $steps >"$WORK/master-alone.out" 9>&-; then
        while read -r connections operation rate; do
            printf 'master\t%s\t%s\t%s\t%s\n' "$1" "$connections" "$operation" "$rate"
        done <"$WORK/master-alone.out" >>"$RESULTS"
    else
        say "the master alone: FAILED; see $WORK/master-alone.log"
    fi
    end_pid $alone
    alone=
    rm -rf "$d"
}
