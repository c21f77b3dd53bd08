/* The freeze: dirty nodes get addresses, checksums and final bytes, children before parents.
 *
 * Everything that could go wrong is checked before the first node changes, and no memory is
 * needed. The order is that of a depth-first walk in key order, so the same operations give the
 * same bytes.
 */
#include <stdlib.h>

#include "codec.h"
#include "tree_private.h"

static int compare_addresses(const void *a, const void *b)
{
    const uint64_t left = ((const affs_image *)a)->address;
    const uint64_t right = ((const affs_image *)b)->address;
    return left < right ? -1 : left > right;
}

/* Each address usable, none given twice (images serves as room to sort), none a known node's. */
static int check_addresses(const affs_tree *tree, uint64_t birth, const uint64_t *addresses,
                           const uint64_t *mirrors, uint32_t count, affs_image *images)
{
    for (uint32_t i = 0; i < count; i++) {
        const affs_pointer pointer = {
            .address = addresses[i],
            .mirror_address = mirrors ? mirrors[i] : 0,
            .birth = birth,
            .checksum_kind = AFFS_CHECKSUM_CRC32C,
            .tree = tree->kind,
        };
        if (affs_verify_pointer(tree->kind, &pointer) != AFFS_OK)
            return AFFS_E_INVALID;
        if (affs_cache_holds(tree->cache, addresses[i], birth, tree->kind))
            return AFFS_E_INVALID;
        images[i] = (affs_image){.address = addresses[i]};
    }
    qsort(images, count, sizeof *images, compare_addresses);
    for (uint32_t i = 1; i < count; i++)
        if (images[i - 1].address == images[i].address)
            return AFFS_E_INVALID;
    return AFFS_OK;
}

/* No child may be younger than its parent. */
static int check_births(const affs_tree *tree, uint64_t birth)
{
    for (const affs_node *node = tree->dirty.first; node; node = node->next) {
        if (node->image.header.level == 0)
            continue;
        for (unsigned i = 0; i < affs_node_count(node); i++)
            if (node->image.inner.entries[i].child.birth > birth)
                return AFFS_E_INVALID;
    }
    return AFFS_OK;
}

static void freeze_node(affs_tree *tree, affs_node *node, uint64_t birth, affs_image *image,
                        affs_pointer *pointer)
{
    affs_node_header *header = &node->image.header;
    affs_node_tidy(node);
    memcpy(header->uuid, affs_cache_uuid(tree->cache), sizeof header->uuid);
    memcpy(header->salt, affs_cache_salt(tree->cache), sizeof header->salt);
    memset(header->reserved, 0, sizeof header->reserved);
    header->address = image->address;
    header->mirror_address = image->mirror_address;
    header->birth = birth;
    affs_seal(node->image.bytes, AFFS_NODE_SIZE, AFFS_MAGIC_NODE, AFFS_KIND_NODE);
    image->image = node->image.bytes;
    *pointer = (affs_pointer){
        .address = header->address,
        .mirror_address = header->mirror_address,
        .birth = birth,
        .checksum_kind = AFFS_CHECKSUM_CRC32C,
        .level = header->level,
        .tree = header->tree,
    };
    memcpy(pointer->checksum, &header->header.checksum, sizeof header->header.checksum);
    affs_list_remove(&tree->dirty, node);
    tree->dirty_count--;
    affs_cache_freeze(tree->cache, node);
}

/* The dirty node of a dirty pointer: it is always there. */
static affs_node *dirty_node(affs_tree *tree, const affs_pointer *pointer)
{
    affs_node *node = NULL;
    int result = affs_cache_peek(tree->cache, pointer, &node);
    assert(result == AFFS_OK);
    (void)result;
    return node;
}

int affs_tree_freeze(affs_tree *tree, uint64_t birth, const uint64_t *addresses,
                     const uint64_t *mirrors, uint32_t count, affs_image *images,
                     affs_pointer *root)
{
    if (!tree->writable)
        return AFFS_E_READONLY;
    if (birth == 0 || count != tree->dirty_count)
        return AFFS_E_INVALID;
    int result = check_addresses(tree, birth, addresses, mirrors, count, images);
    if (result == AFFS_OK)
        result = check_births(tree, birth);
    if (result != AFFS_OK)
        return result;

    struct {
        affs_node *node;
        affs_pointer *pointer;
        unsigned index;
    } stack[AFFS_LEVELS_MAX];
    unsigned depth = 0;
    uint32_t frozen = 0;
    if (count > 0) {
        stack[depth].node = dirty_node(tree, &tree->root);
        stack[depth].pointer = &tree->root;
        stack[depth++].index = 0;
    }
    while (depth > 0) {
        affs_node *node = stack[depth - 1].node;
        if (node->image.header.level > 0 && stack[depth - 1].index < affs_node_count(node)) {
            affs_pointer *child = &node->image.inner.entries[stack[depth - 1].index++].child;
            if (affs_pointer_dirty(child)) {
                stack[depth].node = dirty_node(tree, child);
                stack[depth].pointer = child;
                stack[depth++].index = 0;
            }
            continue;
        }
        images[frozen] = (affs_image){.address = addresses[frozen],
                                      .mirror_address = mirrors ? mirrors[frozen] : 0};
        freeze_node(tree, node, birth, &images[frozen], stack[depth - 1].pointer);
        frozen++;
        depth--;
    }
    assert(frozen == count);
    tree->version++;
    *root = tree->root;
    return AFFS_OK;
}
