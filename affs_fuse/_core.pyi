"""Stub of the compiled C core (native/build_core.py builds it); only core/ imports it."""

from collections.abc import Iterator
from typing import Any, Final, SupportsIndex, TypeAlias, overload

# What cffi takes where a function wants bytes to read.
Buffer: TypeAlias = bytes | bytearray | memoryview

class CType:
    @property
    def cname(self) -> str: ...
    @property
    def kind(self) -> str: ...
    @property
    def fields(self) -> list[tuple[str, CField]]: ...
    @property
    def item(self) -> CType: ...
    @property
    def length(self) -> int | None: ...

class CField:
    @property
    def type(self) -> CType: ...
    @property
    def offset(self) -> int: ...

class CData:
    """A C value; fields are attributes, elements are items."""
    def __getattr__(self, name: str) -> Any: ...
    def __setattr__(self, name: str, value: Any) -> None: ...
    def __getitem__(self, index: SupportsIndex | slice) -> Any: ...
    def __setitem__(self, index: SupportsIndex | slice, value: Any) -> None: ...
    def __iter__(self) -> Iterator[Any]: ...
    def __enter__(self) -> CData: ...
    def __exit__(self, *_: object) -> None: ...
    def __len__(self) -> int: ...
    def __add__(self, count: int) -> CData: ...
    def __sub__(self, count: int) -> CData: ...
    def __bool__(self) -> bool: ...

class CBuffer:
    def __len__(self) -> int: ...
    @overload
    def __getitem__(self, index: SupportsIndex) -> bytes: ...
    @overload
    def __getitem__(self, index: slice) -> bytes: ...
    def __setitem__(self, index: SupportsIndex | slice, value: Buffer) -> None: ...
    def __buffer__(self, flags: int, /) -> memoryview: ...

class FFI:
    NULL: Final[CData]
    error: type[Exception]
    def typeof(self, cdecl: str | CData) -> CType: ...
    def sizeof(self, cdecl: str | CType | CData) -> int: ...
    def offsetof(self, cdecl: str | CType, field: str) -> int: ...
    def new(self, cdecl: str | CType, init: Any = ...) -> CData: ...
    def cast(self, cdecl: str | CType, source: Any) -> CData: ...
    def gc(self, cdata: CData, destructor: Any, size: int = ...) -> CData: ...
    def release(self, cdata: CData) -> None: ...
    def string(self, cdata: CData, maxlen: int = ...) -> bytes: ...
    def unpack(self, cdata: CData, length: int) -> Any: ...
    def buffer(self, cdata: CData, size: int = ...) -> CBuffer: ...
    def memmove(self, dest: Any, src: Any, n: int) -> None: ...
    def addressof(self, cdata: Any, *fields: str | int) -> CData: ...
    @overload
    def from_buffer(self, python_buffer: Any, /, *, require_writable: bool = ...) -> CData: ...
    @overload
    def from_buffer(
        self, cdecl: str | CType, python_buffer: Any, require_writable: bool = ...
    ) -> CData: ...

