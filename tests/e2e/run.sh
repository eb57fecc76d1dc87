#!/bin/sh
# run.sh [NAME...] - runs the end-to-end tests, prints the seconds of each, and checks that nothing stays mounted
# or running. Without names: all of them.
set -u
cd "$(dirname "$0")/../.." || exit 1
names=$*
[ -n "$names" ] || names=$(ls tests/e2e/*.sh | xargs -n1 basename | sed 's/\.sh$//' | grep -vE '^(lib|lib_netns|run)$')
passed=0 failed=0
for n in $names; do
    start=$(date +%s)
    if sh "tests/e2e/$n.sh"; then
        passed=$((passed + 1)) verdict=ok
    else
        failed=$((failed + 1)) verdict=FAILED
    fi
    echo "e2e $n: $verdict, $(($(date +%s) - start)) s"
done
if grep -q " $PWD/build/e2e/" /proc/mounts; then
    echo "e2e: still mounted:"
    grep " $PWD/build/e2e/" /proc/mounts
    failed=$((failed + 1))
fi
left=$(grep -al "build/e2e/" /proc/[0-9]*/cmdline 2>/dev/null | while read -r f; do
    { tr "\0" " " <"$f"; } 2>/dev/null | grep -E '(gfs-master|chunkd|gfs-fuse) ' ; done)
if [ -n "$left" ]; then
    echo "e2e: still running: $left"
    failed=$((failed + 1))
fi
echo "e2e: $passed passed, $failed failed"
[ "$failed" = 0 ]
