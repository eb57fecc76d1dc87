/* spy_work.c - reads of open files behind their writers' backs. */
#include "tests/sim/spy_work.h"
#include "tests/sim/data_work.h"

#include <fcntl.h>

enum { READ_MAX = 20 * 1024, PAUSE_MAX_MS = 60 };

/* Reads one file now and then. */
static void visit(struct actor *a)
{
    struct attr attr;
    const struct data_files *all = a->world->data;
    const char *name = all->slots[sim_below(&a->rand, DATA_SLOTS)].name;
    int status = do_lookup(a, all->dir, name, &attr);
    if (status == 0) {
        a->entry->found = true; /* name and attributes may be of two moments: it is being written */
        status = do_open(a, attr.ino, O_RDONLY, &attr);
    }
    if (status != 0) {
        return;
    }
    a->entry->found = true;
    struct client_file *f = a->opened;
    for (uint64_t n = sim_between(&a->rand, 5, 30); n > 0 && !a->world->healing; n--) {
        uint64_t off = sim_below(&a->rand, attr.size + 1);
        status = do_read(a, f, off, (uint32_t)sim_between(&a->rand, 1, READ_MAX));
        if (status != 0) {
            break;
        }
        actor_sleep(a, sim_below(&a->rand, PAUSE_MAX_MS) * NS_PER_MS);
    }
    do_release(a, f);
}

void spy_work(struct actor *a)
{
    while (a->world->ops < a->world->ops_wanted && !a->world->healing) {
        actor_wait_mount(a);
        visit(a);
        actor_sleep(a, sim_below(&a->rand, PAUSE_MAX_MS) * NS_PER_MS);
    }
}
