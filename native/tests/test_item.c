/* Item payloads: one good example of each type, then what must be refused: every other length, keys
 * that no writer makes, names, ranges at their edges, reserved bytes. Payloads are exactly as long
 * as said.
 */
#include "affs_core.h"
#include "check.h"
#include "codec.h"
#include "samples.h"

static sample_item items[SAMPLES_MAX];
static size_t item_count;

static int verify(const sample_item *item, size_t length)
{
    uint8_t *exact = malloc(length == 0 ? 1 : length);
    int result;
    CHECK(exact != NULL && length <= sizeof item->payload);
    memcpy(exact, item->payload, length);
    result = affs_verify_item(item->tree, &item->key, length == 0 ? NULL : exact, length);
    free(exact);
    return result;
}

static int with_bytes(const sample_item *item, size_t offset, size_t size, uint64_t value)
{
    sample_item changed = *item;
    memcpy(changed.payload + offset, &value, size);
    return verify(&changed, changed.length);
}

#define FIELD(item, type, field, value) \
    with_bytes((item), offsetof(type, field), sizeof(((type *)0)->field), (value))
#define REFUSED(item, type, field, value) CHECK_EQUAL(FIELD(item, type, field, value), AFFS_E_FIELD)
#define ACCEPTED(item, type, field, value) CHECK_EQUAL(FIELD(item, type, field, value), AFFS_OK)
#define LENGTH(item, type, field, value) CHECK_EQUAL(FIELD(item, type, field, value), AFFS_E_LENGTH)

static const sample_item *find(uint8_t type, int which)
{
    for (size_t index = 0; index < item_count; index++)
        if (items[index].key.type == type && which-- == 0)
            return &items[index];
    CHECK(0);
    return NULL;
}

static int any_length(const affs_key *key)
{
    uint8_t type = key->type;
    if (type == AFFS_ITEM_COLLECTION)
        return key->object != AFFS_OBJECT_COLLECTIONS;
    if (type == AFFS_ITEM_INDEX)
        return (key->offset & UINT32_MAX) == 0;
    if (type == AFFS_ITEM_IMPORT)
        return 1;
    return type == AFFS_ITEM_SYMLINK || type == AFFS_ITEM_INLINE || type == AFFS_ITEM_INDEX_KEYS ||
           type >= AFFS_ITEM_OPERATION;
}

static void lengths(const sample_item *item)
{
    CHECK_EQUAL(verify(item, item->length), AFFS_OK);
    for (size_t length = 0; length <= AFFS_ITEM_MAX + 1; length++) {
        int result = verify(item, length);
        if (length == item->length)
            continue;
        if (item->key.type == AFFS_ITEM_BITMAP || any_length(&item->key))
            continue; /* below */
        CHECK(result == AFFS_E_LENGTH || result == AFFS_E_FIELD);
    }
    CHECK_EQUAL(verify(item, AFFS_ITEM_MAX + 1), AFFS_E_LENGTH);
}

static int with_key(const sample_item *item, uint64_t object, uint8_t type, uint64_t offset)
{
    sample_item changed = *item;
    changed.key.object = object;
    changed.key.type = type;
    changed.key.offset = offset;
    return verify(&changed, changed.length);
}

