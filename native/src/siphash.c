/* The keyed hash of names: SipHash-2-4 (Aumasson and Bernstein), cut to 59 bits.
 *
 * The key is the volume's, random and never shown, so that nobody can choose names that all
 * collide. The value is the hash's upper 59 bits, with 0 replaced by 1: shifted left by four, the
 * ordinal in the lower bits, it is an item's offset, at least 16 and below 2^63
 * (docs/specs/DiskLayout.md, "Name hash").
 */
#include <string.h>

#include "affs_core.h"

#define HASH_BITS 59

typedef struct {
    uint64_t v0, v1, v2, v3;
    uint64_t word;   /* bytes that do not fill a word yet, lowest first */
    uint64_t length; /* bytes taken in so far */
} siphash;

static uint64_t rotate(uint64_t value, int bits)
{
    return (value << bits) | (value >> (64 - bits));
}

static uint64_t load(const uint8_t *bytes)
{
    uint64_t word;
    memcpy(&word, bytes, sizeof word);
    return word;
}

static void rounds(siphash *hash, int count)
{
    for (; count > 0; count--) {
        hash->v0 += hash->v1;
        hash->v2 += hash->v3;
        hash->v1 = rotate(hash->v1, 13) ^ hash->v0;
        hash->v3 = rotate(hash->v3, 16) ^ hash->v2;
        hash->v0 = rotate(hash->v0, 32);
        hash->v2 += hash->v1;
        hash->v0 += hash->v3;
        hash->v1 = rotate(hash->v1, 17) ^ hash->v2;
        hash->v3 = rotate(hash->v3, 21) ^ hash->v0;
        hash->v2 = rotate(hash->v2, 32);
    }
}

static void take_word(siphash *hash, uint64_t word)
{
    hash->v3 ^= word;
    rounds(hash, 2);
    hash->v0 ^= word;
}

static void begin(siphash *hash, const uint8_t *key)
{
    uint64_t k0 = load(key);
    uint64_t k1 = load(key + 8);
    hash->v0 = k0 ^ 0x736F6D6570736575U;
    hash->v1 = k1 ^ 0x646F72616E646F6DU;
    hash->v2 = k0 ^ 0x6C7967656E657261U;
    hash->v3 = k1 ^ 0x7465646279746573U;
    hash->word = 0;
    hash->length = 0;
}

/* All but the last call must bring a multiple of eight bytes. */
static void take(siphash *hash, const uint8_t *bytes, size_t length)
{
    hash->length += length;
    for (; length >= 8; length -= 8) {
        take_word(hash, load(bytes));
        bytes += 8;
    }
    for (size_t index = 0; index < length; index++)
        hash->word |= (uint64_t)bytes[index] << (8 * index);
}

static uint64_t end(siphash *hash)
{
    take_word(hash, hash->word | hash->length << 56);
    hash->v2 ^= 0xFF;
    rounds(hash, 4);
    return hash->v0 ^ hash->v1 ^ hash->v2 ^ hash->v3;
}

uint64_t affs_name_hash(const uint8_t *key, uint64_t prefix, const void *name, size_t length)
{
    siphash hash;
    begin(&hash, key);
    if (prefix != 0) {
        uint8_t bytes[sizeof prefix];
        memcpy(bytes, &prefix, sizeof prefix);
        take(&hash, bytes, sizeof bytes);
    }
    take(&hash, name, length);
    uint64_t value = end(&hash) >> (64 - HASH_BITS);
    return value == 0 ? 1 : value;
}