class Lib:
    AFFS_OK: Final[int]
    AFFS_R_NOT_FOUND: Final[int]
    AFFS_R_MISSING: Final[int]
    AFFS_R_EXISTS: Final[int]
    AFFS_R_END: Final[int]
    AFFS_R_MORE: Final[int]
    AFFS_E_MAGIC: Final[int]
    AFFS_E_VERSION: Final[int]
    AFFS_E_CHECKSUM: Final[int]
    AFFS_E_IDENTITY: Final[int]
    AFFS_E_FIELD: Final[int]
    AFFS_E_LENGTH: Final[int]
    AFFS_E_NOMEM: Final[int]
    AFFS_E_INVALID: Final[int]
    AFFS_E_READONLY: Final[int]
    AFFS_E_RANGE: Final[int]
    AFFS_BLOCK_SIZE: Final[int]
    AFFS_BLOCK_SHIFT: Final[int]
    AFFS_NODE_SIZE: Final[int]
    AFFS_NODE_SHIFT: Final[int]
    AFFS_NODE_BLOCKS: Final[int]
    AFFS_NODE_HEADER_SIZE: Final[int]
    AFFS_SLOT_SIZE: Final[int]
    AFFS_ENTRY_SIZE: Final[int]
    AFFS_ITEM_MAX: Final[int]
    AFFS_LEVELS_MAX: Final[int]
    AFFS_EXTENT_BLOCKS_MAX: Final[int]
    AFFS_INLINE_MAX: Final[int]
    AFFS_NAME_MAX: Final[int]
    AFFS_SYMLINK_MAX: Final[int]
    AFFS_COLLECTION_PART_SIZE: Final[int]
    AFFS_COLLECTION_PARTS_MAX: Final[int]
    AFFS_INDEX_KEY_MAX: Final[int]
    AFFS_BITMAP_CHUNK_SIZE: Final[int]
    AFFS_RING_SLOTS: Final[int]
    AFFS_RING_SHIFT: Final[int]
    AFFS_REGION_SIZE: Final[int]
    AFFS_REGION_SECOND_OFFSET: Final[int]
    AFFS_SUPERBLOCK_OFFSET: Final[int]
    AFFS_OWNER_OFFSET: Final[int]
    AFFS_RING_OFFSET: Final[int]
    AFFS_VOLUME_SIZE_MIN: Final[int]
    AFFS_SEGMENT_SHIFT_MIN: Final[int]
    AFFS_SEGMENT_SHIFT_MAX: Final[int]
    AFFS_SEGMENTS_MAX: Final[int]
    AFFS_BACKENDS_MAX: Final[int]
    AFFS_LABEL_MAX: Final[int]
    AFFS_XATTR_VALUE_MAX: Final[int]
    AFFS_MAGIC_SUPERBLOCK: Final[int]
    AFFS_MAGIC_COMMIT: Final[int]
    AFFS_MAGIC_OWNER: Final[int]
    AFFS_MAGIC_SEGMENT: Final[int]
    AFFS_MAGIC_NODE: Final[int]
    AFFS_VERSION: Final[int]
    AFFS_KIND_SUPERBLOCK: Final[int]
    AFFS_KIND_COMMIT: Final[int]
    AFFS_KIND_OWNER: Final[int]
    AFFS_KIND_SEGMENT: Final[int]
    AFFS_KIND_NODE: Final[int]
    AFFS_TREE_NAMESPACE: Final[int]
    AFFS_TREE_CHECKPOINT: Final[int]
    AFFS_TREE_SYSTEM: Final[int]
    AFFS_TREE_SPACE: Final[int]
    AFFS_ITEM_INODE: Final[int]
    AFFS_ITEM_PARENT: Final[int]
    AFFS_ITEM_XATTR: Final[int]
    AFFS_ITEM_SYMLINK: Final[int]
    AFFS_ITEM_INLINE: Final[int]
    AFFS_ITEM_EXTENT: Final[int]
    AFFS_ITEM_DENTRY: Final[int]
    AFFS_ITEM_ORPHAN: Final[int]
    AFFS_ITEM_COLLECTION: Final[int]
    AFFS_ITEM_INDEX: Final[int]
    AFFS_ITEM_INDEX_KEYS: Final[int]
    AFFS_ITEM_INDEX_PENDING: Final[int]
    AFFS_ITEM_IMPORT: Final[int]
    AFFS_ITEM_SEGMENT: Final[int]
    AFFS_ITEM_BITMAP: Final[int]
    AFFS_ITEM_SHARE: Final[int]
    AFFS_ITEM_STATE: Final[int]
    AFFS_ITEM_STATE_POINTER: Final[int]
    AFFS_ITEM_OPERATION: Final[int]
    AFFS_ITEM_POLICY: Final[int]
    AFFS_ITEM_JOB: Final[int]
    AFFS_ITEM_VERIFIED: Final[int]
    AFFS_ITEM_AUTHOR: Final[int]
    AFFS_OBJECT_ROOT: Final[int]
    AFFS_OBJECT_ORPHANS: Final[int]
    AFFS_OBJECT_COLLECTIONS: Final[int]
    AFFS_OBJECT_IMPORTS: Final[int]
    AFFS_OBJECT_FIRST: Final[int]
    AFFS_OBJECT_BITS: Final[int]
    AFFS_INTENT_NONE: Final[int]
    AFFS_INTENT_SYSTEM: Final[int]
    AFFS_INTENT_METADATA: Final[int]
    AFFS_INTENT_SMALL: Final[int]
    AFFS_INTENT_MEDIUM: Final[int]
    AFFS_INTENT_LARGE: Final[int]
    AFFS_INTENT_APPEND: Final[int]
    AFFS_INTENTS: Final[int]
    AFFS_CHECKSUM_NONE: Final[int]
    AFFS_CHECKSUM_CRC32C: Final[int]
    AFFS_COMPRESSION_NONE: Final[int]
    AFFS_EXTENT_UNWRITTEN: Final[int]
    AFFS_XATTR_INLINE: Final[int]
    AFFS_XATTR_EXTENT: Final[int]
    AFFS_COPY_PLAIN: Final[int]
    AFFS_COPY_PACKED: Final[int]
    AFFS_COPY_OBJECT: Final[int]
    AFFS_COPY_OPEN: Final[int]
    AFFS_COPY_SEALED: Final[int]
    AFFS_COPY_MOVING: Final[int]
    AFFS_COPY_STALE: Final[int]
    AFFS_STATE_AUTOMATIC: Final[int]
    AFFS_STATE_HIDDEN: Final[int]
    AFFS_STATE_DOOMED: Final[int]
    AFFS_STATE_PUBLISHED: Final[int]
    AFFS_POINTER_PUBLISHED: Final[int]
    AFFS_POINTER_UNDO: Final[int]
    AFFS_POINTER_REDO: Final[int]
    AFFS_GATHER_MANY: Final[int]
    AFFS_PUT_ANY: Final[int]
    AFFS_PUT_INSERT: Final[int]
    AFFS_PUT_REPLACE: Final[int]
    AFFS_DIFF_ONLY_A: Final[int]
    AFFS_DIFF_ONLY_B: Final[int]
    AFFS_DIFF_CHANGED: Final[int]
    AFFS_DIFF_NODE_A: Final[int]
    AFFS_DIFF_NODE_B: Final[int]

    def affs_crc32c(self, crc: int, data: CData | Buffer, length: int, /) -> int: ...
    def affs_crc32c_implementation(self) -> CData: ...
    def affs_crc32c_select(self, name: bytes, /) -> int: ...
    def affs_crc32c_blocks(
        self, data: CData | Buffer, length: int, block_size: int, sums: CData, /
    ) -> None: ...
    def affs_crc32c_copy(
        self, target: CData, data: CData | Buffer, length: int, block_size: int, sums: CData, /
    ) -> None: ...
    def affs_crc32c_first_bad(
        self, data: CData | Buffer, length: int, block_size: int, sums: CData | Buffer, /
    ) -> int: ...
    def affs_name_hash(
        self, key: CData | Buffer, prefix: int, name: CData | Buffer, length: int, /
    ) -> int: ...
    def affs_seal(
        self, structure: CData | Buffer, length: int, magic: int, kind: int, /
    ) -> None: ...
    def affs_verify_superblock(self, block: CData | Buffer, length: int, /) -> int: ...
    def affs_verify_owner(self, block: CData | Buffer, length: int, /) -> int: ...
    def affs_verify_commit(
        self, block: CData | Buffer, length: int, uuid: CData | Buffer, /
    ) -> int: ...
    def affs_verify_segment_header(
        self, block: CData | Buffer, length: int, uuid: CData | Buffer, /
    ) -> int: ...
    def affs_verify_node(
        self,
        image: CData | Buffer,
        length: int,
        uuid: CData | Buffer,
        salt: CData | Buffer,
        pointer: CData,
        /,
    ) -> int: ...
    def affs_verify_item(
        self, tree: int, key: CData, payload: CData | Buffer, length: int, /
    ) -> int: ...
    def affs_bitmap_find(
        self,
        bits: CData | Buffer,
        held: CData | Buffer,
        bit_count: int,
        start: int,
        shortest: int,
        longest: int,
        found: CData,
        run: CData,
        /,
    ) -> int: ...
    def affs_bitmap_set(
        self, bits: CData | Buffer, bit_count: int, first: int, count: int, /
    ) -> int: ...
    def affs_bitmap_clear(
        self, bits: CData | Buffer, bit_count: int, first: int, count: int, /
    ) -> int: ...
    def affs_bitmap_count(self, bits: CData | Buffer, first: int, count: int, /) -> int: ...
    def affs_memory_fail(self, after: int, sticky: int, /) -> None: ...
    def affs_memory_count(self) -> int: ...
    def affs_cache_new(
        self, bytes_max: int, uuid: CData | Buffer, salt: CData | Buffer, /
    ) -> CData: ...
    def affs_cache_free(self, cache: CData, /) -> None: ...
    def affs_cache_reserve(self, cache: CData, nodes: int, /) -> int: ...
    def affs_cache_install(
        self, cache: CData, pointer: CData, image: CData | Buffer, length: int, /
    ) -> int: ...
    def affs_cache_trim(self, cache: CData, /) -> None: ...
    def affs_cache_drop_clean(self, cache: CData, /) -> None: ...
    def affs_cache_forget(self, cache: CData, address: int, birth: int, tree: int, /) -> None: ...
    def affs_cache_get_statistics(self, cache: CData, statistics: CData, /) -> None: ...
    def affs_tree_new(self, cache: CData, kind: int, root: CData, writable: int, /) -> CData: ...
    def affs_tree_free(self, tree: CData, /) -> None: ...
    def affs_tree_set_root(self, tree: CData, root: CData, /) -> int: ...
    def affs_tree_get_root(self, tree: CData, root: CData, /) -> int: ...
    def affs_tree_missing(self, tree: CData, pointer: CData, /) -> None: ...
    def affs_tree_get(self, tree: CData, key: CData, item: CData, /) -> int: ...
    def affs_tree_seek(self, tree: CData, key: CData, backward: int, item: CData, /) -> int: ...
    def affs_tree_touch(self, tree: CData, key: CData, /) -> int: ...
    def affs_tree_put(
        self, tree: CData, key: CData, payload: CData | Buffer, length: int, mode: int, /
    ) -> int: ...
    def affs_tree_delete(self, tree: CData, key: CData, /) -> int: ...
    def affs_tree_scan(
        self,
        tree: CData,
        first: CData,
        to: CData,
        buffer: CData | Buffer,
        size: int,
        used: CData,
        count: CData,
        /,
    ) -> int: ...
    def affs_tree_gather(
        self,
        tree: CData,
        objects: CData | Buffer,
        count: int,
        first_type: int,
        end_type: int,
        buffer: CData | Buffer,
        size: int,
        counts: CData,
        done: CData,
        /,
    ) -> int: ...
    def affs_tree_dirty_count(self, tree: CData, /) -> int: ...
    def affs_tree_freeze(
        self,
        tree: CData,
        birth: int,
        addresses: CData,
        mirrors: CData,
        count: int,
        images: CData,
        root: CData,
        /,
    ) -> int: ...
    def affs_cache_written(self, cache: CData, images: CData, count: int, /) -> None: ...
    def affs_tree_take_dropped(self, tree: CData, dropped: CData, max: int, /) -> int: ...
    def affs_walk_new(self, cache: CData, root: CData, level_min: int, /) -> CData: ...
    def affs_walk_free(self, walk: CData, /) -> None: ...
    def affs_walk_next(self, walk: CData, pointer: CData, /) -> int: ...
    def affs_walk_missing(self, walk: CData, pointer: CData, /) -> None: ...
    def affs_walk_prune(self, walk: CData, /) -> None: ...
    def affs_diff_new(self, a: CData, b: CData, /) -> CData: ...
    def affs_diff_free(self, diff: CData, /) -> None: ...
    def affs_diff_next(self, diff: CData, event: CData, /) -> int: ...
    def affs_diff_missing(self, diff: CData, pointer: CData, /) -> None: ...

ffi: Final[FFI]
lib: Final[Lib]
