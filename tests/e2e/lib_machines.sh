# shellcheck shell=sh
# lib_machines.sh - three masters on machines of their own, which can be cut off and lose power; after lib.sh, lib_netns.sh.
#
# Machine K is a network namespace at $NET.(20 + K) and a disk at $RUN/machine-K (ext4 on a loop device; where there are
# none it is a plain directory, and has_disks says so). On it are master K and, with MONITOR=zookeeper, monitor K and server
# K of ZooKeeper; with MONITOR=local one monitor outside of all machines starts the masters. Chunkservers and mounts
# have namespaces of their own: $NET.11 and so on, $NET.31 and $NET.32.
# Processes are known by pid files and configurations in $RUN, so that `make down` stops them.
. "$TOP/deploy/zookeeper.sh"
MONITOR=${MONITOR:-local}
TOOLS=${E2E_TOOLS:-$TOP/build/${E2E_BUILD:-debug}}
IMAGES=$WORK/images
IMAGE_MIB=300
DISKS=
master_addr() { echo "$NET.$((20 + $1)):$PORT"; }
MASTERS=$(for k in 1 2 3; do master_addr $k; done | paste -sd,)
ZOOKEEPERS=$(for k in 1 2 3; do echo "$NET.$((20 + k)):2181"; done | paste -sd,)
export GFS_MASTERS=$MASTERS

has_disks() { [ -n "$DISKS" ]; }
nets_cleanup() {
    ! type machines_cleanup >/dev/null 2>&1 || machines_cleanup
    for k in 1 2 3; do
        umount "$RUN/machine-$k" 2>/dev/null || umount -l "$RUN/machine-$k" 2>/dev/null || true
    done
    umount "$IMAGES" 2>/dev/null || umount -l "$IMAGES" 2>/dev/null || true
}
inside() { # inside NET COMMAND...: in that namespace, with the mounts of everybody
    net=$1
    shift
    nsenter --net="/run/netns/$B-$net" "$@"
}
launch() { # launch NET NAME COMMAND...
    name=$2
    rm -f "$RUN/$name.pid"
    launch_net=$1
    shift 2
    setsid nsenter --net="/run/netns/$B-$launch_net" "$@" </dev/null >>"$RUN/$name.log" 2>&1 &
    echo $! >"$RUN/$name.pid"
}

# ---- disks
disk_mount() { mount -o loop,noatime "$IMAGES/$1" "$RUN/machine-$1"; } # disk_mount NUMBER
disks_make() {
    mkdir -p "$IMAGES" "$RUN/machine-1" "$RUN/machine-2" "$RUN/machine-3"
    losetup -f >/dev/null 2>&1 && command -v mkfs.ext4 >/dev/null || return 0
    mount -t tmpfs -o size=1g tmpfs "$IMAGES"
    for k in 1 2 3; do
        truncate -s ${IMAGE_MIB}M "$IMAGES/$k"
        mkfs.ext4 -q "$IMAGES/$k" && disk_mount $k || fail "disk $k cannot be made"
    done
    DISKS=yes
}

