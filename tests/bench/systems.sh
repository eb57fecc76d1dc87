# shellcheck shell=sh
# systems.sh - the filesystems the bench compares, each with the same functions.
#
# SYSTEM_check: prints why it cannot run here (nothing if it can). SYSTEM_up: starts it with its data in $DATA/SYSTEM
# and mounts it on $WORK/SYSTEM. SYSTEM_mount, SYSTEM_unmount: the mount alone, so that nothing is cached in it.
# SYSTEM_down: stops all of it; does no harm if it is not up. SYSTEM_anew: begins it anew without data, if it goes on working
# when a row is over. SYSTEM_servers: prints NAME=PID[,PID]... of its processes.
# Used by bench.sh, which sets TOP, BIN, WORK (logs, mount points), DATA (the backing directory), TOOLS.

. "$TOP/deploy/ended.sh"
pid_in() { cat "$1" 2>/dev/null; }
mounted() { grep -qF " $1 " /proc/self/mounts; }
# until_true SECONDS command...
until_true() {
    tries=$(($1 * 20))
    shift
    until "$@" >/dev/null 2>&1; do
        tries=$((tries - 1))
        [ $tries -gt 0 ] || return 1
        sleep 0.05
    done
}
# end_pid PID: asks it to end, and insists after ten seconds.
end_pid() {
    [ -n "$1" ] || return 0
    kill "$1" 2>/dev/null || return 0
    until_true 10 ended "$1" || kill -9 "$1" 2>/dev/null || true
}
# take_off MOUNT: programs that just ended may still be leaving it.
take_off() {
    mounted "$1" || return 0
    until_true 10 umount "$1" || umount -l "$1"
}

# ---------------------------------------------------------------- gfs: one master, three chunkservers, three replicas
# `loggers` is the same with three masters on addresses of their own: what changes cost when most of them must have each.

GFS_PORT=${PORT:-9480}
LOGGERS_PORT=$((GFS_PORT + 30))
LOGGERS_ROWS='create_1 create_8'
gfs_make() { # gfs_make SYSTEM TARGET PORT SHADOWS
    GFS_MASTER_CONF='trash_seconds = 0' make -s -C "$TOP" "$2" N=3 MNT="$WORK/$1" RUN="$DATA/$1" PORT="$3" SHADOWS="$4" \
        BINDIR="$BIN" SKIP_BUILD=1 >>"$WORK/$1.log" 2>&1
}
gfs_leave() { # gfs_leave SYSTEM
    p=$(pid_in "$DATA/$1/fuse.pid")
    take_off "$WORK/$1" && until_true 15 ended "$p"
}
gfs_pids() { # gfs_pids SYSTEM: of the servers but for the masters
    d=$DATA/$1
    echo "mount=$(pid_in "$d/fuse.pid")" \
        "chunkd=$(pid_in "$d/chunkd-1.pid"),$(pid_in "$d/chunkd-2.pid"),$(pid_in "$d/chunkd-3.pid")"
}
gfs_check() { :; }
gfs_up() { mkdir -p "$DATA/gfs" && gfs_mount; }
gfs_mount() { gfs_make gfs up "$GFS_PORT" 0; }
gfs_unmount() { gfs_leave gfs; }
gfs_down() { [ ! -d "$DATA/gfs" ] || gfs_make gfs down "$GFS_PORT" 0; }
gfs_servers() { echo "$(gfs_pids gfs)" "master=$(pid_in "$DATA/gfs/master.pid")"; }

loggers_check() {
    for row in $LOGGERS_ROWS; do
        ! wanted_row "$row" || return 0
    done
    echo "its rows are not wanted: $LOGGERS_ROWS"
}
loggers_up() { mkdir -p "$DATA/loggers" && loggers_mount; }
loggers_mount() { gfs_make loggers up "$LOGGERS_PORT" 2; }
loggers_unmount() { gfs_leave loggers; }
loggers_down() { [ ! -d "$DATA/loggers" ] || gfs_make loggers down "$LOGGERS_PORT" 2; }
loggers_servers() {
    d=$DATA/loggers
    echo "$(gfs_pids loggers)" "master=$(pid_in "$d/master.pid"),$(pid_in "$d/master-2.pid"),$(pid_in "$d/master-3.pid")"
}

