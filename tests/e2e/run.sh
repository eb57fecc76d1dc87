#!/bin/sh
# run.sh [NAME...] - runs the end-to-end tests, prints the seconds of each, and checks that nothing stays mounted
# or running. Without names: all of them. A test that takes longer than E2E_LIMIT seconds (600) is killed.
# What a failed test said is repeated at the end: whoever sees only the last lines of a long run learns what failed.
set -u
cd "$(dirname "$0")/../.." || exit 1
names=$*
[ -n "$names" ] || names=$(ls tests/e2e/*.sh | xargs -n1 basename | sed 's/\.sh$//' | grep -vE '^(lib(_.*)?|run|sweep)$')
logs=build/e2e/logs
mkdir -p "$logs"
passed=0 failed=
for n in $names; do
    start=$(date +%s)
    # To a file, not through a pipe: a process that a test leaves behind would hold the pipe open.
    timeout --foreground -k 30 "${E2E_LIMIT:-600}" sh "tests/e2e/$n.sh" >"$logs/$n.log" 2>&1
    code=$?
    left=
    [ $code != 0 ] && [ -n "${E2E_KEEP:-}" ] || left=$(sh tests/e2e/sweep.sh "$PWD/build/e2e/$n")
    [ -z "$left" ] || echo "$left" >>"$logs/$n.log"
    cat "$logs/$n.log"
    if [ $code = 0 ] && [ -z "$left" ]; then
        passed=$((passed + 1)) verdict=ok
    else
        failed="$failed $n" verdict="FAILED ($code)"
    fi
    echo "e2e $n: $verdict, $(($(date +%s) - start)) s"
done
for n in $failed; do
    echo "--- e2e $n failed:"
    grep -E "^  $n: " "$logs/$n.log" | tail -n 4 | cut -c1-300
    tail -n 8 "$logs/$n.log" | cut -c1-200
done
echo "e2e: $passed passed, $(echo $failed | wc -w) failed$([ -z "$failed" ] || echo ":$failed")"
[ -z "$failed" ]
