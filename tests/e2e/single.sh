#!/bin/sh
# single.sh - a cluster of one chunkserver: what was synced survives its death. Two clusters side by side do not
# touch each other; `make up` starts what is missing, `make down` minds nothing dead. `make install` and `gfsctl
# status --json` as documented.
N=1
. "$(dirname "$0")/lib.sh"
other_cluster() { # other_cluster up|down: a second cluster, with its own state, mount and ports
    make -s "$1" N=1 MNT="$WORK/mnt2" RUN="$WORK/run2" PORT=$((PORT + 10)) BINDIR="$BIN" SKIP_BUILD=1 \
        >"$WORK/other.log" 2>&1 || {
        cat "$WORK/other.log" >&2
        fail "make $1 of the second cluster"
    }
}
test_cleanup() {
    umount "$WORK/mnt3" 2>/dev/null || true
    [ ! -d "$WORK/run2" ] || other_cluster down
}
running() { # running RUNDIR NAME
    kill -0 "$(cat "$1/$2.pid")" 2>/dev/null
}
contains() { grep -qF -- "$2" "$1"; } # contains FILE TEXT

say "what was synced survives kill -9 of the only chunkserver"
cluster_up
mkdir "$WORK/src" "$MNT/d"
cp -r /usr/include/linux/netfilter "$WORK/src/tree"
dd if=/dev/urandom of="$WORK/src/big" bs=1M count=20 status=none
cp -r "$WORK/src/." "$MNT/d"
sync "$MNT/d/big"
find "$MNT/d/tree" -type f -exec sync {} +
kill_hard chunkd-1
cluster_up
expect "make up names what it started" contains "$WORK/up.log" "started: chunkd-1"
remount
expect "the copy" diff -r "$WORK/src" "$MNT/d"

say "a second cluster beside it"
other_cluster up
dd if=/dev/urandom of="$WORK/other" bs=1M count=5 status=none
cp "$WORK/other" "$WORK/mnt2/big"
echo first >"$MNT/name"
echo second >"$WORK/mnt2/name"
sync "$MNT/name" "$WORK/mnt2/name" "$WORK/mnt2/big"
same "the first cluster's file" "$(cat "$MNT/name")" first
same "the second cluster's file" "$(cat "$WORK/mnt2/name")" second
same "the second cluster's names" "$(ls "$WORK/mnt2" | tr '\n' ' ')" "big name "
cluster_up
expect "make up again starts nothing" contains "$WORK/up.log" "everything was running already"
other_cluster up
expect "make up of the other again starts nothing" contains "$WORK/other.log" "everything was running already"

say "make down of the first leaves the second alone"
cluster_down
for who in master chunkd-1 fuse; do
    expect "no pid file of $who" [ ! -e "$RUN/$who.pid" ]
    expect "the second's $who runs" running "$WORK/run2" "$who"
done
expect "the second's data" cmp "$WORK/other" "$WORK/mnt2/big"
echo third >"$WORK/mnt2/name"
cluster_up
expect "make up starts all of the first" contains "$WORK/up.log" "started: master chunkd-1 fuse"
expect "the first's data" diff -r "$WORK/src" "$MNT/d"
same "the first's file" "$(cat "$MNT/name")" first

say "make down with a daemon dead already"
kill_hard chunkd-1
cluster_down
expect "the mount is gone" sh -c "! grep -qF ' $MNT ' /proc/self/mounts"
same "the second's file" "$(cat "$WORK/mnt2/name")" third
kill -9 "$(cat "$WORK/run2/fuse.pid")"
other_cluster down
expect "the dead mount is gone" sh -c "! grep -qF ' $WORK/mnt2 ' /proc/self/mounts"
other_cluster down # nothing runs

say "status for programs"
cluster_up
"$BIN/gfsctl" status --json >"$WORK/status.json"
command -v perl >/dev/null || fail "perl, which comes with Debian, is not here"
perl -MJSON::PP -e '
    local $/;
    my $s = decode_json(<STDIN>);
    for my $key (qw(masters chunkservers files chunks under_replicated)) {
        defined $s->{$key} or die "no $key\n";
    }
    @{$s->{masters}} == 1 && @{$s->{chunkservers}} == 1 or die "not one master and one chunkserver\n";
    $s->{chunkservers}[0]{alive} or die "the chunkserver is not alive\n";
    $s->{files} >= 3 && $s->{chunks} >= 2 or die "$s->{files} files, $s->{chunks} chunks\n";
    ' <"$WORK/status.json" || fail "gfsctl status --json: $(cat "$WORK/status.json")"

say "programs started with closed standard streams"
expect "gfsctl without standard input" sh -c "'$BIN/gfsctl' status <&- >/dev/null"
mkdir "$WORK/mnt3"
expect "a mount" sh -c "exec <&- >&- 2>&-; exec '$BIN/gfs-fuse' '$GFS_MASTERS:/' '$WORK/mnt3' -o 'pidfile=$WORK/fuse3.pid,log=$WORK/fuse3.log'"
expect "it works" [ -d "$WORK/mnt3/d" ]
p=$(cat "$WORK/fuse3.pid")
umount "$WORK/mnt3"
wait_for "it to end" 15 ended "$p"

say "make install"
make -s install DESTDIR="$WORK/dest" PREFIX=/usr >"$WORK/install.log" 2>&1 || {
    cat "$WORK/install.log" >&2
    fail "make install"
}
for program in gfs-master gfs-monitor chunkd gfs-fuse gfsctl; do
    file=$WORK/dest/usr/bin/$program
    expect "$file is an executable file" [ -f "$file" -a -x "$file" ]
done
for helper in mount.gfs mount.fuse.gfs; do
    same "$helper" "$(readlink "$WORK/dest/sbin/$helper")" /usr/bin/gfs-fuse
done
for example in master.conf chunkd.conf monitor.conf; do
    expect "the example $example" [ -f "$WORK/dest/usr/share/gfs/$example" ]
done
mkdir "$WORK/units"
for unit in gfs-master gfs-monitor gfs-chunkd@; do # systemd looks whether their programs are there
    sed "s|=/usr/bin/|=$WORK/dest/usr/bin/|" "$WORK/dest/usr/lib/systemd/system/$unit.service" >"$WORK/units/$unit.service"
    expect "the unit $unit starts a program" grep -q "^ExecStart=$WORK/dest/usr/bin/" "$WORK/units/$unit.service"
done
if command -v systemd-analyze >/dev/null; then
    systemd-analyze verify "$WORK"/units/*.service >"$WORK/verify" 2>&1 || fail "units: $(cat "$WORK/verify")"
    same "what systemd says of the units" "$(grep gfs- "$WORK/verify")" ""
fi
