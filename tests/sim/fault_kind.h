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
    FAULT_STOP_SERVER, /* a clean stop and start */
    FAULT_KILL_BOTH,   /* the master, and a mount that will never find its successor */
    FAULT_LOSE_DISK,   /* a chunkserver comes back with an empty disk */
    FAULT_FLIP_BIT,    /* at rest, in a chunk */
    FAULT_KINDS
};

/* As in totals: "master kills". */
const char *fault_name(enum fault_kind kind);

#endif
