#!/bin/sh
# programs.sh NAME DIR SCRATCH - one round of a program in DIR on the mount, which checks by itself what it did; SCRATCH is
# on another filesystem. Status 0: all is as it should be.
set -eu
name=$1 dir=$2 scratch=$3
rm -rf "$dir" "$scratch"
mkdir -p "$dir" "$scratch"

run_git() {
    cd "$dir"
    git init -q work
    cd work
    git config user.email soak@example.org
    git config user.name soak
    for round in 1 2 3 4 5; do
        for i in 1 2 3 4 5 6 7 8; do
            head -c $((i * 3000)) /dev/urandom | base64 >"file-$i"
        done
        git add -A
        git commit -qm "round $round"
    done
    git gc -q
    git fsck --no-progress
    git clone -q . ../clone
    diff -r -x .git . ../clone
    [ "$(git -C ../clone rev-list --count HEAD)" = 5 ]
}
run_make() {
    cd "$dir"
    printf 'int add(int);\nint main(void) { int s = 0;\n' >main.c
    for i in $(seq 1 24); do
        printf 'int f%d(int x) { return x + %d; }\n' "$i" "$i" >"f$i.c"
        printf 'int f%d(int); s = f%d(s);\n' "$i" "$i" >>main.c
    done
    printf 'return s == 300 ? 0 : 1; }\n' >>main.c
    # shellcheck disable=SC2016
    printf 'prog: $(patsubst %%.c,%%.o,$(wildcard *.c))\n\tcc -o $@ $^\n' >Makefile
    make -s -j2
    ./prog
    make -s -j2 -q
}
run_sqlite() {
    db=$dir/data.db
    sqlite3 "$db" 'PRAGMA journal_mode=WAL; CREATE TABLE t(id INTEGER PRIMARY KEY, v TEXT)' >/dev/null
    for i in $(seq 1 40); do
        sqlite3 "$db" "BEGIN; INSERT INTO t(v) WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x+1 FROM c WHERE x<50)
            SELECT hex(randomblob(60)) FROM c; DELETE FROM t WHERE id % 10 = 3; COMMIT"
    done
    [ "$(sqlite3 "$db" 'PRAGMA integrity_check')" = ok ]
    [ "$(sqlite3 "$db" 'SELECT count(*) FROM t WHERE id % 10 = 3')" = 0 ]
}
headers() { cd /usr/include && find . -type f | sort | head -n 400; }
run_tar() {
    headers >"$scratch/list"
    tar cf "$scratch/files.tar" -C /usr/include -T "$scratch/list"
    cp "$scratch/files.tar" "$dir/files.tar"
    mkdir "$dir/files" "$scratch/files"
    tar xf "$dir/files.tar" -C "$dir/files"
    tar xf "$scratch/files.tar" -C "$scratch/files"
    diff -r "$dir/files" "$scratch/files"
    cmp "$dir/files.tar" "$scratch/files.tar"
}
run_rsync() {
    headers >"$scratch/list"
    rsync -a --files-from="$scratch/list" /usr/include "$dir/copy"
    [ -z "$(rsync -acn --itemize-changes --files-from="$scratch/list" /usr/include "$dir/copy" | grep -v '^\.d')" ]
}
run_dbench() {
    dbench -D "$dir" -t 10 2 >"$scratch/log" 2>&1
    ! grep -iE 'error|failed' "$scratch/log" | grep -v 'barrier semaphore'
}
run_fio() {
    cd "$scratch"
    fio --name=verify --directory="$dir" --size=24m --rw=randwrite --bsrange=4k-256k --ioengine=psync --verify=crc32c \
        --verify_fatal=1 --do_verify=1 --fsync=32 --end_fsync=1 --output="$scratch/log" || {
        tail -n 5 "$scratch/log"
        return 1
    }
}
run_posix() {
    mkdir "$dir/posix"
    # Statfs counts the chunkservers that serve at this moment: with a master that has just started, none yet.
    "$POSIX_CHECK" "$dir/posix" >"$scratch/posix.log" 2>&1 || {
        cat "$scratch/posix.log"
        [ "$(grep FAILED: "$scratch/posix.log")" = "  FAILED: the_filesystem_says_its_size" ]
    }
}

"run_$name"
cd /
rm -rf "$dir" "$scratch"
