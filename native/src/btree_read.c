/* Reading a tree: the way to a leaf, look-up, neighbours, ranges.
 *
 * Nothing here changes a tree. Each step down checks that the node found belongs there (level,
 * and keys within the bounds that the nodes above set): a node can be whole and yet be in the
 * wrong place. The way is an array indexed by level, so no byte from a device decides how deep it
 * goes.
 */
#include "codec.h"
#include "tree_private.h"

enum edge { BY_KEY, FIRST, LAST };

int affs_root_check(const affs_pointer *root, uint8_t kind)
{
    return affs_pointer_empty(root) ? AFFS_OK : affs_verify_pointer(kind, root);
}

int affs_child_check(const affs_node *child, unsigned level, const affs_key *low,
                     const affs_key *high)
{
    if (child->image.header.level != level)
        return AFFS_E_IDENTITY;
    if (child->state == AFFS_NODE_DIRTY)
        return AFFS_OK;
    if (affs_node_count(child) == 0)
        return AFFS_E_FIELD;
    const affs_key first = affs_node_first_key(child), last = affs_node_last_key(child);
    if (affs_key_compare(&first, low) < 0)
        return AFFS_E_RANGE;
    if (high && affs_key_compare(&last, high) >= 0)
        return AFFS_E_RANGE;
    return AFFS_OK;
}

static int fetch(affs_tree *tree, const affs_pointer *pointer, affs_node **node)
{
    int result = affs_cache_fetch(tree->cache, pointer, node);
    if (result == AFFS_R_MISSING)
        tree->missing = *pointer;
    return result;
}

static int path_root(affs_tree *tree, affs_path *path)
{
    if (affs_pointer_empty(&tree->root))
        return AFFS_R_NOT_FOUND;
    affs_node *root;
    int result = fetch(tree, &tree->root, &root);
    if (result != AFFS_OK)
        return result;
    path->root_level = root->image.header.level;
    path->node[path->root_level] = root;
    path->high[path->root_level] = NULL;
    return AFFS_OK;
}

/* One step down: path->node[level - 1] becomes the child at index. */
static int path_enter(affs_tree *tree, affs_path *path, unsigned level, unsigned index)
{
    const affs_node *node = path->node[level];
    const affs_entry *entry = &node->image.inner.entries[index];
    const affs_key *high =
        index + 1 < affs_node_count(node) ? &entry[1].key : path->high[level];
    affs_node *child;
    int result = fetch(tree, &entry->child, &child);
    if (result == AFFS_OK)
        result = affs_child_check(child, level - 1, &entry->key, high);
    if (result != AFFS_OK)
        return result;
    path->index[level] = index;
    path->node[level - 1] = child;
    path->high[level - 1] = high;
    return AFFS_OK;
}

/* From path->node[level] down to the leaf. */
static int path_descend(affs_tree *tree, affs_path *path, unsigned level, enum edge edge,
                        const affs_key *key)
{
    int result = AFFS_OK;
    for (; level > 0 && result == AFFS_OK; level--) {
        const affs_node *node = path->node[level];
        unsigned index = 0;
        if (edge == BY_KEY)
            index = affs_inner_find(node, key);
        else if (edge == LAST)
            index = affs_node_count(node) - 1;
        result = path_enter(tree, path, level, index);
    }
    return result;
}

int affs_path_find(affs_tree *tree, affs_path *path, const affs_key *key)
{
    int result = path_root(tree, path);
    return result == AFFS_OK ? path_descend(tree, path, path->root_level, BY_KEY, key) : result;
}

/* To the leaf after (forward) or before this one. AFFS_R_NOT_FOUND at the end of the tree. */
static int path_step(affs_tree *tree, affs_path *path, bool forward)
{
    for (unsigned level = 1; level <= path->root_level; level++) {
        const affs_node *node = path->node[level];
        const unsigned index = path->index[level];
        if (forward ? index + 1 == affs_node_count(node) : index == 0)
            continue;
        int result = path_enter(tree, path, level, forward ? index + 1 : index - 1);
        if (result != AFFS_OK)
            return result;
        return path_descend(tree, path, level - 1, forward ? FIRST : LAST, NULL);
    }
    return AFFS_R_NOT_FOUND;
}

static void item_of(const affs_node *leaf, unsigned index, affs_item *item)
{
    const affs_slot *slot = &leaf->image.leaf.slots[index];
    item->key = affs_slot_key(slot);
    item->payload = leaf->image.bytes + slot->data_offset;
    item->length = slot->data_length;
}

int affs_tree_get(affs_tree *tree, const affs_key *key, affs_item *item)
{
    affs_path path;
    int result = affs_path_find(tree, &path, key);
    if (result != AFFS_OK)
        return result;
    bool exact;
    unsigned index = affs_leaf_find(path.node[0], key, &exact);
    if (!exact)
        return AFFS_R_NOT_FOUND;
    item_of(path.node[0], index, item);
    return AFFS_OK;
}

