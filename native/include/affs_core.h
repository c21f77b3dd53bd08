/* The C core's header: affs_api.h (which see) with the types it needs, and the proof that the
 * compiler lays the on-disk structures out as docs/specs/DiskLayout.md says.
 *
 * Invariants: every on-disk struct has no implicit padding, and each of its fields is naturally
 * aligned; the machine is little-endian, so that a structure in memory and on the disk are the same
 * bytes.
 */
#ifndef AFFS_CORE_H
#define AFFS_CORE_H

#include <assert.h>
#include <stddef.h>
#include <stdint.h>

#include "affs_api.h"

#if !defined(__BYTE_ORDER__) || __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "AfFS reads its structures in place: it needs a little-endian machine"
#endif

#define AFFS_SIZE_IS(type, size) _Static_assert(sizeof(type) == (size), #type " has another size")
#define AFFS_AT(type, field, place) \
    _Static_assert(offsetof(type, field) == (place), #type "." #field " has another offset")

AFFS_SIZE_IS(affs_header, 16);
AFFS_AT(affs_header, magic, 0);
AFFS_AT(affs_header, version, 4);
AFFS_AT(affs_header, kind, 6);
AFFS_AT(affs_header, checksum, 8);
AFFS_AT(affs_header, length, 12);

AFFS_SIZE_IS(affs_pointer, 48);
AFFS_AT(affs_pointer, address, 0);
AFFS_AT(affs_pointer, mirror_address, 8);
AFFS_AT(affs_pointer, birth, 16);
AFFS_AT(affs_pointer, checksum, 24);
AFFS_AT(affs_pointer, checksum_kind, 40);
AFFS_AT(affs_pointer, level, 41);
AFFS_AT(affs_pointer, tree, 42);
AFFS_AT(affs_pointer, flags, 43);
AFFS_AT(affs_pointer, reserved, 44);

AFFS_SIZE_IS(affs_key, 24);
AFFS_AT(affs_key, object, 0);
AFFS_AT(affs_key, offset, 8);
AFFS_AT(affs_key, type, 16);
AFFS_AT(affs_key, reserved, 17);

AFFS_SIZE_IS(affs_node_header, AFFS_NODE_HEADER_SIZE);
AFFS_AT(affs_node_header, uuid, 16);
AFFS_AT(affs_node_header, salt, 32);
AFFS_AT(affs_node_header, address, 48);
AFFS_AT(affs_node_header, mirror_address, 56);
AFFS_AT(affs_node_header, birth, 64);
AFFS_AT(affs_node_header, tree, 72);
AFFS_AT(affs_node_header, level, 73);
AFFS_AT(affs_node_header, item_count, 74);
AFFS_AT(affs_node_header, data_start, 76);
AFFS_AT(affs_node_header, data_length, 78);
AFFS_AT(affs_node_header, reserved, 80);

AFFS_SIZE_IS(affs_slot, AFFS_SLOT_SIZE);
AFFS_AT(affs_slot, object, 0);
AFFS_AT(affs_slot, offset, 8);
AFFS_AT(affs_slot, type, 16);
AFFS_AT(affs_slot, flags, 17);
AFFS_AT(affs_slot, data_offset, 18);
AFFS_AT(affs_slot, data_length, 20);
AFFS_AT(affs_slot, reserved, 22);

AFFS_SIZE_IS(affs_entry, AFFS_ENTRY_SIZE);
AFFS_AT(affs_entry, key, 0);
AFFS_AT(affs_entry, child, 24);

AFFS_SIZE_IS(affs_superblock, AFFS_BLOCK_SIZE);
AFFS_AT(affs_superblock, update_counter, 16);
AFFS_AT(affs_superblock, format_uuid, 24);
AFFS_AT(affs_superblock, user_uuid, 40);
AFFS_AT(affs_superblock, backend_uuid, 56);
AFFS_AT(affs_superblock, hash_key, 72);
AFFS_AT(affs_superblock, salt, 88);
AFFS_AT(affs_superblock, features_compatible, 104);
AFFS_AT(affs_superblock, features_readonly, 112);
AFFS_AT(affs_superblock, features_incompatible, 120);
AFFS_AT(affs_superblock, created_ns, 128);
AFFS_AT(affs_superblock, device_blocks, 136);
AFFS_AT(affs_superblock, place_count, 144);
AFFS_AT(affs_superblock, segment_count, 152);
AFFS_AT(affs_superblock, segment_count_max, 160);
AFFS_AT(affs_superblock, backend_index, 168);
AFFS_AT(affs_superblock, backend_count, 170);
AFFS_AT(affs_superblock, block_shift, 172);
AFFS_AT(affs_superblock, node_shift, 173);
AFFS_AT(affs_superblock, segment_shift, 174);
AFFS_AT(affs_superblock, ring_shift, 175);
AFFS_AT(affs_superblock, label_length, 176);
AFFS_AT(affs_superblock, reserved1, 177);
AFFS_AT(affs_superblock, label, 184);
AFFS_AT(affs_superblock, reserved, 248);

AFFS_SIZE_IS(affs_owner, AFFS_BLOCK_SIZE);
AFFS_AT(affs_owner, uuid, 16);
AFFS_AT(affs_owner, session, 32);
AFFS_AT(affs_owner, machine_id, 48);
AFFS_AT(affs_owner, boot_id, 64);
AFFS_AT(affs_owner, pid, 80);
AFFS_AT(affs_owner, heartbeat, 88);
AFFS_AT(affs_owner, time_ns, 96);
AFFS_AT(affs_owner, state, 104);
AFFS_AT(affs_owner, reserved1, 108);
AFFS_AT(affs_owner, host, 112);
AFFS_AT(affs_owner, reserved, 176);

AFFS_SIZE_IS(affs_open_segment, 8);
AFFS_AT(affs_open_segment, segment, 0);
AFFS_AT(affs_open_segment, next_block, 4);

AFFS_SIZE_IS(affs_commit, AFFS_BLOCK_SIZE);
AFFS_AT(affs_commit, uuid, 16);
AFFS_AT(affs_commit, seq, 32);
AFFS_AT(affs_commit, parent_seq, 40);
AFFS_AT(affs_commit, parent_checksum, 48);
AFFS_AT(affs_commit, flags, 52);
AFFS_AT(affs_commit, time_ns, 56);
AFFS_AT(affs_commit, session, 64);
AFFS_AT(affs_commit, backends, 80);
AFFS_AT(affs_commit, namespace_root, 88);
AFFS_AT(affs_commit, checkpoint_root, 136);
AFFS_AT(affs_commit, system_root, 184);
AFFS_AT(affs_commit, space_root, 232);
AFFS_AT(affs_commit, next_object, 280);
AFFS_AT(affs_commit, next_state, 288);
AFFS_AT(affs_commit, ancestor, 296);
AFFS_AT(affs_commit, segment_count, 304);
AFFS_AT(affs_commit, used_blocks, 312);
AFFS_AT(affs_commit, object_count, 320);
AFFS_AT(affs_commit, open_segments, 328);
AFFS_AT(affs_commit, log_address, 392);
AFFS_AT(affs_commit, log_seed, 408);
AFFS_AT(affs_commit, log_length, 416);
AFFS_AT(affs_commit, reserved, 424);

AFFS_SIZE_IS(affs_segment_header, AFFS_BLOCK_SIZE);
AFFS_AT(affs_segment_header, uuid, 16);
AFFS_AT(affs_segment_header, salt, 32);
AFFS_AT(affs_segment_header, segment, 48);
AFFS_AT(affs_segment_header, copy_generation, 56);
AFFS_AT(affs_segment_header, place, 64);
AFFS_AT(affs_segment_header, intent, 72);
AFFS_AT(affs_segment_header, reserved1, 73);
AFFS_AT(affs_segment_header, reserved, 80);

AFFS_SIZE_IS(affs_inode, 136);
AFFS_AT(affs_inode, size, 0);
AFFS_AT(affs_inode, blocks, 8);
AFFS_AT(affs_inode, atime_ns, 16);
AFFS_AT(affs_inode, mtime_ns, 24);
AFFS_AT(affs_inode, ctime_ns, 32);
AFFS_AT(affs_inode, btime_ns, 40);
AFFS_AT(affs_inode, mode, 48);
AFFS_AT(affs_inode, uid, 52);
AFFS_AT(affs_inode, gid, 56);
AFFS_AT(affs_inode, nlink, 60);
AFFS_AT(affs_inode, rdev, 64);
AFFS_AT(affs_inode, flags, 72);
AFFS_AT(affs_inode, generation, 76);
AFFS_AT(affs_inode, object_id, 80);
AFFS_AT(affs_inode, change, 96);
AFFS_AT(affs_inode, parent, 104);
AFFS_AT(affs_inode, data_kind, 112);
AFFS_AT(affs_inode, reserved, 113);
AFFS_AT(affs_inode, changed_by, 116);
AFFS_AT(affs_inode, created_commit, 120);
AFFS_AT(affs_inode, changed_commit, 128);

AFFS_SIZE_IS(affs_name, 16);
AFFS_AT(affs_name, object, 0);
AFFS_AT(affs_name, name_length, 8);
AFFS_AT(affs_name, kind, 10);
AFFS_AT(affs_name, reserved, 11);

AFFS_SIZE_IS(affs_extent, 40);
AFFS_AT(affs_extent, address, 0);
AFFS_AT(affs_extent, birth, 8);
AFFS_AT(affs_extent, blocks, 16);
AFFS_AT(affs_extent, stored_length, 20);
AFFS_AT(affs_extent, logical_length, 24);
AFFS_AT(affs_extent, offset_within, 28);
AFFS_AT(affs_extent, length, 32);
AFFS_AT(affs_extent, compression, 36);
AFFS_AT(affs_extent, checksum_kind, 37);
AFFS_AT(affs_extent, checksum_shift, 38);
AFFS_AT(affs_extent, flags, 39);

AFFS_SIZE_IS(affs_xattr, 8);
AFFS_AT(affs_xattr, value_length, 0);
AFFS_AT(affs_xattr, name_length, 4);
AFFS_AT(affs_xattr, storage, 6);
AFFS_AT(affs_xattr, reserved, 7);

AFFS_SIZE_IS(affs_copy, 24);
AFFS_AT(affs_copy, backend, 0);
AFFS_AT(affs_copy, kind, 2);
AFFS_AT(affs_copy, state, 3);
AFFS_AT(affs_copy, reserved, 4);
AFFS_AT(affs_copy, place, 8);
AFFS_AT(affs_copy, generation, 16);

AFFS_SIZE_IS(affs_segment, 64);
AFFS_AT(affs_segment, intent, 0);
AFFS_AT(affs_segment, copy_count, 1);
AFFS_AT(affs_segment, reserved, 2);
AFFS_AT(affs_segment, used_blocks, 4);
AFFS_AT(affs_segment, birth, 8);
AFFS_AT(affs_segment, copies, 16);

AFFS_SIZE_IS(affs_state, 128);
AFFS_AT(affs_state, root, 0);
AFFS_AT(affs_state, seq, 48);
AFFS_AT(affs_state, parent, 56);
AFFS_AT(affs_state, time_ns, 64);
AFFS_AT(affs_state, id, 72);
AFFS_AT(affs_state, flags, 88);
AFFS_AT(affs_state, pins, 92);
AFFS_AT(affs_state, object_count, 96);
AFFS_AT(affs_state, used_blocks, 104);
AFFS_AT(affs_state, label_length, 112);
AFFS_AT(affs_state, author_length, 114);
AFFS_AT(affs_state, message_length, 116);
AFFS_AT(affs_state, reserved1, 118);
AFFS_AT(affs_state, reclaim_ns, 120);

AFFS_SIZE_IS(affs_state_pointer, 16);
AFFS_AT(affs_state_pointer, state, 0);
AFFS_AT(affs_state_pointer, time_ns, 8);

/* An extent item of full length is the largest payload that has to fit. */
_Static_assert(sizeof(affs_extent) + 4 * AFFS_EXTENT_BLOCKS_MAX <= AFFS_ITEM_MAX,
               "extent item too large");
_Static_assert(AFFS_NODE_SIZE == AFFS_NODE_BLOCKS * AFFS_BLOCK_SIZE, "node is not whole blocks");
_Static_assert(1 << AFFS_NODE_SHIFT == AFFS_NODE_SIZE, "node shift does not match");
_Static_assert(1 << AFFS_RING_SHIFT == AFFS_RING_SLOTS, "ring shift does not match");
_Static_assert(1 << AFFS_BLOCK_SHIFT == AFFS_BLOCK_SIZE, "block shift does not match");

#undef AFFS_SIZE_IS
#undef AFFS_AT

#endif
