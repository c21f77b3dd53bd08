/* The C core's public face: on-disk structures, constants and functions.
 *
 * This one text is read by the C compiler (through affs_core.h) and by cffi (native/build_core.py),
 * so it holds nothing but integer defines, structs and prototypes. The bytes are specified in
 * docs/specs/DiskLayout.md; every struct below names its section there. All integers are
 * little-endian, all structs are free of implicit padding (affs_core.h asserts sizes and offsets).
 *
 * Return values: AFFS_OK, or one of the positive AFFS_R_* outcomes (not errors), or a negative
 * AFFS_E_*. No function recurses deeper than AFFS_LEVELS_MAX, and none trusts a byte that came from
 * a device.
 */

/* ---- outcomes and errors ---- */
#define AFFS_OK 0
#define AFFS_R_NOT_FOUND 1
#define AFFS_R_MISSING 2   /* a node is not cached: affs_tree_missing() tells which; load, repeat */
#define AFFS_R_EXISTS 3
#define AFFS_R_END 4       /* a cursor is exhausted */
#define AFFS_R_MORE 5      /* the output is full; go on from where it stopped */
#define AFFS_E_MAGIC -1
#define AFFS_E_VERSION -2
#define AFFS_E_CHECKSUM -3
#define AFFS_E_IDENTITY -4 /* another volume's, another address's or another birth's structure */
#define AFFS_E_FIELD -5    /* a field that no writer would have written */
#define AFFS_E_LENGTH -6
#define AFFS_E_NOMEM -7    /* nothing was changed */
#define AFFS_E_INVALID -8  /* the caller broke the contract */
#define AFFS_E_READONLY -9 /* a change to a tree that was opened for reading */
#define AFFS_E_RANGE -10   /* a node with keys that the nodes above it do not give it */

/* ---- geometry: DiskLayout, "Units" ---- */
#define AFFS_BLOCK_SIZE 4096
#define AFFS_BLOCK_SHIFT 12
#define AFFS_NODE_SIZE 16384
#define AFFS_NODE_SHIFT 14
#define AFFS_NODE_BLOCKS 4
#define AFFS_NODE_HEADER_SIZE 96
#define AFFS_SLOT_SIZE 24
#define AFFS_ENTRY_SIZE 72
#define AFFS_ITEM_MAX 4352
#define AFFS_LEVELS_MAX 16
#define AFFS_EXTENT_BLOCKS_MAX 1024
#define AFFS_INLINE_MAX 2048
#define AFFS_NAME_MAX 255
#define AFFS_SYMLINK_MAX 4095
#define AFFS_COLLECTION_PART_SIZE 4096
#define AFFS_COLLECTION_PARTS_MAX 16
#define AFFS_INDEX_KEY_MAX 200
#define AFFS_BITMAP_CHUNK_SIZE 2048
#define AFFS_RING_SLOTS 64
#define AFFS_RING_SHIFT 6
#define AFFS_REGION_SIZE 1048576           /* bytes of one header region */
#define AFFS_REGION_SECOND_OFFSET 34603008 /* 33 MiB: where the second header region begins */
#define AFFS_SUPERBLOCK_OFFSET 4096        /* within a region */
#define AFFS_OWNER_OFFSET 8192             /* within a region */
#define AFFS_RING_OFFSET 65536             /* within a region */
#define AFFS_VOLUME_SIZE_MIN 67108864
#define AFFS_SEGMENT_SHIFT_MIN 16          /* segments of 64 KiB ... */
#define AFFS_SEGMENT_SHIFT_MAX 30          /* ... to 1 GiB */
#define AFFS_SEGMENTS_MAX 4194304          /* 2^22 segments in a volume */
#define AFFS_BACKENDS_MAX 64
#define AFFS_LABEL_MAX 64
#define AFFS_XATTR_VALUE_MAX 65536

