/* Verification of a whole tree node (DiskLayout "Node header", "Leaf slot", "Inner entry").
 *
 * The bytes come from a device and may be anything: every count, offset, length, level and key is
 * checked here, once, so that the rest of the core may read a node that is in the cache without
 * asking again. Needs no cache and no alignment; may be called from any thread.
 */
#include "codec.h"
#include "tree_private.h"

static int compare_pointer(const affs_node_header *node, const affs_pointer *pointer)
{
    uint32_t checksum;
    memcpy(&checksum, pointer->checksum, sizeof checksum);
    if (node->address != pointer->address || node->mirror_address != pointer->mirror_address ||
        node->birth != pointer->birth || node->level != pointer->level ||
        node->tree != pointer->tree)
        return AFFS_E_IDENTITY;
    return node->header.checksum == checksum ? AFFS_OK : AFFS_E_CHECKSUM;
}

/* What a pointer to this node would be. */
static affs_pointer own_pointer(const affs_node_header *node)
{
    affs_pointer pointer = {
        .address = node->address,
        .mirror_address = node->mirror_address,
        .birth = node->birth,
        .checksum_kind = AFFS_CHECKSUM_CRC32C,
        .level = node->level,
        .tree = node->tree,
    };
    memcpy(pointer.checksum, &node->header.checksum, sizeof node->header.checksum);
    return pointer;
}

/* Payloads in another order than their slots', or with holes: no two may share a byte. */
static bool overlap(const uint8_t *image, unsigned count)
{
    uint8_t taken[AFFS_NODE_SIZE];
    memset(taken, 0, sizeof taken);
    for (unsigned i = 0; i < count; i++) {
        affs_slot slot;
        memcpy(&slot, image + AFFS_NODE_HEADER_SIZE + i * sizeof slot, sizeof slot);
        if (!affs_is_zero(taken + slot.data_offset, slot.data_length))
            return true;
        memset(taken + slot.data_offset, 1, slot.data_length);
    }
    return false;
}

static int verify_leaf(const uint8_t *image, const affs_node_header *node)
{
    const unsigned count = node->item_count;
    if (count > AFFS_SLOTS_MAX)
        return AFFS_E_LENGTH;
    const unsigned slots_end = AFFS_NODE_HEADER_SIZE + count * AFFS_SLOT_SIZE;
    if (node->data_start < slots_end || node->data_start > AFFS_NODE_SIZE)
        return AFFS_E_LENGTH;

    unsigned total = 0, lowest = AFFS_NODE_SIZE, packed_at = AFFS_NODE_SIZE;
    bool packed = true;
    affs_key key = {0};
    for (unsigned i = 0; i < count; i++) {
        affs_slot slot;
        memcpy(&slot, image + AFFS_NODE_HEADER_SIZE + i * sizeof slot, sizeof slot);
        if (slot.flags != 0 || slot.reserved != 0)
            return AFFS_E_FIELD;
        if (i > 0 && affs_slot_compare(&slot, &key) <= 0)
            return AFFS_E_FIELD;
        key = affs_slot_key(&slot);
        if (slot.data_offset < node->data_start || slot.data_length > AFFS_ITEM_MAX ||
            slot.data_offset + (unsigned)slot.data_length > AFFS_NODE_SIZE)
            return AFFS_E_LENGTH;
        int result = affs_verify_item(node->tree, &key, image + slot.data_offset, slot.data_length);
        if (result != AFFS_OK)
            return result;
        total += slot.data_length;
        packed_at -= slot.data_length;
        packed = packed && slot.data_offset == packed_at;
        if (slot.data_offset < lowest)
            lowest = slot.data_offset;
    }
    if (total != node->data_length || lowest != node->data_start)
        return AFFS_E_LENGTH;
    return packed || !overlap(image, count) ? AFFS_OK : AFFS_E_LENGTH;
}

static int verify_inner(const uint8_t *image, const affs_node_header *node)
{
    const unsigned count = node->item_count;
    if (count == 0 || count > AFFS_ENTRIES_MAX)
        return AFFS_E_LENGTH;
    if (node->data_start != 0 || node->data_length != 0)
        return AFFS_E_FIELD;
    affs_key key = {0};
    for (unsigned i = 0; i < count; i++) {
        affs_entry entry;
        memcpy(&entry, image + AFFS_NODE_HEADER_SIZE + i * sizeof entry, sizeof entry);
        if (affs_verify_key(node->tree, &entry.key) != AFFS_OK ||
            affs_verify_pointer(node->tree, &entry.child) != AFFS_OK)
            return AFFS_E_FIELD;
        if (i > 0 && affs_key_compare(&entry.key, &key) <= 0)
            return AFFS_E_FIELD;
        key = entry.key;
        if (entry.child.level != node->level - 1 || entry.child.birth > node->birth)
            return AFFS_E_FIELD;
    }
    return AFFS_OK;
}

int affs_verify_node(const void *image, size_t length, const uint8_t *uuid, const uint8_t *salt,
                     const affs_pointer *pointer)
{
    if (length != AFFS_NODE_SIZE)
        return AFFS_E_LENGTH;
    int result = affs_verify_frame(image, length, AFFS_NODE_SIZE, AFFS_MAGIC_NODE, AFFS_KIND_NODE);
    if (result != AFFS_OK)
        return result;
    affs_node_header node;
    memcpy(&node, image, sizeof node);
    if (memcmp(node.uuid, uuid, sizeof node.uuid) != 0 ||
        memcmp(node.salt, salt, sizeof node.salt) != 0)
        return AFFS_E_IDENTITY;
    if (pointer) {
        result = compare_pointer(&node, pointer);
        if (result != AFFS_OK)
            return result;
    }
    const affs_pointer own = own_pointer(&node);
    if (node.tree < AFFS_TREE_NAMESPACE || node.tree > AFFS_TREE_SPACE ||
        affs_verify_pointer(node.tree, &own) != AFFS_OK ||
        !affs_is_zero(node.reserved, sizeof node.reserved))
        return AFFS_E_FIELD;
    return node.level == 0 ? verify_leaf(image, &node) : verify_inner(image, &node);
}
