# shellcheck shell=sh
# zookeeper.sh - MONITOR=zookeeper of make up: three ZooKeeper servers of this cluster alone, and a monitor for every master.
# Sourced by up.sh after cluster.sh. Server K listens at 127.0.0.K, ports PORT + 16 to 18, and keeps its data in
# RUN/zookeeper-K; the monitor of master K listens at 127.0.0.K, port PORT + 19.

ZOOKEEPERS=$(for k in 1 2 3; do echo "127.0.0.$k:$((PORT + 16))"; done | paste -sd,)

monitor_addr() { echo "127.0.0.$1:$((PORT + 19))"; } # of the monitor of master NUMBER

zookeeper_jar() {
    for jar in /usr/share/java/zookeeper.jar /usr/share/zookeeper/zookeeper.jar; do
        [ ! -e "$jar" ] || { echo "$jar" && return; }
    done
    return 1
}

# zookeeper_java CONF: what to run. With the other jar, which comes with it, it says in its log what it does.
zookeeper_java() {
    echo java -Xmx128m -Dorg.slf4j.simpleLogger.showDateTime=true -Dorg.slf4j.simpleLogger.dateTimeFormat=HH:mm:ss.SSS \
        -cp "$(zookeeper_jar):/usr/share/java/slf4j-simple.jar" org.apache.zookeeper.server.quorum.QuorumPeerMain "$1"
}

# zookeeper_conf DIR PORT NUMBER HOST HOST HOST: the configuration of server NUMBER of those three, which uses two ports more.
# The times are short because a server that vanishes must be noticed before the sessions of its clients begin to end.
zookeeper_conf() {
    dir=$1 port=$2 number=$3
    shift 3
    cat <<END
# written by make up at every start of this server
tickTime=500
initLimit=40
syncLimit=4
cnxTimeout=1000
fastleader.maxNotificationInterval=1000
minSessionTimeout=1000
dataDir=$dir
clientPort=$port
clientPortAddress=$(eval "echo \$$number")
admin.enableServer=false
autopurge.purgeInterval=1
server.1=$1:$((port + 1)):$((port + 2))
server.2=$2:$((port + 1)):$((port + 2))
server.3=$3:$((port + 1)):$((port + 2))
END
}

start_zookeeper() { # start_zookeeper NUMBER
    pid_of "zookeeper-$1" >/dev/null && return
    mkdir -p "$RUN/zookeeper-$1"
    echo "$1" >"$RUN/zookeeper-$1/myid"
    zookeeper_conf "$RUN/zookeeper-$1" $((PORT + 16)) "$1" 127.0.0.1 127.0.0.2 127.0.0.3 >"$RUN/zookeeper-$1.conf"
    rm -f "$RUN/zookeeper-$1.pid"
    # shellcheck disable=SC2046
    setsid $(zookeeper_java "$RUN/zookeeper-$1.conf") \
        </dev/null >>"$RUN/zookeeper-$1.log" 2>&1 3>&- 4>&- 5>&- 6>&- 7>&- 8>&- 9>&- &
    echo $! >"$RUN/zookeeper-$1.pid"
    started="$started zookeeper-$1"
}

start_monitor_of() { # start_monitor_of NUMBER: of a master; each has its own
    pid_of "monitor-$1" >/dev/null && return
    mkdir -p "$RUN/monitor-$1"
    cat >"$RUN/monitor-$1.conf" <<END
# written by make up at every start of this monitor
cluster = gfs
listen = $(monitor_addr "$1")
dir = $RUN/monitor-$1
masters = $(master_addr "$1")
master_configs = $RUN/$(master_name "$1").conf
program = $BINDIR/gfs-master
pid_dir = $RUN
log_dir = $RUN
engine = zookeeper
zookeeper = $ZOOKEEPERS
${GFS_MONITOR_CONF:-}
END
    launch "monitor-$1" gfs-monitor
}

start_with_zookeeper() {
    zookeeper_jar >/dev/null && command -v java >/dev/null ||
        died "MONITOR=zookeeper needs ZooKeeper: sh deploy/packages.sh zookeeper"
    for k in 1 2 3; do
        start_zookeeper "$k"
    done
    for k in $(seq 1 "$MASTER_COUNT"); do
        start_monitor_of "$k"
    done
}
