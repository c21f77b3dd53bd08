"""What a volume says about itself: frozen snapshots, one line of meaning for each field."""

from dataclasses import dataclass

from affs_fuse.volume.space import Room

__all__ = ["StatFs", "Statistics"]


@dataclass(frozen=True, slots=True)
class StatFs:
    """For statfs(2), in 4 KiB blocks and inodes. available leaves out what is buffered already."""

    blocks_total: int
    blocks_free: int
    blocks_available: int
    objects_total: int
    objects_free: int


@dataclass(frozen=True, slots=True)
class Statistics:
    """generation: seq of the next cut. durable_seq, durable_time_ns: of the newest durable commit.
    dirty_nodes: namespace nodes that the next cut writes; dirty_system_nodes: the same of system
    trees. waiting_bytes: data with a place that no worker has taken. reserved_blocks: promised to
    buffers. used_blocks: data and namespace blocks in use, held_blocks: freed ones that are not
    ripe. room: what can still be allocated. cache_hits, cache_misses: of the namespace's node
    cache."""

    generation: int
    durable_seq: int
    durable_time_ns: int
    commit_count: int
    dirty_nodes: int
    dirty_system_nodes: int
    waiting_bytes: int
    reserved_blocks: int
    used_blocks: int
    held_blocks: int
    room: Room
    segment_count: int
    state_count: int
    cached_nodes: int
    cache_hits: int
    cache_misses: int
