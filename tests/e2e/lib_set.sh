# shellcheck shell=sh
# lib_set.sh - who is who among the three masters of a cluster that is up (SHADOWS=2), as they say themselves.
list=
for k in 1 2 3; do list=$list${list:+,}127.0.0.$k:$PORT; done
export GFS_MASTERS=$list

master_of() { [ "$1" = 1 ] && echo master || echo "master-$1"; }
field() { # field ADDR NAME: of what `status` says of that master
    "$BIN/gfsctl" --masters "$list" status --json | tr -d ' \n' |
        sed -E "s/.*\"addr\":\"$1\"([^}]*)}.*/\1/; s/.*\"$2\":\"?([^\",]+).*/\1/"
}
primary() { # its number
    for k in 1 2 3; do
        [ "$(field "127.0.0.$k:$PORT" role)" != primary ] || echo $k
    done
}
files_at() { # as the master NUMBER itself counts them
    "$BIN/gfsctl" --masters "127.0.0.$1:$PORT" status --json | tr -d ' \n' | sed -E 's/.*"files":([0-9]+).*/\1/'
}
make_files() { # make_files DIRECTORY COUNT
    mkdir "$MNT/$1"
    (cd "$MNT/$1" && seq -f 'f%.0f' 1 "$2" | xargs touch)
}
