#!/bin/sh
# layers.sh - who may include whom. A core knows its own folder and shared/{base,proto,env}; a shell knows
# its own program and shared/; nothing includes tests/. A file is at most 700 lines, a line at most 110.
set -eu
status=0
check() { # check FILES-GLOB-DIR ALLOWED-REGEX
    for f in "$1"/*.[ch]; do
        [ -e "$f" ] || continue
        bad=$(grep -nE '^#include "' "$f" | grep -vE "\"($2)/" || true)
        if [ -n "$bad" ]; then
            echo "layers: $f may not include: $bad"
            status=1
        fi
    done
}
check shared/base 'shared/base'
check shared/proto 'shared/(base|proto)'
check shared/env 'shared/(base|proto|env)'
check shared/io 'shared/(base|proto|env|io)'
for p in master chunkd fuse deploy/monitor; do
    check $p/core "$p/core|shared/(base|proto|env)"
    check $p/io "$p/(core|io)|shared/(base|proto|env|io)"
    check $p "$p/(core|io)|shared/(base|proto|env|io)"
done
for f in $(git ls-files '*.c' '*.h' | grep -v '^tests/'); do
    [ -e "$f" ] || continue
    n=$(wc -l < "$f")
    if [ "$n" -gt 700 ]; then
        echo "layers: $f has $n lines, at most 700"
        status=1
    fi
    long=$(awk 'length > 110 {print FILENAME ":" FNR; exit}' "$f")
    if [ -n "$long" ]; then
        echo "layers: $long is over 110 characters"
        status=1
    fi
done
[ $status = 0 ] && echo "layers: includes, file and line lengths are in order"
exit $status
