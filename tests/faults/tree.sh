#!/bin/sh
# tree.sh DIR NOISE COMMAND [NUMBER] - the tree that faults are tried on, and what is done to it; NOISE is a file of random
# bytes.
#   store NUMBER    a part of it: small files, a large one, links, an attribute
#   list            everything in it: names, kinds, modes, sizes, links, inode numbers, times, contents, attributes
#   change NUMBER   makes new/NUMBER; everything in it was synced when this ends
#   changed NUMBER  it is as it was made
set -eu
cd "$1"
noise=$2 new=new/${4:-}

store() {
    mkdir -p "part$1/dir/deep"
    i=0
    while [ $i -lt 40 ]; do
        head -c $((i * 401 % 9000)) "$noise" >"part$1/dir/small-$1-$i"
        i=$((i + 1))
    done
    dd if="$noise" of="part$1/a-large" bs=1000 skip="$1" count=700 status=none
    setfattr -n user.note -v "note $1" "part$1/a-large"
    ln "part$1/a-large" "part$1/dir/a-link"
    ln -s ../a-large "part$1/dir/a-symlink"
    mv "part$1/dir/small-$1-3" "part$1/dir/deep/moved"
    rm "part$1/dir/small-$1-4"
    sync -f .
}
list() {
    find . -path ./new -prune -o -printf '%P %y %m %n %l %i %T@ %s\n' | sort
    find . -path ./new -prune -o -type f -print | sort | xargs sha256sum
    find . -path ./new -prune -o -name a-large -print | sort | xargs getfattr -d
}
change() {
    mkdir -p new
    mkdir "$new"
    head -c 300000 "$noise" >"$new/made"
    sync "$new/made"
    mv "$new/made" "$new/moved"
    dd if="$noise" of="$new/moved" bs=1000 count=20 seek=100 conv=notrunc,fsync status=none
    ln "$new/moved" "$new/linked"
    ln -s moved "$new/symbolic"
}
changed() {
    [ "$(cd "$new" && echo *)" = "linked moved symbolic" ]
    [ "$(readlink "$new/symbolic")" = moved ]
    [ "$(stat -c '%h %s' "$new/linked")" = "2 300000" ]
    cmp -n 100000 "$new/moved" "$noise"
    cmp -n 20000 -i 100000:0 "$new/moved" "$noise"
    cmp -n 180000 -i 120000 "$new/linked" "$noise"
}
$3 ${4:+"$4"}
