#!/bin/sh
# zookeeper.sh - three masters and their monitors, and what can happen to ZooKeeper: it dies, one server or two are cut off from
# the others, all go back to an old copy of their data, and a monitor knows another password. Programs go on, the primary stays, and
# gfsctl says when nobody would replace it; when ZooKeeper is back a primary that dies is replaced. Nothing acknowledged is lost,
# epochs only grow.
MONITOR=zookeeper
GFS_MASTER_CONF='trash_seconds = 0
session_ms = 60000
segment_bytes = 1048576
preallocate_bytes = 16777216'
. "$(dirname "$0")/../e2e/lib.sh"
. "$(dirname "$0")/../e2e/lib_netns.sh"
. "$(dirname "$0")/../e2e/lib_machines.sh"
machines_cleanup() { touch "$WORK/enough"; }

goes_on() { # goes_on "when"
    a=$(operations a)
    wait_for "the program to go on $1" 60 progress a "$a"
    kill -0 "$load_a" || fail "the program ended $1: $(cat "$WORK/a.err")"
}
zookeeper_end() { # zookeeper_end NUMBER
    pid=$(pid_of "zookeeper-$1")
    kill -9 "$pid"
    wait_for "server $1 of ZooKeeper to be gone" 10 ended "$pid"
}
said() { "$BIN/gfsctl" status 2>&1 | grep -q "$1"; }
watched() { said 'holds the lock' && ! said 'nobody replaces this master'; }
unwatched() { said 'nobody replaces this master' && said 'automatic failover is off'; }
stays() { # stays "when": it is the primary that was, in the same epoch, and works
    goes_on "$1"
    same "the epoch $1" "$(epoch)" "$before"
    same "the primary $1" "$(primary)" "$who"
}
begin() { # begin "what": everything is well
    say "$1"
    wait_for "all servers of ZooKeeper" 90 zookeeper_whole
    wait_for "the primary to be watched" 60 watched
    before=$(epoch)
    who=$(primary)
    in_step "$who"
}
replaced() { # replaced "when": the primary dies, and another one serves
    before=$(epoch)
    who=$(primary)
    kill -9 "$(pid_of "master-$who")"
    wait_for "a promotion $1" 60 promoted "$before"
    goes_on "after a promotion $1"
    in_step "$(primary)"
}
# server_cut NUMBER: that server of ZooKeeper is cut off from the others and their monitors; what else is on its machine
# is not, and can ask the other servers.
server_cut() {
    inside "m$1" nft -f - <<END
table inet cut {
    chain in { type filter hook input priority 0; iifname != "lo" tcp dport 2181-2183 drop; tcp sport 2182-2183 drop; }
    chain out { type filter hook output priority 0; oifname != "lo" tcp sport 2181-2183 drop; tcp dport 2182-2183 drop; }
}
END
}

echo "gfs:secret" >"$RUN/zookeeper.rights"
echo "gfs:guessed" >"$RUN/wrong.rights"
machines_up 3
mount_at c1 "$MNT" fuse
"$TOOLS/failover_load" "$MNT/a" "$WORK/enough" "$WORK/a.ops" >"$WORK/a.out" 2>"$WORK/a.err" &
load_a=$!
wait_for "work to begin" 30 progress a 20

begin "a copy of what ZooKeeper knows is kept"
for k in 1 2 3; do
    zookeeper_end $k
done
for k in 1 2 3; do
    cp -r "$RUN/machine-$k/zookeeper" "$WORK/copy-$k"
    zookeeper_start $k
done
stays "when all servers were started again"

begin "all servers of ZooKeeper die"
for k in 1 2 3; do
    zookeeper_end $k
done
wait_for "gfsctl status to say that nobody would replace the primary" 30 unwatched
sleep 10 # longer than the sessions
stays "without ZooKeeper"
kill -9 "$(pid_of "master-$who")"
sleep 5
same "primaries when the primary died without ZooKeeper" "$(primaries)" ""
for k in 1 2 3; do
    zookeeper_start $k
done
wait_for "a promotion when ZooKeeper is back" 90 promoted "$before"
goes_on "when ZooKeeper is back"
for k in 1 2 3; do
    expect "the log of monitor $k says that failover is off" grep -q 'automatic failover is off' "$RUN/monitor-$k.log"
    wait_for "the log of monitor $k to say that it is on" 30 grep -q 'automatic failover is on' "$RUN/monitor-$k.log"
done

begin "a monitor that is not the primary's has another password"
wrong=$((who % 3 + 1))
monitor_end() {
    pid=$(pid_of "monitor-$1")
    kill -9 "$pid"
    wait_for "monitor $1 to be gone" 10 ended "$pid"
}
monitor_end $wrong
sed -i "s|^zookeeper_rights = .*|zookeeper_rights = $RUN/wrong.rights|" "$RUN/monitor-$wrong.conf"
launch "m$wrong" "monitor-$wrong" "$BIN/gfs-monitor" "$RUN/monitor-$wrong.conf"
wait_for "its log to say so" 30 grep -q 'ZooKeeper gives this monitor no rights on /gfs/.* zookeeper_rights' "$RUN/monitor-$wrong.log"
sleep 8 # longer than its old session
stays "beside a monitor without rights"
expect "the primary to be watched" watched
replaced "beside a monitor without rights"
[ "$(primary)" != $wrong ] || fail "the master of the monitor without rights was promoted"
monitor_end $wrong
monitor_start $wrong

begin "the server beside the primary is cut off"
cut=$who
server_cut "$cut"
sleep 8
goes_on "with two servers of ZooKeeper"
wait_for "a primary with two servers of ZooKeeper" 30 has_primary
replaced "with two servers of ZooKeeper"
heal "$cut"

begin "two servers are cut off"
server_cut 1
server_cut 2
wait_for "gfsctl status to say that nobody would replace the primary" 30 unwatched
sleep 8
stays "with one server of ZooKeeper"
heal 1
heal 2
begin "and are back"
replaced "when they are back"

begin "ZooKeeper goes back to the copy, which knows epoch 1"
for k in 1 2 3; do
    zookeeper_end $k
done
for k in 1 2 3; do
    rm -rf "$RUN/machine-$k/zookeeper"
    cp -r "$WORK/copy-$k" "$RUN/machine-$k/zookeeper"
    zookeeper_start $k
done
wait_for "all servers of ZooKeeper" 90 zookeeper_whole
wait_for "the primary to be watched" 60 watched
goes_on "with the old copy"
[ "$(epoch)" -ge "$before" ] || fail "epoch $before was followed by $(epoch)"
replaced "with the old copy"
say "epoch $before with the old copy, then $(epoch)"

touch "$WORK/enough"
wait "$load_a" || fail "$(cat "$WORK/a.err")"
say "$(head -n 1 "$WORK/a.out")"
wait_for "everything to be replicated" 60 fully_replicated
expect "gfsctl fsck" "$BIN/gfsctl" fsck >/dev/null