# ---- what runs on a machine
master_conf() { # master_conf NUMBER BOOT
    mkdir -p "$RUN/machine-$1/master"
    printf 'cluster = machines\nmasters = %s\nlisten = %s\ndir = %s\nboot_id = boot-%s\n%s\n' "$MASTERS" "$(master_addr "$1")" \
        "$RUN/machine-$1/master" "$2" "$GFS_MASTER_CONF" >"$RUN/master-$1.conf"
}
# monitor_conf NAME HOST DIR MASTERS CONFIGS: the pids and logs of its masters are in $RUN, too.
monitor_conf() {
    mkdir -p "$3"
    printf 'cluster = machines\nlisten = %s:%s\ndir = %s\nmasters = %s\nmaster_configs = %s\nprogram = %s\npid_dir = %s\nlog_dir = %s\n%s\n' \
        "$2" $((PORT + 19)) "$3" "$4" "$5" "$RUN/start-master" "$RUN" "$RUN" "${GFS_MONITOR_CONF:-}" >"$RUN/$1.conf"
}
# A monitor starts a master by this: in its namespace, and only while its machine has power.
starter() {
    cat >"$RUN/start-master" <<END
#!/bin/sh
k=\${1##*master-}
k=\${k%.conf}
[ ! -e "$RUN/machine-\$k.off" ] || exit 1
exec nsenter --net="/run/netns/$B-m\$k" "$BIN/gfs-master" "\$1"
END
    chmod +x "$RUN/start-master"
}
zookeeper_start() { # zookeeper_start NUMBER
    mkdir -p "$RUN/machine-$1/zookeeper"
    echo "$1" >"$RUN/machine-$1/zookeeper/myid"
    {
        zookeeper_conf "$RUN/machine-$1/zookeeper" 2181 "$1" "$NET.21" "$NET.22" "$NET.23"
        echo preAllocSize=1024
    } >"$RUN/zookeeper-$1.conf"
    # shellcheck disable=SC2046
    launch "m$1" "zookeeper-$1" $(zookeeper_java "$RUN/zookeeper-$1.conf")
}
monitor_start() { # monitor_start NUMBER
    monitor_conf "monitor-$1" "$NET.$((20 + $1))" "$RUN/machine-$1/monitor" "$(master_addr "$1")" "$RUN/master-$1.conf"
    printf 'engine = zookeeper\nzookeeper = %s\n' "$ZOOKEEPERS" >>"$RUN/monitor-$1.conf"
    [ ! -e "$RUN/zookeeper.rights" ] || echo "zookeeper_rights = $RUN/zookeeper.rights" >>"$RUN/monitor-$1.conf"
    launch "m$1" "monitor-$1" "$BIN/gfs-monitor" "$RUN/monitor-$1.conf"
}
# zookeeper_mode NUMBER: leader or follower, while it serves
zookeeper_mode() {
    timeout 3 perl -MIO::Socket::INET -e '$s = IO::Socket::INET->new(PeerAddr => $ARGV[0], Timeout => 2) or exit;
        print $s "srvr"; $s->flush; while (<$s>) { print $1 if /^Mode: (\w+)/ }' "$NET.$((20 + $1)):2181"
}
zookeeper_whole() {
    for k in 1 2 3; do
        [ "$MONITOR" = local ] || [ -n "$(zookeeper_mode $k)" ] || return 1
    done
}
monitors() { cat "$RUN"/monitor*.pid; }

# machines_up N: three masters with their monitors, N chunkservers; serving.
machines_up() {
    [ "$MONITOR" != zookeeper ] || zookeeper_jar >/dev/null && command -v java >/dev/null ||
        [ "$MONITOR" != zookeeper ] || fail "needs ZooKeeper: sh deploy/packages.sh zookeeper"
    net_bridge
    disks_make
    starter
    for k in 1 2 3; do
        net_add m$k $((20 + k))
        master_conf $k 1
    done
    case $MONITOR in
    local)
        monitor_conf monitor "$NET.1" "$RUN/monitor" "$MASTERS" "$RUN/master-1.conf,$RUN/master-2.conf,$RUN/master-3.conf"
        "$BIN/gfs-monitor" "$RUN/monitor.conf" </dev/null >>"$RUN/monitor.log" 2>&1 &
        echo $! >"$RUN/monitor.pid"
        ;;
    zookeeper)
        for k in 1 2 3; do
            zookeeper_start $k
            monitor_start $k
        done
        ;;
    esac
    net_add c1 31
    net_add c2 32
    for i in $(seq 1 "$1"); do
        net_add "d$i" $((10 + i))
        mkdir -p "$RUN/chunkd-$i"
        printf 'cluster = machines\nmasters = %s\nlisten = %s:7000\ndir = %s\nhost = h%s\nrack = r%s\n%s\n' "$MASTERS" \
            "$NET.$((10 + i))" "$RUN/chunkd-$i" "$i" "$i" "$GFS_CHUNKD_CONF" >"$RUN/chunkd-$i.conf"
        launch "d$i" "chunkd-$i" "$BIN/chunkd" "$RUN/chunkd-$i.conf"
    done
    wait_for "$1 live chunkservers" 60 nets_alive "$1"
    # ZooKeeper does not sync its first snapshot, and does not start from its log without.
    for k in 1 2 3; do
        [ "$MONITOR" = local ] || sync -f "$RUN/machine-$k"
    done
}
mount_at() { # mount_at NET DIRECTORY NAME
    mkdir -p "$2"
    inside "$1" timeout 20 "$BIN/gfs-fuse" "$MASTERS:/" "$2" -o "host=$3,log=$RUN/$3.log,pidfile=$RUN/$3.pid" || fail "the mount $3"
}

