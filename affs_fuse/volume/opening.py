"""Opening a volume: identity, ownership, recovery, in this order, and nothing written before all
of it.

What is read and decided is recovery.py's; this module puts the parts of a Volume together.
"""

import os
import socket
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from affs_fuse.clock import SYSTEM_CLOCK, Clock, Entropy, system_entropy
from affs_fuse.core.codec import Commit, Superblock, frame_checksum
from affs_fuse.core.constants import BLOCK_SIZE
from affs_fuse.core.tree import NodeCache
from affs_fuse.device.device import Device, device_error
from affs_fuse.device.file import open_device
from affs_fuse.errors import AffsError, Category
from affs_fuse.volume import layout, owner, ring
from affs_fuse.volume.barrier import Barrier
from affs_fuse.volume.commit import LastCommit
from affs_fuse.volume.layout import Geometry
from affs_fuse.volume.owner import Host, Ownership
from affs_fuse.volume.recovery import Opened, RecoveryReport, open_commit
from affs_fuse.volume.space import Segment, Space
from affs_fuse.volume.states import StateTable
from affs_fuse.volume.superblock import check_features, geometry_of, read_superblock
from affs_fuse.volume.working import SystemTrees, WorkingState

__all__ = [
    "CACHE_BYTES_DEFAULT",
    "OpenOptions",
    "Parts",
    "make_space",
    "open_parts",
    "reread",
    "this_host",
]

CACHE_BYTES_DEFAULT = 64 << 20


def this_host() -> Host:
    """Machine, boot and process ids from the kernel; zeros where they cannot be read."""
    return Host(
        _hex_file("/etc/machine-id"),
        _hex_file("/proc/sys/kernel/random/boot_id"),
        os.getpid(),
        socket.gethostname(),
    )


def _hex_file(path: str) -> bytes:
    with suppress(OSError, ValueError):
        return bytes.fromhex(Path(path).read_text().strip().replace("-", ""))[:16].ljust(16, b"\0")
    return bytes(16)


def _no_sleep(seconds: float) -> None:
    raise AffsError(
        "volume.busy",
        Category.BUSY,
        "another machine did not close this volume; nobody said how to wait for its heartbeat",
        retryable=True,
    )


@dataclass(frozen=True, slots=True)
class OpenOptions:
    """cache_bytes: of namespace nodes. recover_previous: may write after falling back past a
    damaged commit. takeover: believe that another machine's owner is dead. device: use this
    instead of the path. sleep: how to wait for another machine's heartbeat. amend: sets right what
    is recorded of segments, for a repair."""

    read_only: bool = False
    cache_bytes: int = CACHE_BYTES_DEFAULT
    recover_previous: bool = False
    takeover: bool = False
    clock: Clock = SYSTEM_CLOCK
    entropy: Entropy = system_entropy
    host: Host | None = None
    device: Device | None = None
    sleep: Callable[[float], None] = _no_sleep
    amend: Callable[[list[Segment]], None] = lambda segments: None


@dataclass(slots=True, eq=False)
class Parts:
    """What a Volume is made of."""

    device: Device
    superblock: Superblock
    geometry: Geometry
    clock: Clock
    entropy: Entropy
    barrier: Barrier
    owner: Ownership
    session: bytes
    report: RecoveryReport
    cache: NodeCache
    trees: SystemTrees
    states: StateTable
    space: Space
    working: WorkingState
    last: LastCommit
    next_object: int
    next_state: int
    notes: list[str] = field(default_factory=list)


def open_parts(path: str, options: OpenOptions) -> Parts:
    """Everything up to a volume that may be used.

    Errors: device.* (cannot be opened, busy, I/O), volume.not_affs, volume.version, volume.feature,
    volume.truncated, volume.superblock_damaged, volume.no_commit, volume.roots_damaged,
    volume.ring_conflict, volume.busy (names the owner).
    """
    device = options.device or _open_device(path, options)
    try:
        return _open_parts(device, options)
    except BaseException:
        device.close()
        raise


def reread(device: Device, options: OpenOptions) -> Parts:
    """The newest commit of a device that somebody else may be writing to; nothing is written.

    Errors: as open_parts; volume.moving (BUSY, retryable): the newest commit was replaced, and its
    blocks used again, while it was being read. Any other CORRUPT may be the same thing.
    """
    assert options.read_only, "the device belongs to somebody else"
    parts = _open_parts(device, options)
    if parts.report.abandoned:
        raise AffsError(
            "volume.moving",
            Category.BUSY,
            f"{device.identity.path} changed while it was being read",
            hint="try again",
            retryable=True,
        )
    return parts