# ---------------------------------------------------------------- MooseFS: the same, in a network namespace of its own
# It refuses loopback addresses, so each cluster gets a namespace whose loopback interface has another one. Its daemons
# run as it configures them but for: three copies, no trash, chunks of deleted files removed within a minute rather
# than five (memory), all as root in our directory. `durable` syncs its change log and chunks before it answers.

MFS_NET=gfsbench$$
mfs_ip() { [ "$1" = moosefs ] && echo 10.211.0.1 || echo 10.211.0.2; }
in_mfs_net() { # in_mfs_net SYSTEM command...: the network only, mounts are seen by everybody. Ends this (sub)shell.
    n=$1
    shift
    exec nsenter --net="/run/netns/$MFS_NET-$n" "$@"
}
moosefs_check() {
    for program in mfsmaster mfschunkserver mfsmount; do
        if ! command -v $program >/dev/null; then
            echo "$program is not installed (Debian: moosefs-master, moosefs-chunkserver, moosefs-client)"
            return
        fi
    done
    command -v ip >/dev/null && command -v nsenter >/dev/null || echo "iproute2 or util-linux is not installed"
}
mfs_configure() { # mfs_configure SYSTEM
    d=$DATA/$1
    ip=$(mfs_ip "$1")
    mkdir -p "$d/master"
    # What the package installs for a new system.
    [ -e "$d/master/metadata.mfs" ] || [ -e "$d/master/metadata.mfs.back" ] || printf 'MFSM NEW' >"$d/master/metadata.mfs"
    common="WORKING_USER = root
WORKING_GROUP = root
SYSLOG_IDENT = gfsbench-$1"
    cat >"$d/master.cfg" <<END
$common
DATA_PATH = $d/master
EXPORTS_FILENAME = $d/exports.cfg
MATOML_LISTEN_HOST = $ip
MATOCS_LISTEN_HOST = $ip
MATOCL_LISTEN_HOST = $ip
CHUNKS_LOOP_MIN_TIME = 60
CHUNKS_SOFT_DEL_LIMIT = 1000
CHUNKS_HARD_DEL_LIMIT = 5000
$([ "$1" = moosefs ] || echo 'CHANGELOG_SAVE_MODE = 2')
END
    echo '* / rw,alldirs,admin,maproot=0:0' >"$d/exports.cfg"
    for i in 1 2 3; do
        mkdir -p "$d/chunkserver-$i" "$d/disk-$i"
        echo "$d/disk-$i" >"$d/hdd-$i.cfg"
        cat >"$d/chunkserver-$i.cfg" <<END
$common
DATA_PATH = $d/chunkserver-$i
HDD_CONF_FILENAME = $d/hdd-$i.cfg
MASTER_HOST = $ip
CSSERV_LISTEN_HOST = $ip
CSSERV_LISTEN_PORT = 942$((i + 2))
$([ "$1" = moosefs ] || echo 'HDD_FSYNC_BEFORE_CLOSE = 1')
END
    done
}
mfs_start() { # mfs_start SYSTEM NAME PROGRAM: in the foreground of a session of its own; its pid is kept
    in_mfs_net "$1" setsid "$3" -f -c "$DATA/$1/$2.cfg" start </dev/null >>"$WORK/$1.log" 2>&1 &
    echo $! >"$DATA/$1/$2.pid"
}
mfs_has_servers() { # three chunkservers are connected: a chunk with three copies can be written
    echo x >"$WORK/$1/probe" && sync -f "$WORK/$1" &&
        [ "$(in_mfs_net "$1" mfsfileinfo "$WORK/$1/probe" 2>/dev/null | grep -c 'copy [123]: ')" = 3 ] && rm "$WORK/$1/probe"
}
mfs_mount() {
    in_mfs_net "$1" mfsmount -f -H "$(mfs_ip "$1")" "$WORK/$1" -o fsname=gfsbench </dev/null >>"$WORK/$1.log" 2>&1 &
    echo $! >"$DATA/$1/mount.pid"
    until_true 20 mounted "$WORK/$1" && until_true 10 ls "$WORK/$1"
}
mfs_unmount() {
    p=$(pid_in "$DATA/$1/mount.pid")
    take_off "$WORK/$1" && until_true 15 ended "$p"
}
mfs_up() {
    mfs_configure "$1" || return 1
    ip netns add "$MFS_NET-$1" && ip -n "$MFS_NET-$1" addr add "$(mfs_ip "$1")/32" dev lo && ip -n "$MFS_NET-$1" link set lo up || return 1
    mfs_start "$1" master mfsmaster
    sleep 1
    for i in 1 2 3; do
        mfs_start "$1" chunkserver-$i mfschunkserver
    done
    until_true 20 mfs_mount "$1" || return 1
    (in_mfs_net "$1" mfssetgoal -r 3 "$WORK/$1") >>"$WORK/$1.log" 2>&1 &&
        (in_mfs_net "$1" mfssettrashtime -r 0 "$WORK/$1") >>"$WORK/$1.log" 2>&1 &&
        until_true 60 mfs_has_servers "$1"
}
mfs_down() {
    [ -d "$DATA/$1" ] || return 0
    take_off "$WORK/$1"
    for daemon in mount chunkserver-1 chunkserver-2 chunkserver-3 master; do
        end_pid "$(pid_in "$DATA/$1/$daemon.pid")"
    done
    ip netns del "$MFS_NET-$1" 2>/dev/null || true
}
mfs_anew() {
    mfs_down "$1"
    rm -rf "${DATA:?}/$1"
    mfs_up "$1"
}
mfs_servers() {
    d=$DATA/$1
    echo "mount=$(pid_in "$d/mount.pid")" \
        "chunkd=$(pid_in "$d/chunkserver-1.pid"),$(pid_in "$d/chunkserver-2.pid"),$(pid_in "$d/chunkserver-3.pid")" \
        "master=$(pid_in "$d/master.pid")"
}
moosefs_up() { mfs_up moosefs; }
moosefs_mount() { mfs_mount moosefs; }
moosefs_unmount() { mfs_unmount moosefs; }
moosefs_down() { mfs_down moosefs; }
moosefs_anew() { mfs_anew moosefs; }
moosefs_servers() { mfs_servers moosefs; }
durable_check() { moosefs_check; }
durable_up() { mfs_up durable; }
durable_mount() { mfs_mount durable; }
durable_unmount() { mfs_unmount durable; }
durable_down() { mfs_down durable; }
durable_anew() { mfs_anew durable; }
durable_servers() { mfs_servers durable; }