/* ---- magics (the bytes read AFSB, AFCR, AFOW, AFSG, AFR1) and versions ---- */
#define AFFS_MAGIC_SUPERBLOCK 0x42534641
#define AFFS_MAGIC_COMMIT 0x52434641
#define AFFS_MAGIC_OWNER 0x574F4641
#define AFFS_MAGIC_SEGMENT 0x47534641
#define AFFS_MAGIC_NODE 0x31524641
#define AFFS_VERSION 1

/* ---- kinds of structure (header.kind) ---- */
#define AFFS_KIND_SUPERBLOCK 1
#define AFFS_KIND_COMMIT 2
#define AFFS_KIND_OWNER 3
#define AFFS_KIND_SEGMENT 4
#define AFFS_KIND_NODE 5

/* ---- trees ---- */
#define AFFS_TREE_NAMESPACE 1
#define AFFS_TREE_CHECKPOINT 2
#define AFFS_TREE_SYSTEM 3
#define AFFS_TREE_SPACE 4

/* ---- item types, in key order ---- */
#define AFFS_ITEM_INODE 1
#define AFFS_ITEM_PARENT 2
#define AFFS_ITEM_XATTR 3
#define AFFS_ITEM_SYMLINK 4
#define AFFS_ITEM_INLINE 5
#define AFFS_ITEM_EXTENT 6
#define AFFS_ITEM_DENTRY 7
#define AFFS_ITEM_ORPHAN 8
#define AFFS_ITEM_COLLECTION 9
#define AFFS_ITEM_INDEX 10
#define AFFS_ITEM_INDEX_KEYS 11
#define AFFS_ITEM_INDEX_PENDING 12
#define AFFS_ITEM_IMPORT 13
#define AFFS_ITEM_SEGMENT 32
#define AFFS_ITEM_BITMAP 33
#define AFFS_ITEM_SHARE 34
#define AFFS_ITEM_STATE 48
#define AFFS_ITEM_STATE_POINTER 49
#define AFFS_ITEM_OPERATION 64
#define AFFS_ITEM_POLICY 65
#define AFFS_ITEM_JOB 66
#define AFFS_ITEM_VERIFIED 67
#define AFFS_ITEM_AUTHOR 68

/* ---- object numbers with a meaning of their own ---- */
#define AFFS_OBJECT_ROOT 1
#define AFFS_OBJECT_ORPHANS 2
#define AFFS_OBJECT_COLLECTIONS 3
#define AFFS_OBJECT_IMPORTS 5
#define AFFS_OBJECT_FIRST 16
#define AFFS_OBJECT_BITS 48

/* ---- intents of segments ---- */
#define AFFS_INTENT_NONE 0
#define AFFS_INTENT_SYSTEM 1
#define AFFS_INTENT_METADATA 2
#define AFFS_INTENT_SMALL 3
#define AFFS_INTENT_MEDIUM 4
#define AFFS_INTENT_LARGE 5
#define AFFS_INTENT_APPEND 6
#define AFFS_INTENTS 8

#define AFFS_CHECKSUM_NONE 0
#define AFFS_CHECKSUM_CRC32C 1
#define AFFS_COMPRESSION_NONE 0
#define AFFS_EXTENT_UNWRITTEN 1
#define AFFS_XATTR_INLINE 0
#define AFFS_XATTR_EXTENT 1

#define AFFS_COPY_PLAIN 0
#define AFFS_COPY_PACKED 1
#define AFFS_COPY_OBJECT 2
#define AFFS_COPY_OPEN 0
#define AFFS_COPY_SEALED 1
#define AFFS_COPY_MOVING 2
#define AFFS_COPY_STALE 3

/* flags of a kept state */
#define AFFS_STATE_AUTOMATIC 1  /* kept by the system: before a rollback */
#define AFFS_STATE_HIDDEN 2     /* an internal state of a job */
#define AFFS_STATE_DOOMED 4     /* deleted by the user, its blocks not yet reclaimed */
#define AFFS_STATE_PUBLISHED 8  /* was published at some time */

