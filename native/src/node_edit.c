/* The inside of one dirty node: finding, inserting and removing items and entries.
 *
 * Slots and entries lie in key order behind the header. A leaf's payloads lie anywhere from
 * data_start to the node's end while it is dirty; holes are counted (data_length is the sum of
 * the payloads) and closed when their room is needed and at the freeze.
 */
#include "tree_private.h"

affs_key affs_node_first_key(const affs_node *node)
{
    if (node->image.header.level > 0)
        return node->image.inner.entries[0].key;
    return affs_slot_key(&node->image.leaf.slots[0]);
}

affs_key affs_node_last_key(const affs_node *node)
{
    const unsigned last = affs_node_count(node) - 1;
    if (node->image.header.level > 0)
        return node->image.inner.entries[last].key;
    return affs_slot_key(&node->image.leaf.slots[last]);
}

void affs_node_clear(affs_node *node, uint8_t tree, uint8_t level)
{
    affs_node_header *header = &node->image.header;
    memset(header, 0, sizeof *header);
    header->tree = tree;
    header->level = level;
    header->data_start = level == 0 ? AFFS_NODE_SIZE : 0;
}

unsigned affs_leaf_find(const affs_node *leaf, const affs_key *key, bool *exact)
{
    const affs_slot *slots = leaf->image.leaf.slots;
    unsigned low = 0, high = affs_node_count(leaf);
    *exact = false;
    while (low < high) {
        unsigned middle = (low + high) / 2;
        int order = affs_slot_compare(&slots[middle], key);
        if (order == 0) {
            *exact = true;
            return middle;
        }
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static unsigned slots_end(const affs_node_header *header)
{
    return (unsigned)(AFFS_NODE_HEADER_SIZE + header->item_count * AFFS_SLOT_SIZE);
}

bool affs_leaf_fits(const affs_node *leaf, unsigned length)
{
    return affs_node_used(leaf) + AFFS_SLOT_SIZE + length <= AFFS_NODE_ROOM;
}

static void leaf_compact(affs_node *leaf)
{
    const affs_node_image old = leaf->image;
    unsigned at = AFFS_NODE_SIZE;
    for (unsigned i = 0; i < old.header.item_count; i++) {
        affs_slot *slot = &leaf->image.leaf.slots[i];
        at -= slot->data_length;
        memcpy(leaf->image.bytes + at, old.bytes + slot->data_offset, slot->data_length);
        slot->data_offset = (uint16_t)at;
    }
    leaf->image.header.data_start = (uint16_t)at;
}

void affs_leaf_insert(affs_node *leaf, unsigned index, const affs_key *key, const void *payload,
                      unsigned length)
{
    affs_node_header *header = &leaf->image.header;
    affs_slot *slots = leaf->image.leaf.slots;
    assert(affs_leaf_fits(leaf, length));
    if (header->data_start - slots_end(header) < AFFS_SLOT_SIZE + length)
        leaf_compact(leaf);
    memmove(slots + index + 1, slots + index, (header->item_count - index) * sizeof *slots);
    header->data_start = (uint16_t)(header->data_start - length);
    header->data_length = (uint16_t)(header->data_length + length);
    header->item_count++;
    slots[index] = (affs_slot){.object = key->object,
                               .offset = key->offset,
                               .type = key->type,
                               .data_offset = header->data_start,
                               .data_length = (uint16_t)length};
    if (length > 0)
        memcpy(leaf->image.bytes + header->data_start, payload, length);
}

void affs_leaf_remove(affs_node *leaf, unsigned index)
{
    affs_node_header *header = &leaf->image.header;
    affs_slot *slots = leaf->image.leaf.slots;
    const affs_slot gone = slots[index];
    header->item_count--;
    header->data_length = (uint16_t)(header->data_length - gone.data_length);
    if (header->data_length == 0)
        header->data_start = AFFS_NODE_SIZE;
    else if (gone.data_offset == header->data_start)
        header->data_start = (uint16_t)(header->data_start + gone.data_length);
    memmove(slots + index, slots + index + 1, (header->item_count - index) * sizeof *slots);
}

void affs_leaf_append(affs_node *leaf, const affs_node_image *from_image, unsigned from,
                      unsigned to)
{
    for (unsigned i = from; i < to; i++) {
        const affs_slot *slot = &from_image->leaf.slots[i];
        const affs_key key = affs_slot_key(slot);
        affs_leaf_insert(leaf, affs_node_count(leaf), &key, from_image->bytes + slot->data_offset,
                         slot->data_length);
    }
}

static bool leaf_packed(const affs_node *leaf)
{
    unsigned at = AFFS_NODE_SIZE;
    for (unsigned i = 0; i < affs_node_count(leaf); i++) {
        const affs_slot *slot = &leaf->image.leaf.slots[i];
        at -= slot->data_length;
        if (slot->data_offset != at)
            return false;
    }
    return leaf->image.header.data_start == at;
}

void affs_node_tidy(affs_node *node)
{
    const affs_node_header *header = &node->image.header;
    unsigned used_end, unused_end = AFFS_NODE_SIZE;
    if (header->level == 0) {
        if (!leaf_packed(node))
            leaf_compact(node);
        used_end = slots_end(header);
        unused_end = header->data_start;
    } else {
        used_end = (unsigned)(AFFS_NODE_HEADER_SIZE + header->item_count * AFFS_ENTRY_SIZE);
    }
    memset(node->image.bytes + used_end, 0, unused_end - used_end);
}

unsigned affs_inner_find(const affs_node *inner, const affs_key *key)
{
    const affs_entry *entries = inner->image.inner.entries;
    unsigned low = 1, high = affs_node_count(inner);
    while (low < high) {
        unsigned middle = (low + high) / 2;
        if (affs_key_compare(&entries[middle].key, key) <= 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low - 1;
}

void affs_inner_insert(affs_node *inner, unsigned index, const affs_key *key,
                       const affs_pointer *child)
{
    affs_entry *entries = inner->image.inner.entries;
    const unsigned count = affs_node_count(inner);
    assert(count < AFFS_ENTRIES_MAX && index <= count);
    memmove(entries + index + 1, entries + index, (count - index) * sizeof *entries);
    entries[index] = (affs_entry){.key = *key, .child = *child};
    inner->image.header.item_count = (uint16_t)(count + 1);
}

void affs_inner_remove(affs_node *inner, unsigned index)
{
    affs_entry *entries = inner->image.inner.entries;
    const unsigned count = affs_node_count(inner) - 1;
    memmove(entries + index, entries + index + 1, (count - index) * sizeof *entries);
    inner->image.header.item_count = (uint16_t)count;
}
