#!/bin/sh
# failover.sh - members of chunks fail while programs write: killed, stopped past their lease and resumed, cut off one
# way. Programs see a pause at most, and at the end every replica of every chunk is the same.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/lib_netns.sh"
nets_up 4
nets_mount
mkdir "$MNT/d" "$WORK/src"

# A writer that never stops: appends and overwrites of one big file with fsync, and small files, mirrored locally.
writer() {
    i=0
    while [ ! -e "$WORK/stop" ]; do
        dd if=/dev/urandom of="$WORK/src/.piece" bs=64k count=8 status=none
        dd if="$WORK/src/.piece" of="$WORK/src/big" bs=64k seek=$((i * 5 % 40)) conv=notrunc status=none
        dd if="$WORK/src/.piece" of="$MNT/d/big" bs=64k seek=$((i * 5 % 40)) conv=notrunc,fsync status=none || return 1
        head -c $((i * 7919 % 90000 + 1)) "$WORK/src/.piece" >"$WORK/src/f$((i % 50))"
        cp "$WORK/src/f$((i % 50))" "$MNT/d/f$((i % 50))" || return 1
        i=$((i + 1))
        echo $i >"$WORK/count"
    done
    rm "$WORK/src/.piece"
}
count() { cat "$WORK/count" 2>/dev/null || echo 0; }
goes_on() { # until the writer made ten more rounds
    from=$(count)
    wait_for "the writer to go on $1" 60 sh -c "[ \$(cat '$WORK/count') -ge $((from + 10)) ]"
}
# A chunk may have got another member just now: it is waited for. Differing replicas are not.
compared() {
    "$BIN/gfsctl" fsck --compare >"$WORK/fsck.out" && return 0
    grep -q "[1-9][0-9]* differing" "$WORK/fsck.out" && cp "$WORK/fsck.out" "$WORK/differing"
    return 1
}
equal() {
    wait_for "all replicas to be there and equal $1" 90 compared
    [ ! -e "$WORK/differing" ] || fail "replicas differ: $(cat "$WORK/differing")"
}
# Chunkservers by their part in the big file: the primary is its first member.
primary() { "$BIN/gfsctl" why --all --json "$MNT/d/big" | tr -d " \n" | sed -E "s/.*\"replicas\":[[][{]\"id\":([0-9]+).*/\1/"; }
number_of() { # server id -> number of the chunkserver
    "$BIN/gfsctl" status --json | tr -d ' \n' | sed -E "s/.*\"id\":$1,\"addr\":\"$NET\.1([0-9]):.*/\1/"
}
pid() { cat "$RUN/chunkd-$1.pid"; }

writer &
job=$!
goes_on "at the beginning"

say "the primary of the big file is killed"
p=$(number_of "$(primary)")
kill -9 "$(pid "$p")"
goes_on "after its primary was killed"
nets_chunkd "$p"
wait_for "four live chunkservers" 30 nets_alive 4
goes_on "after the primary came back"

say "a chunkserver is stopped past its lease and resumed while others write"
p=$(number_of "$(primary)")
kill -STOP "$(pid "$p")"
goes_on "while the primary is stopped"
sleep 3
kill -CONT "$(pid "$p")"
goes_on "after it was resumed"
wait_for "four live chunkservers" 30 nets_alive 4

say "one chunkserver does not hear the others, only the master"
p=$(number_of "$(primary)")
in_net "$p" nft add table inet cut
in_net "$p" nft 'add chain inet cut in { type filter hook input priority 0; }'
for i in 1 2 3 4; do
    [ $i = "$p" ] || in_net "$p" nft add rule inet cut in ip saddr "$NET.$((10 + i))" drop
done
goes_on "while a chunkserver does not hear the others"
in_net "$p" nft delete table inet cut
goes_on "after it hears them again"

say "one chunkserver does not hear the master"
p=$(number_of "$(primary)")
in_net "$p" nft add table inet cut
in_net "$p" nft 'add chain inet cut in { type filter hook input priority 0; }'
in_net "$p" nft add rule inet cut in ip saddr "$NET.1" tcp sport "$PORT" drop
goes_on "while a chunkserver does not hear the master"
in_net "$p" nft delete table inet cut
wait_for "four live chunkservers" 60 nets_alive 4
goes_on "after it hears the master again"

touch "$WORK/stop"
wait $job || fail "a program saw an error"
equal "at the end"
umount "$MNT"
nets_mount
expect "everything is there" diff -r "$WORK/src" "$MNT/d"
say "$(count) rounds of writing; $(tail -n 1 "$WORK/fsck.out")"
umount "$MNT"