/* object numbers of the state pointers in the checkpoint tree (type STATE_POINTER) */
#define AFFS_POINTER_PUBLISHED 1
#define AFFS_POINTER_UNDO 2
#define AFFS_POINTER_REDO 3

/* ---- structures ---- */

/* DiskLayout "Header". checksum: CRC32C of the structure's `length` bytes with this field as
 * zero. */
typedef struct {
    uint32_t magic;
    uint16_t version;
    uint16_t kind;
    uint32_t checksum;
    uint32_t length;
} affs_header;

/* DiskLayout "Pointer": where a tree node lies, when it was written, and what it must be.
 * address: namespace tree: segment << 32 | block in segment. Other trees: backend << 48 | block.
 * birth 0 = no node. While a child is dirty (in memory only) address is AFFS_DIRTY | its id;
 * never on disk. */
typedef struct {
    uint64_t address;
    uint64_t mirror_address;
    uint64_t birth;
    uint8_t checksum[16];
    uint8_t checksum_kind;
    uint8_t level;
    uint8_t tree;
    uint8_t flags;
    uint32_t reserved;
} affs_pointer;

/* DiskLayout "Key". Order: object, type, offset. */
typedef struct {
    uint64_t object;
    uint64_t offset;
    uint8_t type;
    uint8_t reserved[7];
} affs_key;

/* DiskLayout "Node header". */
typedef struct {
    affs_header header;
    uint8_t uuid[16];
    uint8_t salt[16];
    uint64_t address;
    uint64_t mirror_address;
    uint64_t birth;
    uint8_t tree;
    uint8_t level;
    uint16_t item_count;
    uint16_t data_start;  /* leaf: offset of the lowest payload byte; inner: 0 */
    uint16_t data_length; /* leaf: sum of all payload lengths; inner: 0 */
    uint8_t reserved[16];
} affs_node_header;

/* DiskLayout "Leaf slot": slots follow the header in key order, payloads fill the node from its
 * end. */
typedef struct {
    uint64_t object;
    uint64_t offset;
    uint8_t type;
    uint8_t flags;
    uint16_t data_offset;
    uint16_t data_length;
    uint16_t reserved;
} affs_slot;

/* DiskLayout "Inner entry": the lowest key that may lie below, and the child. */
typedef struct {
    affs_key key;
    affs_pointer child;
} affs_entry;

/* DiskLayout "Superblock", one block. */
typedef struct {
    affs_header header;
    uint64_t update_counter;
    uint8_t format_uuid[16];
    uint8_t user_uuid[16];
    uint8_t backend_uuid[16];
    uint8_t hash_key[16];
    uint8_t salt[16];
    uint64_t features_compatible;
    uint64_t features_readonly;
    uint64_t features_incompatible;
    int64_t created_ns;
    uint64_t device_blocks;
    uint64_t place_count;
    uint64_t segment_count;
    uint64_t segment_count_max;
    uint16_t backend_index;
    uint16_t backend_count;
    uint8_t block_shift;
    uint8_t node_shift;
    uint8_t segment_shift; /* of the segment's size in bytes */
    uint8_t ring_shift;    /* of the number of ring slots */
    uint8_t label_length;
    uint8_t reserved1[7];
    uint8_t label[64];
    uint8_t reserved[3848];
} affs_superblock;

/* DiskLayout "Owner block": who has the volume open for writing. */
typedef struct {
    affs_header header;
    uint8_t uuid[16];
    uint8_t session[16];
    uint8_t machine_id[16];
    uint8_t boot_id[16];
    uint64_t pid;
    uint64_t heartbeat;
    int64_t time_ns;
    uint32_t state; /* 0 clean, 1 open for writing */
    uint32_t reserved1;
    uint8_t host[64];
    uint8_t reserved[3920];
} affs_owner;

