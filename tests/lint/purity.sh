#!/bin/sh
# purity.sh BUILD_DIR - the objects of the cores may need only what is pure: memory, strings, integer
# formatting, msgpack packing, xxhash, and LMDB in one module (store*). A stray clock, file or socket fails here.
set -eu
B=$1
defined=$(mktemp)
trap 'rm -f "$defined"' EXIT
cores="shared/base shared/proto shared/env master/core chunkd/core fuse/core deploy/monitor/core"
for d in $cores; do
    nm --defined-only -f posix "$B/$d"/*.o | awk 'NF > 1 && $2 ~ /^[TDRBVWC]$/ {print $1}'
done | sort -u > "$defined"
status=0
count=0
for d in $cores; do
    for o in "$B/$d"/*.o; do
        [ -e "$o" ] || { echo "purity: no objects in $B/$d"; exit 1; }
        count=$((count + 1))
        allow='^(malloc|calloc|realloc|free|abort|__stack_chk_fail|__assert_fail'
        allow="$allow|stpcpy|mem(cpy|move|set|cmp|chr|rchr|mem)|str(cpy|len|nlen|cmp|ncmp|chr|rchr|spn|cspn|str|tol|toll|toul|toull|error.*_np)|__isoc23_strto[a-z]*"
        allow="$allow|strerrorname_np|strerrordesc_np|v?snprintf|__v?snprintf_chk|__mem(cpy|move|set)_chk|qsort|bsearch"
        allow="$allow|__ctype_b_loc|XXH[0-9A-Za-z_]*|msgpack_[a-z_0-9]*|_GLOBAL_OFFSET_TABLE_)$"
        [ "$o" = "$B/shared/base/mem.o" ] && allow="$allow|^(fprintf|stderr|__fprintf_chk)$"
        case $o in "$B/master/core/store.o" | "$B"/master/core/store_*.o) allow="$allow|^mdb_[a-z_0-9]*$" ;; esac
        bad=$(nm -u -f posix "$o" | awk '{print $1}' | grep -vxF -f "$defined" | grep -vE "$allow" || true)
        if [ -n "$bad" ]; then
            echo "purity: $o needs" $bad
            status=1
        fi
    done
done
[ $status = 0 ] && echo "purity: $count objects of the cores need nothing impure"
exit $status
