/* CRC32C with ARMv8's CRC instructions. The three streams are joined by products in plain C, since
 * some machines (Raspberry Pi 4) have the CRC instructions but none for carry-less multiplication.
 *
 * The instructions stand in assembly: arm_acle.h hides their functions unless the whole file is
 * compiled for machines that have them, which this core must not be.
 */
#include "crc32c.h"

#if defined(__aarch64__)

#include "crc32c_multiply.h"

#if defined(__linux__)
#include <sys/auxv.h>
#define HARDWARE_CRC32 (1UL << 7) /* HWCAP_CRC32 of Linux's ABI for AT_HWCAP */

int affs_crc32c_arm_available(void)
{
    return (getauxval(AT_HWCAP) & HARDWARE_CRC32) != 0;
}
#else
int affs_crc32c_arm_available(void)
{
    return 0;
}
#endif

static inline uint32_t step_word(uint32_t state, uint64_t word)
{
    uint32_t result;
    __asm__(".arch_extension crc\n\tcrc32cx %w0, %w1, %x2" : "=r"(result) : "r"(state), "r"(word));
    return result;
}

static inline uint32_t step_byte(uint32_t state, uint8_t byte)
{
    uint32_t result;
    __asm__(".arch_extension crc\n\tcrc32cb %w0, %w1, %w2"
            : "=r"(result)
            : "r"(state), "r"((uint32_t)byte));
    return result;
}

#define STREAM_FUNCTION affs_crc32c_arm
#define STREAM_TARGET
#define STREAM_WORD(state, word) step_word((state), (word))
#define STREAM_BYTE(state, byte) step_byte((state), (byte))
#define STREAM_PRODUCT(a, b) affs_carryless_product((a), (b))
#include "crc32c_streams.h"

#else

typedef int affs_crc32c_arm_is_empty; /* ISO C wants a declaration in every file */

#endif