typedef struct {
    uint32_t segment;
    uint32_t next_block;
} affs_open_segment;

/* DiskLayout "Commit record", one block in a ring slot. */
typedef struct {
    affs_header header;
    uint8_t uuid[16];
    uint64_t seq;
    uint64_t parent_seq;
    uint32_t parent_checksum;
    uint32_t flags;
    int64_t time_ns;
    uint8_t session[16];
    uint64_t backends;
    affs_pointer namespace_root;
    affs_pointer checkpoint_root;
    affs_pointer system_root;
    affs_pointer space_root;
    uint64_t next_object;
    uint64_t next_state;
    uint64_t ancestor; /* number of the working state's nearest kept ancestor, 0 none */
    uint64_t segment_count;
    uint64_t used_blocks; /* data and namespace blocks that this commit or a kept state reaches */
    uint64_t object_count; /* inodes in the working state */
    affs_open_segment open_segments[8]; /* by intent */
    uint64_t log_address[2]; /* room for an intent log, zero */
    uint64_t log_seed;
    uint64_t log_length;
    uint8_t reserved[3672];
} affs_commit;

/* DiskLayout "Segment header", first block of a segment; advisory. */
typedef struct {
    affs_header header;
    uint8_t uuid[16];
    uint8_t salt[16];
    uint64_t segment;
    uint64_t copy_generation;
    uint64_t place;
    uint8_t intent;
    uint8_t reserved1[7];
    uint8_t reserved[4016];
} affs_segment_header;

/* DiskLayout "Inode item". */
typedef struct {
    uint64_t size;   /* bytes; of a directory: its number of entries */
    uint64_t blocks; /* 4 KiB blocks that its extents hold */
    int64_t atime_ns;
    int64_t mtime_ns;
    int64_t ctime_ns;
    int64_t btime_ns;
    uint32_t mode;
    uint32_t uid;
    uint32_t gid;
    uint32_t nlink;
    uint64_t rdev;
    uint32_t flags;
    uint32_t generation;
    uint8_t object_id[16];
    uint64_t change;
    uint64_t parent; /* of a directory: its parent directory; else 0 */
    uint8_t data_kind;
    uint8_t reserved[3];
    uint32_t changed_by;     /* number of an author, 0 unknown */
    uint64_t created_commit; /* seq of the commits that have its making and its last change; */
    uint64_t changed_commit; /* 0 unknown */
} affs_inode;

/* DiskLayout "Name item": payload of DENTRY (object = the child) and PARENT (object = the parent
 * directory); the name's bytes follow. */
typedef struct {
    uint64_t object;
    uint16_t name_length;
    uint8_t kind; /* DT_*: file type of the child */
    uint8_t reserved[5];
} affs_name;

/* DiskLayout "Extent item": checksums (4 bytes for each block) follow. */
typedef struct {
    uint64_t address; /* segment << 32 | block */
    uint64_t birth;
    uint32_t blocks;
    uint32_t stored_length;  /* bytes */
    uint32_t logical_length; /* bytes of the whole extent before compression */
    uint32_t offset_within;  /* bytes: where this item's data begins in the extent */
    uint32_t length;         /* bytes of the file that this item covers */
    uint8_t compression;
    uint8_t checksum_kind;
    uint8_t checksum_shift;
    uint8_t flags;
} affs_extent;

/* DiskLayout "Extended attribute item": name, then the value or an affs_extent with checksums
 * follow. */
typedef struct {
    uint32_t value_length;
    uint16_t name_length;
    uint8_t storage;
    uint8_t reserved;
} affs_xattr;

typedef struct {
    uint16_t backend;
    uint8_t kind;
    uint8_t state;
    uint32_t reserved;
    uint64_t place;
    uint64_t generation;
} affs_copy;

