#!/bin/sh
# disk_faults.sh - a sample of the faults on what daemons keep on disk; all of them are `make faults`.
ONLY='log: newest segment, middle bitflip killed|log: newest segment, tail zero power|superblock, newer slot zero killed'
ONLY="$ONLY|newest checkpoint, middle duplicate power|state: a symbolic link bitflip killed|state, middle zero stopped"
ONLY="$ONLY|label, newer slot zero killed|meta log, middle bitflip stopped|chunk data, middle block duplicate killed|^log EIO sync"
. "$(dirname "$0")/../faults/faults.sh"
