/* fault_kind.h - what can go wrong in a simulated world. */
#ifndef TESTS_SIM_FAULT_KIND_H
#define TESTS_SIM_FAULT_KIND_H

enum fault_kind {
    FAULT_KILL_MASTER,
    FAULT_KILL_CHUNKD,
    FAULT_KILL_MOUNT,
    FAULT_POWER_MASTER,
    FAULT_POWER_CHUNKD,
    FAULT_POWER_SITE,
    FAULT_CUT_CONNECTION,
    FAULT_BLOCK_PATH,
    FAULT_STOP_SERVER,   /* a clean stop and start */
    FAULT_KILL_BOTH,     /* the master, and a mount that will never find its successor */
    FAULT_LOSE_DISK,     /* a chunkserver comes back with an empty disk */
    FAULT_FLIP_BIT,      /* at rest, in a chunk */
    FAULT_KILL_AT_EVENT, /* a process dies after a drawn number of events, also in bursts of them */
    FAULT_CUT_AT_BYTE,   /* a connection ends in the middle of a frame */
    FAULT_ISOLATE,       /* one process hears nobody, is heard by nobody, or both */
    FAULT_HALVES,        /* two groups of processes hear nothing of each other */
    FAULT_SLOW_NET,      /* frames of a process take longer */
    FAULT_SLOW_DISK,     /* so do its disk operations */
    FAULT_PAUSE,         /* a server stands still for a while */
    FAULT_POWER_RACK,    /* all chunkservers of a rack */
    FAULT_CLOCK,         /* wall clocks jump */
    FAULT_EIO_READ,      /* a sector that cannot be read: here and below, of the rotten disk */
    FAULT_EIO_WRITE,
    FAULT_FAIL_SYNC,
    FAULT_LOST_WRITE,
    FAULT_MISDIRECT,
    FAULT_LOG_FAILS, /* a write or sync of the operation log */
    FAULT_DISK_FULL, /* of a chunkserver, for a while */
    FAULT_MASTER_FULL,
    FAULT_STATE_FAILS,    /* a call on a checkpoint, the live environment, or a segment's name */
    FAULT_BAD_CHECKPOINT, /* one of two */
    FAULT_NO_CHECKPOINT,  /* all; the disk is given back */
    FAULT_TRIAL,          /* starts on damaged disks, which are given back */
    FAULT_DIE_EARLY,      /* a server, a moment after its start */
    FAULT_KILL_MONITOR,   /* here and below: where there are several masters */
    FAULT_HAND_OVER,      /* an operator wants another primary */
    FAULT_ENGINE,         /* of the monitors: away, sessions ended, an old copy restored */
    FAULT_FLIP_LOG,       /* a bit of one master's log */
    FAULT_WIPE_MASTER,    /* the same master gets an empty disk */
    FAULT_STRAND,         /* the primary is cut off from other masters, and not from everybody */
    FAULT_STOP_MOUNT,     /* a mount leaves in order */
    FAULT_OTHER_LIST,     /* a master is started with another list of masters than the others */
    FAULT_KINDS
};

/* As in totals: "master kills". */
const char *fault_name(enum fault_kind kind);

#endif
