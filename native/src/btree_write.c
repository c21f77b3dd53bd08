/* Changing a tree: put and delete, copy on write.
 *
 * A change first finds its way (which may end in AFFS_R_MISSING), then makes sure of all the
 * memory it may need, and only then begins to change anything; from there on nothing fails. It
 * copies every node of the way that is not dirty yet and records what the copy replaces. It needs
 * no node beside that way: a neighbour takes part in a merge only if the cache happens to hold
 * it.
 */
#include <stdlib.h>

#include "memory.h"
#include "tree_private.h"

/* ---- life of a tree ---- */

static bool needs_leaf(const affs_tree *tree, const affs_pointer *root)
{
    return tree->writable && (!root || affs_pointer_empty(root));
}

affs_pointer affs_dirty_pointer(const affs_node *node)
{
    return (affs_pointer){
        .address = AFFS_DIRTY | node->dirty_id,
        .checksum_kind = AFFS_CHECKSUM_CRC32C,
        .level = node->image.header.level,
        .tree = node->image.header.tree,
    };
}

static affs_node *new_dirty(affs_tree *tree)
{
    affs_node *node = affs_cache_take_dirty(tree->cache);
    affs_list_push(&tree->dirty, node);
    tree->dirty_count++;
    return node;
}

void affs_tree_drop_dirty(affs_tree *tree, affs_node *node)
{
    affs_list_remove(&tree->dirty, node);
    tree->dirty_count--;
    affs_cache_drop_dirty(tree->cache, node);
}

static void drop_all_dirty(affs_tree *tree)
{
    while (tree->dirty.first)
        affs_tree_drop_dirty(tree, tree->dirty.first);
    tree->version++;
}

int affs_tree_set_root(affs_tree *tree, const affs_pointer *root)
{
    int result = root ? affs_root_check(root, tree->kind) : AFFS_OK;
    if (result == AFFS_OK && needs_leaf(tree, root))
        result = affs_cache_ensure(tree->cache, 1);
    if (result != AFFS_OK)
        return result;
    drop_all_dirty(tree);
    tree->dropped_count = 0;
    if (needs_leaf(tree, root)) {
        affs_node *leaf = new_dirty(tree);
        affs_node_clear(leaf, tree->kind, 0);
        tree->root = affs_dirty_pointer(leaf);
    } else {
        tree->root = root ? *root : (affs_pointer){0};
    }
    return AFFS_OK;
}

affs_tree *affs_tree_new(affs_cache *cache, uint8_t kind, const affs_pointer *root, int writable)
{
    if (kind < AFFS_TREE_NAMESPACE || kind > AFFS_TREE_SPACE)
        return NULL;
    affs_tree *tree = affs_memory_zeroed(1, sizeof *tree);
    if (!tree)
        return NULL;
    tree->cache = cache;
    tree->kind = kind;
    tree->writable = writable != 0;
    if (affs_tree_set_root(tree, root) != AFFS_OK) {
        free(tree);
        return NULL;
    }
    tree->holders = 1;
    affs_cache_hold(cache);
    return tree;
}

void affs_tree_hold(affs_tree *tree)
{
    tree->holders++;
}

void affs_tree_release(affs_tree *tree)
{
    if (--tree->holders > 0)
        return;
    affs_cache_release(tree->cache);
    free(tree->dropped);
    free(tree);
}

void affs_tree_free(affs_tree *tree)
{
    if (!tree)
        return;
    drop_all_dirty(tree);
    affs_tree_release(tree);
}

int affs_tree_get_root(const affs_tree *tree, affs_pointer *root)
{
    if (affs_pointer_dirty(&tree->root))
        return AFFS_R_NOT_FOUND;
    *root = tree->root;
    return AFFS_OK;
}

uint32_t affs_tree_dirty_count(const affs_tree *tree)
{
    return tree->dirty_count;
}

/* ---- what changes replace ---- */

static int dropped_ensure(affs_tree *tree, uint32_t more)
{
    if (more <= tree->dropped_capacity - tree->dropped_count)
        return AFFS_OK;
    uint32_t capacity = tree->dropped_capacity ? tree->dropped_capacity : 64;
    while (capacity - tree->dropped_count < more) {
        if (capacity > UINT32_MAX / 2)
            return AFFS_E_NOMEM;
        capacity *= 2;
    }
    affs_dropped *dropped = affs_memory_resized(tree->dropped, capacity * sizeof *dropped);
    if (!dropped)
        return AFFS_E_NOMEM;
    tree->dropped = dropped;
    tree->dropped_capacity = capacity;
    return AFFS_OK;
}

