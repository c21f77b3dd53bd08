/* Carry-less multiplication in plain C, for CRC paths on machines that may lack an instruction
 * for it. */
#ifndef AFFS_CRC32C_MULTIPLY_H
#define AFFS_CRC32C_MULTIPLY_H

#include <stdint.h>

/* The bits of a value whose number is `phase` modulo four. */
static inline uint64_t affs_every_fourth(uint32_t value, unsigned phase)
{
    return value & (0x11111111U << phase);
}

/* Product of two polynomials of 32 bits over GF(2). Ordinary products of every fourth bit leave
 * three bits of room for the carries between them: at most eight ones meet in a place. */
static inline uint64_t affs_carryless_product(uint32_t a, uint32_t b)
{
    uint64_t product = 0;
    for (unsigned phase = 0; phase < 4; phase++) {
        uint64_t sum = 0;
        for (unsigned phase_a = 0; phase_a < 4; phase_a++)
            sum ^= affs_every_fourth(a, phase_a) * affs_every_fourth(b, (phase - phase_a) & 3U);
        product |= sum & (0x1111111111111111U << phase);
    }
    return product;
}

#endif
