# shellcheck shell=sh
# lib_netns.sh - a master here and chunkservers in network namespaces of their own, on one bridge, started by hand.
#
# Sourced after lib.sh. nets_up N starts master and chunkservers 1..N (chunkserver i at $NET.(10+i):7000, host hI,
# rack rI, namespace $B-I); nets_mount mounts at MNT; in_net I command... runs in the namespace of one. All of it is
# taken down by test_cleanup. net_bridge and net_add NAME LAST make the bridge ($NET.1) and one namespace more.
B=gfs$(($$ % 10000))
NET=10.213.$((PORT % 250))
PIDS=
NETS=
export GFS_MASTERS=$NET.1:$PORT

test_cleanup() {
    umount "$MNT" 2>/dev/null || umount -l "$MNT" 2>/dev/null || true
    for p in $PIDS; do
        kill -CONT "$p" 2>/dev/null || true
        kill "$p" 2>/dev/null || true
    done
    for p in $PIDS; do
        wait "$p" 2>/dev/null || true
    done
    for i in $NETS; do
        ip netns del "$B-$i" 2>/dev/null || true
    done
    ip link del "$B" 2>/dev/null || true
    type nets_cleanup >/dev/null 2>&1 && nets_cleanup
    return 0
}
in_net() {
    net=$1
    shift
    ip netns exec "$B-$net" "$@"
}
nets_chunkd() { # starts chunkserver NUMBER, again or for the first time
    mkdir -p "$RUN/chunkd-$1"
    printf 'cluster = nets\nmasters = %s\nlisten = 0.0.0.0:7000\nadvertise = %s:7000\ndir = %s\nhost = h%s\nrack = r%s\n%s\n' \
        "$NET.1:$PORT" "$NET.$((10 + $1))" "$RUN/chunkd-$1" "$1" "$1" "$GFS_CHUNKD_CONF" >"$RUN/chunkd-$1.conf"
    ip netns exec "$B-$1" "$BIN/chunkd" "$RUN/chunkd-$1.conf" >>"$RUN/chunkd-$1.log" 2>&1 &
    echo $! >"$RUN/chunkd-$1.pid"
    PIDS="$PIDS $!"
}
nets_alive() { [ "$("$BIN/gfsctl" status --json | grep -o '"alive": *true' | wc -l)" = "$1" ]; }
net_bridge() {
    # An address of its own: else the bridge takes the lowest of its ports', changes it when one is added, and who
    # asked for it before talks into the void until its neighbour entry ages.
    ip link add "$B" address 02:67:66:73:00:01 type bridge
    ip addr add "$NET.1/24" dev "$B"
    ip link set "$B" up
}
net_add() { # net_add NAME LAST: namespace $B-NAME at $NET.LAST
    NETS="$NETS $1"
    ip netns add "$B-$1"
    ip link add "$B-$1" type veth peer name eth0 netns "$B-$1"
    ip link set "$B-$1" master "$B" up
    ip -n "$B-$1" addr add "$NET.$2/24" dev eth0
    ip -n "$B-$1" link set eth0 up
    ip -n "$B-$1" link set lo up
}
nets_up() {
    net_bridge
    mkdir -p "$RUN/master"
    printf 'cluster = nets\nlisten = %s\ndir = %s\n%s\n' "$NET.1:$PORT" "$RUN/master" "$GFS_MASTER_CONF" >"$RUN/master.conf"
    "$BIN/gfs-master" "$RUN/master.conf" >"$RUN/master.log" 2>&1 &
    PIDS="$PIDS $!"
    for i in $(seq 1 "$1"); do
        net_add "$i" $((10 + i))
        nets_chunkd "$i"
    done
    wait_for "$1 live chunkservers" 60 nets_alive "$1"
}
nets_mount() { # [options]
    "$BIN/gfs-fuse" "$NET.1:$PORT:/" "$MNT" -o "pidfile=$RUN/fuse.pid,log=$RUN/fuse.log${1:+,$1}" >>"$RUN/fuse.log" 2>&1 ||
        fail "mount"
}
