/* CRC32C with SSE4.2's crc32 instruction and PCLMULQDQ, on x86-64 machines that have both. */
#include "crc32c.h"

#if defined(__x86_64__)

#include <nmmintrin.h>
#include <wmmintrin.h>

int affs_crc32c_sse42_available(void)
{
    __builtin_cpu_init();
    return __builtin_cpu_supports("sse4.2") && __builtin_cpu_supports("pclmul");
}

#define TARGET __attribute__((target("sse4.2,pclmul")))

TARGET static uint64_t product(uint32_t a, uint32_t b)
{
    __m128i wide = _mm_clmulepi64_si128(_mm_cvtsi64_si128((int64_t)(uint64_t)a),
                                        _mm_cvtsi64_si128((int64_t)(uint64_t)b), 0x00);
    return (uint64_t)_mm_cvtsi128_si64(wide);
}

#define STREAM_FUNCTION affs_crc32c_sse42
#define STREAM_TARGET TARGET
#define STREAM_WORD(state, word) ((uint32_t)_mm_crc32_u64((state), (word)))
#define STREAM_BYTE(state, byte) _mm_crc32_u8((state), (byte))
#define STREAM_PRODUCT(a, b) product((a), (b))
#include "crc32c_streams.h"

#else

typedef int affs_crc32c_x86_is_empty; /* ISO C wants a declaration in every file */

#endif