/* DiskLayout "Segment item" of the space tree: key (segment number, SEGMENT, 0). */
typedef struct {
    uint8_t intent;
    uint8_t copy_count;
    uint16_t reserved;
    uint32_t used_blocks; /* 0 in system segments: derived */
    uint64_t birth;
    affs_copy copies[2];
} affs_segment;

/* DiskLayout "State item" of the checkpoint tree: key (state number, STATE, 0); label, author,
 * message follow. */
typedef struct {
    affs_pointer root;
    uint64_t seq;
    uint64_t parent; /* state number, 0 none */
    int64_t time_ns;
    uint8_t id[16];
    uint32_t flags;
    uint32_t pins;
    uint64_t object_count;
    uint64_t used_blocks;
    uint16_t label_length;
    uint16_t author_length;
    uint16_t message_length;
    uint16_t reserved1;
    int64_t reclaim_ns; /* of a doomed one: until when it can be restored; 0 otherwise */
} affs_state;

/* DiskLayout "State pointer item" of the checkpoint tree: key (AFFS_POINTER_*, STATE_POINTER,
 * 0). */
typedef struct {
    uint64_t state; /* state number */
    int64_t time_ns; /* when it was set */
} affs_state_pointer;

/* ---- checksums and hashes ---- */
uint32_t affs_crc32c(uint32_t crc, const void *data, size_t length);
const char *affs_crc32c_implementation(void);
/* Select "auto", "portable", "sse42" or "arm"; AFFS_E_INVALID where the machine lacks it. For
 * tests. */
int affs_crc32c_select(const char *name);
/* One CRC32C for each block_size bytes of data (the last may be short) into sums. */
void affs_crc32c_blocks(const void *data, size_t length, size_t block_size, uint32_t *sums);
/* The same while copying length bytes to target, which does not overlap them. */
void affs_crc32c_copy(void *target, const void *data, size_t length, size_t block_size,
                      uint32_t *sums);
/* Index of the first block whose CRC32C differs from sums, or -1. */
int64_t affs_crc32c_first_bad(const void *data, size_t length, size_t block_size,
                              const uint8_t *sums);
/* 59-bit SipHash-2-4 of prefix (8 bytes, left out when 0) and name. */
uint64_t affs_name_hash(const uint8_t *key, uint64_t prefix, const void *name, size_t length);

/* ---- framed structures ---- */
/* Fill in header (version, length, checksum) of a structure of `length` bytes. */
void affs_seal(void *structure, uint32_t length, uint32_t magic, uint16_t kind);
int affs_verify_superblock(const void *block, size_t length);
int affs_verify_owner(const void *block, size_t length);
int affs_verify_commit(const void *block, size_t length, const uint8_t *uuid);
int affs_verify_segment_header(const void *block, size_t length, const uint8_t *uuid);
/* Whole node: header, identity (uuid, salt), order of keys, bounds, and the shape of every payload.
 * pointer may be NULL (then address, birth and checksum are not compared). */
int affs_verify_node(const void *image, size_t length, const uint8_t *uuid, const uint8_t *salt,
                     const affs_pointer *pointer);
/* The shape of one payload of a tree: lengths, counts, ranges. */
int affs_verify_item(uint8_t tree, const affs_key *key, const void *payload, size_t length);

/* ---- bitmaps: bit set = in use; bit i is byte i / 8, bit i % 8 ---- */
/* First run of clear bits (in both maps; held may be NULL) at or after start, of at least
 * shortest bits; *found and *run (at most longest). AFFS_R_NOT_FOUND if there is none. */
int affs_bitmap_find(const uint8_t *bits, const uint8_t *held, uint64_t bit_count, uint64_t start,
                     uint64_t shortest, uint64_t longest, uint64_t *found, uint64_t *run);
/* Set or clear a range; AFFS_E_INVALID, with nothing changed, where one bit already is so. */
int affs_bitmap_set(uint8_t *bits, uint64_t bit_count, uint64_t first, uint64_t count);
int affs_bitmap_clear(uint8_t *bits, uint64_t bit_count, uint64_t first, uint64_t count);
uint64_t affs_bitmap_count(const uint8_t *bits, uint64_t first, uint64_t count);

