/* Keys, pointers and item payloads: the shape of everything that stands inside a tree node.
 *
 * Invariants: a payload is accepted only if its length is exactly what its counts say, every field
 * is one that a writer could have written, and every reserved byte is zero; so readers may use it
 * without more checks. Payloads may be unaligned: their fixed parts are copied out first. Each
 * function below is one row of docs/specs/DiskLayout.md, "Item types".
 */
#include <string.h>

#include "codec.h"

#define OFFSET_MAX ((uint64_t)INT64_MAX)
#define HASHED_OFFSET_MIN 16
#define OBJECT_LIMIT ((uint64_t)1 << AFFS_OBJECT_BITS)
#define SEGMENT_BLOCKS_MAX ((uint64_t)1 << (AFFS_SEGMENT_SHIFT_MAX - AFFS_BLOCK_SHIFT))
#define BLOCKS_MAX ((uint64_t)AFFS_SEGMENTS_MAX * SEGMENT_BLOCKS_MAX)
#define BITMAP_CHUNKS (SEGMENT_BLOCKS_MAX / (8 * AFFS_BITMAP_CHUNK_SIZE))
#define BITMAP_LENGTH_MIN ((1U << (AFFS_SEGMENT_SHIFT_MIN - AFFS_BLOCK_SHIFT)) / 8)
#define PLACE_MAX ((uint64_t)1 << 40)
#define BACKEND_BLOCK_BITS 48
#define CHECKSUM_SIZE 4
#define INDEX_SHIFT 32
#define INDEX_PAGE_PREFIX 4
#define INDEX_LEVELS_MAX 12
#define INDEX_ROW_PREFIX 6
#define STATE_FLAGS \
    (AFFS_STATE_AUTOMATIC | AFFS_STATE_HIDDEN | AFFS_STATE_DOOMED | AFFS_STATE_PUBLISHED)

/* File types: mode & 0170000 is one of these, shifted left by twelve (the DT_* values). */
#define MODE_MAX 0177777U
#define TYPE_SHIFT 12
#define TYPE_FIFO 1
#define TYPE_CHARACTER 2
#define TYPE_DIRECTORY 4
#define TYPE_BLOCK 6
#define TYPE_REGULAR 8
#define TYPE_SYMLINK 10
#define TYPE_SOCKET 12

static int type_ok(uint32_t type)
{
    const uint32_t known = 1U << TYPE_FIFO | 1U << TYPE_CHARACTER | 1U << TYPE_DIRECTORY |
                           1U << TYPE_BLOCK | 1U << TYPE_REGULAR | 1U << TYPE_SYMLINK |
                           1U << TYPE_SOCKET;
    return type < 16 && (known >> type & 1U) != 0;
}

static int object_ok(uint64_t object)
{
    return object > 0 && object < OBJECT_LIMIT && object != AFFS_OBJECT_ORPHANS &&
           object != AFFS_OBJECT_COLLECTIONS && object != AFFS_OBJECT_IMPORTS;
}

static int hashed_ok(uint64_t offset)
{
    return offset >= HASHED_OFFSET_MIN && offset <= OFFSET_MAX;
}

/* A name of a directory entry. */
static int name_ok(const uint8_t *name, size_t length)
{
    if (length == 0 || length > AFFS_NAME_MAX)
        return 0;
    if (memchr(name, '/', length) != NULL || memchr(name, 0, length) != NULL)
        return 0;
    return !(name[0] == '.' && (length == 1 || (length == 2 && name[1] == '.')));
}

int affs_verify_address(uint64_t address, uint64_t blocks)
{
    uint64_t block = address & UINT32_MAX;
    if (address >> 32 >= AFFS_SEGMENTS_MAX || block == 0 || block >= SEGMENT_BLOCKS_MAX)
        return AFFS_E_FIELD;
    return blocks <= SEGMENT_BLOCKS_MAX - block ? AFFS_OK : AFFS_E_FIELD;
}

static int physical_ok(uint64_t address)
{
    uint64_t block = address & (((uint64_t)1 << BACKEND_BLOCK_BITS) - 1);
    return address >> BACKEND_BLOCK_BITS < AFFS_BACKENDS_MAX && block > 0 &&
           block <= ((uint64_t)1 << BACKEND_BLOCK_BITS) - AFFS_NODE_BLOCKS;
}

