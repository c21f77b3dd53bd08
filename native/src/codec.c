/* Framed structures (superblock, owner block, commit record, segment header): sealing and
 * verifying.
 *
 * Invariants: a structure is accepted only if its frame, its checksum, its identity and the range
 * of every field are right and every reserved byte is zero; so what is accepted can be used without
 * more checks, and no bytes but the structure's own are read. Ranges: docs/specs/DiskLayout.md,
 * each structure's rules.
 */
#include "codec.h"

#include <string.h>

#define HEADER_CHECKSUM_AT 8
#define MIB (1024U * 1024U)
#define FIRST_STRETCH (32U * MIB) /* bytes of places between the two header regions */
#define PLACE_MAX ((uint64_t)1 << 40)
#define DEVICE_BLOCKS_MAX ((uint64_t)1 << 48)

int affs_is_zero(const void *bytes, size_t length)
{
    const uint8_t *at = bytes;
    uint8_t any = 0;
    for (size_t index = 0; index < length; index++)
        any |= at[index];
    return any == 0;
}

uint32_t affs_frame_checksum(const void *structure, size_t length)
{
    static const uint8_t zero[sizeof(uint32_t)];
    const uint8_t *bytes = structure;
    const size_t rest = HEADER_CHECKSUM_AT + sizeof zero;
    uint32_t crc = affs_crc32c(0, bytes, HEADER_CHECKSUM_AT);
    crc = affs_crc32c(crc, zero, sizeof zero);
    return affs_crc32c(crc, bytes + rest, length - rest);
}

void affs_seal(void *structure, uint32_t length, uint32_t magic, uint16_t kind)
{
    affs_header header = {
        .magic = magic, .version = AFFS_VERSION, .kind = kind, .checksum = 0, .length = length};
    memcpy(structure, &header, sizeof header);
    header.checksum = affs_frame_checksum(structure, length);
    memcpy(structure, &header, sizeof header);
}

int affs_verify_frame(const void *structure, size_t available, uint32_t length, uint32_t magic,
                      uint16_t kind)
{
    affs_header header;
    if (structure == NULL || available < sizeof header)
        return AFFS_E_LENGTH;
    memcpy(&header, structure, sizeof header);
    if (header.magic != magic)
        return AFFS_E_MAGIC;
    if (header.length < sizeof header || header.length > available)
        return AFFS_E_LENGTH;
    if (affs_frame_checksum(structure, header.length) != header.checksum)
        return AFFS_E_CHECKSUM;
    if (header.version != AFFS_VERSION)
        return AFFS_E_VERSION;
    if (header.kind != kind)
        return AFFS_E_FIELD;
    return header.length == length && available == length ? AFFS_OK : AFFS_E_LENGTH;
}

/* Text in a field of fixed size: `length` bytes without NUL, the rest zero. */
static int text_ok(const uint8_t *text, size_t length, size_t size)
{
    if (length > size || memchr(text, 0, length) != NULL)
        return 0;
    return affs_is_zero(text + length, size - length);
}

/* Do the last place and both header regions lie on the device? */
static int places_ok(const affs_superblock *block)
{
    const unsigned shift = (unsigned)block->segment_shift - AFFS_BLOCK_SHIFT;
    const uint64_t first_count = FIRST_STRETCH >> block->segment_shift;
    const uint64_t others_at = (AFFS_REGION_SECOND_OFFSET + AFFS_REGION_SIZE) / AFFS_BLOCK_SIZE;
    if (block->place_count == 0 || block->place_count > PLACE_MAX)
        return 0;
    if (block->device_blocks < AFFS_VOLUME_SIZE_MIN / AFFS_BLOCK_SIZE ||
        block->device_blocks > DEVICE_BLOCKS_MAX)
        return 0;
    if (block->place_count <= first_count)
        return 1; /* they end before the second region, which the smallest device has */
    /* Below 2^40 places of at most 2^18 blocks: the product fits. */
    return ((block->place_count - first_count) << shift) <= block->device_blocks - others_at;
}

static int superblock_ok(const affs_superblock *block)
{
    if (block->update_counter == 0 || affs_is_zero(block->format_uuid, sizeof block->format_uuid))
        return 0;
    if (block->block_shift != AFFS_BLOCK_SHIFT || block->node_shift != AFFS_NODE_SHIFT ||
        block->ring_shift != AFFS_RING_SHIFT)
        return 0;
    if (block->segment_shift < AFFS_SEGMENT_SHIFT_MIN ||
        block->segment_shift > AFFS_SEGMENT_SHIFT_MAX)
        return 0;
    if (!places_ok(block))
        return 0;
    if (block->segment_count == 0 || block->segment_count > block->segment_count_max ||
        block->segment_count_max > AFFS_SEGMENTS_MAX)
        return 0;
    if (block->backend_count == 0 || block->backend_count > AFFS_BACKENDS_MAX ||
        block->backend_index >= block->backend_count)
        return 0;
    if (!text_ok(block->label, block->label_length, sizeof block->label))
        return 0;
    return affs_is_zero(block->reserved1, sizeof block->reserved1) &&
           affs_is_zero(block->reserved, sizeof block->reserved);
}

