/* One well-formed example of every structure and item, for tests and as the seeds of fuzzing. */
#ifndef AFFS_SAMPLES_H
#define AFFS_SAMPLES_H

#include <string.h>

#include "affs_core.h"

#define SAMPLE_OBJECT 0x0102030405U

static inline affs_superblock sample_superblock(void)
{
    affs_superblock block;
    memset(&block, 0, sizeof block);
    block.update_counter = 3;
    memset(block.format_uuid, 0xF0, sizeof block.format_uuid);
    memset(block.user_uuid, 0xF1, sizeof block.user_uuid);
    memset(block.backend_uuid, 0xF2, sizeof block.backend_uuid);
    memset(block.hash_key, 0xF3, sizeof block.hash_key);
    memset(block.salt, 0xF4, sizeof block.salt);
    block.created_ns = 1700000000000000000;
    block.device_blocks = 262144; /* 1 GiB */
    block.place_count = 60;       /* of 16 MiB: two between the regions, 58 behind */
    block.segment_count = 60;
    block.segment_count_max = 4096;
    block.backend_count = 1;
    block.block_shift = AFFS_BLOCK_SHIFT;
    block.node_shift = AFFS_NODE_SHIFT;
    block.segment_shift = 24;
    block.ring_shift = AFFS_RING_SHIFT;
    block.label_length = 4;
    memcpy(block.label, "demo", 4);
    affs_seal(&block, sizeof block, AFFS_MAGIC_SUPERBLOCK, AFFS_KIND_SUPERBLOCK);
    return block;
}

static inline affs_owner sample_owner(void)
{
    affs_owner owner;
    memset(&owner, 0, sizeof owner);
    memset(owner.uuid, 0xF0, sizeof owner.uuid);
    owner.pid = 4711;
    owner.heartbeat = 9;
    owner.state = 1;
    memcpy(owner.host, "host", 4);
    affs_seal(&owner, sizeof owner, AFFS_MAGIC_OWNER, AFFS_KIND_OWNER);
    return owner;
}

static inline affs_pointer sample_pointer(uint8_t tree)
{
    affs_pointer pointer;
    memset(&pointer, 0, sizeof pointer);
    pointer.address = tree == AFFS_TREE_NAMESPACE ? ((uint64_t)7 << 32 | 5) : 300;
    pointer.birth = 40;
    memset(pointer.checksum, 0xC5, 4);
    pointer.checksum_kind = AFFS_CHECKSUM_CRC32C;
    pointer.level = 1;
    pointer.tree = tree;
    return pointer;
}

static inline affs_commit sample_commit(void)
{
    affs_commit commit;
    memset(&commit, 0, sizeof commit);
    memset(commit.uuid, 0xF0, sizeof commit.uuid);
    commit.seq = 42;
    commit.parent_seq = 41;
    commit.parent_checksum = 0x12345678;
    commit.time_ns = 1700000000000000000;
    commit.backends = 1;
    commit.namespace_root = sample_pointer(AFFS_TREE_NAMESPACE);
    commit.checkpoint_root = sample_pointer(AFFS_TREE_CHECKPOINT);
    commit.space_root = sample_pointer(AFFS_TREE_SPACE);
    commit.next_object = 1 << 20;
    commit.next_state = 9;
    commit.ancestor = 8;
    commit.segment_count = 60;
    commit.used_blocks = 1000;
    commit.object_count = 12;
    commit.open_segments[AFFS_INTENT_METADATA].segment = 59;
    commit.open_segments[AFFS_INTENT_METADATA].next_block = 17;
    affs_seal(&commit, sizeof commit, AFFS_MAGIC_COMMIT, AFFS_KIND_COMMIT);
    return commit;
}

static inline affs_segment_header sample_segment_header(void)
{
    affs_segment_header block;
    memset(&block, 0, sizeof block);
    memset(block.uuid, 0xF0, sizeof block.uuid);
    memset(block.salt, 0xF4, sizeof block.salt);
    block.segment = 7;
    block.copy_generation = 1;
    block.place = 7;
    block.intent = AFFS_INTENT_SMALL;
    affs_seal(&block, sizeof block, AFFS_MAGIC_SEGMENT, AFFS_KIND_SEGMENT);
    return block;
}

typedef struct {
    uint8_t tree;
    affs_key key;
    size_t length;
    uint8_t payload[AFFS_ITEM_MAX + 1];
} sample_item;