int affs_verify_pointer(uint8_t tree, const affs_pointer *pointer)
{
    if (pointer->tree != tree || pointer->birth == 0 || pointer->level >= AFFS_LEVELS_MAX)
        return AFFS_E_FIELD;
    if (pointer->flags != 0 || pointer->reserved != 0 ||
        pointer->checksum_kind != AFFS_CHECKSUM_CRC32C ||
        !affs_is_zero(pointer->checksum + CHECKSUM_SIZE, sizeof pointer->checksum - CHECKSUM_SIZE))
        return AFFS_E_FIELD;
    if (tree == AFFS_TREE_NAMESPACE) {
        if (pointer->mirror_address != 0)
            return AFFS_E_FIELD;
        return affs_verify_address(pointer->address, AFFS_NODE_BLOCKS);
    }
    if (!physical_ok(pointer->address))
        return AFFS_E_FIELD;
    if (pointer->mirror_address != 0 && !physical_ok(pointer->mirror_address))
        return AFFS_E_FIELD;
    return AFFS_OK;
}

int affs_verify_root(uint8_t tree, const affs_pointer *pointer, uint64_t seq, int may_be_none)
{
    if (pointer->birth == 0)
        return may_be_none && affs_is_zero(pointer, sizeof *pointer) ? AFFS_OK : AFFS_E_FIELD;
    return pointer->birth <= seq ? affs_verify_pointer(tree, pointer) : AFFS_E_FIELD;
}

static int namespace_key_ok(const affs_key *key)
{
    if (key->type == AFFS_ITEM_ORPHAN)
        return key->object == AFFS_OBJECT_ORPHANS && object_ok(key->offset);
    if (key->type == AFFS_ITEM_IMPORT)
        return key->object == AFFS_OBJECT_IMPORTS && object_ok(key->offset);
    if (key->type == AFFS_ITEM_COLLECTION && key->object == AFFS_OBJECT_COLLECTIONS)
        return object_ok(key->offset);
    if (!object_ok(key->object))
        return 0;
    switch (key->type) {
    case AFFS_ITEM_INODE:
    case AFFS_ITEM_SYMLINK:
    case AFFS_ITEM_INLINE:
        return key->offset == 0;
    case AFFS_ITEM_PARENT:
    case AFFS_ITEM_XATTR:
    case AFFS_ITEM_DENTRY:
        return hashed_ok(key->offset);
    case AFFS_ITEM_EXTENT:
        return key->offset <= OFFSET_MAX && key->offset % AFFS_BLOCK_SIZE == 0;
    case AFFS_ITEM_COLLECTION:
        return key->offset < AFFS_COLLECTION_PARTS_MAX;
    case AFFS_ITEM_INDEX:
        return key->offset >> INDEX_SHIFT > 0 && key->offset <= OFFSET_MAX;
    case AFFS_ITEM_INDEX_KEYS:
    case AFFS_ITEM_INDEX_PENDING:
        return object_ok(key->offset);
    default:
        return 0;
    }
}

int affs_verify_key(uint8_t tree, const affs_key *key)
{
    int ok;
    if (!affs_is_zero(key->reserved, sizeof key->reserved))
        return AFFS_E_FIELD;
    switch (tree) {
    case AFFS_TREE_NAMESPACE:
        ok = namespace_key_ok(key);
        break;
    case AFFS_TREE_CHECKPOINT:
        ok = key->offset == 0 && (key->type == AFFS_ITEM_STATE ? key->object > 0
                                  : key->type == AFFS_ITEM_STATE_POINTER &&
                                        key->object >= AFFS_POINTER_PUBLISHED &&
                                        key->object <= AFFS_POINTER_REDO);
        break;
    case AFFS_TREE_SYSTEM:
        ok = key->type >= AFFS_ITEM_OPERATION && key->type <= AFFS_ITEM_AUTHOR;
        break;
    case AFFS_TREE_SPACE:
        ok = key->object < AFFS_SEGMENTS_MAX &&
             ((key->type == AFFS_ITEM_SEGMENT && key->offset == 0) ||
              (key->type == AFFS_ITEM_BITMAP && key->offset < BITMAP_CHUNKS));
        break;
    default:
        ok = 0;
    }
    return ok ? AFFS_OK : AFFS_E_FIELD;
}

