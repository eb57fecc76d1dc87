#!/bin/sh
# up.sh - one master, N chunkservers and a mount on this machine: starts what is not running, waits until it serves.
# MONITOR=local: a monitor starts the master, and starts it again when it dies. SHADOWS=2: three masters, of which the
# monitor promotes one. MONITOR=zookeeper: each has a monitor of its own, and they agree through ZooKeeper.
# The environment says which (cluster.sh); GFS_MASTER_CONF and GFS_CHUNKD_CONF are lines added to the configuration.
set -eu
. "$(dirname "$0")/cluster.sh"
. "$(dirname "$0")/zookeeper.sh"

died() {
    echo "up: $1" >&2
    if [ -n "${2:-}" ] && [ -s "$RUN/$2.log" ]; then
        echo "up: the end of $RUN/$2.log:" >&2
        tail -n 5 "$RUN/$2.log" >&2
    fi
    exit 1
}

# launch NAME PROGRAM: in the background, on its own, nothing inherited but the log.
launch() {
    rm -f "$RUN/$1.pid"
    setsid "$BINDIR/$2" "$RUN/$1.conf" </dev/null >>"$RUN/$1.log" 2>&1 3>&- 4>&- 5>&- 6>&- 7>&- 8>&- 9>&- &
    echo $! >"$RUN/$1.pid"
    started="$started $1"
}

master_conf() { # master_conf NUMBER
    name=$(master_name "$1")
    mkdir -p "$RUN/$name"
    cat >"$RUN/$name.conf" <<END
# written by make up at every start of the master
cluster = gfs
listen = $(master_addr "$1")
dir = $RUN/$name
${GFS_MASTER_CONF:-}
END
    [ "$MASTER_COUNT" = 1 ] || echo "masters = $MASTERS" >>"$RUN/$name.conf"
    [ "$SHADOWS" != 1 ] || [ "$1" != 3 ] || echo "logger_only = yes" >>"$RUN/$name.conf"
}

start_master() {
    pid_of master >/dev/null && [ -z "$MONITOR" ] && return
    [ "$MONITOR" = local ] && pid_of monitor >/dev/null && return # it starts the master
    for k in $(seq 1 "$MASTER_COUNT"); do
        master_conf "$k"
    done
    case $MONITOR in
    '') launch master gfs-master ;;
    local) start_monitor ;;
    zookeeper) start_with_zookeeper ;;
    *) died "MONITOR is $MONITOR: expected local, zookeeper, or nothing" ;;
    esac
}

start_monitor() {
    mkdir -p "$RUN/monitor"
    cat >"$RUN/monitor.conf" <<END
# written by make up at every start of the monitor
cluster = gfs
listen = $MONITOR_ADDR
dir = $RUN/monitor
masters = $MASTERS
master_configs = $(for k in $(seq 1 "$MASTER_COUNT"); do echo "$RUN/$(master_name "$k").conf"; done | paste -sd,)
program = $BINDIR/gfs-master
pid_dir = $RUN
log_dir = $RUN
${GFS_MONITOR_CONF:-}
END
    launch monitor gfs-monitor
}

start_chunkd() { # start_chunkd NUMBER
    pid_of "chunkd-$1" >/dev/null && return
    mkdir -p "$RUN/chunkd-$1"
    cat >"$RUN/chunkd-$1.conf" <<END
# written by make up at every start of this chunkserver
cluster = gfs
masters = $MASTERS
listen = 127.0.0.1:$((PORT + $1))
dir = $RUN/chunkd-$1
host = h$1
rack = r$(rack_of "$1")
${GFS_CHUNKD_CONF:-}
END
    launch "chunkd-$1" chunkd
}

check_running() {
    first=master
    [ ! -e "$RUN/monitor.pid" ] || first=monitor # a master that ended is started again
    [ ! -e "$RUN/monitor-1.pid" ] || first=$(for k in 1 2 3; do echo "zookeeper-$k"; done; for k in $(seq 1 "$MASTER_COUNT"); do echo "monitor-$k"; done)
    for name in $first $(seq -f 'chunkd-%.0f' 1 "$N"); do
        # On a busy machine one that was launched a moment ago may not be itself yet.
        pid_of "$name" >/dev/null || { sleep 1 && pid_of "$name" >/dev/null; } || died "$name has ended" "$name"
    done
}