static void keys(void)
{
    const uint64_t limit = (uint64_t)1 << 48;
    const sample_item *link = find(AFFS_ITEM_SYMLINK, 0);
    const sample_item *entry = find(AFFS_ITEM_DENTRY, 0);
    const sample_item *orphan = find(AFFS_ITEM_ORPHAN, 0);
    const sample_item *extent = find(AFFS_ITEM_EXTENT, 0);
    for (size_t index = 0; index < item_count; index++) {
        sample_item other = items[index];
        for (uint8_t tree = 0; tree < 8; tree++) { /* a type belongs to one tree */
            other.tree = tree;
            CHECK_EQUAL(verify(&other, other.length),
                        tree == items[index].tree ? AFFS_OK : AFFS_E_FIELD);
        }
        other.tree = items[index].tree;
        for (size_t byte = 0; byte < sizeof other.key.reserved; byte++) {
            other.key.reserved[byte] = 1;
            CHECK_EQUAL(verify(&other, other.length), AFFS_E_FIELD);
            other.key.reserved[byte] = 0;
        }
    }
    CHECK_EQUAL(with_key(link, 0, AFFS_ITEM_SYMLINK, 0), AFFS_E_FIELD);
    CHECK_EQUAL(with_key(link, limit - 1, AFFS_ITEM_SYMLINK, 0), AFFS_OK);
    CHECK_EQUAL(with_key(link, limit, AFFS_ITEM_SYMLINK, 0), AFFS_E_FIELD);
    CHECK_EQUAL(with_key(link, AFFS_OBJECT_ORPHANS, AFFS_ITEM_SYMLINK, 0), AFFS_E_FIELD);
    CHECK_EQUAL(with_key(link, 20, AFFS_ITEM_SYMLINK, 1), AFFS_E_FIELD);
    CHECK_EQUAL(with_key(link, 20, 10, 0), AFFS_E_FIELD);
    CHECK_EQUAL(with_key(entry, 20, AFFS_ITEM_DENTRY, 15), AFFS_E_FIELD);
    CHECK_EQUAL(with_key(entry, 20, AFFS_ITEM_DENTRY, 16), AFFS_OK);
    CHECK_EQUAL(with_key(entry, 20, AFFS_ITEM_DENTRY, INT64_MAX), AFFS_OK);
    CHECK_EQUAL(with_key(entry, 20, AFFS_ITEM_DENTRY, (uint64_t)INT64_MAX + 1), AFFS_E_FIELD);
    /* a directory that names itself */
    CHECK_EQUAL(with_key(entry, SAMPLE_OBJECT + 1, AFFS_ITEM_DENTRY, 16), AFFS_E_FIELD);
    CHECK_EQUAL(with_key(orphan, 3, AFFS_ITEM_ORPHAN, 77), AFFS_E_FIELD);
    CHECK_EQUAL(with_key(orphan, 2, AFFS_ITEM_ORPHAN, 0), AFFS_E_FIELD);
    CHECK_EQUAL(with_key(orphan, 2, AFFS_ITEM_ORPHAN, limit), AFFS_E_FIELD);
    CHECK_EQUAL(with_key(link, AFFS_OBJECT_COLLECTIONS, AFFS_ITEM_SYMLINK, 0), AFFS_E_FIELD);
    CHECK_EQUAL(with_key(orphan, 3, AFFS_ITEM_COLLECTION, 77), AFFS_OK);
    CHECK_EQUAL(with_key(orphan, 3, AFFS_ITEM_COLLECTION, 0), AFFS_E_FIELD);
    CHECK_EQUAL(with_key(orphan, 3, AFFS_ITEM_COLLECTION, 2), AFFS_E_FIELD);
    CHECK_EQUAL(with_key(orphan, 3, AFFS_ITEM_COLLECTION, limit), AFFS_E_FIELD);
    CHECK_EQUAL(with_key(orphan, 2, AFFS_ITEM_COLLECTION, 1), AFFS_E_FIELD);
    CHECK_EQUAL(with_key(link, 20, AFFS_ITEM_COLLECTION, AFFS_COLLECTION_PARTS_MAX - 1), AFFS_OK);
    CHECK_EQUAL(with_key(link, 20, AFFS_ITEM_COLLECTION, AFFS_COLLECTION_PARTS_MAX), AFFS_E_FIELD);
    CHECK_EQUAL(with_key(link, 20, AFFS_ITEM_INDEX, 1ULL << 32), AFFS_OK);
    CHECK_EQUAL(with_key(link, 20, AFFS_ITEM_INDEX, UINT32_MAX), AFFS_E_FIELD);
    CHECK_EQUAL(with_key(link, 20, AFFS_ITEM_INDEX, 1ULL << 63), AFFS_E_FIELD);
    CHECK_EQUAL(with_key(orphan, 20, AFFS_ITEM_INDEX_PENDING, 77), AFFS_OK);
    CHECK_EQUAL(with_key(orphan, 20, AFFS_ITEM_INDEX_PENDING, 0), AFFS_E_FIELD);
    CHECK_EQUAL(with_key(orphan, 20, AFFS_ITEM_INDEX_PENDING, limit), AFFS_E_FIELD);
    CHECK_EQUAL(with_key(orphan, 3, AFFS_ITEM_INDEX_PENDING, 77), AFFS_E_FIELD);
    CHECK_EQUAL(with_key(extent, 20, AFFS_ITEM_EXTENT, 1), AFFS_E_FIELD);
    CHECK_EQUAL(with_key(extent, 20, AFFS_ITEM_EXTENT, (uint64_t)INT64_MAX - 4095), AFFS_OK);
    CHECK_EQUAL(with_key(extent, 20, AFFS_ITEM_EXTENT, (uint64_t)INT64_MAX + 1), AFFS_E_FIELD);
    /* 4 MiB do not fit there */
    extent = find(AFFS_ITEM_EXTENT, 1);
    CHECK_EQUAL(with_key(extent, 20, AFFS_ITEM_EXTENT, (uint64_t)INT64_MAX - 4095), AFFS_E_FIELD);
    CHECK_EQUAL(with_key(find(AFFS_ITEM_STATE, 0), 0, AFFS_ITEM_STATE, 0), AFFS_E_FIELD);
    CHECK_EQUAL(with_key(find(AFFS_ITEM_STATE, 0), 8, AFFS_ITEM_STATE, 1), AFFS_E_FIELD);
    CHECK_EQUAL(with_key(find(AFFS_ITEM_STATE_POINTER, 0), 4, AFFS_ITEM_STATE_POINTER, 0),
                AFFS_E_FIELD);
    CHECK_EQUAL(with_key(find(AFFS_ITEM_SEGMENT, 0), AFFS_SEGMENTS_MAX, AFFS_ITEM_SEGMENT, 0),
                AFFS_E_FIELD);
    CHECK_EQUAL(with_key(find(AFFS_ITEM_SEGMENT, 0), 1, AFFS_ITEM_SEGMENT, 1), AFFS_E_FIELD);
    CHECK_EQUAL(with_key(find(AFFS_ITEM_BITMAP, 0), 1, AFFS_ITEM_BITMAP, 15), AFFS_OK);
    CHECK_EQUAL(with_key(find(AFFS_ITEM_BITMAP, 0), 1, AFFS_ITEM_BITMAP, 16), AFFS_E_FIELD);
    CHECK_EQUAL(with_key(find(AFFS_ITEM_BITMAP, 0), 1, AFFS_ITEM_SHARE, 0), AFFS_E_FIELD);
}

