/* CRC32C over three interleaved streams, for machines with a CRC instruction; a template.
 *
 * The instruction takes a word each cycle but needs about three to give its result, so one stream
 * leaves it idle two thirds of the time. The data is cut into groups of three equal parts A, B, C;
 * their registers run side by side and are then joined:
 *
 *     A * x^(16 L) + B * x^(8 L) + C   (mod P; L = bytes of a part)
 *
 * In the bit-reflected form, a carry-less product of two 32-bit values, taken as eight bytes of
 * message by the instruction with a zero register, is their product times x^33; so the factors kept
 * in `groups` are x^(16 L - 33) and x^(8 L - 33) mod P. Four lengths of part keep short data fast;
 * a block of 4096 bytes is one group of 3 * 1360 and 16 bytes more.
 *
 * Before including it define:
 *   STREAM_FUNCTION           name of the function to define
 *   STREAM_TARGET             attributes of the functions
 *   STREAM_WORD(state, word)  the register after eight bytes
 *   STREAM_BYTE(state, byte)  the register after one byte
 *   STREAM_PRODUCT(a, b)      carry-less product of two 32-bit values, 64 bits
 */
#include <string.h>

typedef struct {
    size_t part;
    uint32_t factor_a;
    uint32_t factor_b;
} stream_group;

static const stream_group groups[] = {
    {4096, 0x54A86326U, 0x82F89C77U},
    {1360, 0x5AA1F3CFU, 0x3F70CC6FU},
    {256, 0xDD7E3B0CU, 0xB9E02B86U},
    {64, 0x0D3B6092U, 0x9E4ADDF8U},
};

#define STREAM_LOAD(word, at) memcpy(&(word), (at), sizeof(uint64_t))

STREAM_TARGET static uint32_t three_streams(uint32_t state, const uint8_t *data,
                                            const stream_group *group)
{
    const uint8_t *end = data + group->part;
    const size_t part = group->part;
    uint32_t a = state;
    uint32_t b = 0;
    uint32_t c = 0;
    uint64_t joined;
    for (; data < end; data += 16) { /* twice unrolled: all parts are multiples of 16 bytes */
        uint64_t word_a, word_b, word_c;
        STREAM_LOAD(word_a, data);
        STREAM_LOAD(word_b, data + part);
        STREAM_LOAD(word_c, data + 2 * part);
        a = STREAM_WORD(a, word_a);
        b = STREAM_WORD(b, word_b);
        c = STREAM_WORD(c, word_c);
        STREAM_LOAD(word_a, data + 8);
        STREAM_LOAD(word_b, data + part + 8);
        STREAM_LOAD(word_c, data + 2 * part + 8);
        a = STREAM_WORD(a, word_a);
        b = STREAM_WORD(b, word_b);
        c = STREAM_WORD(c, word_c);
    }
    joined = STREAM_PRODUCT(a, group->factor_a) ^ STREAM_PRODUCT(b, group->factor_b);
    return STREAM_WORD(0, joined) ^ c;
}

STREAM_TARGET uint32_t STREAM_FUNCTION(uint32_t state, const uint8_t *data, size_t length)
{
    for (size_t index = 0; index < sizeof groups / sizeof groups[0]; index++) {
        const size_t whole = 3 * groups[index].part;
        for (; length >= whole; length -= whole) {
            state = three_streams(state, data, &groups[index]);
            data += whole;
        }
    }
    for (; length >= sizeof(uint64_t); length -= sizeof(uint64_t)) {
        uint64_t word;
        STREAM_LOAD(word, data);
        state = STREAM_WORD(state, word);
        data += sizeof word;
    }
    for (; length > 0; length--) {
        state = STREAM_BYTE(state, *data);
        data++;
    }
    return state;
}