static void dropped_add(affs_tree *tree, const affs_node *node)
{
    tree->dropped[tree->dropped_count++] =
        (affs_dropped){.address = node->address, .birth = node->birth};
}

uint32_t affs_tree_take_dropped(affs_tree *tree, affs_dropped *dropped, uint32_t max)
{
    const uint32_t count = max < tree->dropped_count ? max : tree->dropped_count;
    if (count == 0)
        return 0;
    memcpy(dropped, tree->dropped, count * sizeof *dropped);
    tree->dropped_count -= count;
    memmove(tree->dropped, tree->dropped + count, tree->dropped_count * sizeof *dropped);
    return count;
}

/* ---- before a change ---- */

/* At most: a copy and a split of each node of the way, and a new root; as many drops, and one for
 * a merge at each level. */
static int prepare(affs_tree *tree, const affs_path *path)
{
    const uint32_t nodes = 2 * (path->root_level + 1) + 4;
    int result = dropped_ensure(tree, nodes);
    return result == AFFS_OK ? affs_cache_ensure(tree->cache, nodes) : result;
}

/* Where the pointer to the path's node of this level is kept; the node above must be dirty. */
static affs_pointer *pointer_to(affs_tree *tree, const affs_path *path, unsigned level)
{
    if (level == path->root_level)
        return &tree->root;
    return &path->node[level + 1]->image.inner.entries[path->index[level + 1]].child;
}

static void make_dirty(affs_tree *tree, affs_path *path)
{
    for (unsigned level = path->root_level + 1; level-- > 0;) {
        affs_node *node = path->node[level];
        if (node->state == AFFS_NODE_DIRTY)
            continue;
        affs_node *copy = new_dirty(tree);
        memcpy(&copy->image, &node->image, sizeof copy->image);
        dropped_add(tree, node);
        *pointer_to(tree, path, level) = affs_dirty_pointer(copy);
        path->node[level] = copy;
    }
    tree->version++;
}

/* ---- put ---- */

/* Entries name the lowest key below them; a key lower than all leads through leftmost entries. */
static void lower_bounds(affs_path *path, const affs_key *key)
{
    for (unsigned level = path->root_level; level > 0; level--) {
        affs_entry *entry = &path->node[level]->image.inner.entries[path->index[level]];
        if (affs_key_compare(key, &entry->key) < 0)
            entry->key = *key;
    }
}

static affs_node *new_neighbour(affs_tree *tree, unsigned level)
{
    affs_node *node = new_dirty(tree);
    affs_node_clear(node, tree->kind, (uint8_t)level);
    return node;
}

static void grow_root(affs_tree *tree, const affs_node *left, const affs_key *key,
                      const affs_pointer *right)
{
    affs_node *root = new_neighbour(tree, left->image.header.level + 1u);
    const affs_key low = affs_node_first_key(left);
    const affs_pointer pointer = affs_dirty_pointer(left);
    affs_inner_insert(root, 0, &low, &pointer);
    affs_inner_insert(root, 1, key, right);
    tree->root = affs_dirty_pointer(root);
}

/* A full inner node gets one more entry: at its right end all others stay, else each half gets
 * one half. */
static affs_node *split_inner(affs_tree *tree, affs_node *left, unsigned index, const affs_key *key,
                              const affs_pointer *child)
{
    affs_node *right = new_neighbour(tree, left->image.header.level);
    const unsigned count = affs_node_count(left);
    const unsigned kept = index == count ? count : count / 2;
    affs_entry *entries = left->image.inner.entries;
    memcpy(right->image.inner.entries, entries + kept, (count - kept) * sizeof *entries);
    right->image.header.item_count = (uint16_t)(count - kept);
    left->image.header.item_count = (uint16_t)kept;
    if (index < kept)
        affs_inner_insert(left, index, key, child);
    else
        affs_inner_insert(right, index - kept, key, child);
    return right;
}

/* A leaf was split: hang the new one into the nodes above, splitting these where they are full. */
static void hang(affs_tree *tree, affs_path *path, const affs_node *right)
{
    affs_key key = affs_node_first_key(right);
    affs_pointer pointer = affs_dirty_pointer(right);
    for (unsigned level = 1; level <= path->root_level; level++) {
        affs_node *node = path->node[level];
        const unsigned index = path->index[level] + 1;
        if (affs_node_count(node) < AFFS_ENTRIES_MAX) {
            affs_inner_insert(node, index, &key, &pointer);
            return;
        }
        right = split_inner(tree, node, index, &key, &pointer);
        key = affs_node_first_key(right);
        pointer = affs_dirty_pointer(right);
    }
    grow_root(tree, path->node[path->root_level], &key, &pointer);
}