static void import_keys(void)
{
    const uint64_t limit = (uint64_t)1 << 48;
    const sample_item *link = find(AFFS_ITEM_SYMLINK, 0);
    CHECK_EQUAL(with_key(link, AFFS_OBJECT_IMPORTS, AFFS_ITEM_SYMLINK, 0), AFFS_E_FIELD);
    CHECK_EQUAL(with_key(link, AFFS_OBJECT_IMPORTS, AFFS_ITEM_IMPORT, 1), AFFS_OK);
    CHECK_EQUAL(with_key(link, AFFS_OBJECT_IMPORTS, AFFS_ITEM_IMPORT, 0), AFFS_E_FIELD);
    CHECK_EQUAL(with_key(link, AFFS_OBJECT_IMPORTS, AFFS_ITEM_IMPORT, limit), AFFS_E_FIELD);
    CHECK_EQUAL(with_key(link, 20, AFFS_ITEM_IMPORT, 77), AFFS_E_FIELD);
}

static void inodes(void)
{
    const sample_item *file = find(AFFS_ITEM_INODE, 0);
    const sample_item *directory = find(AFFS_ITEM_INODE, 1);
    for (uint32_t type = 0; type < 32; type++) {
        int known = type == 1 || type == 2 || type == 6 || type == 8 || type == 10 || type == 12;
        CHECK_EQUAL(FIELD(file, affs_inode, mode, type << 12), known ? AFFS_OK : AFFS_E_FIELD);
    }
    ACCEPTED(file, affs_inode, size, INT64_MAX);
    REFUSED(file, affs_inode, size, (uint64_t)INT64_MAX + 1);
    REFUSED(file, affs_inode, blocks, UINT64_MAX);
    REFUSED(file, affs_inode, flags, 1);
    REFUSED(file, affs_inode, rdev, 1);
    REFUSED(file, affs_inode, parent, 1);
    REFUSED(file, affs_inode, data_kind, AFFS_INTENTS);
    ACCEPTED(file, affs_inode, nlink, 0);
    ACCEPTED(file, affs_inode, nlink, 1);
    REFUSED(directory, affs_inode, nlink, 1);
    ACCEPTED(directory, affs_inode, nlink, 0);
    REFUSED(directory, affs_inode, parent, 0);
    REFUSED(directory, affs_inode, parent, (uint64_t)1 << 48);
    ACCEPTED(file, affs_inode, changed_by, UINT32_MAX);
    ACCEPTED(file, affs_inode, changed_commit, UINT64_MAX);
    REFUSED(file, affs_inode, created_commit, 1);
    for (size_t at = offsetof(affs_inode, reserved); at < offsetof(affs_inode, changed_by); at++)
        CHECK_EQUAL(with_bytes(file, at, 1, 1), AFFS_E_FIELD);
    for (size_t at = 0; at < 16; at++) /* the last six bytes are the object's number */
        CHECK_EQUAL(with_bytes(file, offsetof(affs_inode, object_id) + at, 1, 0xEE),
                    at < 10 ? AFFS_OK : AFFS_E_FIELD);
}

