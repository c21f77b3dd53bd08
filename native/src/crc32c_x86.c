/* CRC32C with SSE4.2's crc32 instruction. */
#include "crc32c.h"

#if defined(__x86_64__)
#include <nmmintrin.h>
#include <string.h>

int affs_crc32c_sse42_available(void)
{
    __builtin_cpu_init();
    return __builtin_cpu_supports("sse4.2") && __builtin_cpu_supports("pclmul");
}

__attribute__((target("sse4.2"))) uint32_t affs_crc32c_sse42(uint32_t state, const uint8_t *data,
                                                             size_t length)
{
    uint64_t wide = state;
    for (; length >= 8; length -= 8) {
        uint64_t word;
        memcpy(&word, data, 8);
        wide = _mm_crc32_u64(wide, word);
        data += 8;
    }
    state = (uint32_t)wide;
    for (; length > 0; length--)
        state = _mm_crc32_u8(state, *data++);
    return state;
}
#else
typedef int affs_crc32c_x86_is_empty;
#endif
