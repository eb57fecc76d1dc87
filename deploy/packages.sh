#!/bin/sh
# packages.sh build|test - installs with apt-get what is missing to build and run gfs, or to test it too.
# Nothing is asked of the network when nothing is missing.
set -eu

build="gcc make pkg-config libc6-dev libfuse3-dev fuse3 libuv1-dev libmsgpack-dev libxxhash-dev liblmdb-dev"
test="check fio dbench rsync sqlite3 strace clang libclang-rt-14-dev clang-format git iproute2 nftables e2fsprogs util-linux procps"

case "${1:-build}" in
build) wanted=$build ;;
test) wanted="$build $test" ;;
*)
    echo "usage: packages.sh build|test" >&2
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
export DEBIAN_FRONTEND=noninteractive
$sudo apt-get update -qq
# shellcheck disable=SC2086
$sudo apt-get install -y -qq --no-install-recommends $missing >/dev/null