/* ---- memory that fails, for tests (memory.c) ---- */
/* After `after` more allocations of the core the next one fails, with sticky all that follow it
 * too; UINT64_MAX: none. The count begins anew. */
void affs_memory_fail(uint64_t after, int sticky);
/* Allocations since then. */
uint64_t affs_memory_count(void);

/* ---- node cache ---- */
typedef struct affs_cache affs_cache;
typedef struct {
    uint64_t node_count;
    uint64_t dirty_count;
    uint64_t frozen_count;
    uint64_t bytes_max;
    uint64_t hits;
    uint64_t misses;
    uint64_t evictions;
} affs_cache_statistics;

affs_cache *affs_cache_new(uint64_t bytes_max, const uint8_t *uuid, const uint8_t *salt);
void affs_cache_free(affs_cache *cache);
/* Make sure that the next changes can take `nodes` buffers without allocating; AFFS_E_NOMEM
 * otherwise. */
int affs_cache_reserve(affs_cache *cache, uint32_t nodes);
/* Verify a node's image against the pointer that leads to it and put it in. */
int affs_cache_install(affs_cache *cache, const affs_pointer *pointer, const void *image,
                       size_t length);
/* Evict clean nodes, least recently used first, until the cache is inside bytes_max or they
 * take no more than a quarter of it. Never called by a tree operation, so what an operation
 * has seen stays until it ends. */
void affs_cache_trim(affs_cache *cache);
/* Evict all clean nodes. */
void affs_cache_drop_clean(affs_cache *cache);
void affs_cache_forget(affs_cache *cache, uint64_t address, uint64_t birth, uint8_t tree);
void affs_cache_get_statistics(affs_cache *cache, affs_cache_statistics *statistics);

/* ---- trees: a root over a cache; many may share one ---- */
#define AFFS_GATHER_MANY 4294967295
#define AFFS_PUT_ANY 0
#define AFFS_PUT_INSERT 1  /* AFFS_R_EXISTS if the key is there */
#define AFFS_PUT_REPLACE 2 /* AFFS_R_NOT_FOUND if it is not */
typedef struct affs_tree affs_tree;
typedef struct {
    uint64_t address;
    uint64_t birth;
} affs_dropped;
/* A frozen node: where it is to be written and its 16 KiB. Valid until affs_cache_written. */
typedef struct {
    uint64_t address;
    uint64_t mirror_address;
    const uint8_t *image;
} affs_image;
typedef struct {
    affs_key key;
    const uint8_t *payload; /* valid until the next change of any tree of this cache, or trim */
    uint32_t length;
} affs_item;

/* root NULL: a new, empty tree (one dirty empty leaf). */
affs_tree *affs_tree_new(affs_cache *cache, uint8_t kind, const affs_pointer *root, int writable);
void affs_tree_free(affs_tree *tree); /* its dirty nodes go too */
/* Point the tree elsewhere; its dirty nodes go, and so do drops that were not taken. */
int affs_tree_set_root(affs_tree *tree, const affs_pointer *root);
/* AFFS_R_NOT_FOUND while the root is dirty. */
int affs_tree_get_root(const affs_tree *tree, affs_pointer *root);
/* After AFFS_R_MISSING: the pointer of the node to load. */
void affs_tree_missing(const affs_tree *tree, affs_pointer *pointer);
int affs_tree_get(affs_tree *tree, const affs_key *key, affs_item *item);
/* The least item >= key, or (backward) the greatest item <= key. */
int affs_tree_seek(affs_tree *tree, const affs_key *key, int backward, affs_item *item);
/* Load-check of every node that a put or delete of key may need. */
int affs_tree_touch(affs_tree *tree, const affs_key *key);
int affs_tree_put(affs_tree *tree, const affs_key *key, const void *payload, uint32_t length,
                  int mode);
