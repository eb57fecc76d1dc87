#!/bin/sh
# bench.sh - every row of ./rows on every filesystem of ./systems.sh, in one run, taking turns: figures, ratios, costs.
#
# Environment: BIN (programs of gfs), OUT (directory of the results), QUICK=1 (sizes / 8, one pass), ROWS="name ..." and
# SYSTEMS="name ..." (default all), PASSES (3), DISK=DIR (a second table with the data on that disk), TABLES
# (default: tmpfs, and disk if DISK is set), BENCH_LOCK=FILE (held while it measures, where several share a machine).
# What is missing is said and its column left out. Writes OUT/bench.tsv, a line for each measurement; report.awk makes
# the table and OUT/bench.json of it, plot.awk OUT/bench.svg. Stops everything it started, however it ends.
set -u
TOP=$(cd "$(dirname "$0")/../.." && pwd)
HERE=$TOP/tests/bench
BIN=$(cd "${BIN:-$TOP/build/bin}" && pwd)
OUT=$(mkdir -p "${OUT:-$TOP/build/bench}" && cd "${OUT:-$TOP/build/bench}" && pwd)
TOOLS=$BIN
WORK=$OUT/work
SYSTEMS=${SYSTEMS:-gfs moosefs durable limit loggers}
TABLES=${TABLES:-tmpfs${DISK:+ disk}}
if [ -n "${QUICK:-}" ]; then
    MIB=128 FILES_K=1 RUN_S=1 TREE_FILES=1200
    PASSES=${PASSES:-1}
else
    MIB=1024 FILES_K=8 RUN_S=5 TREE_FILES=9600
    PASSES=${PASSES:-3}
fi
TREE=$WORK/tree.tar
PATIENCE_S=600 # with one command
. "$HERE/systems.sh"
. "$HERE/master.sh"

say() { echo "bench: $*" >&2; }
stop() {
    say "$*"
    exit 1
}
trimmed() { echo "$1" | sed -E 's/^ +| +$//g'; }

# ---------------------------------------------------------------- figures

# The figure, and how many operations or MiB it stands for: fio's own, fsload's own, or the time the command took.
# figure_of UNIT OUTPUT SECONDS: prints "FIGURE WORK"; nothing if there is none.
figure_of() {
    awk -v unit="$1" -v seconds="$3" '
        unit == "s" { if (NR == 1) print seconds, ENVIRON["TREE_FILES"]; found = 1; exit }
        /^3;fio/ { # KiB in all, KiB/s, operations/s of reads and of writes
            split($0, f, ";")
            kib = f[6] + f[47]; rate = f[7] + f[48]; iops = f[8] + f[49]
            print unit == "MB/s" ? rate * 1.024 / 1000 : iops, unit == "MB/s" ? kib / 1024 : kib / 4
            exit
        }
        NF == 2 && $2 > 0 { print $1 / $2, $1; exit }
        END { if (unit == "s" && !found) print seconds, ENVIRON["TREE_FILES"] }' "$2"
}

# ---------------------------------------------------------------- one measurement

# Others may want the machine too: the lock is given back when it was held for some minutes.
locked() {
    [ -n "${BENCH_LOCK:-}" ] && [ -z "$locked_at" ] || return 0
    exec 9>"$BENCH_LOCK"
    flock 9
    locked_at=$(date +%s)
}
unlocked() { # unlocked [now]
    [ -n "$locked_at" ] || return 0
    [ "${1:-}" = now ] || [ $(($(date +%s) - locked_at)) -ge 360 ] || return 0
    exec 9>&-
    locked_at=
}
fresh() { # fresh SYSTEM: nothing is cached in the mount, and on a disk in nobody
    "$1_unmount" || return 1
    if [ "$table" = disk ]; then
        sync -f "$DATA"
        echo 1 >/proc/sys/vm/drop_caches
    fi
    "$1_mount"
}

# in_row COMMAND: a row's command, where and as it is to run; what is measured runs in the same way.
in_row() { printf 'set -e; . "%s/row_env.sh"; cd "%s"; %s' "$WORK" "$WORK/$system/row" "$1"; }

# Every session is a scheduling group of its own where the kernel groups by session, and the systems have different numbers of
# them: all get the same, highest weight, which also keeps what else runs on the machine out of the figures.
weigh() { # weigh PID...
    for p in "$@"; do
        { echo -19 >"/proc/$p/autogroup"; } 2>/dev/null || true
    done
}
# A hypervisor that takes free memory back makes the first touch of each page cost 12 us (a GiB more than three seconds), and three
# copies touch more than one. So there is memory that was used a moment ago, for whoever is measured next.
warm() { # warm MIB
    "$TOOLS/fsload" touch "$1" || say "memory could not be touched"
}
pids_of() { "$1_servers" | tr ' ,' '\n\n' | sed 's/.*=//'; }

# remove_row: what the row made. A peer that removes it minutes later, while others are measured, begins anew.
remove_row() {
    cd "$TOP" && rm -rf "$WORK/$system/row"
    ! command -v "${system}_anew" >/dev/null || "${system}_anew" 9>&-
}

