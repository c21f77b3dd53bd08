/* The node cache: clean, frozen and dirty nodes of many trees in buffers of one size.
 *
 * Clean and frozen nodes are found by address, birth and address space; a freeze that reuses an
 * address has another birth, so a stale node is never taken for a new one. Dirty nodes are found
 * by id. Clean nodes are listed by use; only affs_cache_trim and affs_cache_drop_clean evict
 * them, so a pointer into a node stays good while an operation runs. Buffers of nodes that went
 * are kept for the next ones up to a limit, and affs_cache_reserve fills that stock ahead, so
 * that what follows cannot fail for want of memory.
 */
#include <stdlib.h>

#include "memory.h"
#include "tree_private.h"

#define BUCKETS_FIRST 256
#define DIRTY_FIRST 64
#define STOCK_MAX 256   /* free buffers kept beyond what is reserved: 4 MiB */
#define NODES_MIN 64    /* bytes_max below this many nodes counts as this many */
#define OPERATION_NODES (2 * AFFS_LEVELS_MAX + 4) /* the most that one change can take */

struct affs_cache {
    affs_node **buckets;
    size_t bucket_mask;
    affs_node *stock; /* free nodes, by chain */
    affs_node_list used; /* clean nodes, most recently used first */
    affs_node **dirty; /* by id */
    uint32_t *dirty_free; /* stack of unused ids */
    uint32_t dirty_capacity;
    uint32_t dirty_free_count;
    uint32_t stock_count;
    uint32_t reserved; /* of the stock: promised to changes */
    uint32_t holders; /* the owner, and each tree, walk and diff */
    uint64_t clean_count;
    uint64_t frozen_count;
    uint64_t dirty_count;
    uint64_t bytes_max;
    uint64_t hits;
    uint64_t misses;
    uint64_t evictions;
    uint8_t uuid[16];
    uint8_t salt[16];
};

affs_cache *affs_cache_new(uint64_t bytes_max, const uint8_t *uuid, const uint8_t *salt)
{
    affs_cache *cache = affs_memory_zeroed(1, sizeof *cache);
    if (!cache)
        return NULL;
    cache->buckets = affs_memory_zeroed(BUCKETS_FIRST, sizeof *cache->buckets);
    if (!cache->buckets) {
        free(cache);
        return NULL;
    }
    cache->bucket_mask = BUCKETS_FIRST - 1;
    cache->holders = 1;
    const uint64_t least = (uint64_t)NODES_MIN * AFFS_NODE_SIZE;
    cache->bytes_max = bytes_max < least ? least : bytes_max;
    memcpy(cache->uuid, uuid, sizeof cache->uuid);
    memcpy(cache->salt, salt, sizeof cache->salt);
    return cache;
}

static void free_chain(affs_node *node)
{
    while (node) {
        affs_node *next = node->chain;
        free(node);
        node = next;
    }
}

void affs_cache_hold(affs_cache *cache)
{
    cache->holders++;
}

void affs_cache_release(affs_cache *cache)
{
    if (--cache->holders > 0)
        return;
    for (size_t i = 0; i <= cache->bucket_mask; i++)
        free_chain(cache->buckets[i]);
    free_chain(cache->stock);
    free(cache->buckets);
    free(cache->dirty);
    free(cache->dirty_free);
    free(cache);
}

void affs_cache_free(affs_cache *cache)
{
    if (cache)
        affs_cache_release(cache);
}

const uint8_t *affs_cache_uuid(const affs_cache *cache)
{
    return cache->uuid;
}

const uint8_t *affs_cache_salt(const affs_cache *cache)
{
    return cache->salt;
}

/* ---- buffers ---- */

static affs_node *node_new(void)
{
    _Static_assert(AFFS_NODE_SIZE % 64 == 0, "images are aligned to cache lines");
    const size_t size = (sizeof(affs_node) + 63) / 64 * 64;
    return affs_memory_aligned(64, size);
}

static int stock_fill(affs_cache *cache, uint32_t nodes)
{
    while (cache->stock_count < nodes) {
        affs_node *node = node_new();
        if (!node)
            return AFFS_E_NOMEM;
        node->state = AFFS_NODE_FREE;
        node->chain = cache->stock;
        cache->stock = node;
        cache->stock_count++;
    }
    return AFFS_OK;
}

static affs_node *stock_take(affs_cache *cache)
{
    affs_node *node = cache->stock;
    cache->stock = node->chain;
    cache->stock_count--;
    return node;
}

static void stock_give(affs_cache *cache, affs_node *node)
{
    if (cache->stock_count >= STOCK_MAX && cache->stock_count >= cache->reserved) {
        free(node);
        return;
    }
    node->state = AFFS_NODE_FREE;
    node->chain = cache->stock;
    cache->stock = node;
    cache->stock_count++;
}

