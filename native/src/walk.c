/* Walking the nodes below a root, parents before children, in key order.
 *
 * A node is read when the walk goes on below it, so a caller that prunes it never waits for it;
 * leaves (with level_min 0) are read at the next step too, which proves that they are whole.
 * Between two steps nodes may be evicted: the walk keeps pointers and bounds, and looks nodes up
 * again.
 */
#include <stdlib.h>

#include "memory.h"
#include "tree_private.h"

typedef struct {
    affs_pointer pointer;
    affs_key high;
    bool bounded; /* high is set */
    unsigned index; /* the next entry */
    unsigned count;
} frame;

struct affs_walk {
    affs_cache *cache;
    affs_pointer missing;
    affs_pointer given; /* the last one, to be read next unless pruned */
    affs_key low; /* bounds of the given one's keys */
    affs_key high;
    bool bounded_low;
    bool bounded_high;
    bool pending;
    bool started;
    int level_min;
    unsigned depth;
    frame frames[AFFS_LEVELS_MAX];
};

affs_walk *affs_walk_new(affs_cache *cache, const affs_pointer *root, int level_min)
{
    if (affs_root_check(root, root->tree) != AFFS_OK)
        return NULL;
    affs_walk *walk = affs_memory_zeroed(1, sizeof *walk);
    if (!walk)
        return NULL;
    walk->cache = cache;
    walk->given = *root;
    walk->level_min = level_min;
    walk->started = affs_pointer_empty(root); /* then there is nothing to give */
    affs_cache_hold(cache);
    return walk;
}

void affs_walk_free(affs_walk *walk)
{
    if (!walk)
        return;
    affs_cache_release(walk->cache);
    free(walk);
}

void affs_walk_missing(const affs_walk *walk, affs_pointer *pointer)
{
    *pointer = walk->missing;
}

void affs_walk_prune(affs_walk *walk)
{
    walk->pending = false;
}

static int fetch(affs_walk *walk, const affs_pointer *pointer, affs_node **node)
{
    int result = affs_cache_fetch(walk->cache, pointer, node);
    if (result == AFFS_R_MISSING)
        walk->missing = *pointer;
    return result;
}

/* Read the node given last and, if it has children, make it the frame to go on in. */
static int enter(affs_walk *walk)
{
    affs_node *node;
    int result = fetch(walk, &walk->given, &node);
    if (result == AFFS_OK && walk->bounded_low)
        result = affs_child_check(node, walk->given.level, &walk->low,
                                  walk->bounded_high ? &walk->high : NULL);
    if (result != AFFS_OK)
        return result;
    walk->pending = false;
    if (walk->given.level > 0)
        walk->frames[walk->depth++] = (frame){.pointer = walk->given,
                                              .high = walk->high,
                                              .bounded = walk->bounded_high,
                                              .count = affs_node_count(node)};
    return AFFS_OK;
}

static int give(affs_walk *walk, affs_pointer *pointer)
{
    walk->pending = (int)walk->given.level >= walk->level_min;
    *pointer = walk->given;
    return AFFS_OK;
}

int affs_walk_next(affs_walk *walk, affs_pointer *pointer)
{
    if (!walk->started) {
        walk->started = true;
        return give(walk, pointer);
    }
    if (walk->pending) {
        int result = enter(walk);
        if (result != AFFS_OK)
            return result;
    }
    while (walk->depth > 0 && walk->frames[walk->depth - 1].index ==
                                  walk->frames[walk->depth - 1].count)
        walk->depth--;
    if (walk->depth == 0)
        return AFFS_R_END;

    frame *top = &walk->frames[walk->depth - 1];
    affs_node *node;
    int result = fetch(walk, &top->pointer, &node);
    if (result != AFFS_OK)
        return result;
    const affs_entry *entry = &node->image.inner.entries[top->index++];
    walk->given = entry->child;
    walk->low = entry->key;
    walk->bounded_low = true;
    walk->bounded_high = top->bounded || top->index < top->count;
    walk->high = top->index < top->count ? entry[1].key : top->high;
    return give(walk, pointer);
}
