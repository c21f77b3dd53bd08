/* CRC32C (Castagnoli, polynomial 0x1EDC6F41, reflected 0x82F63B78) without special instructions.
 *
 * Slicing-by-8: table k holds the effect of a byte that stands k bytes before the end of an
 * eight-byte group, so that one group costs eight independent look-ups. The tables are filled in
 * when the module is loaded, before any caller can run, and never written again.
 */
#include <string.h>

#include "crc32c.h"

#define POLYNOMIAL 0x82F63B78U
#define SLICES 8

static uint32_t tables[SLICES][256];

__attribute__((constructor)) static void fill_tables(void)
{
    for (uint32_t byte = 0; byte < 256; byte++) {
        uint32_t state = byte;
        for (int bit = 0; bit < 8; bit++)
            state = (state >> 1) ^ (POLYNOMIAL & (0U - (state & 1U)));
        tables[0][byte] = state;
    }
    for (int slice = 1; slice < SLICES; slice++)
        for (uint32_t byte = 0; byte < 256; byte++) {
            uint32_t before = tables[slice - 1][byte];
            tables[slice][byte] = (before >> 8) ^ tables[0][before & 0xFFU];
        }
}

static uint32_t one_byte(uint32_t state, uint8_t byte)
{
    return (state >> 8) ^ tables[0][(state ^ byte) & 0xFFU];
}

uint32_t affs_crc32c_portable(uint32_t state, const uint8_t *data, size_t length)
{
    while (length >= SLICES) {
        uint64_t group;
        memcpy(&group, data, sizeof group);
        group ^= state;
        state = tables[7][group & 0xFFU] ^ tables[6][(group >> 8) & 0xFFU] ^
                tables[5][(group >> 16) & 0xFFU] ^ tables[4][(group >> 24) & 0xFFU] ^
                tables[3][(group >> 32) & 0xFFU] ^ tables[2][(group >> 40) & 0xFFU] ^
                tables[1][(group >> 48) & 0xFFU] ^ tables[0][group >> 56];
        data += SLICES;
        length -= SLICES;
    }
    while (length > 0) {
        state = one_byte(state, *data);
        data++;
        length--;
    }
    return state;
}
