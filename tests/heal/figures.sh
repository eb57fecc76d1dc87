# figures.sh - for the scripts here, after ../e2e/lib.sh: numbers out of the answers of gfsctl, and the table of copies.

ctl() { "$BIN/gfsctl" "$@"; }
flat() { tr -d ' \n'; }
number() { sed -E "s/.*\"$1\":([0-9]+).*/\1/"; } # of a flat object: the last one of that name
progress() { ctl --json rereplication | flat | number "$1"; }
# field NAME CHUNKD: of a chunkserver in the status; nothing if it is not there.
field() { ctl --json status | grep ":$((PORT + $2))\"" | sed -E "s/.*\"$1\": ([^,}]+).*/\1/"; }
now_ms() { echo $(($(date +%s%N) / 1000000)); }
per() { awk -v a="$1" -v b="$2" 'BEGIN { printf "%.2f", b == 0 ? 0 : a / b }'; } # A / B
mb_s() { awk -v b="$1" -v ms="$2" 'BEGIN { printf "%.1f", ms == 0 ? 0 : b / ms / 1000 }'; } # BYTES MILLISECONDS
# all_copied: nothing lacks copies, and nothing is being copied.
all_copied() { fully_replicated && [ "$(progress left_chunks)" = 0 ]; }
some_lack() { ! fully_replicated; }

# chunkd_dies NUMBER: for good, with what its disk held.
chunkd_dies() {
    kill_hard "chunkd-$1"
    rm -f "$RUN/chunkd-$1.pid" "$RUN/chunkd-$1.conf"
}

# table_until SECONDS command...: prints chunks by good copies, what is left and how fast it goes, once a second, until
# the command succeeds. Lines that say the same as the one before are left out. Sets took_ms.
table_until() {
    limit=$1
    shift
    printf '  %6s %8s %8s %8s %8s %9s %8s\n' second copies_0 copies_1 copies_2 copies_3 'left GB' MB/s
    began=$(now_ms)
    last=
    ended=
    until [ -n "$ended" ]; do
        "$@" && ended=yes
        took_ms=$(($(now_ms) - began))
        all=$(ctl --json rereplication | flat)
        line=$(for name in copies_0 copies_1 copies_2 copies_3 left_bytes bytes_per_second; do
            echo "$all" | number $name
        done | tr '\n' ' ' | awk '{ printf "%8d %8d %8d %8d %9.2f %8.1f", $1, $2, $3, $4, $5 / 1e9, $6 / 1e6 }')
        [ "$line" = "$last" ] || printf '  %6s %s\n' $((took_ms / 1000)) "$line"
        last=$line
        [ "$took_ms" -lt $((limit * 1000)) ] || fail "not done after $limit s: $(ctl rereplication)"
        [ -n "$ended" ] || sleep 1
    done
}
