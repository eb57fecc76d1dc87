/* driver.c - runs a fuzz target without libFuzzer: the files named on the command line, then
 * examples of the target itself with seeded mutations. Usage: fuzz_x [-r RUNS] [FILE...] */
#include "tests/fuzz/fuzz.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static uint64_t state = 88172645463325252ull;

static uint32_t next_random(uint32_t below)
{
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return (uint32_t)((state >> 16) % below);
}

static size_t mutate(uint8_t *data, size_t len, size_t cap)
{
    static const uint8_t nasty[] = {0x00, 0x7f, 0x80, 0xff, 0xc1, 0xdd, 0xdf, 0xc6, 0xdb, 0xcf};
    for (uint32_t i = next_random(4); i-- > 0 && len > 0;) {
        uint32_t at = next_random((uint32_t)len);
        switch (next_random(5)) {
        case 0:
            data[at] ^= (uint8_t)(1u << next_random(8));
            break;
        case 1:
            data[at] = nasty[next_random(sizeof(nasty))];
            break;
        case 2:
            len = at;
            break;
        case 3:
            if (len < cap) {
                memmove(data + at + 1, data + at, len - at);
                data[at] = (uint8_t)next_random(256);
                len++;
            }
            break;
        default:
            memmove(data + at, data + at + 1, len - at - 1);
            len--;
            break;
        }
    }
    return len;
}

/* A buffer of exactly len bytes, so that a sanitizer sees one byte too far. */
static void run_exact(const uint8_t *data, size_t len)
{
    uint8_t *exact = malloc(len ? len : 1);
    if (exact != NULL) {
        memcpy(exact, data, len);
        LLVMFuzzerTestOneInput(exact, len);
        free(exact);
    }
}

int main(int argc, char **argv)
{
    static uint8_t data[1 << 17];
    unsigned long runs = 200000, files = 0;
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "-r") == 0 && i + 1 < argc) {
            runs = strtoul(argv[++i], NULL, 10);
            continue;
        }
        FILE *f = fopen(argv[i], "rb");
        if (f == NULL) {
            perror(argv[i]);
            return 1;
        }
        size_t len = fread(data, 1, sizeof(data), f);
        fclose(f);
        run_exact(data, len);
        files++;
    }
    for (unsigned long i = 0; i < runs; i++) {
        size_t len = fuzz_example((uint32_t)i, data, sizeof(data));
        run_exact(data, mutate(data, len, sizeof(data)));
    }
    printf("%s: %lu files, %lu mutated examples\n", argv[0], files, runs);
    return 0;
}
