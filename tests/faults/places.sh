# places.sh - where faults are tried. places prints lines "STRUCTURE|DAEMON|FILE|OFFSET" for the directories that
# golden_make left; errors prints "STRUCTURE|DAEMON|CALL|FILE|WHEN".

# pages STRUCTURE DAEMON FILE SKIP: first, middle and last page that is not zeros; SKIP bytes of head do not count.
pages() {
    "$TOOLS/fault_damage" "$GOLDEN.killed/$2/$3" pages "$4" >"$WORK/pages"
    read -r first middle last <"$WORK/pages"
    echo "$1, head|$2|$3|$((first + 70))"
    echo "$1, middle|$2|$3|$((middle + 70))"
    echo "$1, tail|$2|$3|$((last + 70))"
}
row() { # row STRUCTURE DAEMON FILE TEXT: the page where TEXT stands
    offset=$("$TOOLS/fault_damage" "$GOLDEN.killed/$2/$3" find "$4") && echo "$1|$2|$3|$((offset + 2))"
}
name_of() { (cd "$GOLDEN.killed/$1" && ls -d $2 | sort | sed -n "$3"); } # DAEMON PATTERN WHICH
newest_slot() { # of two, by the little-endian number at OFFSET: FILE-A AT-A FILE-B AT-B
    a=$(od -An -tu8 -j "$2" -N 8 "$1") b=$(od -An -tu8 -j "$4" -N 8 "$3")
    [ "$a" -gt "$b" ] && echo 0 || echo 1
}

places() {
    oldest=$(name_of master 'log/log-*' 1p) newest=$(name_of master 'log/log-*' '$p')
    checkpoint=$(name_of master 'checkpoints/*.mdb' '$p') older=$(name_of master 'checkpoints/*.mdb' 1p)
    head=8192 # of a segment of 64 KiB: header and id table
    echo "log: oldest segment's header|master|$oldest|20"
    pages "log: oldest segment" master "$oldest" $head
    echo "log: newest segment's header|master|$newest|20"
    echo "log: newest segment's id table|master|$newest|4100"
    pages "log: newest segment" master "$newest" $head
    super=$GOLDEN.killed/master/log/meta
    slot=$(newest_slot $super.0 8 $super.1 8)
    echo "superblock, newer slot|master|log/meta.$slot|40"
    echo "superblock, older slot|master|log/meta.$((1 - slot))|40"
    [ ! -e "$GOLDEN.killed/master/log/next" ] || echo "log: segment made ready|master|log/next|9000"
    echo "newest checkpoint's sums|master|${checkpoint%.mdb}.sum|30"
    pages "newest checkpoint" master "$checkpoint" 0
    echo "older checkpoint's sums|master|${older%.mdb}.sum|30"
    pages "older checkpoint" master "$older" 0
    echo "state: meta page 0|master|live/data.mdb|40"
    echo "state: meta page 1|master|live/data.mdb|4136"
    row "state: a directory entry" master live/data.mdb small-2-17
    row "state: a symbolic link" master live/data.mdb ../a-large
    row "state: an attribute" master live/data.mdb "note 1"
    pages "state" master live/data.mdb 8192
    echo "state: lock file|master|live/data.mdb-lock|64"
    label=$GOLDEN.killed/chunkd-1/label
    slot=$(newest_slot "$label" 8 "$label" 4104)
    echo "label, newer slot|chunkd-1|label|$((slot * 4096 + 30))"
    echo "label, older slot|chunkd-1|label|$(((1 - slot) * 4096 + 30))"
    meta=$(name_of chunkd-1 'meta/*' '$p')
    echo "meta log's header|chunkd-1|$meta|9"
    pages "meta log" chunkd-1 "$meta" 0
    pages "intent ring" chunkd-1 ring 0
    chunk=$(cd "$GOLDEN.killed/chunkd-1" && find chunks -type f -size 262144c | sort | head -n 1)
    echo "chunk data, first block|chunkd-1|$chunk|300"
    echo "chunk data, middle block|chunkd-1|$chunk|140000"
    echo "chunk data, last block|chunkd-1|$chunk|262000"
}

errors() {
    newest=$(name_of master 'log/log-*' '$p')
    checkpoint=$(name_of master 'checkpoints/*.mdb' '$p')
    echo "log: newest segment|master|read|$newest|start"
    echo "log|master|write|log/log-|work"
    echo "log|master|sync|log/log-|work"
    echo "superblock|master|read|log/meta.0|start"
    echo "superblock|master|sync|log/meta|work"
    echo "newest checkpoint|master|read|$checkpoint|start"
    echo "a checkpoint being made|master|write|checkpoints/|work"
    echo "a checkpoint being made|master|sync|checkpoints/|work"
    echo "state|master|write|live/data.mdb|work"
    echo "label|chunkd-1|read|chunkd-1/label|start"
    echo "meta log|chunkd-1|read|chunkd-1/meta|start"
    echo "meta log|chunkd-1|write|chunkd-1/meta|work"
    echo "meta log|chunkd-1|sync|chunkd-1/meta|work"
    echo "chunk data|chunkd-1|write|chunkd-1/chunks|work"
}
