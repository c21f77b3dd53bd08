/* The fuzz targets of native/fuzz on seeded mutations of good structures and items: a few bytes
 * changed, cut or added at a time, so that most checks are reached in a second and a failure can be
 * repeated by its number.
 */
#include "check.h"
#include "samples.h"

#define LLVMFuzzerTestOneInput fuzz_superblock
#include "../fuzz/fuzz_superblock.c"
#undef LLVMFuzzerTestOneInput
#define LLVMFuzzerTestOneInput fuzz_commit
#include "../fuzz/fuzz_commit.c"
#undef LLVMFuzzerTestOneInput
#define LLVMFuzzerTestOneInput fuzz_item
#include "../fuzz/fuzz_item.c"

#define BODY (AFFS_BLOCK_SIZE - sizeof(affs_header))
#define INPUT_MAX (PREFIX + AFFS_ITEM_MAX + 8)
#define FRAMED_ROUNDS 4000
#define ITEM_ROUNDS 60000

static uint8_t input[INPUT_MAX];

/* Change up to four bytes, mostly among the first `likely`, where the fields are. */
static void mutate(uint64_t *seed, size_t size, size_t likely)
{
    static const uint8_t bytes[] = {0, 1, 2, 3, 0x10, 0x7F, 0x80, 0xFE, 0xFF};
    const size_t changes = 1 + check_random(seed) % 4;
    for (size_t index = 0; index < changes && size > 0; index++) {
        const size_t reach = likely < size && check_random(seed) % 8 != 0 ? likely : size;
        const size_t at = check_random(seed) % reach;
        if (check_random(seed) % 2)
            input[at] = bytes[check_random(seed) % sizeof bytes];
        else
            input[at] ^= (uint8_t)(1U << check_random(seed) % 8);
    }
}

static void framed(uint64_t *seed, const void *block, int (*target)(const uint8_t *, size_t))
{
    for (int round = 0; round < FRAMED_ROUNDS; round++) {
        memcpy(input, (const uint8_t *)block + sizeof(affs_header), BODY);
        if (round > 0)
            mutate(seed, BODY, 440);
        target(input, check_random(seed) % 8 ? BODY : check_random(seed) % BODY);
    }
}

int main(void)
{
    static sample_item items[SAMPLES_MAX];
    const size_t item_count = sample_items(items);
    const affs_superblock superblock_sample = sample_superblock();
    const affs_owner owner = sample_owner();
    const affs_segment_header segment = sample_segment_header();
    const affs_commit commit = sample_commit();
    uint64_t seed = 2026;
    framed(&seed, &superblock_sample, fuzz_superblock);
    framed(&seed, &owner, fuzz_superblock);
    framed(&seed, &segment, fuzz_superblock);
    framed(&seed, &commit, fuzz_commit);
    for (int round = 0; round < ITEM_ROUNDS; round++) {
        const sample_item *item = &items[check_random(&seed) % item_count];
        size_t size = PREFIX + item->length;
        input[0] = item->tree;
        memcpy(input + 1, &item->key, sizeof item->key);
        memcpy(input + PREFIX, item->payload, item->length);
        mutate(&seed, size, PREFIX + 48);
        if (check_random(&seed) % 4 == 0)
            size = size - check_random(&seed) % 4 + check_random(&seed) % 8;
        fuzz_item(input, size);
    }
    return 0;
}