static int dirty_grow(affs_cache *cache, uint32_t more)
{
    if (cache->dirty_free_count >= more)
        return AFFS_OK;
    uint32_t capacity = cache->dirty_capacity ? cache->dirty_capacity : DIRTY_FIRST;
    while (capacity - cache->dirty_capacity + cache->dirty_free_count < more) {
        if (capacity > UINT32_MAX / 2)
            return AFFS_E_NOMEM;
        capacity *= 2;
    }
    affs_node **dirty = affs_memory_resized(cache->dirty, capacity * sizeof *dirty);
    if (!dirty)
        return AFFS_E_NOMEM;
    cache->dirty = dirty;
    uint32_t *unused = affs_memory_resized(cache->dirty_free, capacity * sizeof *unused);
    if (!unused)
        return AFFS_E_NOMEM;
    cache->dirty_free = unused;
    for (uint32_t id = capacity; id-- > cache->dirty_capacity;) {
        cache->dirty[id] = NULL;
        cache->dirty_free[cache->dirty_free_count++] = id;
    }
    cache->dirty_capacity = capacity;
    return AFFS_OK;
}

int affs_cache_ensure(affs_cache *cache, uint32_t nodes)
{
    int result = dirty_grow(cache, nodes);
    return result == AFFS_OK ? stock_fill(cache, nodes) : result;
}

int affs_cache_reserve(affs_cache *cache, uint32_t nodes)
{
    if (nodes > UINT32_MAX - OPERATION_NODES)
        return AFFS_E_NOMEM;
    const uint32_t wanted = nodes + OPERATION_NODES;
    int result = affs_cache_ensure(cache, wanted);
    if (result == AFFS_OK && cache->reserved < wanted)
        cache->reserved = wanted;
    return result;
}

/* ---- the hash of clean and frozen nodes ---- */

static size_t bucket_of(const affs_cache *cache, uint64_t address, uint64_t birth)
{
    uint64_t hash = (address ^ (birth << 20)) * UINT64_C(0x9E3779B97F4A7C15);
    return (size_t)(hash >> 32) & cache->bucket_mask;
}

static affs_node *hash_find(const affs_cache *cache, uint64_t address, uint64_t birth,
                            uint8_t space)
{
    affs_node *node = cache->buckets[bucket_of(cache, address, birth)];
    while (node && (node->address != address || node->birth != birth || node->space != space))
        node = node->chain;
    return node;
}

/* A table that cannot grow only makes chains longer, so a failure is not one. */
static void hash_grow(affs_cache *cache)
{
    const size_t size = cache->bucket_mask + 1;
    if (cache->clean_count + cache->frozen_count < size)
        return;
    affs_node **old = cache->buckets;
    affs_node **buckets = affs_memory_zeroed(size * 2, sizeof *buckets);
    if (!buckets)
        return;
    cache->buckets = buckets;
    cache->bucket_mask = size * 2 - 1;
    for (size_t i = 0; i < size; i++) {
        for (affs_node *node = old[i], *next; node; node = next) {
            next = node->chain;
            size_t bucket = bucket_of(cache, node->address, node->birth);
            node->chain = buckets[bucket];
            buckets[bucket] = node;
        }
    }
    free(old);
}

static void hash_insert(affs_cache *cache, affs_node *node)
{
    node->address = node->image.header.address;
    node->birth = node->image.header.birth;
    node->space = affs_tree_space(node->image.header.tree);
    size_t bucket = bucket_of(cache, node->address, node->birth);
    node->chain = cache->buckets[bucket];
    cache->buckets[bucket] = node;
}

static void evict(affs_cache *cache, affs_node *node)
{
    size_t bucket = bucket_of(cache, node->address, node->birth);
    affs_node **link = &cache->buckets[bucket];
    while (*link != node)
        link = &(*link)->chain;
    *link = node->chain;
    affs_list_remove(&cache->used, node);
    cache->clean_count--;
    stock_give(cache, node);
}

/* ---- finding ---- */

static int fetch_dirty(const affs_cache *cache, const affs_pointer *pointer, affs_node **node)
{
    const uint64_t id = pointer->address & ~AFFS_DIRTY;
    if (id >= cache->dirty_capacity || !cache->dirty[id])
        return AFFS_E_INVALID;
    *node = cache->dirty[id];
    return AFFS_OK;
}

int affs_cache_peek(affs_cache *cache, const affs_pointer *pointer, affs_node **node)
{
    if (affs_pointer_dirty(pointer))
        return fetch_dirty(cache, pointer, node);
    affs_node *found =
        hash_find(cache, pointer->address, pointer->birth, affs_tree_space(pointer->tree));
    if (!found)
        return AFFS_R_MISSING;
    const affs_node_header *header = &found->image.header;
    if (header->tree != pointer->tree || header->level != pointer->level)
        return AFFS_E_IDENTITY;
    if (memcmp(&header->header.checksum, pointer->checksum, sizeof header->header.checksum) != 0)
        return AFFS_E_CHECKSUM;
    *node = found;
    return AFFS_OK;
}

