# shellcheck shell=sh
# cluster.sh - what up.sh and down.sh share: where the cluster lives, and which processes are its own.
#
# Environment: RUN (state, configuration, logs), MNT (mount point), PORT (of the master; chunkd i has PORT + i),
# N (chunkservers), RACKS (racks they are dealt to in turn; default one each), SHADOWS (more masters, each at an address of
# its own, 127.0.0.2 and so on; with one of them a third one that only holds the log, so that two of three agree), MONITOR
# (what watches the masters: local, which with SHADOWS is the default; zookeeper: a monitor for each, and three servers of
# ZooKeeper, zookeeper.sh; or empty; it listens at PORT + 19), BINDIR (programs). A process is ours
# if it has the recorded pid and its command line names a file of RUN: a pid that was given to somebody else since is
# neither trusted nor killed.

. "$(dirname "$0")/ended.sh"
N=${N:-3}
RACKS=${RACKS:-$N}
MNT=$(readlink -m "${MNT:-/mnt/gfs}")
PORT=${PORT:-9400}
mkdir -p "${RUN:-build/run}"
RUN=$(cd "${RUN:-build/run}" && pwd)
BINDIR=$(cd "${BINDIR:-build/bin}" && pwd)
SHADOWS=${SHADOWS:-0}
case $SHADOWS in
0) MASTER_COUNT=1 ;;
1 | 2) MASTER_COUNT=3 ;;
3 | 4) MASTER_COUNT=$((SHADOWS + 1)) ;;
*) echo "SHADOWS is $SHADOWS: expected 0 to 4" >&2 && exit 2 ;;
esac
master_addr() { echo "127.0.0.$1:$PORT"; } # of master NUMBER, from 1
master_name() { [ "$1" = 1 ] && echo master || echo "master-$1"; }
MASTERS=$(for k in $(seq 1 $MASTER_COUNT); do master_addr "$k"; done | paste -sd,)
MONITOR=${MONITOR:-$([ "$SHADOWS" = 0 ] || echo local)}
MONITOR_ADDR=127.0.0.1:$((PORT + 19))

rack_of() { echo $((($1 - 1) % RACKS + 1)); } # of chunkserver NUMBER

# mark NAME: what the command line of that process contains.
mark() {
    case $1 in
    fuse) echo "$RUN/fuse.pid" ;;
    *) echo "$RUN/$1.conf" ;;
    esac
}

# pid_of NAME: prints the pid if that process of ours runs, else nothing (and fails).
pid_of() {
    pid=$(cat "$RUN/$1.pid" 2>/dev/null) || return 1
    case $pid in
    '' | *[!0-9]*) return 1 ;;
    esac
    # A process that ended but was not waited for has an empty command line.
    [ -r "/proc/$pid/cmdline" ] || return 1
    { tr '\0' ' ' <"/proc/$pid/cmdline"; } 2>/dev/null | grep -qF -e "$(mark "$1")" || return 1
    echo "$pid"
}

is_mounted() {
    grep -qF " $(printf %s "$MNT" | sed 's/ /\\040/g') " /proc/self/mounts
}

# A mount whose process is gone.
mount_is_dead() {
    LC_ALL=C timeout 5 stat "$MNT" 2>&1 | grep -q "not connected"
}

# Mounting for everybody needs root; the daemons do not.
as_root() {
    if [ "$(id -u)" = 0 ]; then
        "$@"
    elif command -v sudo >/dev/null; then
        sudo "$@"
    else
        echo "mounting needs root: run this as root, or install sudo" >&2
        return 1
    fi
}

# unmount [lazy]
unmount() {
    as_root timeout 5 umount ${1:+-l} "$MNT" 2>/dev/null
}

# lives NAME: that process of ours runs, or is about to end, without a command line, but with what it has locked.
lives() {
    pid_of "$1" >/dev/null && return
    [ -n "$pid" ] && ! ended "$pid" && ! { tr '\0' ' ' <"/proc/$pid/cmdline"; } 2>/dev/null | grep -q .
}

# wait_gone NAME SECONDS
wait_gone() {
    tenths=$(($2 * 10))
    while lives "$1"; do
        [ $tenths -gt 0 ] || return 1
        tenths=$((tenths - 1))
        sleep 0.1
    done
}