measure() { # measure SYSTEM: of the row in name, unit, before, between, command; adds a line to the results
    system=$1
    rm -rf "$WORK/$system/row"
    mkdir "$WORK/$system/row" || return 1
    timeout -k 5 "$PATIENCE_S" sh -c "$(in_row "$before")" >"$WORK/before.out" 2>&1 9>&- || { tail -n 3 "$WORK/before.out" >&2; return 1; }
    if [ "$between" = yes ]; then
        fresh "$system" 9>&- || return 1
    fi
    # shellcheck disable=SC2046
    weigh $$ $(pids_of "$system")
    case $unit in
    MB/s) warm $((5 * MIB)) ;;
    *) warm $((3 * MIB / 2)) ;;
    esac
    # shellcheck disable=SC2046
    "$TOOLS/measure" "$WORK/cost" $("${system}_servers") -- timeout -k 5 "$PATIENCE_S" sh -c "$(in_row "$command")" >"$WORK/row.out" 2>"$WORK/row.err" 9>&- ||
        { tail -n 3 "$WORK/row.out" "$WORK/row.err" >&2; return 1; }
    took=$(cut -d' ' -f2 "$WORK/cost")
    figure=$(figure_of "$unit" "$WORK/row.out" "$took")
    [ -n "$figure" ] || { cat "$WORK/row.out" >&2; return 1; }
    printf '%s\t%s\t%s\t%s\t%s\t%s\t%s\n' "$table" "$name" "$unit" "$what" "$system" "$figure" "$(cat "$WORK/cost")" >>"$RESULTS"
    say "$table $pass/$PASSES $name $system: ${figure% *} $unit"
    remove_row
}

# calls SYSTEM: system calls of its processes in the same row, counted in a run of its own.
calls() {
    system=$1
    servers=$("${system}_servers" | tr ' ' '\n' | sed 's/.*=//' | paste -sd, -)
    rm -rf "$WORK/$system/row"
    mkdir "$WORK/$system/row" || return 1
    sh -c "$(in_row "$before")" >"$WORK/before.out" 2>&1 9>&- || return 1
    if [ "$between" = yes ]; then
        fresh "$system" 9>&- || return 1
        servers=$("${system}_servers" | tr ' ' '\n' | sed 's/.*=//' | paste -sd, -)
    fi
    if [ -n "$have_perf" ]; then
        perf stat -x, -e raw_syscalls:sys_enter -o "$WORK/calls" -p "$servers" -- \
            sh -c "$(in_row "$command")" >"$WORK/row.out" 2>"$WORK/row.err" 9>&- || return 1
        count=$(awk -F, '/raw_syscalls/ { print $1 }' "$WORK/calls")
    else
        # strace slows what it watches: fewer wake-ups serve more, so these are lower bounds.
        # shellcheck disable=SC2046
        strace -c -f -o "$WORK/calls" $(echo "$servers" | sed 's/[0-9]*/-p &/g; s/,/ /g') 2>/dev/null 9>&- &
        tracer=$!
        sleep 0.5
        sh -c "$(in_row "$command")" >"$WORK/row.out" 2>"$WORK/row.err" 9>&- || { kill -INT $tracer; return 1; }
        kill -INT $tracer
        wait $tracer
        count=$(awk '$NF == "total" { print $3 }' "$WORK/calls")
    fi
    figure=$(figure_of "$unit" "$WORK/row.out" 1)
    [ -n "$count" ] && printf '%s\t%s\t%s\tcalls\t%s\t%s\t%s\n' "$table" "$name" "$unit" "$system" "$figure" "$count" >>"$RESULTS"
    remove_row
}

# ---------------------------------------------------------------- all of them

# takes SYSTEM: the row that runs is one of its rows.
takes() { [ "$1" != loggers ] || case " $LOGGERS_ROWS " in *" $name "*) ;; *) return 1 ;; esac; }
wanted_row() { [ -z "${ROWS:-}" ] || case " $ROWS " in *" $1 "*) ;; *) return 1 ;; esac; }
# each_row FUNCTION: with name, unit, what, before, between, command set.
each_row() {
    grep -v '^#' "$HERE/rows" >"$WORK/rows"
    while IFS='|' read -r name unit what before between command <&3; do
        name=$(trimmed "$name") unit=$(trimmed "$unit") what=$(trimmed "$what") between=$(trimmed "$between")
        before=$(trimmed "$before") command=$(trimmed "$command")
        [ -n "$name" ] && wanted_row "$name" || continue
        "$1"
    done 3<"$WORK/rows"
}
# turn: this row on all systems, beginning with another one each time.
turn() {
    order="$(echo "$here" | cut -d' ' -f$((turns % $(echo "$here" | wc -w) + 1))-) $here"
    turns=$((turns + 1))
    locked
    seen=' '
    for s in $order; do
        case $seen in *" $s "*) continue ;; esac
        seen="$seen$s "
        takes "$s" || continue
        measure "$s" || say "$table $name $s: FAILED"
    done
    unlocked
}
turn_of_calls() {
    locked
    for s in $here; do
        takes "$s" || continue
        calls "$s" || say "$table $name $s: system calls could not be counted"
    done
    unlocked
}