/* Number of items that stay left when an item is to be inserted at index of a full leaf. A run of
 * ascending keys leaves full leaves behind, at the right end and, where the last insertion was
 * just before this one, in the middle too; otherwise each side gets about half of the bytes. */
static unsigned split_point(const affs_tree *tree, const affs_node *leaf, unsigned index,
                            unsigned length)
{
    const affs_slot *slots = leaf->image.leaf.slots;
    const unsigned count = affs_node_count(leaf) + 1;
    if (index == count - 1)
        return count - 1;
    const bool run = index > 0 && affs_slot_compare(&slots[index - 1], &tree->last_inserted) == 0;
    const unsigned half = (affs_node_used(leaf) + AFFS_SLOT_SIZE + length) / 2;
    unsigned bytes = 0, i = 0;
    while (i < count - 1 && (run ? i < index : bytes < half)) {
        bytes += AFFS_SLOT_SIZE;
        if (i == index)
            bytes += length;
        else
            bytes += slots[i < index ? i : i - 1].data_length;
        i++;
    }
    /* Where the new item does not fit to the left, so little is to the right that it does there. */
    if (run && bytes + AFFS_SLOT_SIZE + length <= AFFS_NODE_ROOM)
        i++;
    return i;
}

static affs_node *split_leaf(affs_tree *tree, affs_node *left, unsigned index, const affs_key *key,
                             const void *payload, unsigned length)
{
    affs_node *right = new_neighbour(tree, 0);
    const affs_node_image old = left->image;
    const unsigned count = old.header.item_count;
    const unsigned kept = split_point(tree, left, index, length);
    affs_node_clear(left, tree->kind, 0);
    if (index < kept) {
        affs_leaf_append(left, &old, 0, index);
        affs_leaf_insert(left, index, key, payload, length);
        affs_leaf_append(left, &old, index, kept - 1);
        affs_leaf_append(right, &old, kept - 1, count);
    } else {
        affs_leaf_append(left, &old, 0, kept);
        affs_leaf_append(right, &old, kept, index);
        affs_leaf_insert(right, index - kept, key, payload, length);
        affs_leaf_append(right, &old, index, count);
    }
    return right;
}

static int check_put(const affs_tree *tree, const affs_key *key, const void *payload,
                     uint32_t length, int mode)
{
    if (!tree->writable)
        return AFFS_E_READONLY;
    if (mode < AFFS_PUT_ANY || mode > AFFS_PUT_REPLACE)
        return AFFS_E_INVALID;
    /* What could not be read back is never written. */
    return affs_verify_item(tree->kind, key, payload, length) == AFFS_OK ? AFFS_OK : AFFS_E_INVALID;
}

/* A put of what is there already needs no copy of anything. */
static bool holds(const affs_node *leaf, unsigned index, const void *payload, uint32_t length)
{
    const affs_slot *slot = &leaf->image.leaf.slots[index];
    return slot->data_length == length &&
           (length == 0 || memcmp(leaf->image.bytes + slot->data_offset, payload, length) == 0);
}

int affs_tree_put(affs_tree *tree, const affs_key *key, const void *payload, uint32_t length,
                  int mode)
{
    affs_path path;
    int result = check_put(tree, key, payload, length, mode);
    if (result == AFFS_OK)
        result = affs_path_find(tree, &path, key);
    if (result != AFFS_OK)
        return result;

    bool exact;
    const unsigned index = affs_leaf_find(path.node[0], key, &exact);
    if (exact && mode != AFFS_PUT_INSERT && holds(path.node[0], index, payload, length))
        return AFFS_OK;
    if (mode == AFFS_PUT_INSERT && exact)
        return AFFS_R_EXISTS;
    if (mode == AFFS_PUT_REPLACE && !exact)
        return AFFS_R_NOT_FOUND;
    if (path.root_level == AFFS_LEVELS_MAX - 1)
        return AFFS_E_FIELD; /* no writer makes such a tree; it could not grow */
    result = prepare(tree, &path);
    if (result != AFFS_OK)
        return result;

    make_dirty(tree, &path);
    affs_node *leaf = path.node[0];
    if (exact) {
        const affs_slot *slot = &leaf->image.leaf.slots[index];
        if (slot->data_length == length) {
            memcpy(leaf->image.bytes + slot->data_offset, payload, length);
            return AFFS_OK;
        }
        affs_leaf_remove(leaf, index);
    } else {
        lower_bounds(&path, key);
    }
    if (affs_leaf_fits(leaf, length))
        affs_leaf_insert(leaf, index, key, payload, length);
    else
        hang(tree, &path, split_leaf(tree, leaf, index, key, payload, length));
    tree->last_inserted = *key;
    return AFFS_OK;
}