int affs_tree_delete(affs_tree *tree, const affs_key *key);
/* Items from `from` up to, not including, `to`, packed into buffer: each as affs_key, u32
 * length, u32 0, payload, padding to 8. *used bytes, *count items. AFFS_OK: all of them;
 * AFFS_R_MORE: go on after the last; AFFS_R_MISSING: *used and *count hold what came before. */
int affs_tree_scan(affs_tree *tree, const affs_key *from, const affs_key *to, void *buffer,
                   size_t size, size_t *used, uint32_t *count);
/* Of each object its items from first_type up to, not including, end_type, packed as by scan, one
 * object's after the other's; counts[i]: how many of objects[i], AFFS_GATHER_MANY where they do
 * not fit into buffer alone. *done objects, fewer than count when buffer is full. All or nothing:
 * AFFS_R_MISSING says nothing of any. */
int affs_tree_gather(affs_tree *tree, const uint64_t *objects, uint32_t count, uint8_t first_type,
                     uint8_t end_type, void *buffer, size_t size, uint32_t *counts,
                     uint32_t *done);
uint32_t affs_tree_dirty_count(const affs_tree *tree);
/* Give every dirty node its address (addresses[0..count), count == dirty_count, mirrors may be
 * NULL), bottom-up, with checksums and birth; nodes become immutable. images gets count rows. */
int affs_tree_freeze(affs_tree *tree, uint64_t birth, const uint64_t *addresses,
                     const uint64_t *mirrors, uint32_t count, affs_image *images,
                     affs_pointer *root);
/* These frozen nodes are on the device: they may be evicted from now on. */
void affs_cache_written(affs_cache *cache, const affs_image *images, uint32_t count);
/* Drain the list of durable or frozen nodes that changes have replaced, at most `max`; returns
 * how many. */
uint32_t affs_tree_take_dropped(affs_tree *tree, affs_dropped *dropped, uint32_t max);

/* ---- walking all nodes below a root, parents first ---- */
typedef struct affs_walk affs_walk;
affs_walk *affs_walk_new(affs_cache *cache, const affs_pointer *root, int level_min);
void affs_walk_free(affs_walk *walk);
/* The next pointer. A node of level >= level_min is read by the call after the one that gave its
 * pointer, unless that was pruned; others are not read. So pointers down to level_min - 1 are
 * given: with level_min 1 those of all leaves, none of which is loaded. AFFS_R_MISSING /
 * AFFS_R_END as usual. */
int affs_walk_next(affs_walk *walk, affs_pointer *pointer);
void affs_walk_missing(const affs_walk *walk, affs_pointer *pointer);
/* Do not descend below the node just given. */
void affs_walk_prune(affs_walk *walk);

/* ---- pruned difference of two trees ---- */
#define AFFS_DIFF_ONLY_A 1
#define AFFS_DIFF_ONLY_B 2
#define AFFS_DIFF_CHANGED 3 /* the key is in both, the payload differs */
#define AFFS_DIFF_NODE_A 4  /* a node that A was descended through (not shared at the same place) */
#define AFFS_DIFF_NODE_B 5
typedef struct {
    int kind;
    affs_key key;
    const uint8_t *a_payload;
    uint32_t a_length;
    const uint8_t *b_payload;
    uint32_t b_length;
    affs_pointer node;
} affs_diff_event;
typedef struct affs_diff affs_diff;
/* Both trees may be dirty but must not change while the diff is open. Roots with birth 0 are
 * empty. */
affs_diff *affs_diff_new(affs_tree *a, affs_tree *b);
void affs_diff_free(affs_diff *diff);
int affs_diff_next(affs_diff *diff, affs_diff_event *event);
void affs_diff_missing(const affs_diff *diff, affs_pointer *pointer);
