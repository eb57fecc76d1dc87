#!/bin/sh
# hostile.sh - random bytes, truncated frames, huge claims and a wrong version to every port: refused, closed, logged,
# memory bounded, and the cluster goes on.
. "$(dirname "$0")/lib.sh"
cluster_up
echo before >"$MNT/file"
rss() { awk '/VmRSS/ {print $2}' "/proc/$(pid_of "$1")/status"; }
i=0
for who in master chunkd-1 chunkd-2 chunkd-3; do
    before=$(rss $who)
    lines=$(wc -l <"$RUN/$who.log")
    expect "$who refuses" "$TOP/build/${E2E_BUILD:-debug}/hostile" 127.0.0.1 $((PORT + i))
    kill -0 "$(pid_of $who)" || fail "$who died"
    grown=$(($(rss $who) - before))
    [ $grown -lt 65536 ] || [ -n "${E2E_SANITIZED:-}" ] || fail "$who grew by $grown KiB"
    [ "$(wc -l <"$RUN/$who.log")" -gt "$lines" ] || fail "$who logged nothing"
    i=$((i + 1))
done
same "the mount still works" "$(cat "$MNT/file")" before
echo after >"$MNT/file2" && sync "$MNT/file2"