turns=0
alone=
locked_at=
up=
down() {
    trap - EXIT
    trap '' HUP INT TERM
    [ -z "$alone" ] || alone_make down "$alone"
    free_shares
    for s in $up; do
        "${s}_down" || say "$s did not stop: see $WORK/$s.log"
    done
    up=
    case ${DATA:-} in
    "$WORK/tmpfs") umount "$DATA" 2>/dev/null || umount -l "$DATA" ;;
    ?*) rm -rf "$DATA" ;;
    esac
}
trap 'down; exit 1' HUP INT TERM
trap '' PIPE
trap down EXIT

run_table() { # run_table tmpfs|disk
    table=$1
    here=
    if [ "$table" = tmpfs ]; then
        DATA=$WORK/tmpfs
        mkdir -p "$DATA" && mount -t tmpfs -o size=90% gfsbench "$DATA" || stop "cannot mount a tmpfs on $DATA"
    else
        DATA=$(mktemp -d "$DISK/gfsbench.XXXXXX") || stop "cannot write to DISK=$DISK"
    fi
    locked
    for s in $SYSTEMS; do
        why=$("${s}_check")
        if [ -n "$why" ]; then
            say "no column $s: $why"
            continue
        fi
        mkdir -p "$WORK/$s"
        up="$s $up"
        if "${s}_up" 9>&-; then
            here="$here $s"
        else
            say "no column $s: it did not start; the end of $WORK/$s.log:"
            tail -n 5 "$WORK/$s.log" >&2
        fi
    done
    here=$(trimmed "$here")
    [ -n "$here" ] || stop "nothing to measure"
    for pass in $(seq 1 "$PASSES"); do
        each_row turn
    done
    each_row turn_of_calls
    for s in $up; do
        "${s}_down" || say "$s did not stop: see $WORK/$s.log"
    done
    up=
    if wanted_row master_alone; then
        locked
        master_alone "$table"
    fi
    unlocked now
    [ "$table" != tmpfs ] || umount "$DATA" || umount -l "$DATA"
    [ "$table" != disk ] || rm -rf "$DATA"
    DATA=
}

[ "$(id -u)" = 0 ] || stop "needs root: it mounts filesystems and makes a network namespace"
[ -c /dev/fuse ] || modprobe fuse 2>/dev/null
[ -c /dev/fuse ] || stop "there is no /dev/fuse here: nothing can be mounted"
for program in fio tar grep flock; do
    command -v $program >/dev/null || stop "$program is not installed"
done
for program in gfs-master gfs-monitor gfsctl chunkd gfs-fuse fsload measure master_load; do
    [ -x "$BIN/$program" ] || stop "$BIN/$program is not built"
done
have_perf=
perf stat -e raw_syscalls:sys_enter true >/dev/null 2>&1 && have_perf=yes
[ -n "$have_perf" ] || command -v strace >/dev/null || say "neither perf nor strace: system calls are not counted"
[ -z "${DISK:-}" ] || [ -d "$DISK" ] || stop "DISK=$DISK is no directory"

for m in "$WORK"/gfs "$WORK"/loggers "$WORK"/alone-0 "$WORK"/alone-1 "$WORK"/alone-2 "$WORK"/moosefs "$WORK"/durable "$WORK"/limit "$WORK"/tmpfs; do
    ! mounted "$m" || stop "$m is mounted: another bench runs, or died; unmount it"
done
rm -rf "$WORK"
mkdir -p "$WORK"
RESULTS=$OUT/bench.tsv
: >"$RESULTS"
export TREE_FILES
"$TOOLS/fsload" tree "$WORK/tree" $TREE_FILES && tar -C "$WORK" -cf "$TREE" tree && rm -rf "$WORK/tree" || stop "cannot make the tree"
cat >"$WORK/row_env.sh" <<END
MIB=$MIB FILES_K=$FILES_K RUN_S=$RUN_S TREE=$TREE TREE_FILES=$TREE_FILES
disk() {
    fio --name=row --filename=data --ioengine=psync --group_reporting --output-format=terse --terse-version=3 "\$@"
}
fsload() { "$TOOLS/fsload" "\$@"; }
END
for t in $TABLES; do
    run_table "$t"
done
awk -f "$HERE/figures.awk" -f "$HERE/report.awk" -v json="$OUT/bench.json" -v passes_wanted="$PASSES" -v quick="${QUICK:-}" "$RESULTS"
awk -f "$HERE/figures.awk" -f "$HERE/plot.awk" "$RESULTS" >"$OUT/bench.svg" || rm -f "$OUT/bench.svg"
echo
echo "$OUT: bench.tsv, bench.json, bench.svg"
