#!/bin/sh
# bad_config.sh - wrong configuration is refused with file, line, key and what was expected.
. "$(dirname "$0")/lib.sh"
refused() { # refused PROGRAM "pattern" "conf text"
    printf '%s\n' "$3" >"$WORK/x.conf"
    if timeout 10 "$BIN/$1" "$WORK/x.conf" >"$WORK/out" 2>&1; then
        fail "$1 accepted: $3"
    fi
    [ $? != 124 ] || fail "$1 hangs on: $3"
    grep -qE "$2" "$WORK/out" || fail "$1 says '$(cat "$WORK/out")', expected /$2/"
}
mkdir -p "$WORK/m"
good="listen = 127.0.0.1:$PORT
dir = $WORK/m"
refused gfs-master "x.conf:3: .*colour" "$good
colour = blue"
refused gfs-master "x.conf:3: .*lease_ms.*expected" "$good
lease_ms = soon"
refused gfs-master "x.conf.*dir" "listen = 127.0.0.1:$PORT"
refused gfs-master "x.conf:2: .*dir.*missing|x.conf:2: .*dir" "listen = 127.0.0.1:$PORT
dir = $WORK/not-there"
refused gfs-master "x.conf:1: .*listen" "listen = nonsense
dir = $WORK/m"
refused gfs-master "x.conf:3: .*masters.*127.0.0.1:$PORT" "$good
masters = 127.0.0.2:$PORT,127.0.0.3:$PORT"
refused gfs-master "x.conf:3: .*masters.*once" "$good
masters = 127.0.0.1:$PORT,127.0.0.2:$PORT,127.0.0.2:$PORT"
refused gfs-master "x.conf:3: .*masters.*at most 5" "$good
masters = a:1,b:1,c:1,d:1,e:1,127.0.0.1:$PORT"
refused gfs-master "x.conf:4: .*log_ack.*majority or all" "$good
masters = 127.0.0.1:$PORT,127.0.0.2:$PORT
log_ack = one"
refused gfs-master "x.conf:3: .*logger_only" "$good
logger_only = yes"
refused chunkd "x.conf:1: .*masters" "masters =
dir = $WORK/m"
refused chunkd "x.conf:1: " "this is no configuration"
cluster_up
mkdir -p "$WORK/m2"
refused gfs-master "$PORT.*(in use)|in use.*$PORT" "listen = 127.0.0.1:$PORT
dir = $WORK/m2"
refused gfs-master "another|already|in use" "listen = 127.0.0.1:$((PORT + 9))
dir = $RUN/master"
refused chunkd "another|already|in use" "masters = 127.0.0.1:$PORT
listen = 127.0.0.1:$((PORT + 9))
dir = $RUN/chunkd-1"

say "a chunkd of another cluster, and one with an unknown disk format"
cluster_down
cp -r "$RUN/chunkd-1" "$WORK/foreign"
sed -i "s|^cluster.*||" "$RUN/chunkd-1.conf"
refused chunkd "cluster" "cluster = other
masters = 127.0.0.1:$PORT
listen = 127.0.0.1:$((PORT + 9))
dir = $WORK/foreign"
for slot in 4 4100; do
    printf '\377\377' | dd of="$WORK/foreign/label" bs=1 seek=$slot conv=notrunc status=none
done
refused chunkd "format|label" "masters = 127.0.0.1:$PORT
listen = 127.0.0.1:$((PORT + 9))
dir = $WORK/foreign"
