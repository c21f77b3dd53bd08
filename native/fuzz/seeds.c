/* Writes the examples of native/tests/samples.h into the folders that fuzzing begins with: DIR gets
 * superblock/, commit/ and item/, each with one file for each example, in the form that the target
 * of that name takes. Run by native/fuzz/run.
 */
#include <stdio.h>
#include <stdlib.h>

#include "samples.h"

static void put(const char *folder, const char *target, size_t number, const void *first,
                size_t first_size, const void *second, size_t second_size)
{
    char path[4096];
    FILE *file;
    int length = snprintf(path, sizeof path, "%s/%s/%zu", folder, target, number);
    if (length < 0 || (size_t)length >= sizeof path)
        exit(2);
    file = fopen(path, "wb");
    if (file == NULL || fwrite(first, 1, first_size, file) != first_size ||
        fwrite(second, 1, second_size, file) != second_size || fclose(file) != 0) {
        perror(path);
        exit(1);
    }
}

/* The bytes behind the frame. */
static void put_framed(const char *folder, const char *target, size_t number, const void *block)
{
    const uint8_t *bytes = block;
    const size_t header = sizeof(affs_header);
    put(folder, target, number, bytes + header, AFFS_BLOCK_SIZE - header, "", 0);
}

int main(int count, char **arguments)
{
    static sample_item items[SAMPLES_MAX];
    const affs_superblock superblock = sample_superblock();
    const affs_owner owner = sample_owner();
    const affs_segment_header segment = sample_segment_header();
    const affs_commit commit = sample_commit();
    if (count != 2)
        return 2;
    put_framed(arguments[1], "superblock", 0, &superblock);
    put_framed(arguments[1], "superblock", 1, &owner);
    put_framed(arguments[1], "superblock", 2, &segment);
    put_framed(arguments[1], "commit", 0, &commit);
    const size_t item_count = sample_items(items);
    for (size_t index = 0; index < item_count; index++) {
        uint8_t prefix[1 + sizeof(affs_key)];
        prefix[0] = items[index].tree;
        memcpy(prefix + 1, &items[index].key, sizeof(affs_key));
        put(arguments[1], "item", index, prefix, sizeof prefix, items[index].payload,
            items[index].length);
    }
    return 0;
}
