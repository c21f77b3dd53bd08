/* Framed structures: good ones pass, every flipped bit is found, every field's range is checked
 * (resealed, so that the checksum is right), reserved bytes must be zero, and short buffers are
 * never read past.
 */
#include "affs_core.h"
#include "check.h"
#include "samples.h"

typedef int (*verifier)(const void *block, size_t length);

static uint8_t volume_uuid[16];

static int commit_of_volume(const void *block, size_t length)
{
    return affs_verify_commit(block, length, volume_uuid);
}

static int segment_of_volume(const void *block, size_t length)
{
    return affs_verify_segment_header(block, length, volume_uuid);
}

typedef struct {
    const char *name;
    verifier verify;
    uint32_t magic;
    uint16_t kind;
    uint8_t image[AFFS_BLOCK_SIZE];
} framed;

static framed structures[4];

static void fill(framed *structure, const char *name, verifier verify, uint32_t magic,
                 uint16_t kind, const void *image)
{
    structure->name = name;
    structure->verify = verify;
    structure->magic = magic;
    structure->kind = kind;
    memcpy(structure->image, image, AFFS_BLOCK_SIZE);
}

static void fill_all(void)
{
    affs_superblock superblock = sample_superblock();
    affs_owner owner = sample_owner();
    affs_commit commit = sample_commit();
    affs_segment_header segment = sample_segment_header();
    memset(volume_uuid, 0xF0, sizeof volume_uuid);
    fill(&structures[0], "superblock", affs_verify_superblock, AFFS_MAGIC_SUPERBLOCK,
         AFFS_KIND_SUPERBLOCK, &superblock);
    fill(&structures[1], "owner", affs_verify_owner, AFFS_MAGIC_OWNER, AFFS_KIND_OWNER, &owner);
    fill(&structures[2], "commit", commit_of_volume, AFFS_MAGIC_COMMIT, AFFS_KIND_COMMIT, &commit);
    fill(&structures[3], "segment header", segment_of_volume, AFFS_MAGIC_SEGMENT, AFFS_KIND_SEGMENT,
         &segment);
}

static void frames(framed *structure)
{
    uint8_t *image = structure->image;
    affs_header header;
    CHECK_EQUAL(structure->verify(image, AFFS_BLOCK_SIZE), AFFS_OK);
    for (size_t bit = 0; bit < 8 * AFFS_BLOCK_SIZE; bit++) {
        image[bit / 8] ^= (uint8_t)(1U << (bit % 8));
        CHECK(structure->verify(image, AFFS_BLOCK_SIZE) < 0);
        image[bit / 8] ^= (uint8_t)(1U << (bit % 8));
    }
    for (size_t length = 0; length < AFFS_BLOCK_SIZE; length += length < 64 ? 1 : 251) {
        uint8_t *part = malloc(length == 0 ? 1 : length);
        CHECK(part != NULL);
        memcpy(part, image, length);
        CHECK_EQUAL(structure->verify(part, length), AFFS_E_LENGTH);
        free(part);
    }
    CHECK_EQUAL(structure->verify(NULL, 0), AFFS_E_LENGTH);

    memcpy(&header, image, sizeof header);
    CHECK_EQUAL(header.magic, structure->magic);
    CHECK_EQUAL(header.length, AFFS_BLOCK_SIZE);
    image[0] ^= 1;
    CHECK_EQUAL(structure->verify(image, AFFS_BLOCK_SIZE), AFFS_E_MAGIC);
    affs_seal(image, AFFS_BLOCK_SIZE, structure->magic, structure->kind + 1);
    CHECK_EQUAL(structure->verify(image, AFFS_BLOCK_SIZE), AFFS_E_FIELD);
    affs_seal(image, AFFS_BLOCK_SIZE / 2, structure->magic, structure->kind);
    CHECK_EQUAL(structure->verify(image, AFFS_BLOCK_SIZE), AFFS_E_LENGTH);
    affs_seal(image, AFFS_BLOCK_SIZE, structure->magic, structure->kind);
    CHECK_EQUAL(structure->verify(image, AFFS_BLOCK_SIZE), AFFS_OK);
}

/* The checksum of a header with another version, as a later program would make it. */
static void newer_version(framed *structure)
{
    uint8_t image[AFFS_BLOCK_SIZE];
    affs_header header;
    memcpy(image, structure->image, sizeof image);
    memcpy(&header, image, sizeof header);
    header.version = AFFS_VERSION + 1;
    header.checksum = 0;
    memcpy(image, &header, sizeof header);
    header.checksum = affs_crc32c(0, image, sizeof image);
    memcpy(image, &header, sizeof header);
    CHECK_EQUAL(structure->verify(image, sizeof image), AFFS_E_VERSION);
}

