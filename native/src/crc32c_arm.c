/* CRC32C with ARMv8's CRC instructions. The three streams are joined by products in plain C, since
 * some machines (Raspberry Pi 4) have the CRC instructions but none for carry-less multiplication.
 */
#include "crc32c.h"

#if defined(__aarch64__)

#include <arm_acle.h>

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

#if defined(__clang__)
#define TARGET __attribute__((target("crc")))
#else
#define TARGET __attribute__((target("+crc")))
#endif

#define STREAM_FUNCTION affs_crc32c_arm
#define STREAM_TARGET TARGET
#define STREAM_WORD(state, word) __crc32cd((state), (word))
#define STREAM_BYTE(state, byte) __crc32cb((state), (byte))
#define STREAM_PRODUCT(a, b) affs_carryless_product((a), (b))
#include "crc32c_streams.h"

#else

typedef int affs_crc32c_arm_is_empty; /* ISO C wants a declaration in every file */

#endif
