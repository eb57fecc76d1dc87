#!/bin/sh
# deletes.sh - FILES files are made, removed into the trash, and purged, while a probe makes and removes a directory over
# and over: prints its longest gap in each phase. Asserted is only that everything goes.
. "$(dirname "$0")/../e2e/lib.sh"
. "$(dirname "$0")/figures.sh"
FILES=${FILES:-100000}
export GFS_MASTER_CONF="heartbeat_ms = 200
lease_ms = 1000
session_ms = 5000
request_timeout_ms = 2000
trash_seconds = 86400"
cluster_up

probe() { # writes the milliseconds of each pair until the file stop is there
    while [ ! -e "$WORK/stop" ]; do
        before=$(date +%s%N)
        mkdir "$MNT/probe" && rmdir "$MNT/probe"
        echo $((($(date +%s%N) - before) / 1000))
    done >"$WORK/gaps"
}
phase() { # phase NAME command...: runs it beside the probe
    name=$1
    shift
    rm -f "$WORK/stop"
    probe &
    prober=$!
    began=$(now_ms)
    expect "$name" "$@"
    took=$(($(now_ms) - began))
    touch "$WORK/stop"
    wait $prober
    sort -n "$WORK/gaps" | awk -v name="$name" -v took=$took \
        '{ v[NR] = $1 } END { printf "  %-28s %7.1f s   mkdir + rmdir: median %6.1f ms, longest %6.1f ms\n", name, took / 1000,
            v[int((NR + 1) / 2)] / 1000, v[NR] / 1000 }'
}
make_files() {
    mkdir "$MNT/many"
    d=0
    while [ $((d * 1000)) -lt "$FILES" ]; do
        mkdir "$MNT/many/$d"
        (
            cd "$MNT/many/$d" || exit 1
            i=0
            while [ $i -lt 1000 ]; do
                echo $i >$i || exit 1
                i=$((i + 1))
            done
        ) || return 1
        d=$((d + 1))
    done
}
gone() { [ "$(status_field garbage)" = 0 ] && [ "$(status_field chunks)" = 0 ]; }
all_gone() { wait_for "the replicas to be removed" 600 gone; }

phase "idle" sleep 5
phase "$FILES files are made" make_files
phase "they are removed" rm -rf "$MNT/many"
phase "the trash is purged" ctl trash purge --all
phase "their replicas are removed" all_gone
