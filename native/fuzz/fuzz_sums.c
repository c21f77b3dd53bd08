/* Fuzzing of checksums and name hashes over data from the device: every implementation that this
 * machine has says the same, whatever the length and alignment, and reads nothing beside the data;
 * the first bad block is the first bad block. Run by native/fuzz/run.
 */
#include "fuzz.h"

static void blocks(const uint8_t *data, size_t size)
{
    uint8_t stored[4 * 5];
    uint32_t sums[5] = {0};
    const size_t length = size < 5 * (size_t)AFFS_BLOCK_SIZE ? size : 5 * (size_t)AFFS_BLOCK_SIZE;
    const size_t count = (length + AFFS_BLOCK_SIZE - 1) / AFFS_BLOCK_SIZE;
    affs_crc32c_blocks(data, length, AFFS_BLOCK_SIZE, sums);
    memcpy(stored, sums, sizeof stored);
    FUZZ_REQUIRE(affs_crc32c_first_bad(data, length, AFFS_BLOCK_SIZE, stored) == -1);
    if (count == 0)
        return;
    const size_t wrong = data[0] % count;
    stored[4 * wrong] ^= 1;
    FUZZ_REQUIRE(affs_crc32c_first_bad(data, length, AFFS_BLOCK_SIZE, stored) == (int64_t)wrong);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const names[] = {"portable", "sse42", "arm"};
    uint8_t *exact = malloc(size == 0 ? 1 : size);
    uint32_t sums[3] = {0};
    FUZZ_REQUIRE(exact != NULL);
    memcpy(exact, data, size);
    const size_t from = size > 16 ? data[0] % 16u : 0;
    for (size_t index = 0; index < sizeof names / sizeof names[0]; index++) {
        if (affs_crc32c_select(names[index]) != AFFS_OK) {
            sums[index] = sums[0];
            continue;
        }
        sums[index] = affs_crc32c(7, exact + from, size - from);
        FUZZ_REQUIRE(sums[index] == sums[0]);
        /* In two pieces it is the same. */
        const size_t middle = from + (size - from) / 3;
        uint32_t two = affs_crc32c(7, exact + from, middle - from);
        FUZZ_REQUIRE(affs_crc32c(two, exact + middle, size - middle) == sums[0]);
    }
    if (size >= 24) {
        uint64_t prefix;
        memcpy(&prefix, exact + 16, sizeof prefix);
        const uint64_t hash = affs_name_hash(exact, prefix, exact + 24, size - 24);
        FUZZ_REQUIRE(hash != 0 && hash >> 59 == 0);
    }
    blocks(exact, size);
    free(exact);
    return 0;
}
