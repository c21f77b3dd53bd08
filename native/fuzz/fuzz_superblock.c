/* Fuzzing of superblocks, owner blocks and segment headers: whatever a block holds, verifying reads
 * no byte outside of it, and what passes keeps the promises of docs/specs/DiskLayout.md.
 *
 * The input is a block without its frame, short ones filled up with zeros; the frame is made right,
 * or no input would get past the checksum. It is also given as it is. Run by native/fuzz/run.
 */
#include "fuzz.h"

static void superblock(const uint8_t *data, size_t size)
{
    affs_superblock block;
    uint64_t places, first_places;
    fuzz_frame(&block, sizeof block, AFFS_MAGIC_SUPERBLOCK, AFFS_KIND_SUPERBLOCK, data, size);
    if (fuzz_exact(affs_verify_superblock, &block, sizeof block) != AFFS_OK)
        return;
    FUZZ_REQUIRE(block.segment_shift >= AFFS_SEGMENT_SHIFT_MIN);
    FUZZ_REQUIRE(block.segment_shift <= AFFS_SEGMENT_SHIFT_MAX);
    FUZZ_REQUIRE(block.label_length <= AFFS_LABEL_MAX);
    FUZZ_REQUIRE(block.segment_count <= AFFS_SEGMENTS_MAX);
    FUZZ_REQUIRE(block.device_blocks >= AFFS_VOLUME_SIZE_MIN / AFFS_BLOCK_SIZE);
    /* The last place ends on the device; no product below can overflow for what passed. */
    places = block.place_count;
    first_places = ((uint64_t)32 << 20) >> block.segment_shift;
    if (places > first_places)
        FUZZ_REQUIRE(((places - first_places) << (block.segment_shift - AFFS_BLOCK_SHIFT)) +
                         ((uint64_t)34 << 20 >> AFFS_BLOCK_SHIFT) <=
                     block.device_blocks);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    affs_owner owner;
    affs_segment_header segment;
    superblock(data, size);
    fuzz_frame(&owner, sizeof owner, AFFS_MAGIC_OWNER, AFFS_KIND_OWNER, data, size);
    if (fuzz_exact(affs_verify_owner, &owner, sizeof owner) == AFFS_OK)
        FUZZ_REQUIRE(owner.state <= 1);
    fuzz_frame(&segment, sizeof segment, AFFS_MAGIC_SEGMENT, AFFS_KIND_SEGMENT, data, size);
    if (affs_verify_segment_header(&segment, sizeof segment, NULL) == AFFS_OK)
        FUZZ_REQUIRE(segment.segment < AFFS_SEGMENTS_MAX && segment.intent < AFFS_INTENTS);
    /* As it is: nobody has made a checksum by chance. */
    FUZZ_REQUIRE(fuzz_exact(affs_verify_superblock, data, size) != AFFS_OK || size == 4096);
    FUZZ_REQUIRE(fuzz_exact(affs_verify_owner, data, size) != AFFS_OK || size == 4096);
    return 0;
}
