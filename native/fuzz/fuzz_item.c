/* Fuzzing of item payloads: verifying reads no byte outside of the payload, and what passes can be
 * read by its counts without a further check. The input is the number of the tree (one byte), the
 * key (24 bytes), then the payload. Run by native/fuzz/run.
 */
#include "fuzz.h"

#define PREFIX (1 + sizeof(affs_key))

/* Touch all that the counts of an accepted payload name; the sanitizer sees a byte too far. */
static void read_accepted(const affs_key *key, const uint8_t *payload, size_t length)
{
    affs_name name;
    affs_xattr xattr;
    affs_extent extent;
    affs_state state;
    switch (key->type) {
    case AFFS_ITEM_PARENT:
    case AFFS_ITEM_DENTRY:
        memcpy(&name, payload, sizeof name);
        FUZZ_REQUIRE(sizeof name + name.name_length == length);
        FUZZ_REQUIRE(memchr(payload + sizeof name, '/', name.name_length) == NULL);
        break;
    case AFFS_ITEM_XATTR:
        memcpy(&xattr, payload, sizeof xattr);
        FUZZ_REQUIRE(sizeof xattr + xattr.name_length <= length);
        if (xattr.storage == AFFS_XATTR_INLINE)
            FUZZ_REQUIRE(sizeof xattr + xattr.name_length + xattr.value_length == length);
        break;
    case AFFS_ITEM_EXTENT:
        memcpy(&extent, payload, sizeof extent);
        FUZZ_REQUIRE(sizeof extent + 4 * (size_t)extent.blocks == length);
        FUZZ_REQUIRE(extent.length <= extent.blocks * (uint64_t)AFFS_BLOCK_SIZE);
        FUZZ_REQUIRE(key->offset + extent.length <= (uint64_t)INT64_MAX);
        FUZZ_REQUIRE((extent.address & UINT32_MAX) + extent.blocks <= 1U << 18);
        break;
    case AFFS_ITEM_STATE:
        memcpy(&state, payload, sizeof state);
        FUZZ_REQUIRE(sizeof state + state.label_length + state.author_length +
                         state.message_length ==
                     length);
        break;
    default:
        break;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    affs_key key;
    uint8_t *payload;
    size_t length;
    if (size < PREFIX)
        return 0;
    memcpy(&key, data + 1, sizeof key);
    length = size - PREFIX;
    payload = malloc(length == 0 ? 1 : length); /* exactly as long: a byte too far is seen */
    FUZZ_REQUIRE(payload != NULL);
    memcpy(payload, data + PREFIX, length);
    if (affs_verify_item(data[0], &key, payload, length) == AFFS_OK) {
        FUZZ_REQUIRE(length <= AFFS_ITEM_MAX);
        read_accepted(&key, payload, length);
    }
    free(payload);
    return 0;
}