static int named(const char *name, size_t length)
{
    sample_item item = sample_name_item(AFFS_ITEM_DENTRY, name, (uint16_t)length);
    return verify(&item, item.length);
}

static void names(void)
{
    char name[300];
    const sample_item *entry = find(AFFS_ITEM_DENTRY, 0);
    memset(name, '.', sizeof name);
    CHECK_EQUAL(named(name, 0), AFFS_E_FIELD);
    CHECK_EQUAL(named(name, 1), AFFS_E_FIELD);
    CHECK_EQUAL(named(name, 2), AFFS_E_FIELD);
    CHECK_EQUAL(named(name, 3), AFFS_OK);
    CHECK_EQUAL(named(name, 255), AFFS_OK);
    CHECK_EQUAL(named(name, 256), AFFS_E_FIELD);
    CHECK_EQUAL(named("..x", 3), AFFS_OK);
    CHECK_EQUAL(named("x", 1), AFFS_OK);
    for (size_t at = 0; at < 255; at += 127) {
        memset(name, 'n', sizeof name);
        name[at] = '/';
        CHECK_EQUAL(named(name, 255), AFFS_E_FIELD);
        name[at] = 0;
        CHECK_EQUAL(named(name, 255), AFFS_E_FIELD);
    }
    REFUSED(entry, affs_name, object, 0);
    REFUSED(entry, affs_name, object, AFFS_OBJECT_ROOT); /* nothing names the root */
    ACCEPTED(find(AFFS_ITEM_PARENT, 0), affs_name, object, AFFS_OBJECT_ROOT);
    REFUSED(entry, affs_name, object, (uint64_t)1 << 48);
    REFUSED(entry, affs_name, kind, 0);
    REFUSED(entry, affs_name, kind, 3);
    REFUSED(entry, affs_name, kind, 255);
    LENGTH(entry, affs_name, name_length, 5);
    LENGTH(entry, affs_name, name_length, 0xFFFF);
    for (size_t at = offsetof(affs_name, reserved); at < sizeof(affs_name); at++)
        CHECK_EQUAL(with_bytes(entry, at, 1, 1), AFFS_E_FIELD);
}

