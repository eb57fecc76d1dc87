#!/bin/sh
# sweep.sh DIR - ends the daemons that name DIR in their arguments and takes away every mount below it: what a test
# leaves that was killed before it could clean up. Prints what it found.
set -u
dir=$1

daemons() { # pids of those below DIR
    grep -alF -e "$dir/" /proc/[0-9]*/cmdline 2>/dev/null | while IFS=/ read -r _ _ pid _; do
        { tr '\0' ' ' <"/proc/$pid/cmdline"; } 2>/dev/null | grep -qE '(gfs-monitor|gfs-master|chunkd|gfs-fuse|java) ' && echo "$pid"
    done
}
for pid in $(daemons); do
    echo "sweep: $({ tr '\0' ' ' <"/proc/$pid/cmdline"; } 2>/dev/null) was left"
    kill -9 "$pid" 2>/dev/null
done
# The mounted last goes first. What still uses one keeps it only for itself.
awk -v below="$dir/" 'index($2, below) == 1 { print $2 }' /proc/self/mounts | tac | while read -r mnt; do
    echo "sweep: $mnt was left mounted"
    umount -l "$mnt"
done