int affs_cache_fetch(affs_cache *cache, const affs_pointer *pointer, affs_node **node)
{
    int result = affs_cache_peek(cache, pointer, node);
    if (result != AFFS_OK) {
        cache->misses += result == AFFS_R_MISSING;
        return result;
    }
    cache->hits++;
    affs_node *found = *node;
    if (found->state == AFFS_NODE_CLEAN && cache->used.first != found) {
        affs_list_remove(&cache->used, found);
        affs_list_push(&cache->used, found);
    }
    return AFFS_OK;
}

bool affs_cache_holds(const affs_cache *cache, uint64_t address, uint64_t birth, uint8_t tree)
{
    return hash_find(cache, address, birth, affs_tree_space(tree)) != NULL;
}

/* ---- coming and going ---- */

int affs_cache_install(affs_cache *cache, const affs_pointer *pointer, const void *image,
                       size_t length)
{
    int result = affs_verify_node(image, length, cache->uuid, cache->salt, pointer);
    if (result != AFFS_OK)
        return result;
    affs_node_header header;
    memcpy(&header, image, sizeof header);
    if (affs_cache_holds(cache, header.address, header.birth, header.tree))
        return AFFS_OK;
    affs_node *node = cache->stock_count > cache->reserved ? stock_take(cache) : node_new();
    if (!node)
        return AFFS_E_NOMEM;
    hash_grow(cache);
    memcpy(node->image.bytes, image, AFFS_NODE_SIZE);
    node->state = AFFS_NODE_CLEAN;
    hash_insert(cache, node);
    affs_list_push(&cache->used, node);
    cache->clean_count++;
    return AFFS_OK;
}

affs_node *affs_cache_take_dirty(affs_cache *cache)
{
    affs_node *node = stock_take(cache);
    if (cache->reserved > 0)
        cache->reserved--;
    node->state = AFFS_NODE_DIRTY;
    node->dirty_id = cache->dirty_free[--cache->dirty_free_count];
    cache->dirty[node->dirty_id] = node;
    cache->dirty_count++;
    return node;
}

static void forget_id(affs_cache *cache, const affs_node *node)
{
    cache->dirty[node->dirty_id] = NULL;
    cache->dirty_free[cache->dirty_free_count++] = node->dirty_id;
    cache->dirty_count--;
}

void affs_cache_drop_dirty(affs_cache *cache, affs_node *node)
{
    forget_id(cache, node);
    stock_give(cache, node);
}

void affs_cache_freeze(affs_cache *cache, affs_node *node)
{
    forget_id(cache, node);
    hash_grow(cache);
    node->state = AFFS_NODE_FROZEN;
    node->previous = node->next = NULL;
    hash_insert(cache, node);
    cache->frozen_count++;
}

void affs_cache_written(affs_cache *cache, const affs_image *images, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        /* An image is the first member of its node, which stays while it is frozen. */
        affs_node *node = (affs_node *)(uintptr_t)images[i].image;
        if (node->state != AFFS_NODE_FROZEN || node->address != images[i].address)
            continue;
        node->state = AFFS_NODE_CLEAN;
        affs_list_push(&cache->used, node);
        cache->frozen_count--;
        cache->clean_count++;
    }
}

static uint64_t bytes_held(const affs_cache *cache)
{
    return (cache->clean_count + cache->frozen_count + cache->dirty_count) * AFFS_NODE_SIZE;
}

/* A quarter is for clean nodes even where dirty ones take all the room: an operation that needs
 * several nodes would otherwise lose each as it loads the next, and never end. */
void affs_cache_trim(affs_cache *cache)
{
    uint64_t kept = cache->bytes_max / AFFS_NODE_SIZE / 4;
    while (cache->clean_count > kept && bytes_held(cache) > cache->bytes_max) {
        evict(cache, cache->used.last);
        cache->evictions++;
    }
}

void affs_cache_drop_clean(affs_cache *cache)
{
    while (cache->used.last) {
        evict(cache, cache->used.last);
        cache->evictions++;
    }
}

void affs_cache_forget(affs_cache *cache, uint64_t address, uint64_t birth, uint8_t tree)
{
    affs_node *node = hash_find(cache, address, birth, affs_tree_space(tree));
    if (node && node->state == AFFS_NODE_CLEAN)
        evict(cache, node);
}

void affs_cache_get_statistics(affs_cache *cache, affs_cache_statistics *statistics)
{
    *statistics = (affs_cache_statistics){
        .node_count = cache->clean_count + cache->frozen_count + cache->dirty_count,
        .dirty_count = cache->dirty_count,
        .frozen_count = cache->frozen_count,
        .bytes_max = cache->bytes_max,
        .hits = cache->hits,
        .misses = cache->misses,
        .evictions = cache->evictions,
    };
}