static void extents(void)
{
    const sample_item *one = find(AFFS_ITEM_EXTENT, 0);
    REFUSED(one, affs_extent, address, (uint64_t)3 << 32);
    ACCEPTED(one, affs_extent, address, (uint64_t)3 << 32 | ((1U << 18) - 1));
    REFUSED(one, affs_extent, address, (uint64_t)3 << 32 | 1U << 18);
    REFUSED(one, affs_extent, address, (uint64_t)AFFS_SEGMENTS_MAX << 32 | 1);
    CHECK_EQUAL(FIELD(find(AFFS_ITEM_EXTENT, 1), affs_extent, address, (1U << 18) - 1024), AFFS_OK);
    REFUSED(find(AFFS_ITEM_EXTENT, 1), affs_extent, address, (1U << 18) - 1023);
    REFUSED(one, affs_extent, birth, 0);
    REFUSED(one, affs_extent, blocks, 0);
    REFUSED(one, affs_extent, blocks, AFFS_EXTENT_BLOCKS_MAX + 1);
    REFUSED(one, affs_extent, blocks, UINT32_MAX);
    LENGTH(one, affs_extent, blocks, 2);
    REFUSED(one, affs_extent, stored_length, 4095);
    REFUSED(one, affs_extent, stored_length, 4097);
    REFUSED(one, affs_extent, logical_length, 4095);
    REFUSED(one, affs_extent, logical_length, 8192);
    REFUSED(one, affs_extent, offset_within, 4096);
    REFUSED(one, affs_extent, length, 0);
    ACCEPTED(one, affs_extent, length, 1);
    ACCEPTED(one, affs_extent, length, 4096);
    REFUSED(one, affs_extent, length, 4097);
    REFUSED(one, affs_extent, length, UINT32_MAX);
    ACCEPTED(find(AFFS_ITEM_EXTENT, 1), affs_extent, length, 1023 * 4096 + 1);
    REFUSED(find(AFFS_ITEM_EXTENT, 1), affs_extent, length, 1023 * 4096);
    REFUSED(one, affs_extent, compression, 1);
    REFUSED(one, affs_extent, checksum_kind, 0);
    REFUSED(one, affs_extent, checksum_kind, 2);
    REFUSED(one, affs_extent, checksum_shift, 13);
    REFUSED(one, affs_extent, flags, AFFS_EXTENT_UNWRITTEN);
}

static void xattrs(void)
{
    const sample_item *inline_value = find(AFFS_ITEM_XATTR, 0);
    const sample_item *far_value = find(AFFS_ITEM_XATTR, 1);
    REFUSED(inline_value, affs_xattr, name_length, 0);
    LENGTH(inline_value, affs_xattr, name_length, 7);
    LENGTH(inline_value, affs_xattr, name_length, 255);
    REFUSED(inline_value, affs_xattr, name_length, 256);
    LENGTH(inline_value, affs_xattr, value_length, 4);
    LENGTH(inline_value, affs_xattr, value_length, AFFS_XATTR_VALUE_MAX);
    REFUSED(inline_value, affs_xattr, value_length, UINT32_MAX);
    REFUSED(inline_value, affs_xattr, storage, 2);
    REFUSED(inline_value, affs_xattr, reserved, 1);
    LENGTH(inline_value, affs_xattr, storage, AFFS_XATTR_EXTENT);
    CHECK_EQUAL(with_bytes(inline_value, sizeof(affs_xattr) + 2, 1, 0), AFFS_E_FIELD);
    REFUSED(far_value, affs_xattr, value_length, 4999);
    CHECK_EQUAL(with_bytes(far_value, sizeof(affs_xattr) + 6 + offsetof(affs_extent, blocks), 4, 3),
                AFFS_E_LENGTH);
}