static int verify_inode(const affs_key *key, const uint8_t *payload, size_t length)
{
    affs_inode inode;
    uint32_t type;
    uint64_t number = 0;
    if (length != sizeof inode)
        return AFFS_E_LENGTH;
    memcpy(&inode, payload, sizeof inode);
    type = inode.mode >> TYPE_SHIFT;
    if (inode.mode > MODE_MAX || !type_ok(type) || inode.size > OFFSET_MAX ||
        inode.blocks > BLOCKS_MAX || inode.flags != 0 || inode.data_kind >= AFFS_INTENTS ||
        inode.created_commit > inode.changed_commit ||
        !affs_is_zero(inode.reserved, sizeof inode.reserved))
        return AFFS_E_FIELD;
    if (type == TYPE_DIRECTORY ? inode.nlink == 1 || !object_ok(inode.parent) : inode.parent != 0)
        return AFFS_E_FIELD;
    if (type != TYPE_CHARACTER && type != TYPE_BLOCK && inode.rdev != 0)
        return AFFS_E_FIELD;
    for (size_t index = sizeof inode.object_id - AFFS_OBJECT_BITS / 8;
         index < sizeof inode.object_id; index++)
        number = number << 8 | inode.object_id[index];
    return number == key->object ? AFFS_OK : AFFS_E_FIELD;
}

static int verify_name(const affs_key *key, const uint8_t *payload, size_t length)
{
    affs_name name;
    if (length < sizeof name)
        return AFFS_E_LENGTH;
    memcpy(&name, payload, sizeof name);
    if (length != sizeof name + name.name_length)
        return AFFS_E_LENGTH;
    if (!object_ok(name.object) || !affs_is_zero(name.reserved, sizeof name.reserved) ||
        !type_ok(name.kind))
        return AFFS_E_FIELD;
    if (key->type == AFFS_ITEM_DENTRY &&
        (name.object == key->object || name.object == AFFS_OBJECT_ROOT))
        return AFFS_E_FIELD;
    return name_ok(payload + sizeof name, name.name_length) ? AFFS_OK : AFFS_E_FIELD;
}

/* Checks all but where in the file it lies; *covered gets its length in bytes. */
static int verify_extent_body(const uint8_t *payload, size_t length, uint32_t *covered)
{
    affs_extent extent;
    uint64_t bytes;
    if (length < sizeof extent)
        return AFFS_E_LENGTH;
    memcpy(&extent, payload, sizeof extent);
    if (extent.blocks == 0 || extent.blocks > AFFS_EXTENT_BLOCKS_MAX)
        return AFFS_E_FIELD;
    if (extent.compression != AFFS_COMPRESSION_NONE || extent.flags != 0 || extent.birth == 0 ||
        extent.checksum_kind != AFFS_CHECKSUM_CRC32C || extent.checksum_shift != AFFS_BLOCK_SHIFT)
        return AFFS_E_FIELD;
    if (length != sizeof extent + (size_t)extent.blocks * CHECKSUM_SIZE)
        return AFFS_E_LENGTH;
    /* Uncompressed, an item has just the blocks of its own bytes; the last may be part full. */
    bytes = (uint64_t)extent.blocks << AFFS_BLOCK_SHIFT;
    if (extent.stored_length != bytes || extent.logical_length != bytes ||
        extent.offset_within != 0 || extent.length > bytes ||
        extent.length <= bytes - AFFS_BLOCK_SIZE)
        return AFFS_E_FIELD;
    *covered = extent.length;
    return affs_verify_address(extent.address, extent.blocks);
}

static int verify_extent(const affs_key *key, const uint8_t *payload, size_t length)
{
    uint32_t covered = 0;
    int result = verify_extent_body(payload, length, &covered);
    if (result != AFFS_OK)
        return result;
    return covered <= OFFSET_MAX - key->offset ? AFFS_OK : AFFS_E_FIELD;
}