static inline sample_item sample_begin(uint8_t tree, uint8_t type, uint64_t object, uint64_t offset)
{
    sample_item item;
    memset(&item, 0, sizeof item);
    item.tree = tree;
    item.key.object = object;
    item.key.type = type;
    item.key.offset = offset;
    return item;
}

static inline void sample_append(sample_item *item, const void *bytes, size_t length)
{
    memcpy(item->payload + item->length, bytes, length);
    item->length += length;
}

static inline affs_inode sample_inode(uint32_t mode)
{
    affs_inode inode;
    memset(&inode, 0, sizeof inode);
    inode.size = 5000;
    inode.blocks = 2;
    inode.mode = mode;
    inode.nlink = 2;
    for (int index = 0; index < 6; index++)
        inode.object_id[10 + index] = (uint8_t)((uint64_t)SAMPLE_OBJECT >> (40 - 8 * index));
    inode.parent = (mode >> 12) == 4 ? 1 : 0;
    return inode;
}

static inline affs_extent sample_extent(uint32_t blocks, uint32_t length)
{
    affs_extent extent;
    memset(&extent, 0, sizeof extent);
    extent.address = (uint64_t)3 << 32 | 77;
    extent.birth = 40;
    extent.blocks = blocks;
    extent.stored_length = blocks * AFFS_BLOCK_SIZE;
    extent.logical_length = blocks * AFFS_BLOCK_SIZE;
    extent.length = length;
    extent.checksum_kind = AFFS_CHECKSUM_CRC32C;
    extent.checksum_shift = AFFS_BLOCK_SHIFT;
    return extent;
}

static inline sample_item sample_name_item(uint8_t type, const void *name, uint16_t length)
{
    affs_name fixed;
    sample_item item = sample_begin(AFFS_TREE_NAMESPACE, type, SAMPLE_OBJECT, (uint64_t)99 << 4);
    memset(&fixed, 0, sizeof fixed);
    fixed.object = SAMPLE_OBJECT + 1;
    fixed.name_length = length;
    fixed.kind = 8;
    sample_append(&item, &fixed, sizeof fixed);
    sample_append(&item, name, length);
    return item;
}

static inline sample_item sample_extent_item(uint32_t blocks)
{
    static const uint8_t sums[4 * AFFS_EXTENT_BLOCKS_MAX] = {1, 2, 3};
    affs_extent extent = sample_extent(blocks, blocks * AFFS_BLOCK_SIZE - 1);
    sample_item item = sample_begin(AFFS_TREE_NAMESPACE, AFFS_ITEM_EXTENT, SAMPLE_OBJECT, 8192);
    sample_append(&item, &extent, sizeof extent);
    sample_append(&item, sums, 4 * (size_t)blocks);
    return item;
}

static inline sample_item sample_xattr_item(uint8_t storage)
{
    static const uint8_t sums[8] = {9};
    affs_xattr fixed = {.value_length = 5, .name_length = 6, .storage = storage};
    affs_extent extent = sample_extent(2, 5000);
    sample_item item =
        sample_begin(AFFS_TREE_NAMESPACE, AFFS_ITEM_XATTR, SAMPLE_OBJECT, (uint64_t)98 << 4 | 1);
    if (storage == AFFS_XATTR_EXTENT)
        fixed.value_length = extent.length;
    sample_append(&item, &fixed, sizeof fixed);
    sample_append(&item, "user.a", 6);
    if (storage == AFFS_XATTR_EXTENT) {
        sample_append(&item, &extent, sizeof extent);
        sample_append(&item, sums, sizeof sums);
    } else {
        sample_append(&item, "value", 5);
    }
    return item;
}

static inline sample_item sample_segment_item(void)
{
    affs_segment segment;
    sample_item item = sample_begin(AFFS_TREE_SPACE, AFFS_ITEM_SEGMENT, 7, 0);
    memset(&segment, 0, sizeof segment);
    segment.intent = AFFS_INTENT_LARGE;
    segment.copy_count = 1;
    segment.used_blocks = 4000;
    segment.birth = 40;
    segment.copies[0].place = 7;
    segment.copies[0].generation = 1;
    sample_append(&item, &segment, sizeof segment);
    return item;
}

static inline sample_item sample_state_item(void)
{
    affs_state state;
    sample_item item = sample_begin(AFFS_TREE_CHECKPOINT, AFFS_ITEM_STATE, 8, 0);
    memset(&state, 0, sizeof state);
    state.root = sample_pointer(AFFS_TREE_NAMESPACE);
    state.seq = 41;
    state.parent = 7;
    state.flags = AFFS_STATE_PUBLISHED;
    state.object_count = 12;
    state.used_blocks = 900;
    state.label_length = 5;
    state.author_length = 3;
    state.message_length = 7;
    sample_append(&item, &state, sizeof state);
    sample_append(&item, "labelmemessage", 15);
    return item;
}

