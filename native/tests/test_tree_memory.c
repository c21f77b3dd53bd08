/* Running out of memory: a change that cannot have its memory changes nothing, and after
 * affs_cache_reserve changes take no new buffers.
 *
 * The cache and the changing half of the tree are compiled into this test, to look inside.
 */
#include <stdlib.h>

#include "check.h"

#include "../src/btree_write.c"
#include "../src/cache.c"

/* Without limit: that many. */
static void allow(uint64_t allocations)
{
    affs_memory_fail(allocations, 1);
}

static const uint8_t uuid[16] = "uuid of a volume";
static const uint8_t salt[16] = "salt of a volume";
static const uint8_t payload[AFFS_ITEM_MAX] = {1};

static affs_key key_of(unsigned number)
{
    return (affs_key){.object = number * 7919 % 4001, .type = AFFS_ITEM_OPERATION};
}

static affs_pointer freeze(affs_tree *tree, uint64_t birth)
{
    static uint64_t next = 1;
    static uint64_t addresses[8192];
    static affs_image images[8192];
    const uint32_t count = affs_tree_dirty_count(tree);
    CHECK(count <= 8192);
    for (uint32_t i = 0; i < count; i++)
        addresses[i] = 4 * next++;
    affs_pointer root;
    CHECK_EQUAL(affs_tree_freeze(tree, birth, addresses, NULL, count, images, &root), AFFS_OK);
    affs_cache_written(tree->cache, images, count);
    return root;
}

static unsigned count_items(affs_tree *tree)
{
    static uint8_t buffer[1 << 20];
    const affs_key end = {UINT64_MAX, 0, UINT8_MAX, {0}};
    affs_key from = {0};
    unsigned items = 0;
    int result;
    do {
        size_t used, at = 0;
        uint32_t count, length;
        result = affs_tree_scan(tree, &from, &end, buffer, sizeof buffer, &used, &count);
        for (uint32_t i = 0; i < count; i++) {
            memcpy(&from, buffer + at, sizeof from);
            memcpy(&length, buffer + at + sizeof from, sizeof length);
            at += 32 + (length + 7) / 8 * 8;
        }
        from.offset++;
        items += count;
    } while (result == AFFS_R_MORE);
    CHECK_EQUAL(result, AFFS_OK);
    return items;
}

/* Every operation is tried with 0, 1, 2 ... allocations until it succeeds. */
static void test_changes_are_whole(void)
{
    affs_cache *cache = affs_cache_new(0, uuid, salt);
    affs_tree *tree = affs_tree_new(cache, AFFS_TREE_SYSTEM, NULL, 1);
    unsigned items = 0, failures = 0;
    for (unsigned step = 0; step < 2500; step++) {
        const bool deleting = step >= 1200;
        const affs_key key = key_of(step % 1200);
        const uint32_t length = 1 + step * 37 % 3000;
        int result;
        for (int room = 0;; room++) {
            const uint32_t dirty = tree->dirty_count, dropped = tree->dropped_count;
            const affs_pointer root = tree->root;
            allow((uint64_t)room);
            result = deleting ? affs_tree_delete(tree, &key)
                              : affs_tree_put(tree, &key, payload, length, AFFS_PUT_INSERT);
            allow(UINT64_MAX);
            if (result != AFFS_E_NOMEM)
                break;
            failures++;
            CHECK_EQUAL(tree->dirty_count, dirty);
            CHECK_EQUAL(tree->dropped_count, dropped);
            CHECK(memcmp(&tree->root, &root, sizeof root) == 0);
            if (failures % 50 == 0)
                CHECK_EQUAL(count_items(tree), items);
        }
        CHECK_EQUAL(result, deleting && step >= 2400 ? AFFS_R_NOT_FOUND : AFFS_OK);
        items = deleting ? items - (result == AFFS_OK) : items + 1;
        if (step % 100 == 99)
            freeze(tree, step);
        if (step % 300 == 299) {
            /* Keep the stock of buffers empty, so that there is something to fail. */
            while (cache->stock)
                free(stock_take(cache));
            CHECK_EQUAL(count_items(tree), items);
        }
    }
    CHECK_EQUAL(items, 0);
    CHECK(failures > 100);
    affs_tree_free(tree);
    affs_cache_free(cache);
}

static void test_reserve(void)
{
    affs_cache *cache = affs_cache_new(0, uuid, salt);
    affs_tree *tree = affs_tree_new(cache, AFFS_TREE_SYSTEM, NULL, 1);
    allow(5);
    CHECK_EQUAL(affs_cache_reserve(cache, 300), AFFS_E_NOMEM);
    allow(UINT64_MAX);
    CHECK_EQUAL(affs_cache_reserve(cache, 300), AFFS_OK);
    CHECK_EQUAL(dropped_ensure(tree, 1000), AFFS_OK);
    CHECK_EQUAL(affs_cache_reserve(cache, UINT32_MAX), AFFS_E_NOMEM);
    allow(0);
    for (unsigned step = 0; tree->dirty_count < 300; step++) {
        const affs_key key = key_of(step);
        CHECK_EQUAL(affs_tree_put(tree, &key, payload, 3000, AFFS_PUT_ANY), AFFS_OK);
    }
    freeze(tree, 1); /* the hash would like to grow, and goes on without */
    allow(UINT64_MAX);
    CHECK(count_items(tree) > 300);
    affs_tree_free(tree);
    affs_cache_free(cache);
}

static void test_creation(void)
{
    for (int room = 0; room < 2; room++) {
        allow((uint64_t)room);
        CHECK(!affs_cache_new(0, uuid, salt));
    }
    allow(UINT64_MAX);
    affs_cache *cache = affs_cache_new(0, uuid, salt);
    for (int room = 0; room < 3; room++) {
        allow((uint64_t)room);
        CHECK(!affs_tree_new(cache, AFFS_TREE_SYSTEM, NULL, 1));
    }
    allow(UINT64_MAX);
    affs_tree *tree = affs_tree_new(cache, AFFS_TREE_SYSTEM, NULL, 1);
    const affs_key key = key_of(1);
    CHECK_EQUAL(affs_tree_put(tree, &key, payload, 10, AFFS_PUT_ANY), AFFS_OK);
    const affs_pointer root = freeze(tree, 1);
    affs_node *node;
    static uint8_t image[AFFS_NODE_SIZE];
    CHECK_EQUAL(affs_cache_peek(cache, &root, &node), AFFS_OK);
    memcpy(image, node->image.bytes, sizeof image);
    affs_cache_drop_clean(cache);
    while (cache->stock)
        free(stock_take(cache));
    allow(0);
    CHECK_EQUAL(affs_tree_set_root(tree, NULL), AFFS_E_NOMEM);
    CHECK_EQUAL(affs_cache_install(cache, &root, image, sizeof image), AFFS_E_NOMEM);
    allow(UINT64_MAX);
    CHECK(memcmp(&tree->root, &root, sizeof root) == 0);
    CHECK_EQUAL(affs_cache_install(cache, &root, image, sizeof image), AFFS_OK);
    CHECK_EQUAL(affs_cache_install(cache, &root, image, sizeof image), AFFS_OK);
    CHECK_EQUAL(count_items(tree), 1);
    affs_tree_free(tree);
    affs_cache_free(cache);
}

int main(void)
{
    test_creation();
    test_changes_are_whole();
    test_reserve();
    return 0;
}