/* A field of `size` bytes at `offset` with another value, everything else right. */
static int with_field(const framed *structure, size_t offset, size_t size, uint64_t value)
{
    uint8_t image[AFFS_BLOCK_SIZE];
    memcpy(image, structure->image, sizeof image);
    memcpy(image + offset, &value, size);
    affs_seal(image, sizeof image, structure->magic, structure->kind);
    return structure->verify(image, sizeof image);
}

#define FIELD(index, type, field, value) \
    with_field(&structures[index], offsetof(type, field), sizeof(((type *)0)->field), (value))
#define REFUSED(index, type, field, value) \
    CHECK_EQUAL(FIELD(index, type, field, value), AFFS_E_FIELD)
#define ACCEPTED(index, type, field, value) CHECK_EQUAL(FIELD(index, type, field, value), AFFS_OK)

static void reserved_bytes(const framed *structure, size_t first, size_t end)
{
    for (size_t at = first; at < end; at++)
        CHECK_EQUAL(with_field(structure, at, 1, 0x80), AFFS_E_FIELD);
}

static void superblock_fields(void)
{
    const uint64_t region_blocks = (AFFS_REGION_SECOND_OFFSET + AFFS_REGION_SIZE) / AFFS_BLOCK_SIZE;
    uint8_t zero[AFFS_BLOCK_SIZE];
    REFUSED(0, affs_superblock, update_counter, 0);
    ACCEPTED(0, affs_superblock, update_counter, UINT64_MAX);
    ACCEPTED(0, affs_superblock, features_incompatible, UINT64_MAX); /* the volume judges these */
    REFUSED(0, affs_superblock, device_blocks, AFFS_VOLUME_SIZE_MIN / AFFS_BLOCK_SIZE - 1);
    REFUSED(0, affs_superblock, device_blocks, UINT64_MAX);
    ACCEPTED(0, affs_superblock, device_blocks, 58 * 4096 + region_blocks);
    REFUSED(0, affs_superblock, device_blocks, 58 * 4096 + region_blocks - 1);
    REFUSED(0, affs_superblock, place_count, 0);
    REFUSED(0, affs_superblock, place_count, UINT64_MAX);
    REFUSED(0, affs_superblock, place_count, (uint64_t)1 << 52);
    ACCEPTED(0, affs_superblock, place_count, 2);
    REFUSED(0, affs_superblock, segment_count, 0);
    REFUSED(0, affs_superblock, segment_count, 4097);
    REFUSED(0, affs_superblock, segment_count_max, 59);
    REFUSED(0, affs_superblock, segment_count_max, AFFS_SEGMENTS_MAX + 1);
    ACCEPTED(0, affs_superblock, segment_count_max, AFFS_SEGMENTS_MAX);
    REFUSED(0, affs_superblock, backend_index, 1);
    REFUSED(0, affs_superblock, backend_count, 0);
    REFUSED(0, affs_superblock, backend_count, AFFS_BACKENDS_MAX + 1);
    REFUSED(0, affs_superblock, block_shift, 13);
    REFUSED(0, affs_superblock, node_shift, 255);
    REFUSED(0, affs_superblock, ring_shift, 255);
    for (unsigned shift = 0; shift < 256; shift++) {
        int inside = shift >= AFFS_SEGMENT_SHIFT_MIN && shift <= 24; /* larger ones do not fit */
        CHECK_EQUAL(FIELD(0, affs_superblock, segment_shift, shift),
                    inside ? AFFS_OK : AFFS_E_FIELD);
    }
    REFUSED(0, affs_superblock, label_length, 3);
    REFUSED(0, affs_superblock, label_length, 5);
    REFUSED(0, affs_superblock, label_length, 255);
    reserved_bytes(&structures[0], offsetof(affs_superblock, reserved1),
                   offsetof(affs_superblock, label));
    reserved_bytes(&structures[0], offsetof(affs_superblock, reserved), AFFS_BLOCK_SIZE);
    memset(zero, 0, sizeof zero);
    CHECK_EQUAL(affs_verify_superblock(zero, sizeof zero), AFFS_E_MAGIC);
}