int affs_tree_touch(affs_tree *tree, const affs_key *key)
{
    affs_path path;
    int result = affs_path_find(tree, &path, key);
    return result == AFFS_R_NOT_FOUND ? AFFS_OK : result;
}

/* Path to the least item >= key; path->index[0] is its slot. */
static int path_seek(affs_tree *tree, affs_path *path, const affs_key *key)
{
    int result = affs_path_find(tree, path, key);
    if (result != AFFS_OK)
        return result;
    bool exact;
    path->index[0] = affs_leaf_find(path->node[0], key, &exact);
    if (path->index[0] < affs_node_count(path->node[0]))
        return AFFS_OK;
    path->index[0] = 0;
    return path_step(tree, path, true);
}

int affs_tree_seek(affs_tree *tree, const affs_key *key, int backward, affs_item *item)
{
    affs_path path;
    if (!backward) {
        int result = path_seek(tree, &path, key);
        if (result == AFFS_OK)
            item_of(path.node[0], path.index[0], item);
        return result;
    }
    int result = affs_path_find(tree, &path, key);
    if (result != AFFS_OK)
        return result;
    bool exact;
    unsigned index = affs_leaf_find(path.node[0], key, &exact);
    if (!exact && index == 0) {
        result = path_step(tree, &path, false);
        if (result != AFFS_OK)
            return result;
        index = affs_node_count(path.node[0]);
    }
    item_of(path.node[0], exact ? index : index - 1, item);
    return AFFS_OK;
}

static size_t pack_item(const affs_node *leaf, unsigned index, uint8_t *to, size_t room)
{
    const affs_slot *slot = &leaf->image.leaf.slots[index];
    const affs_key key = affs_slot_key(slot);
    const uint32_t length[2] = {slot->data_length, 0};
    const size_t payload_at = sizeof key + sizeof length;
    const size_t padded = ((size_t)slot->data_length + 7) / 8 * 8;
    if (room < payload_at + padded)
        return 0;
    memcpy(to, &key, sizeof key);
    memcpy(to + sizeof key, length, sizeof length);
    memcpy(to + payload_at, leaf->image.bytes + slot->data_offset, slot->data_length);
    memset(to + payload_at + slot->data_length, 0, padded - slot->data_length);
    return payload_at + padded;
}

int affs_tree_scan(affs_tree *tree, const affs_key *from, const affs_key *to, void *buffer,
                   size_t size, size_t *used, uint32_t *count)
{
    affs_path path;
    *used = 0;
    *count = 0;
    int result = affs_path_find(tree, &path, from);
    if (result == AFFS_OK) {
        bool exact;
        path.index[0] = affs_leaf_find(path.node[0], from, &exact);
    }
    while (result == AFFS_OK) {
        const affs_node *leaf = path.node[0];
        for (; path.index[0] < affs_node_count(leaf); path.index[0]++) {
            if (affs_slot_compare(&leaf->image.leaf.slots[path.index[0]], to) >= 0)
                return AFFS_OK;
            size_t length =
                pack_item(leaf, path.index[0], (uint8_t *)buffer + *used, size - *used);
            if (length == 0)
                return *count > 0 ? AFFS_R_MORE : AFFS_E_LENGTH;
            *used += length;
            ++*count;
        }
        /* The next leaf is not needed, and so not loaded, where its bound says enough. */
        if (path.high[0] && affs_key_compare(path.high[0], to) >= 0)
            return AFFS_OK;
        path.index[0] = 0;
        result = path_step(tree, &path, true);
    }
    return result == AFFS_R_NOT_FOUND ? AFFS_OK : result;
}

int affs_tree_gather(affs_tree *tree, const uint64_t *objects, uint32_t count, uint8_t first_type,
                     uint8_t end_type, void *buffer, size_t size, uint32_t *counts, uint32_t *done)
{
    size_t used = 0;
    for (*done = 0; *done < count; ++*done) {
        const affs_key from = {.object = objects[*done], .type = first_type};
        const affs_key to = {.object = objects[*done], .type = end_type};
        size_t length;
        int result = affs_tree_scan(tree, &from, &to, (uint8_t *)buffer + used, size - used,
                                    &length, &counts[*done]);
        if (result == AFFS_R_MORE || result == AFFS_E_LENGTH) {
            if (used > 0)
                return AFFS_OK;
            counts[*done] = AFFS_GATHER_MANY;
        } else if (result != AFFS_OK) {
            return result;
        } else {
            used += length;
        }
    }
    return AFFS_OK;
}

void affs_tree_missing(const affs_tree *tree, affs_pointer *pointer)
{
    *pointer = tree->missing;
}