static void space_items(void)
{
    const sample_item *segment = find(AFFS_ITEM_SEGMENT, 0);
    const size_t second = offsetof(affs_segment, copies) + sizeof(affs_copy);
    sample_item two = *segment;
    sample_item chunk = *find(AFFS_ITEM_BITMAP, 0);
    REFUSED(segment, affs_segment, intent, AFFS_INTENT_APPEND + 1);
    REFUSED(segment, affs_segment, copy_count, 0); /* the first copy would have to be zero */
    ACCEPTED(segment, affs_segment, copy_count, 1);
    REFUSED(segment, affs_segment, copy_count, 3);
    REFUSED(segment, affs_segment, reserved, 1);
    ACCEPTED(segment, affs_segment, used_blocks, 1 << 18);
    REFUSED(segment, affs_segment, used_blocks, (1 << 18) + 1);
    REFUSED(segment, affs_segment, copies[0].backend, AFFS_BACKENDS_MAX);
    REFUSED(segment, affs_segment, copies[0].kind, AFFS_COPY_PACKED);
    REFUSED(segment, affs_segment, copies[0].state, AFFS_COPY_STALE + 1);
    REFUSED(segment, affs_segment, copies[0].reserved, 1);
    REFUSED(segment, affs_segment, copies[0].place, (uint64_t)1 << 40);
    for (size_t at = second; at < sizeof(affs_segment); at++)
        CHECK_EQUAL(with_bytes(segment, at, 1, 1), AFFS_E_FIELD);
    two.payload[offsetof(affs_segment, copy_count)] = 2;
    memcpy(two.payload + second, two.payload + offsetof(affs_segment, copies), sizeof(affs_copy));
    CHECK_EQUAL(verify(&two, two.length), AFFS_E_FIELD); /* twice the same place */
    two.payload[second + offsetof(affs_copy, backend)] = 1;
    CHECK_EQUAL(verify(&two, two.length), AFFS_OK);

    for (uint64_t number = 0; number < 2; number++) {
        chunk.key.offset = number;
        for (size_t length = 0; length <= AFFS_BITMAP_CHUNK_SIZE + 1; length++) {
            int power = length >= 2 && (length & (length - 1)) == 0;
            int ok = length == AFFS_BITMAP_CHUNK_SIZE ||
                     (power && length < AFFS_BITMAP_CHUNK_SIZE && number == 0);
            CHECK_EQUAL(verify(&chunk, length), ok ? AFFS_OK : AFFS_E_LENGTH);
        }
    }
}

static void checkpoint_items(void)
{
    const sample_item *state = find(AFFS_ITEM_STATE, 0);
    const sample_item *pointer = find(AFFS_ITEM_STATE_POINTER, 0);
    const uint32_t doomed_flags = AFFS_STATE_DOOMED;
    sample_item doomed = *state;
    REFUSED(state, affs_state, seq, 0);
    REFUSED(state, affs_state, seq, 39); /* before its root was written */
    ACCEPTED(state, affs_state, seq, 40);
    REFUSED(state, affs_state, parent, 8);
    ACCEPTED(state, affs_state, parent, 0);
    ACCEPTED(state, affs_state, flags, 15);
    REFUSED(state, affs_state, flags, 16);
    REFUSED(state, affs_state, object_count, 0);
    REFUSED(state, affs_state, used_blocks, UINT64_MAX);
    REFUSED(state, affs_state, reclaim_ns, 1); /* it is not doomed */
    memcpy(doomed.payload + offsetof(affs_state, flags), &doomed_flags, sizeof doomed_flags);
    ACCEPTED(&doomed, affs_state, reclaim_ns, 1);
    REFUSED(&doomed, affs_state, reclaim_ns, UINT64_MAX); /* before 1970 */
    REFUSED(state, affs_state, reserved1, 1);
    REFUSED(state, affs_state, root.birth, 0);
    REFUSED(state, affs_state, root.tree, AFFS_TREE_SPACE);
    LENGTH(state, affs_state, label_length, 6);
    LENGTH(state, affs_state, author_length, 0xFFFF);
    LENGTH(state, affs_state, message_length, 0);
    REFUSED(pointer, affs_state_pointer, state, 0);
}

