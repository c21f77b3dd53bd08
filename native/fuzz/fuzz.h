/* What the fuzz targets share. Each defines libFuzzer's entry, so that tests can call it too. */
#ifndef AFFS_FUZZ_H
#define AFFS_FUZZ_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "affs_core.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A promise that does not hold ends the run, and the input that broke it is kept. */
#define FUZZ_REQUIRE(condition) \
    do { \
        if (!(condition)) { \
            fprintf(stderr, "%s:%d: not true: %s\n", __FILE__, __LINE__, #condition); \
            abort(); \
        } \
    } while (0)

/* A structure whose bytes behind the header come from the input, in a good frame. */
static inline void fuzz_frame(void *structure, uint32_t length, uint32_t magic, uint16_t kind,
                              const uint8_t *data, size_t size)
{
    const size_t room = length - sizeof(affs_header);
    memset(structure, 0, length);
    memcpy((uint8_t *)structure + sizeof(affs_header), data, size < room ? size : room);
    affs_seal(structure, length, magic, kind);
}

/* Verify a copy that ends where its allocation ends. */
static inline int fuzz_exact(int (*verify)(const void *, size_t), const void *bytes, size_t size)
{
    uint8_t *exact = malloc(size == 0 ? 1 : size);
    int result;
    FUZZ_REQUIRE(exact != NULL);
    memcpy(exact, bytes, size);
    result = verify(exact, size);
    free(exact);
    return result;
}

#endif