/* ---- delete ---- */

/* The neighbour at `index` of parent, if the cache holds it, it belongs there, and both fit in
 * one. */
static affs_node *neighbour(affs_tree *tree, const affs_path *path, unsigned level, unsigned index,
                            const affs_node *node)
{
    const affs_node *parent = path->node[level + 1];
    const affs_entry *entry = &parent->image.inner.entries[index];
    const affs_key *high =
        index + 1 < affs_node_count(parent) ? &entry[1].key : path->high[level + 1];
    affs_node *found;
    if (affs_cache_peek(tree->cache, &entry->child, &found) != AFFS_OK)
        return NULL;
    if (affs_child_check(found, level, &entry->key, high) != AFFS_OK)
        return NULL;
    return affs_node_used(node) + affs_node_used(found) <= AFFS_NODE_MERGED_MAX ? found : NULL;
}

static void append(affs_node *node, const affs_node_image *from)
{
    const unsigned count = from->header.item_count;
    if (from->header.level == 0) {
        affs_leaf_append(node, from, 0, count);
        return;
    }
    const unsigned old = affs_node_count(node);
    memcpy(node->image.inner.entries + old, from->inner.entries, count * sizeof(affs_entry));
    node->image.header.item_count = (uint16_t)(old + count);
}

static void discard(affs_tree *tree, affs_node *node)
{
    if (node->state == AFFS_NODE_DIRTY) {
        affs_tree_drop_dirty(tree, node);
        return;
    }
    dropped_add(tree, node);
}

/* Take in a neighbour of the path's (dirty) node. False: neither is at hand or fits. */
static bool merge(affs_tree *tree, const affs_path *path, unsigned level)
{
    affs_node *node = path->node[level], *parent = path->node[level + 1];
    const unsigned index = path->index[level + 1];
    affs_node *other = index > 0 ? neighbour(tree, path, level, index - 1, node) : NULL;
    if (other) {
        const affs_node_image right = node->image;
        affs_node_clear(node, tree->kind, (uint8_t)level);
        append(node, &other->image);
        append(node, &right);
        parent->image.inner.entries[index - 1].child = affs_dirty_pointer(node);
        affs_inner_remove(parent, index);
    } else {
        if (index + 1 < affs_node_count(parent))
            other = neighbour(tree, path, level, index + 1, node);
        if (!other)
            return false;
        append(node, &other->image);
        affs_inner_remove(parent, index + 1);
    }
    discard(tree, other);
    return true;
}

/* A root with one child gives way to it, an inner root without one to an empty leaf. */
static void shrink_root(affs_tree *tree, affs_node *root)
{
    while (root->image.header.level > 0 && affs_node_count(root) == 1) {
        tree->root = root->image.inner.entries[0].child;
        affs_tree_drop_dirty(tree, root);
        if (!affs_pointer_dirty(&tree->root) ||
            affs_cache_peek(tree->cache, &tree->root, &root) != AFFS_OK)
            return;
    }
    if (root->image.header.level > 0 && affs_node_count(root) == 0) {
        affs_node_clear(root, tree->kind, 0);
        tree->root = affs_dirty_pointer(root);
    }
}

static void rebalance(affs_tree *tree, affs_path *path)
{
    for (unsigned level = 0; level < path->root_level; level++) {
        affs_node *node = path->node[level];
        if (affs_node_count(node) == 0) {
            affs_inner_remove(path->node[level + 1], path->index[level + 1]);
            affs_tree_drop_dirty(tree, node);
        } else if (affs_node_used(node) >= AFFS_NODE_UNDERFULL || !merge(tree, path, level)) {
            break;
        }
    }
    shrink_root(tree, path->node[path->root_level]);
}

int affs_tree_delete(affs_tree *tree, const affs_key *key)
{
    if (!tree->writable)
        return AFFS_E_READONLY;
    affs_path path;
    int result = affs_path_find(tree, &path, key);
    if (result != AFFS_OK)
        return result;
    bool exact;
    const unsigned index = affs_leaf_find(path.node[0], key, &exact);
    if (!exact)
        return AFFS_R_NOT_FOUND;
    result = prepare(tree, &path);
    if (result != AFFS_OK)
        return result;
    make_dirty(tree, &path);
    affs_leaf_remove(path.node[0], index);
    rebalance(tree, &path);
    return AFFS_OK;
}
