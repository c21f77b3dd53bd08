/* CRC32C: published vectors, every split, every length near a boundary; one suite over all
 * implementations that this machine has, and over the ARM path's algorithm with its instructions
 * emulated.
 */
#include <string.h>

#include "affs_core.h"
#include "check.h"
#include "crc32c.h"
#include "crc32c_multiply.h"

static uint32_t by_bits(uint32_t state, const uint8_t *data, size_t length)
{
    for (size_t index = 0; index < length; index++) {
        state ^= data[index];
        for (int bit = 0; bit < 8; bit++)
            state = state & 1U ? (state >> 1) ^ 0x82F63B78U : state >> 1;
    }
    return state;
}

static uint32_t word_step(uint32_t state, uint64_t word)
{
    uint8_t bytes[8];
    memcpy(bytes, &word, sizeof bytes);
    return affs_crc32c_portable(state, bytes, sizeof bytes);
}

static uint32_t byte_step(uint32_t state, uint8_t byte)
{
    return affs_crc32c_portable(state, &byte, 1);
}

uint32_t emulated_streams(uint32_t state, const uint8_t *data, size_t length);

#define STREAM_FUNCTION emulated_streams
#define STREAM_TARGET
#define STREAM_WORD(state, word) word_step((state), (word))
#define STREAM_BYTE(state, byte) byte_step((state), (byte))
#define STREAM_PRODUCT(a, b) affs_carryless_product((a), (b))
#include "crc32c_streams.h"

/* RFC 3720, appendix B.4, and the check value of the catalogue of CRCs. */
static void published_vectors(void)
{
    static const uint8_t read_command[48] = {
        0x01, 0xC0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x14, 0, 0, 0, 0, 0, 0x04, 0,
        0, 0, 0, 0x14, 0, 0, 0, 0x18, 0x28, 0, 0, 0, 0, 0, 0, 0, 0x02, 0, 0, 0, 0, 0, 0, 0};
    uint8_t bytes[32];
    CHECK_EQUAL(affs_crc32c(0, "123456789", 9), 0xE3069283U);
    CHECK_EQUAL(affs_crc32c(0, NULL, 0), 0);
    memset(bytes, 0, sizeof bytes);
    CHECK_EQUAL(affs_crc32c(0, bytes, sizeof bytes), 0x8A9136AAU);
    memset(bytes, 0xFF, sizeof bytes);
    CHECK_EQUAL(affs_crc32c(0, bytes, sizeof bytes), 0x62A8AB43U);
    for (size_t index = 0; index < sizeof bytes; index++)
        bytes[index] = (uint8_t)index;
    CHECK_EQUAL(affs_crc32c(0, bytes, sizeof bytes), 0x46DD794EU);
    for (size_t index = 0; index < sizeof bytes; index++)
        bytes[index] = (uint8_t)(31 - index);
    CHECK_EQUAL(affs_crc32c(0, bytes, sizeof bytes), 0x113FDB5CU);
    CHECK_EQUAL(affs_crc32c(0, read_command, sizeof read_command), 0xD9963A56U);
}

static void every_split(void)
{
    uint8_t bytes[1024];
    uint64_t seed = 1;
    uint32_t whole;
    check_fill(&seed, bytes, sizeof bytes);
    whole = affs_crc32c(0, bytes, sizeof bytes);
    CHECK_EQUAL(whole, ~by_bits(~0U, bytes, sizeof bytes));
    for (size_t at = 0; at <= sizeof bytes; at++) {
        uint32_t first = affs_crc32c(0, bytes, at);
        CHECK_EQUAL(affs_crc32c(first, bytes + at, sizeof bytes - at), whole);
    }
}

/* Every length up to 900, and those around the groups of three streams, at every alignment; each
 * buffer is exactly as long as said, so that a sanitizer sees a byte too many. */
