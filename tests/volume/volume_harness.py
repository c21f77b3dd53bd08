"""A volume on a memory device driven below POSIX: files are bare extent items, and a plain model
beside it.

Used by the property tests of the engine: after every step the allocator must say exactly what can
be reached from the working state and every kept state, and every block that is reached must verify.
"""

import random
from dataclasses import dataclass, field

from affs_fuse.clock import Clock
from affs_fuse.core.codec import Extent, Inode, pack_extent
from affs_fuse.core.constants import (
    BLOCK_SIZE,
    INTENT_SMALL,
    INTENT_SYSTEM,
    ITEM_EXTENT,
    ITEM_INODE,
    NODE_BLOCKS,
    OBJECT_FIRST,
    TREE_NAMESPACE,
)
from affs_fuse.core.tree import NodeMissing, Tree, Walk
from affs_fuse.device.memory import MemoryDevice
from affs_fuse.volume import layout, verbs
from affs_fuse.volume.missing import BlockRead
from affs_fuse.volume.mkfs import MkfsOptions, format_device, object_id
from affs_fuse.volume.opening import OpenOptions
from affs_fuse.volume.reclaim import next_job
from affs_fuse.volume.recovery import load_system_node
from affs_fuse.volume.reserve import RoomKind
from affs_fuse.volume.ring import read_ring
from affs_fuse.volume.volume import Volume

FILES = 40
Content = dict[tuple[int, int], bytes]
"""(file, block number) -> the byte that fills the block, or the file's inode mark at block -1."""


def seeded_clock() -> Clock:
    now = [10**18]

    def now_ns() -> int:
        now[0] += 1_000_000
        return now[0]

    return Clock(now_ns, lambda: now[0] / 1e9)