int affs_verify_superblock(const void *block, size_t length)
{
    affs_superblock copy;
    int result = affs_verify_frame(block, length, sizeof copy, AFFS_MAGIC_SUPERBLOCK,
                                   AFFS_KIND_SUPERBLOCK);
    if (result != AFFS_OK)
        return result;
    memcpy(&copy, block, sizeof copy);
    return superblock_ok(&copy) ? AFFS_OK : AFFS_E_FIELD;
}

int affs_verify_owner(const void *block, size_t length)
{
    affs_owner copy;
    const uint8_t *host_end;
    size_t host_length;
    int result = affs_verify_frame(block, length, sizeof copy, AFFS_MAGIC_OWNER, AFFS_KIND_OWNER);
    if (result != AFFS_OK)
        return result;
    memcpy(&copy, block, sizeof copy);
    host_end = memchr(copy.host, 0, sizeof copy.host);
    host_length = host_end == NULL ? sizeof copy.host : (size_t)(host_end - copy.host);
    if (copy.state > 1 || copy.reserved1 != 0 ||
        !text_ok(copy.host, host_length, sizeof copy.host) ||
        !affs_is_zero(copy.reserved, sizeof copy.reserved))
        return AFFS_E_FIELD;
    return AFFS_OK;
}

static int open_segments_ok(const affs_commit *commit)
{
    for (size_t intent = 0; intent < AFFS_INTENTS; intent++) {
        const affs_open_segment *open = &commit->open_segments[intent];
        if (open->next_block == 0) {
            if (open->segment != 0)
                return 0;
            continue; /* none is open */
        }
        if (intent == AFFS_INTENT_NONE || intent > AFFS_INTENT_APPEND)
            return 0;
        if (open->segment >= commit->segment_count ||
            open->next_block > 1U << (AFFS_SEGMENT_SHIFT_MAX - AFFS_BLOCK_SHIFT))
            return 0;
    }
    return 1;
}

static int counters_ok(const affs_commit *commit)
{
    if (commit->next_object < AFFS_OBJECT_FIRST ||
        commit->next_object > (uint64_t)1 << AFFS_OBJECT_BITS)
        return 0;
    if (commit->next_state == 0 || commit->ancestor >= commit->next_state)
        return 0;
    if (commit->segment_count == 0 || commit->segment_count > AFFS_SEGMENTS_MAX)
        return 0;
    if (commit->used_blocks > commit->segment_count << (AFFS_SEGMENT_SHIFT_MAX - AFFS_BLOCK_SHIFT))
        return 0;
    return commit->object_count > 0 && commit->object_count < (uint64_t)1 << AFFS_OBJECT_BITS;
}

/* The first two cannot be empty: a volume has a root directory, and a segment it lies in. */
static int roots_ok(const affs_commit *commit)
{
    const uint64_t seq = commit->seq;
    return affs_verify_root(AFFS_TREE_NAMESPACE, &commit->namespace_root, seq, 0) == AFFS_OK &&
           affs_verify_root(AFFS_TREE_SPACE, &commit->space_root, seq, 0) == AFFS_OK &&
           affs_verify_root(AFFS_TREE_CHECKPOINT, &commit->checkpoint_root, seq, 1) == AFFS_OK &&
           affs_verify_root(AFFS_TREE_SYSTEM, &commit->system_root, seq, 1) == AFFS_OK;
}

static int commit_ok(const affs_commit *commit)
{
    if (commit->seq == 0 || commit->parent_seq >= commit->seq || commit->backends == 0)
        return 0;
    if (commit->parent_seq == 0 && commit->parent_checksum != 0)
        return 0;
    if (commit->flags != 0 || !counters_ok(commit) || !open_segments_ok(commit))
        return 0;
    if (!roots_ok(commit))
        return 0;
    /* log_address to the end: no writer of version 1 keeps an intent log. */
    return affs_is_zero(commit->log_address, sizeof *commit - offsetof(affs_commit, log_address));
}

int affs_verify_commit(const void *block, size_t length, const uint8_t *uuid)
{
    affs_commit copy;
    int result = affs_verify_frame(block, length, sizeof copy, AFFS_MAGIC_COMMIT, AFFS_KIND_COMMIT);
    if (result != AFFS_OK)
        return result;
    memcpy(&copy, block, sizeof copy);
    if (uuid != NULL && memcmp(copy.uuid, uuid, sizeof copy.uuid) != 0)
        return AFFS_E_IDENTITY;
    return commit_ok(&copy) ? AFFS_OK : AFFS_E_FIELD;
}

int affs_verify_segment_header(const void *block, size_t length, const uint8_t *uuid)
{
    affs_segment_header copy;
    int result =
        affs_verify_frame(block, length, sizeof copy, AFFS_MAGIC_SEGMENT, AFFS_KIND_SEGMENT);
    if (result != AFFS_OK)
        return result;
    memcpy(&copy, block, sizeof copy);
    if (uuid != NULL && memcmp(copy.uuid, uuid, sizeof copy.uuid) != 0)
        return AFFS_E_IDENTITY;
    if (copy.segment >= AFFS_SEGMENTS_MAX || copy.place >= PLACE_MAX ||
        copy.intent > AFFS_INTENT_APPEND || !affs_is_zero(copy.reserved1, sizeof copy.reserved1) ||
        !affs_is_zero(copy.reserved, sizeof copy.reserved))
        return AFFS_E_FIELD;
    return AFFS_OK;
}
