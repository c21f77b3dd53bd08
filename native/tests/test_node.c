/* Verification of nodes: a good one passes at any alignment, every rule has a node that breaks
 * only it.
 *
 * Each bad node is resealed, so that its checksum is right and the rule itself has to find it.
 */
#include "check.h"
#include "samples.h"
#include "tree_private.h"

static const uint8_t uuid[16] = "uuid of a volume";
static const uint8_t salt[16] = "salt of a volume";

static affs_key key_of(uint64_t number)
{
    return (affs_key){.object = number, .type = AFFS_ITEM_OPERATION, .offset = 7};
}

static affs_pointer seal(affs_node *node)
{
    affs_node_header *header = &node->image.header;
    affs_seal(node->image.bytes, AFFS_NODE_SIZE, AFFS_MAGIC_NODE, AFFS_KIND_NODE);
    affs_pointer pointer = {
        .address = header->address,
        .mirror_address = header->mirror_address,
        .birth = header->birth,
        .checksum_kind = AFFS_CHECKSUM_CRC32C,
        .level = header->level,
        .tree = header->tree,
    };
    memcpy(pointer.checksum, &header->header.checksum, sizeof header->header.checksum);
    return pointer;
}

static void begin(affs_node *node, uint8_t level)
{
    memset(node, 0, sizeof *node);
    affs_node_clear(node, AFFS_TREE_SYSTEM, level);
    memcpy(node->image.header.uuid, uuid, sizeof uuid);
    memcpy(node->image.header.salt, salt, sizeof salt);
    node->image.header.address = 1000 + level;
    node->image.header.birth = 50;
}

/* Three items of 10, 20 and 30 bytes. */
static affs_node leaf_of_three(void)
{
    static const uint8_t payload[30] = {1, 2, 3};
    affs_node leaf;
    begin(&leaf, 0);
    for (unsigned i = 0; i < 3; i++) {
        const affs_key key = key_of(i + 1);
        affs_leaf_insert(&leaf, i, &key, payload, 10 * (i + 1));
    }
    return leaf;
}

static affs_node inner_of_three(void)
{
    affs_node inner;
    begin(&inner, 2);
    affs_pointer child = sample_pointer(AFFS_TREE_SYSTEM);
    for (unsigned i = 0; i < 3; i++) {
        const affs_key key = key_of(i + 1);
        child.address = 2000 + i;
        affs_inner_insert(&inner, i, &key, &child);
    }
    return inner;
}

static int verify(affs_node *node)
{
    const affs_pointer pointer = seal(node);
    return affs_verify_node(node->image.bytes, AFFS_NODE_SIZE, uuid, salt, &pointer);
}

static void test_good(void)
{
    static uint8_t shifted[AFFS_NODE_SIZE + 16];
    affs_node nodes[2] = {leaf_of_three(), inner_of_three()};
    for (unsigned i = 0; i < 2; i++) {
        CHECK_EQUAL(verify(&nodes[i]), AFFS_OK);
        for (unsigned shift = 0; shift < 9; shift++) {
            memcpy(shifted + shift, nodes[i].image.bytes, AFFS_NODE_SIZE);
            CHECK_EQUAL(affs_verify_node(shifted + shift, AFFS_NODE_SIZE, uuid, salt, NULL),
                        AFFS_OK);
        }
    }
    affs_node empty;
    begin(&empty, 0);
    CHECK_EQUAL(verify(&empty), AFFS_OK);
}

static void test_every_bit_counts(void)
{
    affs_node leaf = leaf_of_three();
    const affs_pointer pointer = seal(&leaf);
    for (unsigned bit = 0; bit < AFFS_NODE_SIZE * 8; bit += bit < 2000 ? 1 : 97) {
        leaf.image.bytes[bit / 8] ^= (uint8_t)(1U << bit % 8);
        CHECK(affs_verify_node(leaf.image.bytes, AFFS_NODE_SIZE, uuid, salt, &pointer) < 0);
        leaf.image.bytes[bit / 8] ^= (uint8_t)(1U << bit % 8);
    }
}

