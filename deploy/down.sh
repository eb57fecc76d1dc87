#!/bin/sh
# down.sh - unmounts and stops what up.sh started, by recorded pid; what is dead already is no obstacle. Data stays.
set -eu
. "$(dirname "$0")/cluster.sh"

# Programs that are just leaving the mount get ten seconds, then it is taken from under them.
clear_mount() {
    end=$(($(date +%s) + 10))
    while is_mounted; do
        if [ "$(date +%s)" -ge $end ] || ! pid_of fuse >/dev/null; then
            unmount lazy || { echo "down: $MNT cannot be unmounted" >&2; return 1; }
            echo "  $MNT was busy: unmounted lazily"
            return
        fi
        unmount && return
        sleep 0.5
    done
}

# signal SIGNAL NAME
signal() {
    if pid=$(pid_of "$2"); then
        case $2 in
        fuse) as_root kill "-$1" "$pid" 2>/dev/null || true ;;
        *) kill "-$1" "$pid" 2>/dev/null || true ;;
        esac
    fi
}

stop() { # stop NAME: it has been told to end
    if ! wait_gone "$1" 10; then
        echo "  $1 did not end in 10 s: killed"
        signal KILL "$1"
        wait_gone "$1" 10 || { echo "down: $1 cannot be killed" >&2; failed=1; return; }
    fi
    rm -f "$RUN/$1.pid"
}

stop_all() { # stop_all PIDFILE...: all are told to end before any is waited for
    names=
    for f in "$@"; do
        [ ! -e "$f" ] || names="$names $(basename "$f" .pid)"
    done
    for name in $names; do
        signal TERM "$name"
    done
    for name in $names; do
        stop "$name"
    done
}

failed=0
if pid_of fuse >/dev/null || { [ -e "$RUN/fuse.pid" ] && is_mounted && mount_is_dead; }; then
    clear_mount || failed=1
    wait_gone fuse 3 || signal TERM fuse
    stop fuse
fi
stop_all "$RUN"/monitor.pid "$RUN"/monitor-*.pid # first, or they would start the masters again
stop_all "$RUN"/chunkd-*.pid "$RUN"/master.pid "$RUN"/master-*.pid "$RUN"/zookeeper-*.pid
rm -f "$RUN/fuse.pid"
if [ $failed = 0 ]; then
    echo "  stopped; data stays in $RUN"
fi
exit $failed