def _open_device(path: str, options: OpenOptions) -> Device:
    try:
        return open_device(path, read_only=options.read_only)
    except AffsError as error:
        if error.code == "device.busy":
            raise _busy(path, error) from error
        raise


def _busy(path: str, error: AffsError) -> AffsError:
    """Say who has it, if the volume itself can tell."""
    with suppress(AffsError), open_device(path, read_only=True) as device:
        entry = owner.read_owner(device, read_superblock(device).format_uuid)
        if entry is not None and entry.state == owner.STATE_OPEN:
            return AffsError(
                "volume.busy",
                Category.BUSY,
                f"{path} is in use by process {entry.pid}",
                hint="unmount it first, or use affsctl to work on it while it is mounted",
                retryable=True,
                details={"pid": entry.pid},
            )
    return error


def _open_parts(device: Device, options: OpenOptions) -> Parts:
    superblock = read_superblock(device)
    check_features(superblock, writable=not options.read_only)
    geometry = geometry_of(superblock)
    barrier = Barrier(device)
    host = options.host or this_host()
    uuid = superblock.format_uuid
    if not options.read_only:
        owner.claim(device, uuid, host, takeover=options.takeover, sleep=options.sleep)
    opened = open_commit(
        device,
        superblock,
        geometry,
        cache_bytes=options.cache_bytes,
        make_space=lambda: make_space(device, geometry, superblock.place_count),
        recover_previous=options.recover_previous,
        amend=options.amend,
    )
    session = options.entropy(16)
    ownership = Ownership(device, uuid, session, host)
    if options.read_only and not opened.report.read_only_reason:
        opened.report.read_only_reason = "it was opened for reading only"
    last = _last_commit(opened.record, opened.image)
    if not opened.report.read_only_reason:
        barrier.flush()  # after a kill the newest record may be in the page cache only
        last = _bury_abandoned(device, barrier, opened, last)
        _complete_record(device, barrier, last, opened.report)
        former = owner.read_owner(device, uuid)
        ownership.begin(options.clock.now_ns(), former.heartbeat if former else 0)
        barrier.flush()
    return Parts(
        device=device,
        superblock=superblock,
        geometry=geometry,
        clock=options.clock,
        entropy=options.entropy,
        barrier=barrier,
        owner=ownership,
        session=session,
        report=opened.report,
        cache=opened.cache,
        trees=opened.trees,
        states=opened.states,
        space=opened.space,
        working=opened.working,
        last=last,
        next_object=opened.record.next_object,
        next_state=opened.record.next_state,
    )


def make_space(device: Device, geometry: Geometry, place_count: int) -> Space:
    """An empty allocator whose segments are set aside on the host before they are used."""

    def prepare(place: int) -> None:
        offset = geometry.place_offset(place)
        result = device.allocate(offset, geometry.segment_size)
        if not result.ok:
            raise device_error("allocating room in", device.identity, offset, result)

    return Space(geometry, place_count, prepare)


def _bury_abandoned(
    device: Device, barrier: Barrier, opened: Opened, last: LastCommit
) -> LastCommit:
    """After a fallback that may write: a dead commit must not come back, so every abandoned record
    is overwritten by one of ours (seq = highest seen + 1, same roots), before anything else is
    written."""
    report = opened.report
    if not report.abandoned:
        return last
    record: Commit = opened.record._replace(
        seq=report.newest_seq + 1,
        parent_seq=opened.record.seq,
        parent_checksum=frame_checksum(opened.image),
    )
    image = record.pack()
    ring.write_record(device, record.seq, image)
    barrier.flush()
    for seq in report.abandoned:
        ring.erase_record(device, seq)
    barrier.flush()
    report.notes.append(f"abandoned commits {report.abandoned} were overwritten")
    return _last_commit(record, image)


def _complete_record(
    device: Device, barrier: Barrier, last: LastCommit, report: RecoveryReport
) -> None:
    """A crash may leave the chosen record in one ring only. Put it into the other too: so that it
    survives the loss of either, and because the next commit looks whether it is still there."""
    for region in range(len(layout.REGIONS)):
        offset = layout.ring_offset(region, last.seq)
        block, result = device.read(offset, BLOCK_SIZE)
        if not result.ok or block == last.slot_image:
            continue
        result = device.write(offset, [last.slot_image])
        if not result.ok:
            raise device_error("restoring a commit record of", device.identity, offset, result)
        barrier.flush()
        report.notes.append(f"commit {last.seq} was missing in ring {region + 1} and put there")


def _last_commit(record: Commit, image: bytes) -> LastCommit:
    return LastCommit(
        record.seq, frame_checksum(image), record.time_ns, image, record.namespace_root
    )
