/* Fuzzing of nodes: whatever bytes a device gives, reading and changing a tree stays inside its
 * memory, and what the freeze writes afterwards verifies.
 *
 * The input holds the bytes of a leaf and of an inner node above it (from their address fields
 * on). Frames, identity and checksums are made right here, and the inner node's entries are led
 * to the leaf, or no input would get past the checksums. With libFuzzer: compile this file and
 * those of native/src with clang -g -O1 -fsanitize=fuzzer,address,undefined.
 * native/tests/test_node_fuzz.c runs it on seeded mutations of good nodes.
 */
#include <stdlib.h>

#include "tree_private.h"

#define BODY_AT offsetof(affs_node_header, address)
#define BODY_SIZE (AFFS_NODE_SIZE - BODY_AT)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const uint8_t fuzz_uuid[16] = "fuzzed uuid";
static const uint8_t fuzz_salt[16] = "fuzzed salt";

static void fuzz_require(bool condition)
{
    if (!condition)
        abort();
}

static affs_pointer seal_node(affs_node_image *image)
{
    memcpy(image->header.uuid, fuzz_uuid, sizeof fuzz_uuid);
    memcpy(image->header.salt, fuzz_salt, sizeof fuzz_salt);
    affs_seal(image->bytes, AFFS_NODE_SIZE, AFFS_MAGIC_NODE, AFFS_KIND_NODE);
    affs_pointer pointer = {
        .address = image->header.address,
        .mirror_address = image->header.mirror_address,
        .birth = image->header.birth,
        .checksum_kind = AFFS_CHECKSUM_CRC32C,
        .level = image->header.level,
        .tree = image->header.tree,
    };
    memcpy(pointer.checksum, &image->header.header.checksum, sizeof image->header.header.checksum);
    return pointer;
}

static void take_body(affs_node_image *image, const uint8_t **data, size_t *size)
{
    const size_t length = *size < BODY_SIZE ? *size : BODY_SIZE;
    memset(image, 0, sizeof *image);
    memcpy(image->bytes + BODY_AT, *data, length);
    *data += length;
    *size -= length;
}

static void read_all(affs_tree *tree, const affs_key *key)
{
    static uint8_t buffer[32768];
    const affs_key end = {UINT64_MAX, UINT64_MAX, UINT8_MAX, {0}};
    size_t used;
    uint32_t count;
    affs_item item;
    (void)affs_tree_get(tree, key, &item);
    (void)affs_tree_touch(tree, key);
    for (int backward = 0; backward < 2; backward++) {
        if (affs_tree_seek(tree, key, backward, &item) != AFFS_OK)
            continue;
        fuzz_require(backward ? affs_key_compare(&item.key, key) <= 0
                              : affs_key_compare(&item.key, key) >= 0);
        fuzz_require(affs_verify_item(tree->kind, &item.key, item.payload, item.length) == AFFS_OK);
    }
    (void)affs_tree_scan(tree, key, &end, buffer, sizeof buffer, &used, &count);
    fuzz_require(used <= sizeof buffer);
    const uint64_t objects[] = {key->object, key->object + 1};
    uint32_t counts[2], done;
    (void)affs_tree_gather(tree, objects, 2, 0, UINT8_MAX, buffer, 8192, counts, &done);
    fuzz_require(done <= 2);
}

/* Puts and deletes at keys of the tree's own and near them. */
static void change(affs_tree *tree, affs_key key)
{
    static const uint8_t payload[AFFS_ITEM_MAX] = {1};
    for (unsigned step = 0; step < 24; step++) {
        affs_item item;
        if (affs_tree_seek(tree, &key, step % 2, &item) == AFFS_OK)
            key = item.key;
        if (step % 3 == 0)
            (void)affs_tree_delete(tree, &key);
        const uint32_t length = step % 4 == 0 ? AFFS_ITEM_MAX : step * 40 + 1;
        (void)affs_tree_put(tree, &key, payload, length, AFFS_PUT_ANY);
        key.offset += step;
        (void)affs_tree_put(tree, &key, payload, length, AFFS_PUT_INSERT);
    }
}

static void freeze_all(affs_tree *tree, affs_cache *cache, uint64_t birth)
{
    const uint32_t count = affs_tree_dirty_count(tree);
    uint64_t *addresses = calloc(count + 1, sizeof *addresses);
    affs_image *images = calloc(count + 1, sizeof *images);
    fuzz_require(addresses && images);
    for (uint32_t i = 0; i < count; i++)
        addresses[i] = UINT64_C(5) << 32 | (4 * i + 4);
    affs_pointer root;
    if (affs_tree_freeze(tree, birth, addresses, NULL, count, images, &root) == AFFS_OK) {
        for (uint32_t i = 0; i < count; i++)
            fuzz_require(affs_verify_node(images[i].image, AFFS_NODE_SIZE, fuzz_uuid, fuzz_salt,
                                          NULL) == AFFS_OK);
        affs_cache_written(cache, images, count);
    }
    free(addresses);
    free(images);
}

static void walk_and_compare(affs_cache *cache, affs_tree *tree, const affs_pointer *root)
{
    affs_tree *other = affs_tree_new(cache, tree->kind, root, 0);
    affs_walk *walk = affs_walk_new(cache, root, 0);
    affs_pointer pointer;
    unsigned steps = 0;
    fuzz_require(other && walk);
    while (affs_walk_next(walk, &pointer) == AFFS_OK)
        fuzz_require(++steps <= 1 + AFFS_ENTRIES_MAX);
    affs_diff *diff = affs_diff_new(tree, other);
    fuzz_require(diff != NULL);
    affs_diff_event event;
    for (steps = 0; affs_diff_next(diff, &event) == AFFS_OK; steps++)
        fuzz_require(steps < 1000000);
    affs_diff_free(diff);
    affs_walk_free(walk);
    affs_tree_free(other);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static affs_node_image leaf, inner;
    take_body(&leaf, &data, &size);
    take_body(&inner, &data, &size);
    const affs_pointer child = seal_node(&leaf);
    if (inner.header.item_count <= AFFS_ENTRIES_MAX)
        for (unsigned i = 0; i < inner.header.item_count; i++)
            inner.inner.entries[i].child = child;
    const affs_pointer top = seal_node(&inner);

    affs_cache *cache = affs_cache_new(0, fuzz_uuid, fuzz_salt);
    fuzz_require(cache != NULL);
    const bool leaf_good = affs_cache_install(cache, &child, &leaf, sizeof leaf) == AFFS_OK;
    const bool inner_good = affs_cache_install(cache, &top, &inner, sizeof inner) == AFFS_OK;
    if (leaf_good || inner_good) {
        const affs_pointer *root = inner_good ? &top : &child;
        affs_tree *tree = affs_tree_new(cache, root->tree, root, 1);
        fuzz_require(tree != NULL);
        affs_key key = leaf_good && leaf.header.item_count > 0
                           ? affs_slot_key(&leaf.leaf.slots[leaf.header.item_count / 2])
                           : inner.inner.entries[0].key;
        read_all(tree, &key);
        change(tree, key);
        read_all(tree, &key);
        walk_and_compare(cache, tree, root);
        freeze_all(tree, cache, root->birth + 1);
        read_all(tree, &key);
        affs_tree_free(tree);
    }
    affs_cache_free(cache);
    return 0;
}
