"""Making a volume: header regions, first segments, an empty root directory, the first commit.

Until the superblocks are written, last of all, there is no volume: an interrupted mkfs leaves
nothing that opens. Seeded: the same clock and entropy give the same bytes.
"""

import os
import stat
from contextlib import suppress
from dataclasses import dataclass

from affs_fuse.clock import SYSTEM_CLOCK, Clock, Entropy, system_entropy
from affs_fuse.core.codec import NO_POINTER, Inode, Superblock
from affs_fuse.core.constants import (
    BLOCK_SHIFT,
    BLOCK_SIZE,
    INTENT_METADATA,
    INTENT_SYSTEM,
    ITEM_INODE,
    OBJECT_FIRST,
    OBJECT_ROOT,
    REGION_SIZE,
    RING_SLOTS,
    TREE_NAMESPACE,
)
from affs_fuse.core.tree import NodeCache, Tree
from affs_fuse.device.device import Device, device_error
from affs_fuse.device.file import open_device
from affs_fuse.errors import AffsError, Category
from affs_fuse.volume import layout
from affs_fuse.volume.barrier import Barrier
from affs_fuse.volume.commit import LastCommit
from affs_fuse.volume.layout import Geometry
from affs_fuse.volume.opening import CACHE_BYTES_DEFAULT, Parts, make_space, this_host
from affs_fuse.volume.owner import Ownership
from affs_fuse.volume.recovery import SYSTEM_CACHE_BYTES_MAX, RecoveryReport
from affs_fuse.volume.states import StateTable
from affs_fuse.volume.superblock import write_superblock
from affs_fuse.volume.volume import Volume
from affs_fuse.volume.working import SystemTrees, WorkingState

__all__ = [
    "MkfsOptions",
    "Unfinished",
    "begin_format",
    "format_device",
    "make_file",
    "make_volume",
    "object_id",
    "plan_superblock",
]

LABEL_BYTES_MAX = 64


@dataclass(frozen=True, slots=True)
class MkfsOptions:
    """size_bytes None: the size that the file or device has. size_max_bytes: plan for growth up to
    it.
    """

    size_bytes: int | None = None
    label: str = ""
    user_uuid: bytes | None = None
    segment_size_bytes: int | None = None
    size_max_bytes: int | None = None
    root_mode: int = 0o755
    root_uid: int = 0
    root_gid: int = 0


def make_volume(
    path: str,
    options: MkfsOptions,
    *,
    clock: Clock = SYSTEM_CLOCK,
    entropy: Entropy = system_entropy,
) -> Superblock:
    """Make the file if need be, format it, close it.

    Whether it may be overwritten is the caller's to ask. Errors: device.*, volume.too_small,
    volume.segment_size, volume.label.
    """
    if options.size_bytes is not None and not stat.S_ISBLK(_mode_of(path)):
        make_file(path, options.size_bytes)
    device = open_device(path)
    try:
        return format_device(device, options, clock=clock, entropy=entropy)
    finally:
        device.close()


def plan_superblock(
    device_size_bytes: int, options: MkfsOptions, now_ns: int, entropy: Entropy
) -> Superblock:
    """The superblock that formatting would write. Errors: as make_volume."""
    size = options.size_bytes if options.size_bytes is not None else device_size_bytes
    size -= size % BLOCK_SIZE
    layout.check_size(size)
    size_max = max(size, options.size_max_bytes or 0)
    shift = _segment_shift(size, size_max, options.segment_size_bytes)
    geometry = Geometry(shift, size >> BLOCK_SHIFT)
    label = options.label.encode("utf-8", "surrogateescape")
    if len(label) > LABEL_BYTES_MAX:
        raise AffsError(
            "volume.label", Category.INVALID, f"a label takes up to {LABEL_BYTES_MAX} bytes"
        )
    return Superblock(
        update_counter=1,
        format_uuid=_uuid(entropy),
        user_uuid=options.user_uuid or _uuid(entropy),
        backend_uuid=_uuid(entropy),
        hash_key=entropy(16),
        salt=entropy(16),
        features_compatible=0,
        features_readonly=0,
        features_incompatible=0,
        created_ns=now_ns,
        device_blocks=geometry.device_blocks,
        place_count=geometry.place_count,
        segment_count=geometry.place_count,
        segment_count_max=layout.SEGMENTS_MAX,
        backend_index=0,
        backend_count=1,
        block_shift=BLOCK_SHIFT,
        node_shift=14,
        segment_shift=shift,
        ring_shift=RING_SLOTS.bit_length() - 1,
        label_length=len(label),
        label=label.ljust(64, b"\0"),
    )


@dataclass(frozen=True, slots=True)
class Unfinished:
    """A volume whose superblocks are not written yet: nothing that opens."""

    superblock: Superblock
    barrier: Barrier
    volume: Volume

    def finish(self) -> None:
        """Now it is a volume. Errors: device.io; the barrier's."""
        write_superblock(self.volume.device, self.barrier, self.superblock)