static void test_identity(void)
{
    affs_node leaf = leaf_of_three();
    const affs_pointer good = seal(&leaf);
    const uint8_t *image = leaf.image.bytes;
    affs_pointer other[6] = {good, good, good, good, good, good};
    other[0].address++;
    other[1].mirror_address++;
    other[2].birth++;
    other[3].level++;
    other[4].tree = AFFS_TREE_SPACE;
    other[5].checksum[2] ^= 1;
    for (unsigned i = 0; i < 6; i++)
        CHECK_EQUAL(affs_verify_node(image, AFFS_NODE_SIZE, uuid, salt, &other[i]),
                    i == 5 ? AFFS_E_CHECKSUM : AFFS_E_IDENTITY);
    CHECK_EQUAL(affs_verify_node(image, AFFS_NODE_SIZE, salt, salt, &good), AFFS_E_IDENTITY);
    CHECK_EQUAL(affs_verify_node(image, AFFS_NODE_SIZE, uuid, uuid, &good), AFFS_E_IDENTITY);
    CHECK_EQUAL(affs_verify_node(image, AFFS_NODE_SIZE - 1, uuid, salt, &good), AFFS_E_LENGTH);
    CHECK_EQUAL(affs_verify_node(image, 0, uuid, salt, &good), AFFS_E_LENGTH);
}

/* What one byte or word more or less does to a good node. */
#define BREAKS(make, change, code) \
    do { \
        affs_node node = make(); \
        affs_node_header *header = &node.image.header; \
        affs_slot *slots = node.image.leaf.slots; \
        affs_entry *entries = node.image.inner.entries; \
        (void)header, (void)slots, (void)entries; \
        change; \
        CHECK_EQUAL(verify(&node), code); \
    } while (0)

static void test_header_rules(void)
{
    BREAKS(leaf_of_three, header->tree = 0, AFFS_E_FIELD);
    BREAKS(leaf_of_three, header->tree = 5, AFFS_E_FIELD);
    BREAKS(leaf_of_three, header->level = AFFS_LEVELS_MAX, AFFS_E_FIELD);
    BREAKS(leaf_of_three, header->birth = 0, AFFS_E_FIELD);
    BREAKS(leaf_of_three, header->address = 0, AFFS_E_FIELD);
    BREAKS(leaf_of_three, header->address |= AFFS_DIRTY, AFFS_E_FIELD);
    BREAKS(leaf_of_three, header->mirror_address |= AFFS_DIRTY, AFFS_E_FIELD);
    BREAKS(leaf_of_three, header->reserved[0] = 1, AFFS_E_FIELD);
    BREAKS(leaf_of_three, header->reserved[15] = 1, AFFS_E_FIELD);
    BREAKS(leaf_of_three, header->tree = AFFS_TREE_SPACE, AFFS_E_FIELD); /* items of another tree */
}

static void test_leaf_rules(void)
{
    BREAKS(leaf_of_three, header->item_count = 2, AFFS_E_LENGTH);
    BREAKS(leaf_of_three, header->item_count = 4, AFFS_E_FIELD);
    BREAKS(leaf_of_three, header->item_count = AFFS_SLOTS_MAX + 1, AFFS_E_LENGTH);
    BREAKS(leaf_of_three, header->item_count = UINT16_MAX, AFFS_E_LENGTH);
    BREAKS(leaf_of_three, header->data_start--, AFFS_E_LENGTH);
    BREAKS(leaf_of_three, header->data_start++, AFFS_E_LENGTH);
    BREAKS(leaf_of_three, header->data_start = 0, AFFS_E_LENGTH);
    BREAKS(leaf_of_three, header->data_start = UINT16_MAX, AFFS_E_LENGTH);
    BREAKS(leaf_of_three, header->data_length++, AFFS_E_LENGTH);
    BREAKS(leaf_of_three, slots[1].flags = 1, AFFS_E_FIELD);
    BREAKS(leaf_of_three, slots[1].reserved = 1, AFFS_E_FIELD);
    BREAKS(leaf_of_three, slots[1].object = 1, AFFS_E_FIELD); /* equal keys */
    BREAKS(leaf_of_three, slots[1].object = 9, AFFS_E_FIELD); /* descending keys */
    BREAKS(leaf_of_three, slots[1].type = AFFS_ITEM_INODE, AFFS_E_FIELD);
    BREAKS(leaf_of_three, slots[2].data_offset--, AFFS_E_LENGTH);
    BREAKS(leaf_of_three, slots[0].data_offset = AFFS_NODE_SIZE - 1, AFFS_E_LENGTH);
    BREAKS(leaf_of_three, slots[0].data_offset = UINT16_MAX, AFFS_E_LENGTH);
    BREAKS(leaf_of_three, slots[0].data_offset = 100, AFFS_E_LENGTH); /* inside the slots */
    BREAKS(leaf_of_three, slots[0].data_length++, AFFS_E_LENGTH);
    BREAKS(leaf_of_three, slots[0].data_length = UINT16_MAX, AFFS_E_LENGTH);
    BREAKS(leaf_of_three, slots[0].data_length = 0, AFFS_E_LENGTH);
    /* Two payloads share bytes while sum and lowest place are right. */
    BREAKS(leaf_of_three, slots[1].data_offset = slots[0].data_offset - 5, AFFS_E_LENGTH);
}

