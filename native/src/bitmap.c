/* Bitmaps of blocks in use. Bit i is bit i % 8 of byte i / 8; set = in use.
 *
 * Invariants: no byte outside the bit_count bits is read or written; a change that would mark a
 * used block as used or a free one as free is refused whole, since it means that two owners believe
 * in one block. Searches go by words of 64 bits; all arithmetic is on bit numbers below 2^63.
 */
#include <string.h>

#include "affs_core.h"

#define WORD_BITS 64
#define BITS_MAX ((uint64_t)1 << 62)

/* The `count` (1..64) bits from bit `first` on, in the low bits. Reads only the bytes they lie
 * in. */
static uint64_t extract(const uint8_t *bits, uint64_t first, uint64_t count)
{
    const uint8_t *start = bits + first / 8;
    unsigned shift = (unsigned)(first % 8);
    size_t bytes = (size_t)((shift + count + 7) / 8);
    uint64_t word = 0;
    memcpy(&word, start, bytes < 8 ? bytes : 8);
    word >>= shift;
    if (bytes > 8)
        word |= (uint64_t)start[8] << (WORD_BITS - shift);
    return count == WORD_BITS ? word : word & (((uint64_t)1 << count) - 1);
}

static uint64_t used(const uint8_t *bits, const uint8_t *held, uint64_t first, uint64_t count)
{
    uint64_t word = extract(bits, first, count);
    return held == NULL ? word : word | extract(held, first, count);
}

/* First bit at or after `at` that is set (wanted 1) or clear (wanted 0) in the union of the
 * maps, or end. */
static uint64_t next_bit(const uint8_t *bits, const uint8_t *held, uint64_t at, uint64_t end,
                         int wanted)
{
    while (at < end) {
        uint64_t count = end - at < WORD_BITS ? end - at : WORD_BITS;
        uint64_t word = used(bits, held, at, count);
        if (!wanted)
            word = ~word;
        if (word != 0) {
            uint64_t bit = (uint64_t)__builtin_ctzll(word);
            /* Inverted, the bits past `count` are set: then none of the wanted ones was there. */
            return bit < count ? at + bit : end;
        }
        at += count;
    }
    return end;
}

int affs_bitmap_find(const uint8_t *bits, const uint8_t *held, uint64_t bit_count, uint64_t start,
                     uint64_t shortest, uint64_t longest, uint64_t *found, uint64_t *run)
{
    if (shortest == 0 || longest < shortest || bit_count > BITS_MAX)
        return AFFS_E_INVALID;
    for (uint64_t at = start; at < bit_count;) {
        uint64_t first = next_bit(bits, held, at, bit_count, 0);
        if (bit_count - first < shortest)
            break;
        uint64_t limit = bit_count - first < longest ? bit_count : first + longest;
        uint64_t end = next_bit(bits, held, first, limit, 1);
        if (end - first >= shortest) {
            *found = first;
            *run = end - first;
            return AFFS_OK;
        }
        at = end;
    }
    return AFFS_R_NOT_FOUND;
}

static int range_ok(uint64_t bit_count, uint64_t first, uint64_t count)
{
    return bit_count <= BITS_MAX && first <= bit_count && count <= bit_count - first;
}

/* Flip a range of which every bit is known to have the other value. */
static void flip(uint8_t *bits, uint64_t first, uint64_t count)
{
    while (count > 0 && first % 8 != 0) {
        bits[first / 8] ^= (uint8_t)(1U << (first % 8));
        first++;
        count--;
    }
    for (; count >= 8; count -= 8) {
        bits[first / 8] ^= 0xFFU;
        first += 8;
    }
    if (count > 0)
        bits[first / 8] ^= (uint8_t)((1U << count) - 1U);
}

int affs_bitmap_set(uint8_t *bits, uint64_t bit_count, uint64_t first, uint64_t count)
{
    if (!range_ok(bit_count, first, count))
        return AFFS_E_INVALID;
    if (next_bit(bits, NULL, first, first + count, 1) != first + count)
        return AFFS_E_INVALID;
    flip(bits, first, count);
    return AFFS_OK;
}

int affs_bitmap_clear(uint8_t *bits, uint64_t bit_count, uint64_t first, uint64_t count)
{
    if (!range_ok(bit_count, first, count))
        return AFFS_E_INVALID;
    if (next_bit(bits, NULL, first, first + count, 0) != first + count)
        return AFFS_E_INVALID;
    flip(bits, first, count);
    return AFFS_OK;
}

uint64_t affs_bitmap_count(const uint8_t *bits, uint64_t first, uint64_t count)
{
    uint64_t total = 0;
    while (count > 0) {
        uint64_t part = count < WORD_BITS ? count : WORD_BITS;
        total += (uint64_t)__builtin_popcountll(extract(bits, first, part));
        first += part;
        count -= part;
    }
    return total;
}