/* Fill in an example of each item type; returns how many. */
#define SAMPLES_MAX 28
static inline size_t sample_items(sample_item *items)
{
    const uint8_t bytes[AFFS_BITMAP_CHUNK_SIZE] = {0xFF, 1};
    affs_state_pointer pointer = {.state = 8, .time_ns = -1};
    affs_inode inode = sample_inode(0100644);
    size_t count = 0;
    items[count] = sample_begin(AFFS_TREE_NAMESPACE, AFFS_ITEM_INODE, SAMPLE_OBJECT, 0);
    sample_append(&items[count++], &inode, sizeof inode);
    inode = sample_inode(0040755);
    items[count] = sample_begin(AFFS_TREE_NAMESPACE, AFFS_ITEM_INODE, SAMPLE_OBJECT, 0);
    sample_append(&items[count++], &inode, sizeof inode);
    items[count++] = sample_name_item(AFFS_ITEM_DENTRY, "name", 4);
    items[count++] = sample_name_item(AFFS_ITEM_PARENT, "\xFF\x01 odd", 6);
    items[count++] = sample_xattr_item(AFFS_XATTR_INLINE);
    items[count++] = sample_xattr_item(AFFS_XATTR_EXTENT);
    items[count] = sample_begin(AFFS_TREE_NAMESPACE, AFFS_ITEM_SYMLINK, SAMPLE_OBJECT, 0);
    sample_append(&items[count++], "../target", 9);
    items[count] = sample_begin(AFFS_TREE_NAMESPACE, AFFS_ITEM_INLINE, SAMPLE_OBJECT, 0);
    sample_append(&items[count++], bytes, AFFS_INLINE_MAX);
    items[count++] = sample_extent_item(1);
    items[count++] = sample_extent_item(AFFS_EXTENT_BLOCKS_MAX);
    items[count++] = sample_begin(AFFS_TREE_NAMESPACE, AFFS_ITEM_ORPHAN, AFFS_OBJECT_ORPHANS, 77);
    items[count++] =
        sample_begin(AFFS_TREE_NAMESPACE, AFFS_ITEM_COLLECTION, AFFS_OBJECT_COLLECTIONS, 77);
    items[count] = sample_begin(AFFS_TREE_NAMESPACE, AFFS_ITEM_COLLECTION, SAMPLE_OBJECT, 15);
    sample_append(&items[count++], bytes, sizeof bytes);
    items[count] = sample_begin(AFFS_TREE_NAMESPACE, AFFS_ITEM_INDEX, SAMPLE_OBJECT, 3ULL << 32);
    sample_append(&items[count++], "\x80", 1);
    items[count] =
        sample_begin(AFFS_TREE_NAMESPACE, AFFS_ITEM_INDEX, SAMPLE_OBJECT, 3ULL << 32 | 7);
    sample_append(&items[count++], "\0\0\2\0\1\0\3\0abcd", 12);
    items[count] = sample_begin(AFFS_TREE_NAMESPACE, AFFS_ITEM_INDEX_KEYS, SAMPLE_OBJECT, 77);
    sample_append(&items[count++], "\3\0\0\0\1\0k\4\0\0\0\2\0ab", 15);
    items[count++] =
        sample_begin(AFFS_TREE_NAMESPACE, AFFS_ITEM_INDEX_PENDING, SAMPLE_OBJECT, 77);
    items[count] = sample_begin(AFFS_TREE_NAMESPACE, AFFS_ITEM_IMPORT, AFFS_OBJECT_IMPORTS, 77);
    sample_append(&items[count++], "\x80", 1);
    items[count++] = sample_segment_item();
    items[count] = sample_begin(AFFS_TREE_SPACE, AFFS_ITEM_BITMAP, 7, 1);
    sample_append(&items[count++], bytes, sizeof bytes);
    items[count++] = sample_state_item();
    items[count] = sample_begin(AFFS_TREE_CHECKPOINT, AFFS_ITEM_STATE_POINTER, 1, 0);
    sample_append(&items[count++], &pointer, sizeof pointer);
    items[count] = sample_begin(AFFS_TREE_SYSTEM, AFFS_ITEM_OPERATION, 12, 34);
    sample_append(&items[count++], "\x81", 1);
    return count;
}

#endif
