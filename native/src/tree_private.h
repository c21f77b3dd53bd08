/* Trees inside the core: what node, cache, tree, walk and diff share.
 *
 * Invariants:
 * - A node in the cache is free, clean (on the device, evictable), frozen (has its address and
 *   final bytes, waits to be written, pinned) or dirty (belongs to one tree, has an id instead of
 *   an address, pinned).
 * - All nodes above a dirty node are dirty. A clean or frozen node never changes.
 * - The first key of a node, and so of everything below it, is not below the key of the entry
 *   that leads to it; its last key is below the next entry's key. For a search the leftmost entry
 *   is minus infinity.
 * - One thread at a time calls functions of a cache and its trees. Only affs_verify_node, which
 *   touches no cache, may run anywhere.
 */
#ifndef AFFS_TREE_PRIVATE_H
#define AFFS_TREE_PRIVATE_H

#include <stdbool.h>
#include <string.h>

#include "affs_core.h"

/* Set in the address of a pointer to a dirty node; the rest is its id. A pointer with it is never
 * valid on a device. */
#define AFFS_DIRTY (UINT64_C(1) << 63)

#define AFFS_NODE_ROOM (AFFS_NODE_SIZE - AFFS_NODE_HEADER_SIZE)
#define AFFS_SLOTS_MAX (AFFS_NODE_ROOM / AFFS_SLOT_SIZE)
#define AFFS_ENTRIES_MAX (AFFS_NODE_ROOM / AFFS_ENTRY_SIZE)

/* Below this a node looks for a neighbour to merge with; what both may hold together for that. */
#define AFFS_NODE_UNDERFULL (AFFS_NODE_ROOM / 3)
#define AFFS_NODE_MERGED_MAX (AFFS_NODE_ROOM / 4 * 3)

typedef union {
    affs_node_header header;
    struct {
        affs_node_header header;
        affs_slot slots[AFFS_SLOTS_MAX];
    } leaf;
    struct {
        affs_node_header header;
        affs_entry entries[AFFS_ENTRIES_MAX];
    } inner;
    uint8_t bytes[AFFS_NODE_SIZE];
} affs_node_image;

_Static_assert(sizeof(affs_node_image) == AFFS_NODE_SIZE, "node image has another size");

enum { AFFS_NODE_FREE, AFFS_NODE_CLEAN, AFFS_NODE_FROZEN, AFFS_NODE_DIRTY };

typedef struct affs_node {
    affs_node_image image; /* first, so that an image's address is its node's */
    struct affs_node *chain;    /* next in the hash chain or in the list of free nodes */
    struct affs_node *previous; /* clean: in the cache's list by use; dirty: in its tree's list */
    struct affs_node *next;
    uint64_t address; /* clean and frozen: as in the header */
    uint64_t birth;
    uint32_t dirty_id;
    uint8_t space; /* address space: 0 logical (namespace tree), 1 physical (system trees) */
    uint8_t state;
} affs_node;

typedef struct {
    affs_node *first;
    affs_node *last;
} affs_node_list;

struct affs_tree {
    affs_cache *cache;
    affs_pointer root; /* birth 0 and not dirty: no node at all (opened for reading) */
    affs_pointer missing;
    affs_key last_inserted; /* shows runs of ascending keys; all zero is no item's key */
    affs_node_list dirty;
    affs_dropped *dropped;
    uint64_t version; /* counts changes, so that an open diff notices one */
    uint32_t dropped_count;
    uint32_t dropped_capacity;
    uint32_t dirty_count;
    uint32_t holders; /* the owner and each diff */
    uint8_t kind;
    bool writable;
};

/* A way from the root to a leaf, indexed by level. */
typedef struct {
    affs_node *node[AFFS_LEVELS_MAX];
    const affs_key *high[AFFS_LEVELS_MAX]; /* keys of that node are below it; NULL: no bound */
    unsigned index[AFFS_LEVELS_MAX];       /* the entry taken; at level 0 the slot */
    unsigned root_level;
} affs_path;

/* ---- keys and pointers ---- */

static inline int affs_key_order(uint64_t object, uint8_t type, uint64_t offset,
                                 const affs_key *key)
{
    if (object != key->object)
        return object < key->object ? -1 : 1;
    if (type != key->type)
        return type < key->type ? -1 : 1;
    if (offset != key->offset)
        return offset < key->offset ? -1 : 1;
    return 0;
}

static inline int affs_key_compare(const affs_key *a, const affs_key *b)
{
    return affs_key_order(a->object, a->type, a->offset, b);
}

static inline int affs_slot_compare(const affs_slot *slot, const affs_key *key)
{
    return affs_key_order(slot->object, slot->type, slot->offset, key);
}

static inline affs_key affs_slot_key(const affs_slot *slot)
{
    return (affs_key){.object = slot->object, .offset = slot->offset, .type = slot->type};
}

static inline bool affs_pointer_dirty(const affs_pointer *pointer)
{
    return (pointer->address & AFFS_DIRTY) != 0;
}

