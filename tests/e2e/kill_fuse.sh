#!/bin/sh
# kill_fuse.sh - SIGKILL of gfs-fuse: programs get ENOTCONN, make up mounts again, everything fsynced is there, and its
# open-unlinked files are freed when its session ends.
. "$(dirname "$0")/lib.sh"
cluster_up
dd if=/dev/urandom of="$WORK/data" bs=1M count=20 status=none
dd if="$WORK/data" of="$MNT/fsynced" bs=1M conv=fsync status=none
exec 9>"$MNT/unlinked"
dd if="$WORK/data" of="/proc/self/fd/9" bs=1M status=none 2>/dev/null || cat "$WORK/data" >&9
rm "$MNT/unlinked"
files_before=$(status_field files)
kill_hard fuse
msg=$(ls "$MNT" 2>&1 || true)
case $msg in
*"not connected"*) ;;
*) fail "ls of a dead mount says '$msg', expected ENOTCONN" ;;
esac
exec 9>&-
cluster_up
expect "the fsynced file is there" cmp "$WORK/data" "$MNT/fsynced"
wait_for "the open-unlinked file to be freed" 30 sh -c "[ \$('$BIN/gfsctl' status --json | tr -d ' \n' | sed -E 's/.*\"files\":([0-9]+).*/\1/') -lt $files_before ]"
data_kb() { du -sk "$RUN"/chunkd-1/chunks | cut -f1; }
wait_for "its chunks to be removed" 30 sh -c "[ \$(du -sk '$RUN/chunkd-1/chunks' | cut -f1) -lt 30000 ]"
