#!/bin/sh
# netns.sh - three chunkservers in three network namespaces with addresses of their own, started by hand; a mount from an
# fstab line by mount(8); gfsctl shows them.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/lib_netns.sh"
HELPERS=
nets_cleanup() {
    for h in $HELPERS; do
        rm -f "$h"
    done
}
nets_up 3
for i in 1 2 3; do
    "$BIN/gfsctl" status | grep -q "$NET.$((10 + i)):7000" || fail "gfsctl does not show $NET.$((10 + i)):7000"
done
for h in /sbin/mount.gfs /sbin/mount.fuse.gfs; do
    if [ ! -e $h ]; then
        ln -s "$(readlink -f "$BIN/gfs-fuse")" $h
        HELPERS="$HELPERS $h"
    fi
done
echo "$NET.1:$PORT:/ $MNT gfs noauto,_netdev,host=here 0 0" >"$WORK/fstab"
expect "mount from an fstab line" mount -T "$WORK/fstab" "$MNT"
cp -r /usr/include/linux "$MNT/linux"
expect "files are equal" diff -r /usr/include/linux "$MNT/linux"
expect "umount" umount "$MNT"
expect "mount -t gfs" mount -t gfs "$NET.1:$PORT:/" "$MNT"
expect "files are equal after a remount" diff -r /usr/include/linux "$MNT/linux"
umount "$MNT"
