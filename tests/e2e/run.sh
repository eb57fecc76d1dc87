#!/bin/sh
# run.sh [NAME...] - runs the end-to-end tests, prints the seconds of each, and checks that nothing stays mounted
# or running. Without names: all of them. A test that takes longer than E2E_LIMIT seconds (600) is killed.
set -u
cd "$(dirname "$0")/../.." || exit 1
names=$*
[ -n "$names" ] || names=$(ls tests/e2e/*.sh | xargs -n1 basename | sed 's/\.sh$//' | grep -vE '^(lib|lib_netns|run|sweep)$')
passed=0 failed=0
for n in $names; do
    start=$(date +%s)
    timeout --foreground -k 30 "${E2E_LIMIT:-600}" sh "tests/e2e/$n.sh"
    code=$?
    left=
    [ $code != 0 ] && [ -n "${E2E_KEEP:-}" ] || left=$(sh tests/e2e/sweep.sh "$PWD/build/e2e/$n")
    [ -z "$left" ] || echo "$left"
    if [ $code = 0 ] && [ -z "$left" ]; then
        passed=$((passed + 1)) verdict=ok
    else
        failed=$((failed + 1)) verdict=FAILED
    fi
    echo "e2e $n: $verdict, $(($(date +%s) - start)) s"
done
echo "e2e: $passed passed, $failed failed"
[ "$failed" = 0 ]
