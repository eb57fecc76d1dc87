# rounds.sh - rounds of power cuts, after ../e2e/lib.sh. The master and three chunkservers have a disk each: a loop
# device with ext4 or xfs on an image in memory. crash_load works on the mount; its journal and the list of cuts lie
# outside of the cluster, under $STATE.
#
# A round: the load runs, some disks lose power, their daemons die, the disks are mounted again and the daemons started
# with another boot id. Then either the load goes on for a while and ends by itself, or it was killed together with the
# mount. A new mount is compared with the journal, every replica of every chunk with the others.
TOOLS=${TOOLS:-build/debug}
WRITERS=4
STATE=$WORK/state
IMAGES=$WORK/images
IMAGE_MIB=300 # the least xfs takes

# what_is_missing: prints why there can be no power cuts here; nothing if there can.
what_is_missing() {
    [ "$(id -u)" = 0 ] || { echo "root"; return; }
    [ -e /dev/loop-control ] && losetup -f >/dev/null 2>&1 || echo "loop devices"
    for program in mkfs.ext4 mkfs.xfs; do
        command -v $program >/dev/null || echo "$program"
    done
    for fs in ext4 xfs; do
        grep -qw $fs /proc/filesystems || modprobe $fs 2>/dev/null || echo "$fs in the kernel"
    done
}

# random NAME LIMIT: 0 to LIMIT - 1, from the seed, the round and the name.
random() { echo $(($(echo "$SEED $round $1" | cksum | cut -d' ' -f1) / 7 % $2)); }

disk_mount() { # disk_mount NAME
    mount -o loop,noatime "$IMAGES/$1" "$RUN/$1"
}
# disks_make FS-OF-MASTER FS-OF-CHUNKD-1 ...
disks_make() {
    mkdir -p "$IMAGES" "$STATE"
    mount -t tmpfs -o size=2g tmpfs "$IMAGES"
    for disk in master chunkd-1 chunkd-2 chunkd-3; do
        truncate -s ${IMAGE_MIB}M "$IMAGES/$disk"
        case $1 in
        ext4) mkfs.ext4 -q "$IMAGES/$disk" ;;
        xfs) mkfs.xfs -q "$IMAGES/$disk" ;;
        esac || fail "mkfs.$1"
        shift
        mkdir -p "$RUN/$disk"
        disk_mount $disk || fail "$IMAGES/$disk cannot be mounted"
    done
}
disks_gone() {
    for disk in master chunkd-1 chunkd-2 chunkd-3; do
        umount "$RUN/$disk" 2>/dev/null || umount -l "$RUN/$disk" 2>/dev/null || true
    done
    umount "$IMAGES" 2>/dev/null || umount -l "$IMAGES" 2>/dev/null || true
}

# cluster_boot: starts what does not run, as after a boot.
boots=0
conf=$GFS_MASTER_CONF chunkd_conf=$GFS_CHUNKD_CONF
cluster_boot() {
    boots=$((boots + 1))
    GFS_MASTER_CONF="$conf
boot_id = boot-$boots"
    GFS_CHUNKD_CONF="$chunkd_conf
boot_id = boot-$boots"
    cluster_up
}

