#!/bin/sh
# packages.sh build|test|bench|zookeeper - installs with apt-get what is missing to build and run gfs, to test it too, to
# measure it beside its peer, or to run it with ZooKeeper servers here.
# Nothing is asked of the network when nothing is missing.
set -eu

build="gcc make pkg-config libc6-dev libfuse3-dev fuse3 libuv1-dev libmsgpack-dev libxxhash-dev liblmdb-dev libzookeeper-st-dev"
test="attr check fio dbench rsync sqlite3 strace clang libclang-rt-14-dev clang-format git perl iproute2 nftables e2fsprogs xfsprogs util-linux procps"
bench="fio strace iproute2 util-linux moosefs-master moosefs-chunkserver moosefs-client"

case "${1:-build}" in
build) wanted=$build ;;
test) wanted="$build $test" ;;
bench) wanted="$build $bench" ;;
zookeeper) wanted="$build zookeeper default-jre-headless" ;;
*)
    echo "usage: packages.sh build|test|bench|zookeeper" >&2
    exit 2
    ;;
esac

# shellcheck disable=SC2086
installed=" $(dpkg-query -W -f '${db:Status-Status}:${Package} ' $wanted 2>/dev/null || true)"
missing=
for p in $wanted; do
    case $installed in
    *" installed:$p "*) ;;
    *) missing="$missing $p" ;;
    esac
done
[ -n "$missing" ] || exit 0

sudo=
if [ "$(id -u)" != 0 ]; then
    if ! command -v sudo >/dev/null; then
        echo "packages.sh: missing$missing; install them as root, or install sudo" >&2
        exit 1
    fi
    sudo=sudo
fi
echo "installing$missing"
# sudo clears the environment. A new machine may still be installing its updates: then apt waits. What apt says is
# shown only if it fails.
log=$(mktemp)
trap 'rm -f "$log"' EXIT
apt() {
    $sudo env DEBIAN_FRONTEND=noninteractive LC_ALL=C apt-get -q -o DPkg::Lock::Timeout=300 -o Acquire::Retries=3 "$@" \
        </dev/null >"$log" 2>&1 || {
        cat "$log" >&2
        echo "packages.sh: apt-get $1 failed" >&2
        exit 1
    }
}
apt update
# shellcheck disable=SC2086
apt install -y --no-install-recommends $missing