static void commit_fields(void)
{
    const size_t open = offsetof(affs_commit, open_segments);
    const size_t root = offsetof(affs_commit, namespace_root);
    const size_t space = offsetof(affs_commit, space_root);
    const framed *commit = &structures[2];
    REFUSED(2, affs_commit, seq, 0);
    REFUSED(2, affs_commit, seq, 41);
    REFUSED(2, affs_commit, parent_seq, 42);
    REFUSED(2, affs_commit, parent_seq, 0); /* a checksum without a parent */
    REFUSED(2, affs_commit, flags, 1);
    REFUSED(2, affs_commit, backends, 0);
    REFUSED(2, affs_commit, next_object, AFFS_OBJECT_FIRST - 1);
    ACCEPTED(2, affs_commit, next_object, (uint64_t)1 << 48);
    REFUSED(2, affs_commit, next_object, ((uint64_t)1 << 48) + 1);
    REFUSED(2, affs_commit, next_state, 0);
    REFUSED(2, affs_commit, next_state, 8);
    REFUSED(2, affs_commit, ancestor, 9);
    ACCEPTED(2, affs_commit, ancestor, 0);
    REFUSED(2, affs_commit, segment_count, 59); /* an open segment is number 59 */
    REFUSED(2, affs_commit, segment_count, AFFS_SEGMENTS_MAX + 1);
    REFUSED(2, affs_commit, segment_count, UINT64_MAX);
    REFUSED(2, affs_commit, used_blocks, (60U << 18) + 1);
    REFUSED(2, affs_commit, object_count, 0);
    REFUSED(2, affs_commit, object_count, UINT64_MAX);
    /* open segments: a segment with block 0, none for the intents 0 and 7 */
    CHECK_EQUAL(with_field(commit, open, 8, (uint64_t)1 << 32), AFFS_E_FIELD);
    CHECK_EQUAL(with_field(commit, open + 7 * 8, 8, (uint64_t)1 << 32), AFFS_E_FIELD);
    CHECK_EQUAL(with_field(commit, open + 8, 8, 1), AFFS_E_FIELD);
    CHECK_EQUAL(with_field(commit, open + 8, 8, (uint64_t)262144 << 32 | 1), AFFS_OK);
    CHECK_EQUAL(with_field(commit, open + 8, 8, (uint64_t)262145 << 32 | 1), AFFS_E_FIELD);
    /* roots */
    CHECK_EQUAL(with_field(commit, root + offsetof(affs_pointer, birth), 8, 43), AFFS_E_FIELD);
    CHECK_EQUAL(with_field(commit, root + offsetof(affs_pointer, birth), 8, 0), AFFS_E_FIELD);
    CHECK_EQUAL(with_field(commit, offsetof(affs_commit, space_root.birth), 8, 0), AFFS_E_FIELD);
    CHECK_EQUAL(with_field(commit, offsetof(affs_commit, system_root.birth), 8, 1), AFFS_E_FIELD);
    CHECK_EQUAL(with_field(commit, offsetof(affs_commit, namespace_root.tree), 1, AFFS_TREE_SPACE),
                AFFS_E_FIELD);
    CHECK_EQUAL(with_field(commit, offsetof(affs_commit, namespace_root.level), 1, AFFS_LEVELS_MAX),
                AFFS_E_FIELD);
    CHECK_EQUAL(with_field(commit, offsetof(affs_commit, namespace_root.mirror_address), 8, 300),
                AFFS_E_FIELD);
    CHECK_EQUAL(with_field(commit, space + offsetof(affs_pointer, mirror_address), 8, 300),
                AFFS_OK);
    CHECK_EQUAL(with_field(commit, offsetof(affs_commit, uuid), 1, 0), AFFS_E_IDENTITY);
    CHECK_EQUAL(affs_verify_commit(commit->image, AFFS_BLOCK_SIZE, NULL), AFFS_OK);
    reserved_bytes(commit, offsetof(affs_commit, log_address), AFFS_BLOCK_SIZE);
    for (size_t at = offsetof(affs_pointer, checksum) + 4; at < sizeof(affs_pointer); at++)
        CHECK(with_field(commit, offsetof(affs_commit, space_root) + at, 1, 0xFF) == AFFS_E_FIELD);
    for (size_t at = 0; at < sizeof(affs_pointer); at++) /* no root: all of it zero */
        CHECK(with_field(commit, offsetof(affs_commit, system_root) + at, 1, 1) == AFFS_E_FIELD);
}

static void other_fields(void)
{
    REFUSED(1, affs_owner, state, 2);
    REFUSED(1, affs_owner, reserved1, 1);
    CHECK_EQUAL(with_field(&structures[1], offsetof(affs_owner, host) + 5, 1, 'x'), AFFS_E_FIELD);
    reserved_bytes(&structures[1], offsetof(affs_owner, reserved), AFFS_BLOCK_SIZE);
    REFUSED(3, affs_segment_header, segment, AFFS_SEGMENTS_MAX);
    REFUSED(3, affs_segment_header, place, (uint64_t)1 << 40);
    REFUSED(3, affs_segment_header, intent, AFFS_INTENT_APPEND + 1);
    CHECK_EQUAL(with_field(&structures[3], offsetof(affs_segment_header, uuid), 1, 0),
                AFFS_E_IDENTITY);
    reserved_bytes(&structures[3], offsetof(affs_segment_header, reserved1), AFFS_BLOCK_SIZE);
}

int main(void)
{
    fill_all();
    for (size_t index = 0; index < sizeof structures / sizeof structures[0]; index++) {
        frames(&structures[index]);
        newer_version(&structures[index]);
    }
    superblock_fields();
    commit_fields();
    other_fields();
    return 0;
}