def format_device(
    device: Device,
    options: MkfsOptions,
    *,
    clock: Clock = SYSTEM_CLOCK,
    entropy: Entropy = system_entropy,
) -> Superblock:
    """Format an open device. Errors: as make_volume."""
    unfinished = begin_format(device, options, clock=clock, entropy=entropy)
    unfinished.finish()
    return unfinished.superblock


def begin_format(
    device: Device,
    options: MkfsOptions,
    *,
    clock: Clock = SYSTEM_CLOCK,
    entropy: Entropy = system_entropy,
    next_object: int = OBJECT_FIRST,
) -> Unfinished:
    """All of it but the superblocks, with the volume open. next_object: lower object numbers are
    taken by what is going to be put in. Errors: as make_volume."""
    superblock = plan_superblock(device.size_bytes, options, clock.now_ns(), entropy)
    barrier = Barrier(device)
    for offset in layout.REGIONS:
        result = device.allocate(offset, REGION_SIZE)
        if result.ok:
            result = device.write(offset, [bytes(REGION_SIZE)])
        if not result.ok:
            raise device_error("clearing", device.identity, offset, result)
    barrier.flush()
    volume = Volume(_first_parts(device, superblock, barrier, clock, entropy, next_object))
    root = _root_inode(options, clock.now_ns(), entropy)
    volume.working.tree.put(OBJECT_ROOT, ITEM_INODE, 0, root.pack())
    volume.space.open[INTENT_SYSTEM] = _first_segment(volume, INTENT_SYSTEM)
    volume.space.open[INTENT_METADATA] = _first_segment(volume, INTENT_METADATA)
    volume.commit()
    return Unfinished(superblock, barrier, volume)


def object_id(number: int, entropy: Entropy) -> bytes:
    """128 bits: 80 random ones, then the object number."""
    return entropy(10) + number.to_bytes(6, "big")


def _first_parts(
    device: Device,
    superblock: Superblock,
    barrier: Barrier,
    clock: Clock,
    entropy: Entropy,
    next_object: int,
) -> Parts:
    geometry = Geometry(superblock.segment_shift, superblock.device_blocks)
    uuid, salt = superblock.format_uuid, superblock.salt
    cache = NodeCache(CACHE_BYTES_DEFAULT, uuid, salt)
    trees = SystemTrees.empty(NodeCache(SYSTEM_CACHE_BYTES_MAX, uuid, salt))
    session = entropy(16)
    return Parts(
        device=device,
        superblock=superblock,
        geometry=geometry,
        clock=clock,
        entropy=entropy,
        barrier=barrier,
        owner=Ownership(device, uuid, session, this_host()),
        session=session,
        report=RecoveryReport(),
        cache=cache,
        trees=trees,
        states=StateTable(trees.checkpoint),
        space=make_space(device, geometry, superblock.place_count),
        working=WorkingState(Tree(cache, TREE_NAMESPACE, None), 0, 0, 1),
        last=LastCommit(0, 0, 0, b"", NO_POINTER),
        next_object=next_object,
        next_state=1,
    )


def _first_segment(volume: Volume, intent: int) -> int:
    segment = volume.space.new_segment(intent, volume.generation)
    assert segment is not None, "the smallest volume has room for its first segments"
    return segment.number


def _root_inode(options: MkfsOptions, now_ns: int, entropy: Entropy) -> Inode:
    return Inode(
        size=0,
        blocks=0,
        atime_ns=now_ns,
        mtime_ns=now_ns,
        ctime_ns=now_ns,
        btime_ns=now_ns,
        mode=stat.S_IFDIR | options.root_mode,
        uid=options.root_uid,
        gid=options.root_gid,
        nlink=2,
        rdev=0,
        flags=0,
        generation=1,
        object_id=object_id(OBJECT_ROOT, entropy),
        change=0,
        parent=OBJECT_ROOT,
    )


def _segment_shift(size: int, size_max: int, wanted_bytes: int | None) -> int:
    if wanted_bytes is None:
        return layout.choose_segment_shift(size, size_max)
    shift = wanted_bytes.bit_length() - 1
    fits = layout.SEGMENT_SHIFT_MIN <= shift <= layout.SEGMENT_SHIFT_MAX
    if wanted_bytes != 1 << shift or not fits or not 16 <= size >> shift <= layout.SEGMENTS_MAX:
        raise AffsError(
            "volume.segment_size",
            Category.INVALID,
            f"{wanted_bytes} bytes is no possible segment size for {size} bytes",
            hint="use a power of two from 256 KiB to 1 GiB that gives 16 segments or more",
        )
    return shift


def _uuid(entropy: Entropy) -> bytes:
    """A random UUID (version 4)."""
    raw = bytearray(entropy(16))
    raw[6] = raw[6] & 0x0F | 0x40
    raw[8] = raw[8] & 0x3F | 0x80
    return bytes(raw)


def _mode_of(path: str) -> int:
    with suppress(OSError):
        return os.stat(path).st_mode
    return 0


def make_file(path: str, size_bytes: int) -> None:
    """A sparse file of this size; one that exists keeps nothing."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            os.ftruncate(descriptor, 0)
            os.ftruncate(descriptor, size_bytes)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise AffsError(
            "device.denied", Category.DENIED, f"cannot make {path}: {error.strerror}"
        ) from error