# power_cut LINGER DISK...: they lose power and get it back; client as a DISK: the mount and the load die.
power_cut() {
    linger=$1
    shift
    mask=0 dirs= pids= names=
    for disk in "$@"; do
        case $disk in
        client)
            mask=$((mask + 16))
            code=0
            kill -9 $load 2>/dev/null || true
            wait $load 2>/dev/null || code=$?
            [ $code = 137 ] || fail "round $round (SEED=$SEED): $(tail -n 3 "$STATE/load.log")" # it ended before
            load=
            pids="$pids $(pid_of fuse)"
            ;;
        *)
            case $disk in
            master) mask=$((mask + 8)) ;;
            *) mask=$((mask + (1 << (${disk#chunkd-} - 1)))) ;;
            esac
            dirs="$dirs $RUN/$disk"
            pids="$pids $(pid_of "$disk")"
            names="$names $disk"
            ;;
        esac
    done
    # shellcheck disable=SC2086
    "$TOOLS/crash_cut" "$STATE/cuts" $mask $linger $dirs -- $pids || fail "the power of $* could not be cut"
    for pid in $pids; do
        wait_for "process $pid to be gone" 20 ended "$pid"
    done
    for disk in $names; do
        wait_for "$disk to be unmounted" 20 umount "$RUN/$disk"
        disk_mount "$disk" || fail "$disk cannot be mounted after the cut"
    done
}

# What a round cuts: some disk alone most of the time, all together often.
choose() {
    case $(random what 10) in
    0 | 1) echo master ;;
    2 | 3) echo "chunkd-$((1 + $(random which 3)))" ;;
    4) echo "chunkd-$((1 + $(random which 3))) master" ;;
    5) echo "chunkd-1 chunkd-2 chunkd-3" ;;
    6) echo "chunkd-$((1 + $(random which 3))) chunkd-$((1 + ($(random which 3) + 1) % 3))" ;;
    7) echo "master chunkd-1 chunkd-2 chunkd-3" ;;
    *) echo "client master chunkd-1 chunkd-2 chunkd-3" ;;
    esac
}
tenths() { echo "$(($1 / 10)).$(($1 % 10))"; }

load_end() { # it has gone on through the cuts: nothing it was told may have been wrong
    kill -TERM $load 2>/dev/null || true # it may have ended by itself; how, wait tells
    in_time() { ! kill -0 $load 2>/dev/null; }
    wait_for "the load to end" 90 in_time
    wait $load || fail "round $round (SEED=$SEED): $(tail -n 3 "$STATE/load.log")"
    load=
}

journaled() { cat "$STATE"/journal.* 2>/dev/null | wc -c; } # bytes, some 150 for each operation
# one_round: leaves what it cut in $cutting and $how.
one_round() {
    before=$(journaled)
    "$TOOLS/crash_load" "$MNT" "$STATE" $WRITERS $((SEED + round)) >"$STATE/load.log" 2>&1 &
    load=$!
    busy() { [ "$(journaled)" -gt $((before + 5000)) ] || ! kill -0 $load 2>/dev/null; }
    wait_for "the load to work" 60 busy
    sleep "$(tenths $((2 + $(random runs 12))))"
    kill -0 $load 2>/dev/null || load_end
    cutting=$(choose)
    case $(random how 4) in
    0) linger=$(random linger 500) how="disks die, daemons $linger ms later" ;;
    1) linger=-1 how="at one instant" ;;
    *) linger=0 how="one after the other" ;;
    esac
    # shellcheck disable=SC2086
    power_cut $linger $cutting
    cluster_boot
    if [ "$(random again 5)" = 0 ]; then # while it recovers
        # shellcheck disable=SC2046
        [ -z "$load" ] || { power_cut 0 $(echo $cutting | sed 's/client//'); cutting="$cutting, twice"; cluster_boot; }
    fi
    if [ -n "$load" ]; then
        sleep "$(tenths $((1 + $(random after 8))))"
        load_end
    fi
    remount
    whole() { "$BIN/gfsctl" fsck >"$STATE/fsck"; }
    wait_for "all copies after a cut of $cutting ($how), SEED=$SEED round $round" 90 whole
    "$TOOLS/crash_check" "$MNT" "$STATE" $WRITERS >"$STATE/checked" 2>&1 ||
        fail "round $round (SEED=$SEED), after a cut of $cutting ($how): $(cat "$STATE/checked")"
    "$BIN/gfsctl" fsck --compare >"$STATE/fsck" 2>&1 ||
        fail "round $round (SEED=$SEED), after a cut of $cutting ($how): fsck: $(tail -n 5 "$STATE/fsck")"
}
