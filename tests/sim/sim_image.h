/* sim_image.h - copies of a simulated disk, and damage done to one.
 *
 * With a copy a disk can be damaged in every way, a process tried on it, and the disk given back as
 * it was. The process whose disk it is must be dead when it is copied and when it is put back.
 */
#ifndef TESTS_SIM_SIM_IMAGE_H
#define TESTS_SIM_SIM_IMAGE_H

#include "tests/sim/sim_disk.h"

/* As seen by programs and as durable, with the real file that a library keeps; freed by
 * sim_disk_free. */
struct sim_disk *sim_image_take(struct sim_disk *d);
/* The disk is again what was copied. */
void sim_image_put_back(struct sim_disk *d, struct sim_disk *image);

enum sim_damage {
    DAMAGE_BIT,        /* one flips */
    DAMAGE_ZEROS,      /* a sector or a page of them */
    DAMAGE_CUT,        /* the end is missing */
    DAMAGE_OTHER_PAGE, /* a page holds what another of the file does */
    DAMAGE_UNREADABLE, /* a page cannot be read */
    DAMAGE_REMOVED,    /* the whole file */
    DAMAGE_KINDS
};

/* "a bit flips at 123" */
struct sim_damage_text {
    char text[64];
};

/* Damages a file, behind everybody's back and durably; false if nothing changed. */
bool sim_image_damage(struct sim_disk *d, const char *path, enum sim_damage kind,
                      struct sim_rand *r, struct sim_damage_text *out);

#endif
