/* Bitmaps against a model with one byte for each bit; maps are exactly as long as their bits. */
#include <string.h>

#include "affs_core.h"
#include "check.h"

#define BITS_MAX 1000

static uint8_t model[BITS_MAX], held_model[BITS_MAX];

static void spread(uint64_t *seed, uint8_t *map, uint8_t *into, uint64_t bit_count,
                   unsigned density)
{
    memset(map, 0, (bit_count + 7) / 8);
    for (uint64_t bit = 0; bit < bit_count;) {
        /* Runs, not noise: whole words of both kinds have to occur. */
        uint64_t run = 1 + check_random(seed) % (check_random(seed) % 4 == 0 ? 150 : 6);
        uint8_t value = check_random(seed) % 8 < density;
        for (; run > 0 && bit < bit_count; run--, bit++) {
            into[bit] = value;
            map[bit / 8] |= (uint8_t)(value << (bit % 8));
        }
    }
}

static int naive_find(int with_held, uint64_t bit_count, uint64_t start, uint64_t shortest,
                      uint64_t longest, uint64_t *found, uint64_t *run)
{
    for (uint64_t first = start; first < bit_count; first++) {
        uint64_t length = 0;
        while (length < longest && first + length < bit_count && !model[first + length] &&
               !(with_held && held_model[first + length]))
            length++;
        if (length >= shortest) {
            *found = first;
            *run = length;
            return AFFS_OK;
        }
    }
    return AFFS_R_NOT_FOUND;
}

static void one_round(uint64_t *seed)
{
    uint64_t bit_count = 1 + check_random(seed) % BITS_MAX;
    size_t size = (bit_count + 7) / 8;
    uint8_t *map = malloc(size);
    uint8_t *held = malloc(size);
    CHECK(map != NULL && held != NULL);
    spread(seed, map, model, bit_count, (unsigned)(check_random(seed) % 9));
    spread(seed, held, held_model, bit_count, (unsigned)(check_random(seed) % 4));
    for (int query = 0; query < 20; query++) {
        uint64_t start = check_random(seed) % (bit_count + 2);
        uint64_t shortest = 1 + check_random(seed) % 80;
        uint64_t longest = shortest + check_random(seed) % 100;
        uint64_t got[2] = {0, 0}, wanted[2] = {0, 0};
        int with_held = (int)(check_random(seed) % 2);
        int result = affs_bitmap_find(map, with_held ? held : NULL, bit_count, start, shortest,
                                      longest, &got[0], &got[1]);
        CHECK_EQUAL(result, naive_find(with_held, bit_count, start, shortest, longest, &wanted[0],
                                       &wanted[1]));
        CHECK_EQUAL(got[0], wanted[0]);
        CHECK_EQUAL(got[1], wanted[1]);
    }
    for (int change = 0; change < 20; change++) {
        uint64_t first = check_random(seed) % bit_count;
        uint64_t count = check_random(seed) % (bit_count - first + 1) % 90;
        uint8_t value = (uint8_t)(check_random(seed) % 2);
        uint64_t already = 0, used = 0;
        for (uint64_t bit = first; bit < first + count; bit++) {
            already += model[bit] == value;
            used += model[bit];
        }
        CHECK_EQUAL(affs_bitmap_count(map, first, count), used);
        CHECK_EQUAL(value ? affs_bitmap_set(map, bit_count, first, count)
                          : affs_bitmap_clear(map, bit_count, first, count),
                    already > 0 ? AFFS_E_INVALID : AFFS_OK);
        if (already == 0)
            memset(model + first, value, count);
        for (uint64_t bit = 0; bit < bit_count; bit++)
            CHECK_EQUAL(map[bit / 8] >> (bit % 8) & 1, model[bit]);
    }
    free(map);
    free(held);
}

static void bad_arguments(void)
{
    uint8_t map[8] = {0};
    uint64_t found = 77, run = 77;
    CHECK_EQUAL(affs_bitmap_find(map, NULL, 64, 0, 0, 1, &found, &run), AFFS_E_INVALID);
    CHECK_EQUAL(affs_bitmap_find(map, NULL, 64, 0, 5, 4, &found, &run), AFFS_E_INVALID);
    CHECK_EQUAL(affs_bitmap_find(map, NULL, UINT64_MAX, 0, 1, 1, &found, &run), AFFS_E_INVALID);
    CHECK_EQUAL(affs_bitmap_find(map, NULL, 64, UINT64_MAX, 1, 1, &found, &run), AFFS_R_NOT_FOUND);
    CHECK_EQUAL(affs_bitmap_find(map, NULL, 64, 0, UINT64_MAX, UINT64_MAX, &found, &run),
                AFFS_R_NOT_FOUND);
    CHECK_EQUAL(affs_bitmap_find(map, NULL, 0, 0, 1, 1, &found, &run), AFFS_R_NOT_FOUND);
    CHECK_EQUAL(found, 77);
    CHECK_EQUAL(affs_bitmap_find(map, NULL, 64, 3, 1, UINT64_MAX, &found, &run), AFFS_OK);
    CHECK_EQUAL(found, 3);
    CHECK_EQUAL(run, 61);
    CHECK_EQUAL(affs_bitmap_set(map, 64, 60, 5), AFFS_E_INVALID);
    CHECK_EQUAL(affs_bitmap_set(map, 64, 65, 0), AFFS_E_INVALID);
    CHECK_EQUAL(affs_bitmap_set(map, 64, 1, UINT64_MAX), AFFS_E_INVALID);
    CHECK_EQUAL(affs_bitmap_clear(map, 64, UINT64_MAX, 2), AFFS_E_INVALID);
    CHECK_EQUAL(affs_bitmap_set(map, 64, 64, 0), AFFS_OK);
    CHECK_EQUAL(affs_bitmap_count(map, 0, 64), 0);
}

int main(void)
{
    uint64_t seed = 5;
    for (int round = 0; round < 400; round++)
        one_round(&seed);
    bad_arguments();
    return 0;
}
