#!/bin/sh
# check.sh - what `make check` runs: every stage with its seconds; stops at the first that fails.
set -u
cd "$(dirname "$0")/.." || exit 1
exec </dev/null # nothing here asks
total=$(date +%s)
passed=0
stage() { # stage "name" command...
    name=$1
    shift
    echo "== $name"
    start=$(date +%s)
    if "$@"; then
        passed=$((passed + 1))
        echo "== $name: ok, $(($(date +%s) - start)) s"
    else
        echo "== $name: FAILED after $(($(date +%s) - start)) s"
        echo "$passed passed, 1 failed"
        exit 1
    fi
}
# Mounts need root. What is built is built before, by the user whose checkout this is.
as_root() {
    if [ "$(id -u)" = 0 ]; then
        "$@"
    else
        sudo "$@"
    fi
}
SANITIZED_TESTS="smoke corrupt kill_chunkd"
stage "packages" sh deploy/packages.sh test
stage "build" make -s -j2 WERROR=1 all build/debug/check_unit build/debug/sim e2e-tools
stage "lint" make -s check-lint
stage "unit tests" make -s check-unit
stage "fuzz targets" make -s check-fuzz
stage "simulator" make -s check-sim
stage "planted bugs" make -s check-mutants
stage "end-to-end tests" as_root make -s check-e2e
stage "sanitizer build" make -s -j2 BUILD=asan all build/asan/check_unit build/asan/sim e2e-tools
stage "sanitizer: unit tests" make -s BUILD=asan check-unit
stage "sanitizer: fuzz targets" make -s BUILD=asan check-fuzz RUNS=4000
stage "sanitizer: simulator" make -s BUILD=asan check-sim SEEDS=50
stage "sanitizer: mount" as_root env E2E_BIN="$PWD/build/asan/bin" E2E_BUILD=asan E2E_SANITIZED=1 \
    make -s BUILD=asan check-e2e TESTS="$SANITIZED_TESTS"
echo "make check: $(($(date +%s) - total)) s"
echo "$passed passed, 0 failed"