# ---------------------------------------------------------------- the limit: libfuse's pass-through, one copy, one process

PASSTHROUGH=/usr/share/doc/libfuse3-dev/examples/passthrough_ll.c
limit_check() {
    if [ ! -e $PASSTHROUGH ] && [ ! -e $PASSTHROUGH.gz ]; then
        echo "libfuse3-dev's examples are not installed (documentation is excluded here: see /etc/dpkg/dpkg.cfg.d)"
    fi
}
limit_mount() {
    "$WORK/passthrough" -f -o source="$DATA/limit" "$WORK/limit" </dev/null >>"$WORK/limit.log" 2>&1 &
    echo $! >"$WORK/limit.pid"
    until_true 10 mounted "$WORK/limit"
}
limit_up() {
    mkdir -p "$DATA/limit" "$WORK/passthrough.src"
    for f in passthrough_ll.c passthrough_helpers.h; do
        if [ -e "$(dirname $PASSTHROUGH)/$f" ]; then
            cp "$(dirname $PASSTHROUGH)/$f" "$WORK/passthrough.src/"
        else
            zcat "$(dirname $PASSTHROUGH)/$f.gz" >"$WORK/passthrough.src/$f" || return 1
        fi
    done
    # shellcheck disable=SC2046
    cc -O2 -w -D_FILE_OFFSET_BITS=64 "$WORK/passthrough.src/passthrough_ll.c" -o "$WORK/passthrough" \
        $(pkg-config --cflags --libs fuse3) >>"$WORK/limit.log" 2>&1 && limit_mount
}
limit_unmount() { take_off "$WORK/limit" && until_true 15 ended "$(pid_in "$WORK/limit.pid")"; }
limit_down() {
    take_off "$WORK/limit"
    end_pid "$(pid_in "$WORK/limit.pid")"
}
limit_servers() { echo "mount=$(pid_in "$WORK/limit.pid")"; }
