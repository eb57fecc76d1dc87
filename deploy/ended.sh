# shellcheck shell=sh
# ended.sh - whether a process is gone. Sourced by whoever stops processes.

# ended PID: it has ended, all its threads and its locks, too; whoever should wait for it need not have done so (then it is a
# zombie). Its command line is empty earlier than that.
ended() {
    ! awk '/^State:/ { zombie = $2 == "Z" } /^Threads:/ { threads = $2 }
        END { exit NR == 0 || zombie && threads <= 1 }' "/proc/$1/status" 2>/dev/null
}
