/* CRC32C inside the core: the implementations that crc32c.c chooses from.
 *
 * Every implementation works on the bare register (crc32c.c does the inversions before and after)
 * and is a pure function of its arguments. `available` tells whether this machine has the
 * instructions; a function whose `available` said 0 must not be called.
 */
#ifndef AFFS_CRC32C_H
#define AFFS_CRC32C_H

#include <stddef.h>
#include <stdint.h>

typedef uint32_t (*affs_crc32c_function)(uint32_t state, const uint8_t *data, size_t length);

/* Slicing-by-8: eight table look-ups for eight bytes, on any machine. */
uint32_t affs_crc32c_portable(uint32_t state, const uint8_t *data, size_t length);

#if defined(__x86_64__)
int affs_crc32c_sse42_available(void);
uint32_t affs_crc32c_sse42(uint32_t state, const uint8_t *data, size_t length);
#endif

#if defined(__aarch64__)
int affs_crc32c_arm_available(void);
uint32_t affs_crc32c_arm(uint32_t state, const uint8_t *data, size_t length);
#endif

#endif
