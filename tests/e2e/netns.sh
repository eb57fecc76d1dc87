#!/bin/sh
# netns.sh - three chunkservers in three network namespaces with addresses of their own, started by hand; a mount from an
# fstab line by mount(8); gfsctl shows them.
. "$(dirname "$0")/lib.sh"
B=gfs$(($$ % 10000))
NET=10.213.$((PORT % 250))
PIDS=
HELPERS=
test_cleanup() {
    umount "$MNT" 2>/dev/null || umount -l "$MNT" 2>/dev/null || true
    for p in $PIDS; do
        kill "$p" 2>/dev/null || true
    done
    for p in $PIDS; do
        wait "$p" 2>/dev/null || true
    done
    for i in 1 2 3; do
        ip netns del "$B-$i" 2>/dev/null || true
    done
    ip link del "$B" 2>/dev/null || true
    for h in $HELPERS; do
        rm -f "$h"
    done
}
# An address of its own: else the bridge takes the lowest of its ports', changes it when one is added, and who
# asked for it before talks into the void until its neighbour entry ages.
ip link add "$B" address 02:67:66:73:00:01 type bridge
ip addr add "$NET.1/24" dev "$B"
ip link set "$B" up
mkdir -p "$RUN/master"
printf 'cluster = nets\nlisten = %s\ndir = %s\n%s\n' "$NET.1:$PORT" "$RUN/master" "$GFS_MASTER_CONF" >"$RUN/master.conf"
"$BIN/gfs-master" "$RUN/master.conf" >"$RUN/master.log" 2>&1 &
PIDS="$PIDS $!"
for i in 1 2 3; do
    ip netns add "$B-$i"
    ip link add "$B-$i" type veth peer name eth0 netns "$B-$i"
    ip link set "$B-$i" master "$B" up
    ip -n "$B-$i" addr add "$NET.$((10 + i))/24" dev eth0
    ip -n "$B-$i" link set eth0 up
    ip -n "$B-$i" link set lo up
    mkdir -p "$RUN/chunkd-$i"
    printf 'cluster = nets\nmasters = %s\nlisten = 0.0.0.0:7000\nadvertise = %s:7000\ndir = %s\nhost = h%s\nrack = r%s\n' \
        "$NET.1:$PORT" "$NET.$((10 + i))" "$RUN/chunkd-$i" $i $i >"$RUN/chunkd-$i.conf"
    ip netns exec "$B-$i" "$BIN/chunkd" "$RUN/chunkd-$i.conf" >"$RUN/chunkd-$i.log" 2>&1 &
    PIDS="$PIDS $!"
done
export GFS_MASTERS=$NET.1:$PORT
alive() { [ "$("$BIN/gfsctl" status --json | grep -o '"alive": *true' | wc -l)" = 3 ]; }
wait_for "three live chunkservers" 60 alive
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
