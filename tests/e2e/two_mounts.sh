#!/bin/sh
# two_mounts.sh - close-to-open between two mounts: what one has closed, the other sees when it opens, at once.
. "$(dirname "$0")/lib.sh"
OTHER=$WORK/other
mkdir -p "$OTHER"
test_cleanup() { umount "$OTHER" 2>/dev/null || umount -l "$OTHER" 2>/dev/null || true; }
cluster_up
"$BIN/gfs-fuse" "127.0.0.1:$PORT:/" "$OTHER" -o "host=other,log=$RUN/other.log,pidfile=$RUN/other.pid" || fail "second mount"

i=0
while [ $i -lt 20 ]; do
    stat "$OTHER/file" >/dev/null 2>&1 || true # attributes of before are fresh in its kernel
    i=$((i + 1))
    echo "text $i $(head -c $((i * 100)) /dev/zero | tr '\0' x)" >"$MNT/file"
    same "round $i, rewritten in place" "$(cut -c1-7 "$OTHER/file")" "$(cut -c1-7 "$MNT/file")"
    same "round $i, size" "$(wc -c <"$OTHER/file")" "$(wc -c <"$MNT/file")"
    echo "line $i" >>"$OTHER/file"
    same "round $i, appended by the other" "$(tail -n 1 "$MNT/file")" "line $i"
done

say "a file replaced by rename is never missing"
i=0
while [ $i -lt 20 ]; do
    i=$((i + 1))
    cat "$OTHER/replaced" >/dev/null 2>&1 || true
    echo "version $i" >"$MNT/replaced.new"
    mv "$MNT/replaced.new" "$MNT/replaced"
    same "round $i" "$(cat "$OTHER/replaced")" "version $i"
    expect "stat in round $i" stat "$OTHER/replaced" >/dev/null
done

say "an unlinked file that is open here lives on when the other removes it"
exec 8<>"$MNT/unlinked"
echo kept >&8
rm "$OTHER/unlinked"
echo more >&8
same "content" "$(cat /proc/self/fd/8)" "kept
more"
exec 8>&-

say "a large file, a deep tree, a removed tree"
dd if=/dev/urandom of="$WORK/data" bs=1M count=70 status=none
cp "$WORK/data" "$MNT/data"
expect "70 MiB over two chunks" cmp "$WORK/data" "$OTHER/data"
cp -r /usr/include/linux/netfilter "$OTHER/tree"
expect "tree" diff -r /usr/include/linux/netfilter "$MNT/tree"
rm -r "$MNT/tree"
sleep 1.1 # names may be trusted for a second
expect "the removed tree is gone" [ ! -e "$OTHER/tree" ]

p=$(pid_of other)
umount "$OTHER"
wait_for "the other gfs-fuse to end" 15 ended "$p"
