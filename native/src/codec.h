/* What the framed structures, nodes and items share: frames, pointers, keys, names, reserved bytes.
 *
 * Nothing here trusts its input: each function reads only the bytes that its arguments name.
 */
#ifndef AFFS_CODEC_H
#define AFFS_CODEC_H

#include "affs_core.h"

/* The frame: magic, length, checksum over `length` bytes, version, kind; in this order, since
 * the header itself keeps its meaning in all versions, and only after the checksum is a field
 * worth believing. `structure` must have `available` readable bytes. Returns AFFS_OK or
 * AFFS_E_*. */
int affs_verify_frame(const void *structure, size_t available, uint32_t length, uint32_t magic,
                      uint16_t kind);
/* CRC32C of `length` bytes that begin with an affs_header, its checksum taken as zero. */
uint32_t affs_frame_checksum(const void *structure, size_t length);
/* 1 if all bytes are zero. */
int affs_is_zero(const void *bytes, size_t length);
/* A pointer to a node of `tree`: level, kinds, range of addresses, birth, reserved bytes. */
int affs_verify_pointer(uint8_t tree, const affs_pointer *pointer);
/* A root: a pointer as above that was born at or before seq, or (birth 0) all zero if
 * may_be_none. */
int affs_verify_root(uint8_t tree, const affs_pointer *pointer, uint64_t seq, int may_be_none);
/* `blocks` blocks at a logical address: inside the largest segment, past its header. */
int affs_verify_address(uint64_t address, uint64_t blocks);
/* May an item of this type be in this tree, and is its key one that a writer makes? Inner
 * entries carry keys of the same form. */
int affs_verify_key(uint8_t tree, const affs_key *key);

#endif