/* Other writers may order payloads as they like. */
static void test_payload_order_is_free(void)
{
    affs_node leaf = leaf_of_three();
    affs_slot *slots = leaf.image.leaf.slots;
    slots[0].data_offset = AFFS_NODE_SIZE - 60;
    slots[1].data_offset = AFFS_NODE_SIZE - 20;
    slots[2].data_offset = AFFS_NODE_SIZE - 50;
    CHECK_EQUAL(verify(&leaf), AFFS_OK);
    slots[2].data_offset--;
    CHECK_EQUAL(verify(&leaf), AFFS_E_LENGTH);
}

static void test_inner_rules(void)
{
    BREAKS(inner_of_three, header->item_count = 0, AFFS_E_LENGTH);
    BREAKS(inner_of_three, header->item_count = 4, AFFS_E_FIELD);
    BREAKS(inner_of_three, header->item_count = AFFS_ENTRIES_MAX + 1, AFFS_E_LENGTH);
    BREAKS(inner_of_three, header->data_start = 1, AFFS_E_FIELD);
    BREAKS(inner_of_three, header->data_length = 1, AFFS_E_FIELD);
    BREAKS(inner_of_three, header->level = 1, AFFS_E_FIELD);
    BREAKS(inner_of_three, header->level = 3, AFFS_E_FIELD);
    BREAKS(inner_of_three, header->birth = 39, AFFS_E_FIELD); /* older than its children */
    BREAKS(inner_of_three, entries[1].key.reserved[6] = 1, AFFS_E_FIELD);
    BREAKS(inner_of_three, entries[1].key.type = AFFS_ITEM_INODE, AFFS_E_FIELD);
    BREAKS(inner_of_three, entries[1].key.object = 1, AFFS_E_FIELD);
    BREAKS(inner_of_three, entries[1].key.object = 9, AFFS_E_FIELD);
    BREAKS(inner_of_three, entries[1].child.level = 0, AFFS_E_FIELD);
    BREAKS(inner_of_three, entries[1].child.tree = AFFS_TREE_SPACE, AFFS_E_FIELD);
    BREAKS(inner_of_three, entries[1].child.birth = 0, AFFS_E_FIELD);
    BREAKS(inner_of_three, entries[1].child.birth = 51, AFFS_E_FIELD);
    BREAKS(inner_of_three, entries[1].child.address |= AFFS_DIRTY, AFFS_E_FIELD);
    BREAKS(inner_of_three, entries[1].child.mirror_address |= AFFS_DIRTY, AFFS_E_FIELD);
    BREAKS(inner_of_three, entries[1].child.checksum_kind = 0, AFFS_E_FIELD);
    BREAKS(inner_of_three, entries[1].child.checksum[4] = 1, AFFS_E_FIELD);
    BREAKS(inner_of_three, entries[1].child.flags = 1, AFFS_E_FIELD);
    BREAKS(inner_of_three, entries[1].child.reserved = 1, AFFS_E_FIELD);
}

int main(void)
{
    test_good();
    test_every_bit_counts();
    test_identity();
    test_header_rules();
    test_leaf_rules();
    test_payload_order_is_free();
    test_inner_rules();
    return 0;
}