static void index_items(void)
{
    const sample_item *page = find(AFFS_ITEM_INDEX, 1);
    const sample_item *keys = find(AFFS_ITEM_INDEX_KEYS, 0);
    CHECK_EQUAL(verify(find(AFFS_ITEM_INDEX, 0), 0), AFFS_E_LENGTH);
    CHECK_EQUAL(with_bytes(page, 0, 1, 12), AFFS_OK);
    CHECK_EQUAL(with_bytes(page, 0, 1, 13), AFFS_E_FIELD);
    CHECK_EQUAL(with_bytes(page, 1, 1, 1), AFFS_E_FIELD);
    CHECK_EQUAL(with_bytes(page, 2, 2, 3), AFFS_E_LENGTH);
    CHECK_EQUAL(with_bytes(page, 2, 2, 0xFFFF), AFFS_E_LENGTH);
    CHECK_EQUAL(with_bytes(page, 4, 2, 2), AFFS_E_LENGTH);
    CHECK_EQUAL(with_bytes(keys, 0, 4, 0), AFFS_E_FIELD);
    CHECK_EQUAL(with_bytes(keys, 0, 4, 4), AFFS_E_FIELD);
    CHECK_EQUAL(with_bytes(keys, 4, 2, 0), AFFS_E_FIELD);
    CHECK_EQUAL(with_bytes(keys, 4, 2, 201), AFFS_E_FIELD);
    CHECK_EQUAL(with_bytes(keys, 4, 2, 10), AFFS_E_LENGTH);
    CHECK_EQUAL(with_bytes(keys, 11, 2, 1), AFFS_E_LENGTH);
}

static void free_lengths(void)
{
    const sample_item *link = find(AFFS_ITEM_SYMLINK, 0);
    sample_item text = *link;
    sample_item part = *find(AFFS_ITEM_COLLECTION, 1);
    CHECK_EQUAL(verify(&part, 0), AFFS_E_LENGTH);
    CHECK_EQUAL(verify(&part, 1), AFFS_OK);
    CHECK_EQUAL(verify(&part, AFFS_COLLECTION_PART_SIZE), AFFS_OK);
    CHECK_EQUAL(verify(&part, AFFS_COLLECTION_PART_SIZE + 1), AFFS_E_LENGTH);
    memset(text.payload, 'x', sizeof text.payload);
    CHECK_EQUAL(verify(&text, 0), AFFS_E_LENGTH);
    CHECK_EQUAL(verify(&text, 1), AFFS_OK);
    CHECK_EQUAL(verify(&text, AFFS_SYMLINK_MAX), AFFS_OK);
    CHECK_EQUAL(verify(&text, AFFS_SYMLINK_MAX + 1), AFFS_E_LENGTH);
    text.payload[100] = 0;
    CHECK_EQUAL(verify(&text, 100), AFFS_OK);
    CHECK_EQUAL(verify(&text, 101), AFFS_E_FIELD);
    CHECK_EQUAL(verify(find(AFFS_ITEM_INLINE, 0), 0), AFFS_E_LENGTH);
    CHECK_EQUAL(verify(find(AFFS_ITEM_INLINE, 0), 1), AFFS_OK);
    CHECK_EQUAL(verify(find(AFFS_ITEM_INLINE, 0), AFFS_INLINE_MAX + 1), AFFS_E_LENGTH);
    CHECK_EQUAL(verify(find(AFFS_ITEM_OPERATION, 0), 0), AFFS_E_LENGTH);
    CHECK_EQUAL(verify(find(AFFS_ITEM_OPERATION, 0), AFFS_ITEM_MAX), AFFS_OK);
    CHECK_EQUAL(affs_verify_item(AFFS_TREE_SYSTEM, &find(AFFS_ITEM_OPERATION, 0)->key, NULL, 5),
                AFFS_E_LENGTH);
}

int main(void)
{
    item_count = sample_items(items);
    CHECK(item_count <= SAMPLES_MAX);
    for (size_t index = 0; index < item_count; index++)
        lengths(&items[index]);
    keys();
    import_keys();
    inodes();
    names();
    extents();
    xattrs();
    space_items();
    checkpoint_items();
    index_items();
    free_lengths();
    return 0;
}
