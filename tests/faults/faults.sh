#!/bin/sh
# faults.sh - a single fault on every structure that a master or a chunkserver keeps on disk: a bit flipped, a page
# zeroed, the file cut, a page written in another's place; after a kill, after a power cut, and after a clean stop and a
# reboot. Prints a table of what happened; what is forbidden (rig.sh) fails. ONLY=REGEX picks lines of the table.
GFS_MASTER_CONF='trash_seconds = 0
heartbeat_ms = 200
lease_ms = 1000
session_ms = 5000
request_timeout_ms = 1000
away_grace_ms = 1000
chunk_bytes = 262144
segment_bytes = 65536
preallocate_bytes = 1048576'
GFS_CHUNKD_CONF='flush_ms = 500'
. "$(dirname "$0")/../e2e/lib.sh"
. "$TOP/tests/faults/rig.sh"
. "$TOP/tests/faults/places.sh"
test_cleanup() {
    : >"$RUN/over"
    for s in $supervisors; do
        kill "$s" 2>/dev/null || true
    done
    unmounted
}
FAULTS=${FAULTS:-bitflip zero truncate duplicate}
ENDS=${ENDS:-killed power stopped}
ONLY=${ONLY:-.}

golden_make
began=$(date +%s)
tried=0 bad=0
: >"$WORK/outcomes"
line() { # line STRUCTURE FAULT END: the table's, of the case that was just tried
    printf '  %-34s %-10s %-8s %s\n' "$1" "$2" "$3" "${outcome_bad:-$outcome${message:+: $message}}"
    echo "${outcome_bad:+forbidden}${outcome_bad:-$outcome}" | sed -E 's/^forbidden.*/forbidden/; s/ \(status.*//; s/^-$/same bytes/' >>"$WORK/outcomes"
    tried=$((tried + 1))
    [ -z "$outcome_bad" ] || bad=$((bad + 1))
}
wanted() { # wanted STRUCTURE FAULT END
    echo "$*" | grep -qE -e "$ONLY"
}
places >"$WORK/places"
errors >"$WORK/errors"
printf '  %-34s %-10s %-8s %s\n' structure fault after outcome
while IFS='|' read -r structure who file offset; do
    for fault in $FAULTS; do
        for after in $ENDS; do
            wanted "$structure" "$fault" "$after" || continue
            fault_case "$who" "$file" "$offset" "$fault" "$after" </dev/null
            line "$structure" "$fault" "$after"
        done
    done
done <"$WORK/places"
while IFS='|' read -r structure who call file when; do
    for after in $ENDS; do
        [ "$when" = start ] || [ "$after" = killed ] || continue # while it works it does not matter how the last one ended
        wanted "$structure" "EIO $call" "$after" || continue
        error_case "$who" "$call" "$file" "$when" "$after" </dev/null
        line "$structure" "EIO $call" "$after"
    done
done <"$WORK/errors"
sort "$WORK/outcomes" | uniq -c | sort -rn
say "$tried faults in $(($(date +%s) - began)) s, $bad with an outcome that is forbidden"
[ $bad = 0 ] || fail "$bad faults had an outcome that is forbidden"