# Chunkservers of ours whose lease runs, as the master sees them.
live_chunkds() {
    "$BINDIR/gfsctl" --masters "$MASTERS" status --json 2>/dev/null |
        sed -n -E 's/.*"addr": "127\.0\.0\.1:([0-9]+)".*"alive": true.*/\1/p' |
        while read -r port; do
            [ "$port" -gt "$PORT" ] && [ "$port" -le $((PORT + N)) ] && echo "$port"
        done | wc -l
}

wait_serving() {
    end=$(($(date +%s) + 60))
    until [ "$(live_chunkds)" = "$N" ]; do
        check_running
        [ "$(date +%s)" -lt $end ] || died "$N chunkservers are not alive at the master after 60 s" master
        sleep 0.1
    done
}

start_mount() {
    if pid_of fuse >/dev/null; then
        is_mounted && return
        wait_gone fuse 10 || died "gfs-fuse runs but $MNT is not mounted" fuse
    fi
    if is_mounted; then
        mount_is_dead || died "$MNT is mounted already, and not by this cluster" fuse
        unmount || unmount lazy || died "the dead mount on $MNT cannot be cleared" fuse
        cleared=" (a dead mount was cleared)"
    fi
    [ -d "$MNT" ] || as_root mkdir -p "$MNT"
    [ -c /dev/fuse ] || as_root modprobe fuse || true # gfs-fuse says what is missing
    rm -f "$RUN/fuse.pid"
    : >>"$RUN/fuse.log"
    as_root setsid "$BINDIR/gfs-fuse" "$MASTERS:/" "$MNT" -o "host=h1,rack=r1,pidfile=$RUN/fuse.pid,log=$RUN/fuse.log" \
        </dev/null >>"$RUN/fuse.log" 2>&1 3>&- 4>&- 5>&- 6>&- 7>&- 8>&- 9>&- || died "the mount on $MNT failed" fuse
    if [ "$(id -u)" != 0 ] && [ "$(stat -c %u "$MNT")" = 0 ]; then
        as_root chown "$(id -u):$(id -g)" "$MNT" # a new filesystem belongs to root
    fi
    started="$started fuse"
}

report() {
    line() { printf '  %-10s pid %-8s %-22s %s\n' "$1" "$(pid_of "$1" || echo -)" "$2" "$3"; }
    for k in $(seq 1 "$MASTER_COUNT"); do
        line "$(master_name "$k")" "$(master_addr "$k")" "$RUN/$(master_name "$k")"
    done
    [ ! -e "$RUN/monitor.pid" ] || line monitor "$MONITOR_ADDR" "$RUN/monitor"
    [ "$MONITOR" != zookeeper ] || for k in $(seq 1 "$MASTER_COUNT"); do
        line "monitor-$k" "$(monitor_addr "$k")" "$RUN/monitor-$k"
    done
    [ "$MONITOR" != zookeeper ] || for k in 1 2 3; do
        line "zookeeper-$k" "127.0.0.$k:$((PORT + 16))" "$RUN/zookeeper-$k"
    done
    for i in $(seq 1 "$N"); do
        line "chunkd-$i" "127.0.0.1:$((PORT + i))" "$RUN/chunkd-$i, rack r$(rack_of "$i")"
    done
    line fuse "$MNT" "mounted${cleared:-}"
    if [ -n "$started" ]; then
        echo "  started:$started"
    else
        echo "  everything was running already"
    fi
    echo "  logs and configuration: $RUN/*.log, $RUN/*.conf"
    echo "  state of the cluster: $BINDIR/gfsctl --masters $MASTERS status"
}

started=
start_master
for i in $(seq 1 "$N"); do
    start_chunkd "$i"
done
wait_serving
start_mount
report
