# lib.sh - a private cluster for one end-to-end test: real daemons, a real mount, ports of its own.
#
# A test is `tests/e2e/NAME.sh`: it sources this file, calls cluster_up (or nothing), and checks with `expect` and
# `same`. It runs from the top of the checkout. Everything it starts lives under build/e2e/NAME and is stopped when
# it ends, however it ends (E2E_KEEP=1 leaves what a failed test made). E2E_BIN chooses the programs (default build/bin), for the sanitizer build.
set -eu

NAME=$(basename "$0" .sh)
TOP=$(cd "$(dirname "$0")/../.." && pwd)
WORK=$TOP/build/e2e/$NAME
RUN=$WORK/run
MNT=$WORK/mnt
BIN=${E2E_BIN:-$TOP/build/bin}
# Ports: a block of 20 per test, from a hash of its name.
PORT=$((20000 + $(printf %s "$NAME" | cksum | cut -d' ' -f1) % 400 * 20))
N=${N:-3}
export GFS_MASTERS=127.0.0.1:$PORT

# Short times, so that a test of a death takes seconds; what is deleted is gone.
: "${GFS_MASTER_CONF:=trash_seconds = 0
heartbeat_ms = 200
lease_ms = 1000
session_ms = 5000
request_timeout_ms = 1000
away_grace_ms = 5000}"
: "${GFS_CHUNKD_CONF:=flush_ms = 1000}"
export GFS_MASTER_CONF GFS_CHUNKD_CONF

. "$TOP/deploy/ended.sh"
say() { echo "  $NAME: $*"; }
fail() {
    echo "  $NAME: FAILED: $*" >&2
    for log in "$RUN"/*.log; do
        [ -e "$log" ] && { echo "  --- $log"; tail -n 15 "$log" | cut -c1-400; } >&2
    done
    exit 1
}
# expect "what should be" command...: the command must succeed.
expect() {
    what=$1
    shift
    "$@" || fail "$what"
}
# same "what" A B: two strings are equal.
same() { [ "$2" = "$3" ] || fail "$1: got '$2', expected '$3'"; }

cluster_up() { make -s up N="$N" MNT="$MNT" RUN="$RUN" PORT="$PORT" BINDIR="$BIN" SKIP_BUILD=1 >"$WORK/up.log" 2>&1 || {
    cat "$WORK/up.log" >&2
    fail "make up"
}; }
cluster_down() { make -s down N="$N" MNT="$MNT" RUN="$RUN" PORT="$PORT" BINDIR="$BIN" SKIP_BUILD=1 >"$WORK/down.log" 2>&1 || {
    cat "$WORK/down.log" >&2
    fail "make down"
}; }
pid_of() { cat "$RUN/$1.pid"; } # master, chunkd-1, fuse
# kill_hard NAME...: SIGKILL by recorded pid, and wait until it is gone.
kill_hard() {
    for who in "$@"; do
        p=$(pid_of "$who")
        kill -9 "$p"
        wait_for "$who to be gone" 10 ended "$p"
    done
}
# wait_for "what" SECONDS command...: until the command succeeds. The seconds are those of an idle machine.
wait_for() {
    what=$1
    end=$(($(date +%s) + 3 * $2))
    shift 2
    until "$@" >/dev/null 2>&1; do
        [ "$(date +%s)" -lt "$end" ] || fail "waited in vain for $what"
        sleep 0.1
    done
}
remount() { # remount [COMMAND]: so that nothing cached by the kernel or the mount answers
    p=$(pid_of fuse)
    umount "$MNT"
    wait_for "gfs-fuse to end" 15 ended "$p"
    "${1:-cluster_up}"
}
status_field() { "$BIN/gfsctl" status --json | tr -d ' \n' | sed -E "s/.*\"$1\":([0-9]+).*/\1/"; }
fully_replicated() { [ "$(status_field under_replicated)" = 0 ]; }
chunk_files() { find "$RUN"/chunkd-*/chunks -type f | sort; } # every replica on every chunkserver

# in_background COMMAND...: runs it and waits for it. What may hang is run like this: a shell that waits in the
# foreground does not clean up when it is told to end.
long=
in_background() {
    "$@" &
    long=$!
    if wait $long; then
        long=
    else
        code=$?
        long=
        return $code
    fi
}

cleanup() {
    code=$?
    trap - EXIT HUP INT TERM
    [ -z "$long" ] || kill -9 "$long" 2>/dev/null || true
    [ $code = 0 ] || [ -z "${E2E_KEEP:-}" ] || exit $code # leave the cluster of a failed test for a look
    if [ -d "$RUN" ]; then
        make -s down N="$N" MNT="$MNT" RUN="$RUN" PORT="$PORT" BINDIR="$BIN" SKIP_BUILD=1 >/dev/null 2>&1 || true
    fi
    # A daemon that broke an invariant or was caught by a sanitizer fails the test, whatever the programs saw.
    if grep -lE 'invariant broken|runtime error:|ERROR: (Address|Leak)Sanitizer' "$RUN"/*.log 2>/dev/null; then
        grep -hE -A12 'invariant broken|runtime error:|ERROR: (Address|Leak)Sanitizer' "$RUN"/*.log | head -40
        code=1
    fi
    type test_cleanup >/dev/null 2>&1 && test_cleanup
    [ -z "$long" ] || sh "$TOP/tests/e2e/sweep.sh" "$WORK" # it was interrupted
    if [ $code = 0 ]; then
        rm -rf "$WORK"
    fi
    exit $code
}
trap cleanup EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM
sh "$TOP/tests/e2e/sweep.sh" "$WORK"
rm -rf "$WORK"
mkdir -p "$RUN" "$MNT"
cd "$TOP"