static inline bool affs_pointer_empty(const affs_pointer *pointer)
{
    return pointer->birth == 0 && !affs_pointer_dirty(pointer);
}

/* The same durable node. */
static inline bool affs_pointer_same(const affs_pointer *a, const affs_pointer *b)
{
    return a->address == b->address && a->birth == b->birth && !affs_pointer_dirty(a);
}

static inline uint8_t affs_tree_space(uint8_t tree)
{
    return tree == AFFS_TREE_NAMESPACE ? 0 : 1;
}

/* ---- one node's inside (node_edit.c) ---- */

static inline unsigned affs_node_count(const affs_node *node)
{
    return node->image.header.item_count;
}

static inline unsigned affs_node_used(const affs_node *node)
{
    const affs_node_header *header = &node->image.header;
    if (header->level > 0)
        return header->item_count * (unsigned)AFFS_ENTRY_SIZE;
    return header->item_count * (unsigned)AFFS_SLOT_SIZE + header->data_length;
}

/* Of a node that has at least one item. */
affs_key affs_node_first_key(const affs_node *node);
affs_key affs_node_last_key(const affs_node *node);
void affs_node_clear(affs_node *node, uint8_t tree, uint8_t level);
/* Index of the first slot with a key >= key (may be item_count); *exact: it is the key. */
unsigned affs_leaf_find(const affs_node *leaf, const affs_key *key, bool *exact);
/* Put an item at index; it must fit (affs_leaf_fits). */
void affs_leaf_insert(affs_node *leaf, unsigned index, const affs_key *key, const void *payload,
                      unsigned length);
void affs_leaf_remove(affs_node *leaf, unsigned index);
bool affs_leaf_fits(const affs_node *leaf, unsigned length);
/* Append items [from, to) of another leaf's image; they must fit and have greater keys. */
void affs_leaf_append(affs_node *leaf, const affs_node_image *from_image, unsigned from,
                      unsigned to);
/* Payloads in slot order, without holes; all unused bytes zero. */
void affs_node_tidy(affs_node *node);
/* Index of the entry below which key lies. */
unsigned affs_inner_find(const affs_node *inner, const affs_key *key);
void affs_inner_insert(affs_node *inner, unsigned index, const affs_key *key,
                       const affs_pointer *child);
void affs_inner_remove(affs_node *inner, unsigned index);

/* ---- the cache (cache.c) ---- */

void affs_cache_hold(affs_cache *cache);
void affs_cache_release(affs_cache *cache);
/* Room for `nodes` new dirty nodes. AFFS_E_NOMEM otherwise. */
int affs_cache_ensure(affs_cache *cache, uint32_t nodes);
/* The node of a pointer: AFFS_OK, AFFS_R_MISSING, or an error when what the cache holds there is
 * not what the pointer says. */
int affs_cache_fetch(affs_cache *cache, const affs_pointer *pointer, affs_node **node);
/* The same without a trace in the statistics or the order of use. */
int affs_cache_peek(affs_cache *cache, const affs_pointer *pointer, affs_node **node);
/* A new dirty node; room must have been ensured. */
affs_node *affs_cache_take_dirty(affs_cache *cache);
/* Give a dirty node's buffer and id back. */
void affs_cache_drop_dirty(affs_cache *cache, affs_node *node);
/* Whether a clean or frozen node has this place. */
bool affs_cache_holds(const affs_cache *cache, uint64_t address, uint64_t birth, uint8_t tree);
/* A dirty node whose header is complete becomes frozen. */
void affs_cache_freeze(affs_cache *cache, affs_node *node);
const uint8_t *affs_cache_uuid(const affs_cache *cache);
const uint8_t *affs_cache_salt(const affs_cache *cache);

/* ---- trees (btree_read.c, btree_write.c) ---- */

/* Whether a root pointer can be one of this kind of tree (it came from a device). */
int affs_root_check(const affs_pointer *root, uint8_t kind);
/* Whether child may hang at this level below an entry: keys in [low, high), high NULL: any. */
int affs_child_check(const affs_node *child, unsigned level, const affs_key *low,
                     const affs_key *high);
/* Fill path from the root to the leaf of key. AFFS_R_NOT_FOUND: the tree has no node. */
int affs_path_find(affs_tree *tree, affs_path *path, const affs_key *key);
affs_pointer affs_dirty_pointer(const affs_node *node);
void affs_tree_hold(affs_tree *tree);
void affs_tree_release(affs_tree *tree);
void affs_tree_drop_dirty(affs_tree *tree, affs_node *node);

static inline void affs_list_remove(affs_node_list *list, affs_node *node)
{
    if (node->previous)
        node->previous->next = node->next;
    else
        list->first = node->next;
    if (node->next)
        node->next->previous = node->previous;
    else
        list->last = node->previous;
    node->previous = node->next = NULL;
}

static inline void affs_list_push(affs_node_list *list, affs_node *node)
{
    node->previous = NULL;
    node->next = list->first;
    if (list->first)
        list->first->previous = node;
    else
        list->last = node;
    list->first = node;
}

#endif
