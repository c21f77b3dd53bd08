/* What the C tests share: a check that says where it failed, and a seeded generator. */
#ifndef AFFS_CHECK_H
#define AFFS_CHECK_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

/* Ends the test run with a message when the condition does not hold. */
#define CHECK(condition) \
    do { \
        if (!(condition)) { \
            fprintf(stderr, "%s:%d: %s: not true: %s\n", __FILE__, __LINE__, __func__, \
                    #condition); \
            exit(1); \
        } \
    } while (0)

/* Both are integers; shows them when they differ. */
#define CHECK_EQUAL(got, wanted) \
    do { \
        long long got_ = (long long)(got); \
        long long wanted_ = (long long)(wanted); \
        if (got_ != wanted_) { \
            fprintf(stderr, "%s:%d: %s: %s is %lld (%llx), not %lld (%llx)\n", __FILE__, __LINE__, \
                    __func__, #got, got_, (unsigned long long)got_, wanted_, \
                    (unsigned long long)wanted_); \
            exit(1); \
        } \
    } while (0)

/* splitmix64: the same seed gives the same numbers everywhere. */
static inline uint64_t check_random(uint64_t *seed)
{
    uint64_t value = (*seed += 0x9E3779B97F4A7C15U);
    value = (value ^ (value >> 30)) * 0xBF58476D1CE4E5B9U;
    value = (value ^ (value >> 27)) * 0x94D049BB133111EBU;
    return value ^ (value >> 31);
}

static inline void check_fill(uint64_t *seed, uint8_t *bytes, size_t length)
{
    for (size_t index = 0; index < length; index++)
        bytes[index] = (uint8_t)check_random(seed);
}

#endif
