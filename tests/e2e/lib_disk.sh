# lib_disk.sh - after lib.sh: daemons whose disks fail when a test says so (bad_disk.c), and what the cluster says of
# its chunkservers.

BAD_DISK=$WORK/faults
SHIM=$TOP/build/${E2E_BUILD:-debug}/bad_disk.so
export BAD_DISK
# faults [RULE...]: these hold from now on, and no others.
faults() {
    printf '%s\n' "$@" >"$BAD_DISK.new"
    mv "$BAD_DISK.new" "$BAD_DISK"
}
cluster_up_on_bad_disks() { LD_PRELOAD=$SHIM cluster_up; }

ctl() { "$BIN/gfsctl" "$@"; }
# field NAME CHUNKD: of a chunkserver in the status.
field() { ctl --json status | grep ":$((PORT + $2))\"" | sed -E "s/.*\"$1\": ([^,}]+).*/\1/"; }
field_is() { [ "$(field "$1" "$2")" = "$3" ]; }
# scrub_field NAME CHUNKD: of what its scans found.
scrub_field() {
    ctl --json scrub | tr -d ' \n' | sed 's/},{/}\n{/g' | grep ":$((PORT + $2))\"" | sed -E "s/.*\"$1\":([^,}]+).*/\1/"
}
sums() { (cd "$MNT" && find . -type f | sort | xargs sha256sum); }
