#!/bin/sh
# many_files.sh - how long starts and promotions take with many files: three masters with FILES files (a list: "500000 5000000"),
# directories under DIR (build/many-files). For each number: promotion after the primary was killed; a master
# started again after that; all three started again as after a power cut, until the state is complete, and until changes are
# answered. A change waits for a promotion, whose time does not depend on the files.
set -eu
TOP=$(cd "$(dirname "$0")/../.." && pwd)
BIN=${BIN:-$TOP/build/bin}
DATA=${DIR:-$TOP/build/many-files}
PORT=${PORT:-9640}
say() { echo "many_files: $*" >&2; }
fail() {
    say "$*"
    exit 1
}
addr() { echo "127.0.0.$1:$PORT"; }
MASTERS=$(addr 1),$(addr 2),$(addr 3)
name() { [ "$1" = 1 ] && echo master || echo "master-$1"; }
deploy() { # deploy up|down
    make -s -C "$TOP" "$1" N=0 SHADOWS=2 MNT="$DATA/mnt" RUN="$DATA/run" PORT="$PORT" BINDIR="$BIN" SKIP_BUILD=1 >"$DATA/make.log" 2>&1
}
cleanup() { [ ! -d "$DATA" ] || deploy down || true; }
trap cleanup EXIT
trap 'exit 1' HUP INT TERM
now_ms() { date +%s%3N; }
# The time of the newest line that matches EXPRESSION in LOG, in ms; nothing if there is none since SINCE.
when() { # when LOG EXPRESSION SINCE
    stamp=$(grep -E "$2" "$1" | tail -n 1 | cut -d' ' -f1)
    [ -n "$stamp" ] || return 1
    ms=$(date -d "$stamp" +%s%3N)
    [ "$ms" -ge "$3" ] && echo "$ms"
}
wait_when() { # the same, waited for
    until when "$1" "$2" "$3"; do
        [ $(($(now_ms) - $3)) -lt 600000 ] || fail "waited in vain for '$2' in $1"
        sleep 0.05
    done
}
primary() { timeout 10 "$BIN/gfsctl" --masters "$MASTERS" status | sed -n -E 's/^master 127.0.0.([0-9]):.*primary.*/\1/p'; }
waits_for_all() { # until every master has what the primary has
    until timeout 10 "$BIN/gfsctl" --masters "$MASTERS" status >"$DATA/status" 2>&1 && ! grep -Eq 'starting|not known' "$DATA/status" &&
        [ "$(sed -n -E 's/^  127.*, index ([0-9]+),.*/\1/p' "$DATA/status" | sort -u | wc -l)" = 1 ]; do
        sleep 0.2
    done
}
STARTED='one of 3: index'
SERVES=' serves in epoch '

printf '%10s  %9s  %12s  %11s  %14s  %17s  %17s\n' files 'made/s' 'checkpoint' 'promotion' 'start, killed' 'start, power cut' 'changes again'
for files in ${FILES:-500000 5000000}; do
    rm -rf "$DATA"
    mkdir -p "$DATA/mnt"
    deploy up || fail "the masters do not start: $(tail -n 3 "$DATA/make.log")"
    waits_for_all
    rate=$("$BIN/master_load" "$(addr "$(primary)")" fill "$files") || fail "the primary was lost: see $DATA/run/*.log"
    rate=${rate##* }
    waits_for_all
    timeout 600 "$BIN/gfsctl" --masters "$(addr "$(primary)")" checkpoint now >"$DATA/checkpoint.out" 2>&1 || fail "$(cat "$DATA/checkpoint.out")"
    waits_for_all
    size=$(du -sm "$DATA/run/$(name "$(primary)")/checkpoints" 2>/dev/null | cut -f1)
    # The primary is killed: its monitor promotes another one, and starts it again.
    who=$(primary)
    at=$(now_ms)
    kill -9 "$(cat "$DATA/run/$(name "$who").pid")"
    promotion=$(($(wait_when "$DATA/run/monitor.log" "$SERVES" "$at") - at))
    started=$(($(wait_when "$DATA/run/$(name "$who").log" "$STARTED" "$at") - at))
    waits_for_all
    # Power cut: nothing of the live environments is believed.
    kill -9 "$(cat "$DATA/run/monitor.pid")"
    for k in 1 2 3; do
        kill -9 "$(cat "$DATA/run/$(name $k).pid")"
        sed -i '/^boot_id/d' "$DATA/run/$(name $k).conf"
        echo "boot_id = after-a-power-cut-$files" >>"$DATA/run/$(name $k).conf"
    done
    sync
    at=$(now_ms)
    deploy up || fail "the masters do not start again: $(tail -n 3 "$DATA/make.log")"
    cut=$(($(wait_when "$DATA/run/master.log" "$STARTED" "$at") - at))
    changes=$(($(wait_when "$DATA/run/monitor.log" "$SERVES" "$at") - at))
    printf '%10s  %9s  %9s MB  %8s ms  %11s ms  %14s ms  %14s ms\n' "$files" "$rate" "${size:--}" "$promotion" "$started" "$cut" "$changes"
    deploy down
    rm -rf "$DATA"
done
