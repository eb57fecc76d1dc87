/* fuzz.h - one fuzz target: feed it any bytes, it must neither crash nor hang nor allocate what
 * they claim. Each fuzz_*.c defines the libFuzzer entry; with gcc, driver.c runs a corpus and
 * mutations of it.
 */
#ifndef TESTS_FUZZ_FUZZ_H
#define TESTS_FUZZ_FUZZ_H

#include <stddef.h>
#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
/* A well-formed input to start from: writes at most cap bytes, returns how many; `n` picks one. */
size_t fuzz_example(uint32_t n, uint8_t *out, size_t cap);

#endif