static int verify_xattr(const uint8_t *payload, size_t length)
{
    affs_xattr xattr;
    uint32_t covered = 0;
    size_t rest;
    int result;
    if (length < sizeof xattr)
        return AFFS_E_LENGTH;
    memcpy(&xattr, payload, sizeof xattr);
    rest = length - sizeof xattr;
    if (xattr.name_length == 0 || xattr.name_length > AFFS_NAME_MAX || xattr.reserved != 0 ||
        xattr.value_length > AFFS_XATTR_VALUE_MAX)
        return AFFS_E_FIELD;
    if (rest < xattr.name_length)
        return AFFS_E_LENGTH;
    if (memchr(payload + sizeof xattr, 0, xattr.name_length) != NULL)
        return AFFS_E_FIELD;
    rest -= xattr.name_length;
    if (xattr.storage == AFFS_XATTR_INLINE)
        return rest == xattr.value_length ? AFFS_OK : AFFS_E_LENGTH;
    if (xattr.storage != AFFS_XATTR_EXTENT)
        return AFFS_E_FIELD;
    result = verify_extent_body(payload + (length - rest), rest, &covered);
    if (result != AFFS_OK)
        return result;
    return covered == xattr.value_length ? AFFS_OK : AFFS_E_FIELD;
}

static int copy_ok(const affs_copy *copy)
{
    return copy->backend < AFFS_BACKENDS_MAX && copy->kind == AFFS_COPY_PLAIN &&
           copy->state <= AFFS_COPY_STALE && copy->reserved == 0 && copy->place < PLACE_MAX;
}

static int verify_segment(const uint8_t *payload, size_t length)
{
    affs_segment segment;
    if (length != sizeof segment)
        return AFFS_E_LENGTH;
    memcpy(&segment, payload, sizeof segment);
    if (segment.intent > AFFS_INTENT_APPEND || segment.copy_count > 2 || segment.reserved != 0 ||
        segment.used_blocks > SEGMENT_BLOCKS_MAX)
        return AFFS_E_FIELD;
    for (size_t index = 0; index < 2; index++) {
        const affs_copy *copy = &segment.copies[index];
        if (index < segment.copy_count ? !copy_ok(copy) : !affs_is_zero(copy, sizeof *copy))
            return AFFS_E_FIELD;
    }
    if (segment.copy_count == 2 && segment.copies[0].backend == segment.copies[1].backend &&
        segment.copies[0].place == segment.copies[1].place)
        return AFFS_E_FIELD;
    return AFFS_OK;
}

/* A chunk of 2 KiB, or the only, shorter one of a small segment: a power of two, two bytes at
 * least. */
static int verify_bitmap(const affs_key *key, size_t length)
{
    if (length < BITMAP_LENGTH_MIN || length > AFFS_BITMAP_CHUNK_SIZE ||
        (length & (length - 1)) != 0)
        return AFFS_E_LENGTH;
    return length == AFFS_BITMAP_CHUNK_SIZE || key->offset == 0 ? AFFS_OK : AFFS_E_LENGTH;
}

static int verify_state(const affs_key *key, const uint8_t *payload, size_t length)
{
    affs_state state;
    if (length < sizeof state)
        return AFFS_E_LENGTH;
    memcpy(&state, payload, sizeof state);
    if (length - sizeof state !=
        (size_t)state.label_length + state.author_length + state.message_length)
        return AFFS_E_LENGTH;
    if (state.seq == 0 || state.parent == key->object || state.object_count == 0 ||
        state.object_count >= OBJECT_LIMIT || state.used_blocks > BLOCKS_MAX ||
        (state.flags & ~(uint32_t)STATE_FLAGS) != 0 || state.reserved1 != 0 ||
        state.reclaim_ns < 0 ||
        (state.reclaim_ns != 0 && (state.flags & AFFS_STATE_DOOMED) == 0))
        return AFFS_E_FIELD;
    return affs_verify_root(AFFS_TREE_NAMESPACE, &state.root, state.seq, 0);
}

static int verify_state_pointer(const uint8_t *payload, size_t length)
{
    affs_state_pointer pointer;
    if (length != sizeof pointer)
        return AFFS_E_LENGTH;
    memcpy(&pointer, payload, sizeof pointer);
    return pointer.state > 0 ? AFFS_OK : AFFS_E_FIELD;
}

static int verify_symlink(const uint8_t *payload, size_t length)
{
    if (length == 0 || length > AFFS_SYMLINK_MAX)
        return AFFS_E_LENGTH;
    return memchr(payload, 0, length) == NULL ? AFFS_OK : AFFS_E_FIELD;
}