# ---- who is who
lost= # number of the machine that cannot be asked now
said_by() { # what master NUMBER says, in one line
    [ "$1" != "$lost" ] || return 0
    timeout 5 "$BIN/gfsctl" --masters "$(master_addr "$1")" status --json 2>/dev/null | tr -d ' \n'
    echo
}
primaries() { # EPOCH NUMBER of each that says that it is the primary
    for k in 1 2 3; do
        said_by $k | sed -n -E "s/.*\"addr\":\"$(master_addr $k)\",\"role\":\"primary\",\"epoch\":([0-9]+).*/\1 $k/p"
    done
}
primary() { primaries | sort -n | tail -n 1 | cut -d' ' -f2; } # its number, of the newest epoch
epoch() { primaries | sort -n | tail -n 1 | cut -d' ' -f1; }
index_of() { # newest record in the state of master NUMBER
    said_by "$1" | sed -n -E "s/.*\"addr\":\"$(master_addr "$1")\",\"role\":\"[a-z]+\",\"epoch\":[0-9]+,\"index\":([0-9]+).*/\1/p"
}
has_all() { [ "$(index_of "$1")" -ge "$2" ] 2>/dev/null; }
in_step() { # whoever was away has what the primary NUMBER has: one fault at a time
    index=$(index_of "$1")
    for k in 1 2 3; do
        wait_for "master $k to have record $index" 60 has_all $k "$index"
    done
}
promoted() { [ "$(epoch)" -gt "$1" ] 2>/dev/null; } # above EPOCH
has_primary() { [ -n "$(primary)" ]; }
gave_up() { said_by "$1" | grep -q '"role":"shadow"' && ! primaries | grep -q " $1\$"; }

# ---- programs that work, failover_load each, with their count of operations in $WORK/NAME.ops
operations() { sed -n 's/^ops //p' "$WORK/$1.ops" | tail -n 1; } # of load NAME
progress() { [ "$(operations "$1")" -gt "$2" ]; }
quick() { # quick "what" COMMAND...: succeeds, in 20 seconds; else what `everything` prints is shown, if there is that
    what=$1
    shift
    timeout 20 "$@" >/dev/null 2>"$WORK/quick.err" || fail "$what: $(head -n 3 "$WORK/quick.err"); $(! type everything >/dev/null 2>&1 || everything | tr '\n' ';')"
}

# ---- what happens to a machine
# cut_off NUMBER HOW: in = it hears nobody, out = nobody hears it, both; masters = the other masters, both ways.
cut_off() {
    in= out=
    case $2 in
    in) in='iifname != "lo" drop' ;;
    out) out='oifname != "lo" drop' ;;
    both) in='iifname != "lo" drop' out='oifname != "lo" drop' ;;
    masters)
        others=$(for k in 1 2 3; do [ $k = "$1" ] || echo "$NET.$((20 + k))"; done | paste -sd,)
        in="ip saddr { $others } tcp sport $PORT drop; ip saddr { $others } tcp dport $PORT drop"
        out="ip daddr { $others } tcp sport $PORT drop; ip daddr { $others } tcp dport $PORT drop"
        ;;
    esac
    inside "m$1" nft -f - <<END
table inet cut {
    chain in { type filter hook input priority 0; $in; }
    chain out { type filter hook output priority 0; $out; }
}
END
}
heal() { inside "m$1" nft delete table inet cut; }

# machine_off NUMBER LINGER: its power is cut (crash_cut says what LINGER is): nobody hears of it any more, what its disk was
# not told to keep is gone.
machine_off() {
    off=$1
    on_it="master-$off"
    [ "$MONITOR" = local ] || on_it="monitor-$off master-$off zookeeper-$off"
    pids=$(for name in $on_it; do pid_of "$name"; done)
    : >"$RUN/machine-$off.off"
    cut_off "$off" both
    # shellcheck disable=SC2086
    "$TOOLS/crash_cut" "$WORK/cuts" 0 "$2" "$RUN/machine-$off" -- $pids || fail "the power of machine $off cannot be cut"
    for pid in $pids; do
        wait_for "process $pid to be gone" 20 ended "$pid"
    done
}
boots=1
machine_on() { # machine_on NUMBER: it boots
    wait_for "the disk of machine $1 to be unmounted" 20 umount "$RUN/machine-$1"
    disk_mount "$1" || fail "the disk of machine $1 cannot be mounted after the cut"
    boots=$((boots + 1))
    master_conf "$1" $boots
    rm "$RUN/machine-$1.off"
    heal "$1"
    [ "$MONITOR" = local ] && return
    zookeeper_start "$1"
    monitor_start "$1"
}