@dataclass
class Harness:
    """seed: of identities and ids. content: what the working state should show."""

    seed: int = 0
    size_bytes: int = 64 << 20
    cache_bytes: int = 1 << 20
    content: Content = field(default_factory=dict)
    kept: dict[int, Content] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.random = random.Random(self.seed)
        self.clock = seeded_clock()
        self.device = MemoryDevice(self.size_bytes)
        format_device(self.device, MkfsOptions(), clock=self.clock, entropy=self.random.randbytes)
        self.committed: Content = {}
        self.history: dict[int, Content] = {1: {}}
        self.depth = 0  # how many commits falling back is promised to find whole
        self.open()

    def open(self) -> None:
        self.volume = Volume.open(
            "",
            OpenOptions(
                device=self.device,
                clock=self.clock,
                entropy=self.random.randbytes,
                cache_bytes=self.cache_bytes,
            ),
        )

    # ---- operations ----

    def write(self, file: int, block: int, count: int, fill: int) -> None:
        before = self.volume.commit_count
        self.volume.run(self._write, file, block, count, fill)
        if self.volume.commit_count > before:  # it took empty commits to find room
            self._note_reclaim(before)
        for index in range(block, block + count):
            self.content[file, index] = bytes([fill])
        if fill % 2:  # data that reaches the device before the commit that refers to it
            batch = self.volume.take_batch()
            assert batch is not None
            batch.execute()
            self.volume.end_batch(batch)

    def _write(self, file: int, block: int, count: int, fill: int) -> None:
        volume, number = self.volume, OBJECT_FIRST + file
        tree = volume.working.tree
        old = [
            (index, payload)
            for index in range(block, block + count)
            if (payload := tree.get(number, ITEM_EXTENT, index * BLOCK_SIZE)) is not None
        ]
        for index in range(block, block + count):
            tree.touch(number, ITEM_EXTENT, index * BLOCK_SIZE)
        volume.reserve_metadata(RoomKind.NORMAL)
        volume.reserve_data(count)
        for _, payload in old:
            extent = Extent.unpack(payload)
            volume.drop_blocks(extent.address, extent.blocks, extent.birth)
        at = block
        for placed in volume.store(bytes([fill]) * (BLOCK_SIZE * count), INTENT_SMALL):
            for step in range(placed.blocks):
                item = Extent(
                    placed.address + step, placed.birth, 1, BLOCK_SIZE, BLOCK_SIZE, 0, BLOCK_SIZE
                )
                sums = placed.checksums[4 * step : 4 * step + 4]
                tree.put(number, ITEM_EXTENT, at * BLOCK_SIZE, pack_extent(item, sums))
                at += 1

    def remove(self, file: int, block: int) -> None:
        self.volume.run(self._remove, file, block)
        self.content.pop((file, block), None)

    def _remove(self, file: int, block: int) -> None:
        tree, key = self.volume.working.tree, (OBJECT_FIRST + file, ITEM_EXTENT, block * BLOCK_SIZE)
        payload = tree.get(*key)
        tree.touch(*key)
        self.volume.reserve_metadata(RoomKind.REMOVE)
        if payload is not None:
            extent = Extent.unpack(payload)
            self.volume.drop_blocks(extent.address, extent.blocks, extent.birth)
            tree.delete(*key)

    def make_inodes(self, first: int, count: int) -> None:
        for file in range(first, first + count):
            self.volume.run(self._make_inode, 1000 + file)
            self.content[1000 + file, -1] = b"i"

    def _make_inode(self, file: int) -> None:
        number = OBJECT_FIRST + file
        self.volume.working.tree.touch(number, ITEM_INODE, 0)
        self.volume.reserve_metadata(RoomKind.NORMAL)
        inode = Inode(
            0, 0, 1, 2, 3, 4, 0o100644, 0, 0, 1, 0, 0, 1,
            object_id(number, bytes), 0, 0,
        )  # fmt: skip
        self.volume.working.tree.put(number, ITEM_INODE, 0, inode.pack())

    def commit(self) -> None:
        self.volume.commit()
        self._note_commit()

    def _note_commit(self) -> None:
        self.committed = dict(self.content)
        self.history[self.volume.durable_seq] = dict(self.content)
        self.depth = min(2, self.depth + 1)

    def keep(self) -> None:
        cut = self.volume.commit(None, verbs.checkpoint_request(self.volume, verbs.Note()))
        assert cut.kept is not None
        self.kept[cut.kept.number] = dict(self.content)
        self._note_commit()

    def rollback(self, choice: int, discard: bool) -> None:
        states = self.volume.states.listed()
        if not states:
            return
        target = states[choice % len(states)]
        cut = verbs.rollback(self.volume, target, discard=discard)
        if cut.sealed is not None:
            self.kept[cut.sealed.number] = dict(self.content)
        self.content = dict(self.kept[target.number])
        self._note_commit()

    def delete(self, choice: int) -> None:
        states = self.volume.states.listed()
        if not states:
            return
        state = states[choice % len(states)]
        published = self.volume.states.published
        if published is not None and published.number == state.number:
            return
        verbs.delete(self.volume, state)
        self.commit()

    def reclaim(self) -> None:
        before = self.volume.commit_count
        verbs.reclaim_all(self.volume)
        if self.volume.commit_count > before:
            self._note_reclaim(before)

    def _note_reclaim(self, before: int) -> None:
        """None of the commits of a reclaim changes what the working state shows."""
        durable = self.volume.durable_seq
        for seq in range(durable - (self.volume.commit_count - before) + 1, durable + 1):
            self.history[seq] = dict(self.content)
        self.committed = dict(self.content)
        self.depth = min(2, self.depth + self.volume.commit_count - before)

    def reclaim_slowly(self, file: int, block: int, fill: int) -> None:
        """A reclaim job with writes and a commit going on between its steps."""
        job = next_job(self.volume)
        if job is None:
            return
        request = job.prepare()
        hidden = None
        if request is not None:
            hidden = self.volume.commit(None, request).kept
            self._note_commit()
        job.begin(hidden)
        for index in range(3):
            self.write(file, block + index * 4, 2, fill)
            self.remove(file, block + index * 3 + 1)
        self.commit()
        while not self.volume.run(job.step):
            pass
        self.write(file, block, 3, fill)
        self.volume.run(job.apply)
        self.commit()

    def fall_back(self, steps: int) -> None:
        """The newest records do not verify: the commit before them is what opening finds, whole."""
        ring = read_ring(self.device, self.volume.superblock.format_uuid)
        records = ring.records
        chain = [records[0]]
        while (parent := chain[-1].parent_seq) and len(chain) < 3:
            older = [record for record in records if record.seq == parent]
            if not older or older[0].seq not in self.history:
                break
            chain.append(older[0])
        steps = min(steps, len(chain) - 1, self.depth)
        self.depth -= steps
        for record in chain[:steps]:
            for region in range(2):
                self.device.content[layout.ring_offset(region, record.seq) + 100] ^= 0xFF
        self.committed = dict(self.history[chain[steps].seq])
        self.reopen(False)

    def reopen(self, clean: bool) -> None:
        """A crash loses what was not committed; closing alone does so too (it commits nothing)."""
        if clean:
            self.volume.close()
        self.open()
        self.content = dict(self.committed)

    # ---- checks ----

    def check(self) -> None:
        for segment in self.volume.space.segments.values():
            segment.cursor = 1  # make every freed block the next to be used
        live = self.reachable(self.volume.working.tree, self.content)
        for state in self.volume.states.all():
            content = self.kept.get(state.number) if state.listed else None
            live |= self.reachable(self.volume.open_state(state), content)
        self._check_space(live)
        self._check_system()

    def reachable(self, tree: Tree, content: Content | None) -> set[int]:
        """Addresses of all blocks below a tree; compares its files with `content` if that is
        given.
        """
        live: set[int] = set()
        if tree.root is not None and tree.root.birth:
            walk = Walk(self.volume.cache, tree.root, 0)
            while True:
                try:
                    pointer = next(walk)
                except StopIteration:
                    break
                except NodeMissing as missing:
                    load = self.volume.begin_load(missing)
                    load.execute()
                    self.volume.end_load(load)
                    continue
                live |= {pointer.address + index for index in range(NODE_BLOCKS)}
        found: Content = {}
        items = self.volume.run(lambda: list(tree.iterate((0, 0, 0), ((1 << 48), 0, 0))))
        for number, kind, offset, payload in items:
            if kind == ITEM_INODE and number >= OBJECT_FIRST:
                found[number - OBJECT_FIRST, -1] = b"i"
            if kind != ITEM_EXTENT:
                continue
            extent = Extent.unpack(payload)
            live |= {extent.address + index for index in range(extent.blocks)}
            read = BlockRead(extent.address, extent.blocks, payload[Extent.SIZE :])
            (data,) = self.volume.read([read])
            found[number - OBJECT_FIRST, offset // BLOCK_SIZE] = data[:1]
        if content is not None:
            assert found == content
        return live

    def _check_space(self, live: set[int]) -> None:
        """live has no nodes that are dirty; what they replaced is freed at the next cut only."""
        dirty = self.volume.working.tree.root is None
        used: set[int] = set()
        for segment in self.volume.space.segments.values():
            if segment.intent == INTENT_SYSTEM:
                continue
            bits = int.from_bytes(segment.bits, "little") >> 1
            block = 1
            count = 0
            while bits:
                if bits & 1:
                    used.add(layout.logical(segment.number, block))
                    count += 1
                bits >>= 1
                block += 1
            assert count == segment.used
            held = segment.held
            if held is not None:
                assert not any(a & b for a, b in zip(segment.bits, held, strict=True))
        assert live <= used, f"in use but free: {sorted(live - used)[:8]}"
        if not dirty:
            assert used == live, f"leaked: {[hex(a) for a in sorted(used - live)[:8]]}"

    def _check_system(self) -> None:
        volume = self.volume
        live = set()
        for tree in volume.trees.all:
            root = tree.root
            if root is None:
                return
            walk = Walk(volume.trees.cache, root, 1)
            while True:
                try:
                    live.add(layout.physical_block(next(walk).address))
                except StopIteration:
                    break
                except NodeMissing as missing:
                    load_system_node(volume.device, volume.trees.cache, missing.pointer)
        used = 0
        for segment in volume.space.segments.values():
            if segment.intent == INTENT_SYSTEM:
                used += segment.used
        assert used == len(live) * NODE_BLOCKS


__all__ = ["FILES", "TREE_NAMESPACE", "Harness", "seeded_clock"]
