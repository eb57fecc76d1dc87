#!/bin/sh
# trash.sh - a removed tree is listed, comes back byte for byte, or is purged and its room with it; the trash counts as
# available, and what another mount has its own opinion about is gone at once.
GFS_MASTER_CONF="trash_seconds = 600
heartbeat_ms = 200
lease_ms = 1000
session_ms = 5000
request_timeout_ms = 1000
chunk_bytes = 1M
block_bytes = 64K"
. "$(dirname "$0")/lib.sh"
cluster_up
ctl() { "$BIN/gfsctl" "$@"; }
trash() { ctl trash list | sed -n 's/^\([0-9]*\) in the trash.*/\1/p'; }
sums() {
    (
        cd "$MNT/$1" || exit 1
        find . -type f -print0 | sort -z | xargs -0 sha256sum
        find . ! -type d -print0 | sort -z | xargs -0 stat -c '%n %a %u %g %s %Y %X'
        find . -type d -print0 | sort -z | xargs -0 stat -c '%n %a %u %g'
    )
}

say "a removed tree comes back"
mkdir -p "$MNT/keep/tree/a/b" "$MNT/keep/tree/empty"
head -c 3000000 /dev/urandom >"$MNT/keep/tree/a/large"
for i in 1 2 3 4 5 6 7 8 9; do echo "small $i" >"$MNT/keep/tree/a/b/file $i"; done
: >"$MNT/keep/tree/none"
chmod 640 "$MNT/keep/tree/a/large"
chmod 2750 "$MNT/keep/tree/a"
touch -d '2001-02-03 04:05:06' "$MNT/keep/tree/a/large"
mv "$MNT/keep/tree" "$MNT/keep/moved"
sync -f "$MNT/keep/moved/a/large"
sums keep/moved >"$WORK/before"
rm -rf "$MNT/keep/moved"
same "entries in the trash" "$(trash)" 15
expect "the path is listed" sh -c "'$BIN/gfsctl' trash list /keep/moved/a | grep -q '/keep/moved/a/large\$'"
same "under another path" "$(ctl trash list /keep/mov | sed -n 's/^\([0-9]*\) in the trash.*/\1/p')" 0
same "programs see" "$(ctl trash list --json "$MNT/keep/moved/a/large" | tr -d ' \n' | sed 's/.*"path":"\([^"]*\)".*"size":\([0-9]*\).*/\1 \2/')" "/keep/moved/a/large 3000000"
ctl trash restore "$MNT/keep/moved" >"$WORK/restored"
same "restored" "$(cat "$WORK/restored")" "15 restored"
sums keep/moved >"$WORK/after"
expect "the tree is what it was" diff "$WORK/before" "$WORK/after"
same "in the trash" "$(trash)" 0

say "single files: by number, by path, elsewhere; a taken name"
rm "$MNT/keep/moved/a/b/file 1"
echo new >"$MNT/keep/moved/a/b/file 1"
expect "a taken name is refused" sh -c "! '$BIN/gfsctl' trash restore '/keep/moved/a/b/file 1' 2>'$WORK/refused'"
expect "and said so" grep -q "name is taken" "$WORK/refused"
ctl trash restore '/keep/moved/a/b/file 1' --to "$MNT/keep/old 1" >/dev/null
same "elsewhere" "$(cat "$MNT/keep/old 1")" "small 1"
rm -r "$MNT/keep/moved/a/b"
ctl trash restore "/keep/moved/a/b/file 5" >/dev/null
same "with its directory" "$(cat "$MNT/keep/moved/a/b/file 5")" "small 5"
same "the others stay" "$(trash)" 8

say "an open file outlives its purge"
exec 3<"$MNT/keep/moved/a/large"
rm "$MNT/keep/moved/a/large"
ctl trash purge --all >/dev/null
same "in the trash" "$(trash)" 0
same "still read" "$(sha256sum <&3 | cut -c1-64)" "$(sed -n 's/ .*a.large$//p' "$WORK/before" | head -n 1)"
exec 3<&-

say "df counts the trash as available; a purge gives the disks their room back"
avail() { df -B1 --output=avail "$MNT" | tail -n 1; }
head -c 20000000 /dev/urandom >"$MNT/big"
sync -f "$MNT/big"
rm "$MNT/big"
same "bytes in the trash" "$(status_field trash_bytes)" "$((20000000 / 512 * 512 + 512))"
before=$(find "$RUN"/chunkd-*/chunks -type f | wc -l)
expect "its chunks are kept" test "$before" -ge 60
ctl trash purge --older 0s >/dev/null
wait_for "the chunks to go" 15 sh -c "[ \$(find '$RUN'/chunkd-*/chunks '$RUN'/chunkd-*/aside -type f | wc -l) -le $((before - 60)) ]"

say "a deleted file that was deleted before does not hide the newer one"
for word in one two; do
    echo $word >"$MNT/twice"
    rm "$MNT/twice"
    sleep 1.1
done
ctl trash restore /twice >/dev/null
same "the newest" "$(cat "$MNT/twice")" two

say "a mount without a trash"
mkdir -p "$WORK/mnt2"
"$BIN/gfs-fuse" "$GFS_MASTERS:/" "$WORK/mnt2" -o trash=0,log="$RUN/fuse2.log"
trash_before=$(trash)
echo gone >"$WORK/mnt2/gone"
rm "$WORK/mnt2/gone"
same "nothing more in the trash" "$(trash)" "$trash_before"
umount "$WORK/mnt2"
