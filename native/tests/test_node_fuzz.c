/* native/fuzz/fuzz_node.c on seeded mutations of good nodes: few bytes changed at a time, mostly
 * in the header, the first slots and the first entries, where counts and offsets are.
 */
#include "../fuzz/fuzz_node.c"

#include "check.h"
#include "samples.h"

#define ROUNDS 12000

static uint8_t input[2 * BODY_SIZE];
static uint8_t seeds[AFFS_TREE_SPACE + 1][2 * BODY_SIZE];

/* A leaf with all samples of one tree's items, and an inner node above it. */
static void make_seed(uint8_t tree)
{
    static affs_node leaf, inner;
    static sample_item items[SAMPLES_MAX];
    const size_t count = sample_items(items);
    affs_node_clear(&leaf, tree, 0);
    affs_node_clear(&inner, tree, 1);
    for (size_t i = 0; i < count; i++) {
        bool exact;
        unsigned index = affs_leaf_find(&leaf, &items[i].key, &exact);
        if (items[i].tree == tree && !exact && affs_leaf_fits(&leaf, (unsigned)items[i].length))
            affs_leaf_insert(&leaf, index, &items[i].key, items[i].payload,
                             (unsigned)items[i].length);
    }
    affs_node_tidy(&leaf);
    const affs_pointer child = sample_pointer(tree);
    affs_key key = affs_node_first_key(&leaf);
    affs_inner_insert(&inner, 0, &key, &child);
    key.object += 1000;
    affs_inner_insert(&inner, 1, &key, &child);
    for (unsigned level = 0; level < 2; level++) {
        affs_node *node = level ? &inner : &leaf;
        node->image.header.address = child.address + 8 * level;
        node->image.header.birth = 40 + level;
        memcpy(seeds[tree] + level * BODY_SIZE, node->image.bytes + BODY_AT, BODY_SIZE);
    }
}

static void mutate(uint64_t *seed)
{
    static const uint8_t bytes[] = {0, 1, 2, 0x7F, 0x80, 0xFE, 0xFF};
    const unsigned changes = (unsigned)(check_random(seed) % 4);
    for (unsigned i = 0; i < changes; i++) {
        const size_t reach = check_random(seed) % 3 ? 400 : BODY_SIZE;
        const size_t at = check_random(seed) % 2 * BODY_SIZE + check_random(seed) % reach;
        if (check_random(seed) % 2)
            input[at] = bytes[check_random(seed) % sizeof bytes];
        else
            input[at] ^= (uint8_t)(1U << check_random(seed) % 8);
    }
}

int main(void)
{
    uint64_t seed = 2026;
    for (uint8_t tree = AFFS_TREE_NAMESPACE; tree <= AFFS_TREE_SPACE; tree++) {
        make_seed(tree);
        affs_node_image leaf;
        const uint8_t *data = seeds[tree];
        size_t size = sizeof seeds[tree];
        take_body(&leaf, &data, &size);
        const affs_pointer pointer = seal_node(&leaf);
        CHECK_EQUAL(affs_verify_node(&leaf, sizeof leaf, fuzz_uuid, fuzz_salt, &pointer), AFFS_OK);
    }
    for (unsigned round = 0; round < ROUNDS; round++) {
        memcpy(input, seeds[1 + round % AFFS_TREE_SPACE], sizeof input);
        mutate(&seed);
        LLVMFuzzerTestOneInput(input, sizeof input);
    }
    for (size_t size = 0; size < 200; size += 7)
        LLVMFuzzerTestOneInput(input, size);
    return 0;
}