static void lengths_and_alignments(affs_crc32c_function function)
{
    static const size_t around[] = {768, 4080, 4096, 4872, 12288, 16368, 20480, 65536};
    uint64_t seed = 2;
    size_t lengths[900 + 8 * 5];
    size_t count = 0;
    for (; count < 900; count++)
        lengths[count] = count;
    for (size_t index = 0; index < sizeof around / sizeof around[0]; index++)
        for (size_t off = 0; off < 5; off++)
            lengths[count++] = around[index] + off - 2;
    for (size_t index = 0; index < count; index++) {
        size_t shift = 1 + index % 8; /* bytes before the data, which must not matter */
        uint8_t *buffer = malloc(lengths[index] + shift);
        uint32_t state = (uint32_t)check_random(&seed);
        CHECK(buffer != NULL);
        check_fill(&seed, buffer, lengths[index] + shift);
        CHECK_EQUAL(function(state, buffer + shift, lengths[index]),
                    by_bits(state, buffer + shift, lengths[index]));
        free(buffer);
    }
}

static uint32_t chosen(uint32_t state, const uint8_t *data, size_t length)
{
    return ~affs_crc32c(~state, data, length);
}

static void blocks(void)
{
    enum { LENGTH = 3 * 4096 + 100 };
    uint8_t *data = malloc(LENGTH);
    uint32_t sums[4];
    uint8_t stored[sizeof sums];
    uint64_t seed = 3;
    CHECK(data != NULL);
    check_fill(&seed, data, LENGTH);
    affs_crc32c_blocks(data, LENGTH, 4096, sums);
    for (size_t index = 0; index < 4; index++)
        CHECK_EQUAL(sums[index], affs_crc32c(0, data + 4096 * index, index < 3 ? 4096 : 100));
    uint8_t *copy = malloc(LENGTH);
    uint32_t copied[4];
    CHECK(copy != NULL);
    affs_crc32c_copy(copy, data, LENGTH, 4096, copied);
    CHECK(memcmp(copy, data, LENGTH) == 0);
    CHECK(memcmp(copied, sums, sizeof sums) == 0);
    affs_crc32c_copy(copy, data, LENGTH, 0, copied); /* no block size, no work */
    free(copy);
    memcpy(stored, sums, sizeof sums);
    CHECK_EQUAL(affs_crc32c_first_bad(data, LENGTH, 4096, stored), -1);
    CHECK_EQUAL(affs_crc32c_first_bad(data, 0, 4096, stored), -1);
    for (int64_t block = 3; block >= 0; block--) { /* the first of several is told */
        data[4096 * block + 50] ^= 0x10;
        CHECK_EQUAL(affs_crc32c_first_bad(data, LENGTH, 4096, stored), block);
    }
    affs_crc32c_blocks(data, 0, 4096, sums);
    affs_crc32c_blocks(data, LENGTH, 0, sums); /* no block size, no work */
    free(data);
}

static void products(void)
{
    uint64_t seed = 4;
    for (int round = 0; round < 2000; round++) {
        uint32_t a = (uint32_t)check_random(&seed);
        uint32_t b = round == 0 ? ~0U : (uint32_t)check_random(&seed);
        uint64_t wanted = 0;
        if (round == 0)
            a = ~0U;
        for (int bit = 0; bit < 32; bit++)
            if (b >> bit & 1U)
                wanted ^= (uint64_t)a << bit;
        CHECK_EQUAL(affs_carryless_product(a, b), wanted);
    }
}

int main(void)
{
    static const char *const names[] = {"portable", "sse42", "arm", "auto"};
    int runs = 0;
    for (size_t index = 0; index < sizeof names / sizeof names[0]; index++) {
        if (affs_crc32c_select(names[index]) != AFFS_OK)
            continue;
        runs++;
        if (strcmp(names[index], "auto") != 0)
            CHECK_EQUAL(strcmp(affs_crc32c_implementation(), names[index]), 0);
        published_vectors();
        every_split();
        lengths_and_alignments(chosen);
        blocks();
    }
    CHECK(runs >= 2); /* portable and auto exist everywhere */
    CHECK_EQUAL(affs_crc32c_select("mmx"), AFFS_E_INVALID);
    CHECK_EQUAL(affs_crc32c_select(NULL), AFFS_E_INVALID);
    lengths_and_alignments(emulated_streams);
    products();
    return 0;
}
