#!/bin/sh
# smoke.sh - the ordinary things on a mount, with shell tools and with posix_check; then the same data after a remount.
. "$(dirname "$0")/lib.sh"
POSIX_CHECK=$TOP/build/${E2E_BUILD:-debug}/posix_check
cluster_up

say "shell tools"
mkdir -p "$MNT/a/b/c"
echo hello >"$MNT/a/b/c/file"
same "content" "$(cat "$MNT/a/b/c/file")" hello
cp -rp /usr/include/linux/netfilter "$MNT/a/tree"
expect "cp -rp" diff -r /usr/include/linux/netfilter "$MNT/a/tree"
mv "$MNT/a/tree" "$MNT/moved"
expect "mv of a directory" diff -r /usr/include/linux/netfilter "$MNT/moved"
ln "$MNT/a/b/c/file" "$MNT/hard"
ln -s a/b/c/file "$MNT/soft"
same "hard link" "$(cat "$MNT/hard")" hello
same "symlink" "$(cat "$MNT/soft")" hello
echo more >>"$MNT/hard"
same "append" "$(tail -n 1 "$MNT/soft")" more
same "link count" "$(stat -c %h "$MNT/hard")" 2
dd if=/dev/urandom of="$WORK/data" bs=1M count=9 status=none
cp "$WORK/data" "$MNT/data"
expect "9 MiB" cmp "$WORK/data" "$MNT/data"
dd if="$WORK/data" of="$MNT/small-writes" bs=777 count=2000 status=none
expect "odd writes" cmp -n 1554000 "$WORK/data" "$MNT/small-writes"
tar -C /usr/include/linux -cf - netfilter | tar -C "$MNT" -xf -
expect "tar keeps times" sh -c "cd '$MNT' && tar -C /usr/include/linux -cf - netfilter | tar -df -"
rm -r "$MNT/netfilter"
same "find" "$(find "$MNT/moved" -type f | wc -l)" "$(find /usr/include/linux/netfilter -type f | wc -l)"
expect "df" df "$MNT" >/dev/null
same "type" "$(stat -f -c %l "$MNT")" 255
touch -d '2300-01-01 00:00:00.123456789 UTC' "$MNT/hard"
same "time" "$(stat -c %Y "$MNT/soft" -L)" 10413792000
expect "two programs append" sh -c "for i in 1 2 3 4; do (for j in \$(seq 50); do echo line >>'$MNT/log'; done) & done; wait"
same "appended lines" "$(wc -l <"$MNT/log")" 200

say "posix_check"
mkdir "$MNT/posix"
expect "posix_check" "$POSIX_CHECK" "$MNT/posix"
rm -rf "$MNT/posix"

say "unmount and mount again"
p=$(pid_of fuse)
(cd "$MNT" && find . | sort) >"$WORK/before"
umount "$MNT"
wait_for "gfs-fuse to end" 15 ended "$p"
cluster_up
same "the tree" "$(cd "$MNT" && find . | sort | cmp - "$WORK/before" && echo same)" same
expect "the data" cmp "$WORK/data" "$MNT/data"
expect "the directory" diff -r /usr/include/linux/netfilter "$MNT/moved"
same "time after a remount" "$(stat -c %Y "$MNT/hard")" 10413792000

say "wrong command lines are refused with a sentence"
refused() { # refused PART_OF_THE_SENTENCE ARGUMENT...
    part=$1
    shift
    out=$("$BIN/gfs-fuse" "$@" 2>&1) && fail "gfs-fuse $* succeeded"
    case $out in
    *"$part"*) ;;
    *) fail "gfs-fuse $* says '$out', expected '$part'" ;;
    esac
}
refused "unknown mount option 'colour'" "127.0.0.1:$PORT:/" "$WORK" -o colour
refused "unknown mount option 'size=3'" "127.0.0.1:$PORT:/" "$WORK" -o size=3
refused "is not HOST" "127.0.0.1:$PORT" "$WORK"
refused "is not a directory" "127.0.0.1:$PORT:/" "$WORK/data"
refused "No such file" "127.0.0.1:$PORT:/" "$WORK/none"
refused "wants a number of bytes" "127.0.0.1:$PORT:/" "$WORK" -o dirty=12monkeys
refused "a SPEC and a DIR are wanted" "127.0.0.1:$PORT:/"
refused "belongs to another cluster" "127.0.0.1:$PORT:/" "$WORK" -o cluster=another

say "a read-only mount, and one made before any master answers"
mkdir "$WORK/second"
test_cleanup() { umount "$WORK/second" 2>/dev/null || umount -l "$WORK/second" 2>/dev/null || true; }
"$BIN/gfs-fuse" "127.0.0.1:$PORT:/" "$WORK/second" -o "ro,log=$RUN/second.log" || fail "mount -o ro"
expect "reading" cmp "$WORK/data" "$WORK/second/data"
touch "$WORK/second/new" 2>/dev/null && fail "a read-only mount lets write"
flags() { awk -v at="$WORK/second" '$2 == at { print "," $4 "," }' /proc/self/mounts; }
ln -s "$BIN/gfs-fuse" "$WORK/mount.gfs"
expect "remount" "$WORK/mount.gfs" "127.0.0.1:$PORT:/" "$WORK/second" -o remount,rw,noexec
case $(flags) in *,rw,*noexec,*) ;; *) fail "after -o remount,rw,noexec: $(flags)" ;; esac
expect "writing" touch "$WORK/second/new"
exec 8>>"$WORK/second/new"
refused "open for writing" "127.0.0.1:$PORT:/" "$WORK/second" -o remount,ro
exec 8>&-
# As mount(8) calls it, with what it read from the mount table.
expect "remount" "$WORK/mount.gfs" "127.0.0.1:$PORT:/" "$WORK/second" -o "rw,noexec,user_id=0,group_id=0,allow_other,remount,ro"
case $(flags) in *,ro,*noexec,*) ;; *) fail "after -o remount,ro: $(flags)" ;; esac
touch "$WORK/second/new" 2>/dev/null && fail "a mount that is read-only by now lets write"
refused "no gfs is mounted there" "127.0.0.1:$PORT:/" "$WORK" -o remount,ro
expect "umount" umount "$WORK/second"
"$BIN/gfs-fuse" "127.0.0.1:1:/" "$WORK/second" -o "bg,log=$RUN/second.log" || fail "mount -o bg"
expect "umount without a cluster" timeout 20 umount "$WORK/second"
