/* Fuzzing of bitmaps: they come from the device, and so do the runs that are set and cleared in
 * them. Whatever both hold, no byte outside is touched, what is found is free, and a refused change
 * changes nothing. The input is six numbers, then the bits; the second half of these are the held
 * ones. Run by native/fuzz/run.
 */
#include "fuzz.h"

#define NUMBERS 6

static int bit(const uint8_t *bits, uint64_t at)
{
    return bits[at / 8] >> (at % 8) & 1;
}

static void search(const uint8_t *bits, const uint8_t *held, uint64_t count,
                   const uint16_t *numbers)
{
    uint64_t found = UINT64_MAX, run = 0;
    if (affs_bitmap_find(bits, held, count, numbers[0], numbers[1], numbers[2], &found, &run) !=
        AFFS_OK)
        return;
    FUZZ_REQUIRE(found >= numbers[0] && run >= numbers[1] && run <= numbers[2]);
    FUZZ_REQUIRE(found + run <= count);
    for (uint64_t at = found; at < found + run; at++)
        FUZZ_REQUIRE(!bit(bits, at) && !(held && bit(held, at)));
}

static void change(uint8_t *bits, size_t size, uint64_t count, uint64_t first, uint64_t length,
                   int set)
{
    uint8_t *before = malloc(size == 0 ? 1 : size);
    FUZZ_REQUIRE(before != NULL);
    memcpy(before, bits, size);
    int result = set ? affs_bitmap_set(bits, count, first, length)
                     : affs_bitmap_clear(bits, count, first, length);
    if (result != AFFS_OK) {
        FUZZ_REQUIRE(memcmp(before, bits, size) == 0);
    } else {
        FUZZ_REQUIRE(first + length <= count);
        for (uint64_t at = 0; at < count; at++)
            FUZZ_REQUIRE(bit(bits, at) == (at >= first && at < first + length ? set
                                                                               : bit(before, at)));
        FUZZ_REQUIRE(affs_bitmap_count(bits, first, length) == (set ? length : 0));
    }
    free(before);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint16_t numbers[NUMBERS];
    if (size < sizeof numbers)
        return 0;
    memcpy(numbers, data, sizeof numbers);
    const size_t half = (size - sizeof numbers) / 2;
    uint8_t *bits = malloc(half == 0 ? 1 : half), *held = malloc(half == 0 ? 1 : half);
    FUZZ_REQUIRE(bits != NULL && held != NULL);
    memcpy(bits, data + sizeof numbers, half);
    memcpy(held, data + sizeof numbers + half, half);
    const uint64_t count = half * 8 > 7 ? half * 8 - numbers[5] % 8 : 0;
    search(bits, held, count, numbers);
    search(bits, NULL, count, numbers);
    change(bits, half, count, numbers[3], numbers[4], numbers[5] >> 8 & 1);
    change(bits, half, count, numbers[0], numbers[1], 1);
    change(bits, half, count, UINT64_MAX - numbers[3], numbers[4], 0);
    free(bits);
    free(held);
    return 0;
}
