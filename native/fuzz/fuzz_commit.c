/* Fuzzing of commit records: verifying reads no byte outside of the block, and what passes keeps
 * the promises that opening a volume relies on. The input is a record without its frame, short ones
 * filled up with zeros; the frame is made right. Run by native/fuzz/run.
 */
#include "codec.h"
#include "fuzz.h"

static int verify_any(const void *block, size_t length)
{
    return affs_verify_commit(block, length, NULL);
}

static void root(uint8_t tree, const affs_pointer *pointer, uint64_t seq)
{
    if (pointer->birth == 0) {
        FUZZ_REQUIRE(affs_is_zero(pointer, sizeof *pointer));
        return;
    }
    FUZZ_REQUIRE(pointer->birth <= seq && pointer->tree == tree);
    FUZZ_REQUIRE(pointer->level < AFFS_LEVELS_MAX);
    FUZZ_REQUIRE(pointer->address != 0);
    if (tree == AFFS_TREE_NAMESPACE)
        FUZZ_REQUIRE(pointer->address >> 32 < AFFS_SEGMENTS_MAX);
    else
        FUZZ_REQUIRE(pointer->address >> 48 < AFFS_BACKENDS_MAX);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    affs_commit commit;
    fuzz_frame(&commit, sizeof commit, AFFS_MAGIC_COMMIT, AFFS_KIND_COMMIT, data, size);
    FUZZ_REQUIRE(fuzz_exact(verify_any, data, size) != AFFS_OK || size == sizeof commit);
    if (fuzz_exact(verify_any, &commit, sizeof commit) != AFFS_OK)
        return 0;
    FUZZ_REQUIRE(commit.parent_seq < commit.seq);
    FUZZ_REQUIRE(commit.ancestor < commit.next_state);
    FUZZ_REQUIRE(commit.next_object >> AFFS_OBJECT_BITS <= 1);
    FUZZ_REQUIRE(commit.segment_count > 0 && commit.segment_count <= AFFS_SEGMENTS_MAX);
    FUZZ_REQUIRE(commit.namespace_root.birth != 0 && commit.space_root.birth != 0);
    root(AFFS_TREE_NAMESPACE, &commit.namespace_root, commit.seq);
    root(AFFS_TREE_CHECKPOINT, &commit.checkpoint_root, commit.seq);
    root(AFFS_TREE_SYSTEM, &commit.system_root, commit.seq);
    root(AFFS_TREE_SPACE, &commit.space_root, commit.seq);
    for (size_t intent = 0; intent < AFFS_INTENTS; intent++)
        FUZZ_REQUIRE(commit.open_segments[intent].next_block == 0 ||
                     commit.open_segments[intent].segment < commit.segment_count);
    return 0;
}