/* A member of the list of collections, or a part of a declaration. */
static int verify_collection(const affs_key *key, size_t length)
{
    if (key->object == AFFS_OBJECT_COLLECTIONS)
        return length == 0 ? AFFS_OK : AFFS_E_LENGTH;
    return length > 0 && length <= AFFS_COLLECTION_PART_SIZE ? AFFS_OK : AFFS_E_LENGTH;
}

static uint32_t u16_at(const uint8_t *bytes)
{
    return (uint32_t)bytes[0] | (uint32_t)bytes[1] << 8;
}

/* The head of an index, or a page: level, a zero, the count of rows, their lengths, the rows. */
static int verify_index(const affs_key *key, const uint8_t *payload, size_t length)
{
    size_t count, total;
    if ((key->offset & UINT32_MAX) == 0)
        return length > 0 ? AFFS_OK : AFFS_E_LENGTH;
    if (length < INDEX_PAGE_PREFIX)
        return AFFS_E_LENGTH;
    if (payload[0] > INDEX_LEVELS_MAX || payload[1] != 0)
        return AFFS_E_FIELD;
    count = u16_at(payload + 2);
    total = INDEX_PAGE_PREFIX + 2 * count;
    if (length < total)
        return AFFS_E_LENGTH;
    for (size_t index = 0; index < count; index++)
        total += u16_at(payload + INDEX_PAGE_PREFIX + 2 * index);
    return total == length ? AFFS_OK : AFFS_E_LENGTH;
}

/* Rows of an index's number, a length, and so many bytes of key; the numbers rise. */
static int verify_index_keys(const uint8_t *payload, size_t length)
{
    size_t at = 0;
    uint32_t last = 0;
    if (length == 0)
        return AFFS_E_LENGTH;
    while (at < length) {
        uint32_t number, size;
        if (length - at < INDEX_ROW_PREFIX)
            return AFFS_E_LENGTH;
        number = u16_at(payload + at) | u16_at(payload + at + 2) << 16;
        size = u16_at(payload + at + 4);
        if (number <= last || number > INT32_MAX || size == 0 || size > AFFS_INDEX_KEY_MAX)
            return AFFS_E_FIELD;
        at += INDEX_ROW_PREFIX;
        if (length - at < size)
            return AFFS_E_LENGTH;
        at += size;
        last = number;
    }
    return AFFS_OK;
}

int affs_verify_item(uint8_t tree, const affs_key *key, const void *payload, size_t length)
{
    int result = affs_verify_key(tree, key);
    if (result != AFFS_OK)
        return result;
    if (length > AFFS_ITEM_MAX || (payload == NULL && length != 0))
        return AFFS_E_LENGTH;
    switch (key->type) {
    case AFFS_ITEM_INODE:
        return verify_inode(key, payload, length);
    case AFFS_ITEM_PARENT:
    case AFFS_ITEM_DENTRY:
        return verify_name(key, payload, length);
    case AFFS_ITEM_XATTR:
        return verify_xattr(payload, length);
    case AFFS_ITEM_SYMLINK:
        return verify_symlink(payload, length);
    case AFFS_ITEM_INLINE:
        return length > 0 && length <= AFFS_INLINE_MAX ? AFFS_OK : AFFS_E_LENGTH;
    case AFFS_ITEM_EXTENT:
        return verify_extent(key, payload, length);
    case AFFS_ITEM_ORPHAN:
        return length == 0 ? AFFS_OK : AFFS_E_LENGTH;
    case AFFS_ITEM_COLLECTION:
        return verify_collection(key, length);
    case AFFS_ITEM_INDEX:
        return verify_index(key, payload, length);
    case AFFS_ITEM_INDEX_KEYS:
        return verify_index_keys(payload, length);
    case AFFS_ITEM_INDEX_PENDING:
        return length == 0 ? AFFS_OK : AFFS_E_LENGTH;
    case AFFS_ITEM_SEGMENT:
        return verify_segment(payload, length);
    case AFFS_ITEM_BITMAP:
        return verify_bitmap(key, length);
    case AFFS_ITEM_STATE:
        return verify_state(key, payload, length);
    case AFFS_ITEM_STATE_POINTER:
        return verify_state_pointer(payload, length);
    default: /* IMPORT and the system tree's items: encoded values of any form */
        return length > 0 ? AFFS_OK : AFFS_E_LENGTH;
    }
}
