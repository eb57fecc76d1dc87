/* fuzz_config.c - configuration files: whatever the bytes, a verdict, and no value outside its
 * limits. */
#include "shared/base/config.h"
#include "shared/base/invariant.h"
#include "tests/fuzz/fuzz.h"

#include <string.h>

struct sample {
    char text[8];
    char addr[64];
    char addrs[128];
    uint32_t number;
    uint32_t size;
    uint64_t big;
};

static const struct config_key keys[] = {
    CONFIG_STR("text", struct sample, text, CONFIG_TEXT, true),
    CONFIG_STR("addr", struct sample, addr, CONFIG_ADDR, false),
    CONFIG_STR("addrs", struct sample, addrs, CONFIG_ADDRS, false),
    CONFIG_NUM("number", struct sample, number, CONFIG_U32, 10, 60000),
    CONFIG_NUM("size", struct sample, size, CONFIG_SIZE32, 4096, 1 << 26),
    CONFIG_NUM("big", struct sample, big, CONFIG_SIZE64, 0, 1ull << 50),
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct sample s = {.number = 10, .size = 4096};
    struct config_file file = {.path = "f", .table = keys, .count = COUNT_OF(keys)};
    struct why why;
    if (size > 1 << 20) {
        return 0;
    }
    if (config_parse(&file, bytes_of(data, size), &s, &why) != 0) {
        ASSERT(strncmp(why.text, "f:", 2) == 0 && strchr(why.text, '\n') == NULL);
        return 0;
    }
    ASSERT(s.text[0] != 0 && strlen(s.text) < sizeof(s.text));
    ASSERT(s.addr[0] == 0 || config_is_addr(bytes_str(s.addr)));
    ASSERT(s.number >= 10 && s.number <= 60000);
    ASSERT(s.size >= 4096 && s.size <= 1 << 26);
    ASSERT(s.big <= 1ull << 50);
    return 0;
}

size_t fuzz_example(uint32_t n, uint8_t *out, size_t cap)
{
    static const char *const examples[] = {
        "text = abc\naddr = [::1]:9400\naddrs = a:1,b:2\nnumber = 77\nsize = 64K\nbig = 3G\n",
        "# comment\r\n\ttext=x#y # z\nbig = 1125899906842624", "text = a\ntext = b", "number = 9",
        "addr = 1:2:3\n"};
    const char *e = examples[n % COUNT_OF(examples)];
    size_t len = MIN(strlen(e), cap);
    memcpy(out, e, len);
    return len;
}
