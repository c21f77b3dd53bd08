"""Reading a volume in use back from its medium: what is read, what is not called damage, where it
goes on. The runtime's part (slices, workers, names) is tested on real mounts."""

import random
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from volume_harness import Harness

from affs_fuse.auv import encode_canonical
from affs_fuse.core.codec import Commit, Extent, Inode, Pointer
from affs_fuse.core.constants import (
    BLOCK_SIZE,
    ITEM_EXTENT,
    ITEM_INDEX,
    ITEM_INDEX_KEYS,
    ITEM_INODE,
    ITEM_MAX,
    OBJECT_FIRST,
    TREE_NAMESPACE,
)
from affs_fuse.core.tree import Tree
from affs_fuse.errors import AffsError
from affs_fuse.volume import layout
from affs_fuse.volume.index_check import IndexHead, pack_keys, page_of
from affs_fuse.volume.index_pages import Shape
from affs_fuse.volume.reserve import RoomKind
from affs_fuse.volume.scrub import Batch, Damage, DataRead, NodeRead, TreeScan
from affs_fuse.volume.scrub_headers import check_headers
from affs_fuse.volume.scrub_pass import Scope, ScopeKind, ScrubPass
from affs_fuse.volume.verified import DAMAGE_MAX, RESULTS_MAX, VerifiedStore

Blocks = set[tuple[int, int]]
"""(logical address, birth) of data blocks."""


class Scrubber:
    """Drives a pass without an event loop. between: called after each batch, inside of the slice.
    restart: whether every slice begins from the stored cursor, as after a restart."""

    def __init__(
        self, harness: Harness, scope: Scope, *,
        between: Callable[[], object] = lambda: None, restart: bool = False,
    ) -> None:
        self.harness = harness
        self.scrub = ScrubPass.begin(harness.volume, 1, scope, "tester")
        self.between = between
        self.restart = restart
        self.read: Blocks = set()
        self.nodes: set[int] = set()
        self.damage: list[Damage] = []

    def slice(self, batches: int = 3) -> None:
        volume = self.harness.volume
        if self.restart:
            self.scrub = ScrubPass.restore(volume, self.scrub.to_auv())
        reader = volume.begin_reading(durable=True)
        try:
            while batches > 0 and (scan := self.scrub.next_scan()) is not None:
                check, known = self.scrub.checking, len(self.damage)
                while not scan.done and (batches > 0 or self.scrub.indivisible):
                    self.batch(scan)
                    batches -= 1
                    self.between()
                if check is not None:
                    check.broken |= len(self.damage) > known
                    del self.damage[known:]
                if scan.done:
                    self.damage += filter(None, self.scrub.finish(scan))
                else:
                    self.scrub.leave(scan)
        finally:
            volume.end_reading(reader)

    def batch(self, scan: TreeScan) -> None:
        volume = self.harness.volume
        reads = scan.next_reads()
        batch = Batch(volume.device, volume.superblock.format_uuid, volume.superblock.salt, reads)
        batch.execute()
        if self.scrub.known is not None:
            self.scrub.known.note(reads)
        for read, outcome in zip(reads, batch.outcomes, strict=True):
            self.damage += scan.take(read, outcome)
            if isinstance(read, NodeRead):
                if read.branch.pointer.tree == TREE_NAMESPACE:
                    self.nodes.add(read.branch.pointer.address)
                continue
            assert isinstance(read, DataRead)
            first = read.extent.address + read.first
            self.read |= {(first + index, read.extent.birth) for index in range(read.blocks)}

    def run(self) -> "Scrubber":
        for _ in range(10_000):
            if self.scrub.done:
                return self
            self.slice()
        raise AssertionError("it does not come to its end")


def durable_blocks(harness: Harness, *, working: bool = True, after: int = 0) -> Blocks:
    """All data blocks that the newest durable commit reaches."""
    volume = harness.volume
    record = Commit.unpack(volume.durable_image)
    roots: list[Pointer] = [record.namespace_root] if working else []
    roots += [state.root for state in volume.states.all() if state.seq <= record.seq]
    found: Blocks = set()
    for root in roots:
        tree = Tree(volume.cache, TREE_NAMESPACE, root, writable=False)
        for item in volume.run(lambda tree=tree: list(tree.iterate((0, 0, 0), (1 << 48, 0, 0)))):
            if item[1] == ITEM_EXTENT:
                extent = Extent.unpack(item[3])
                if extent.birth > after:
                    found |= {(extent.address + n, extent.birth) for n in range(extent.blocks)}
    return found


def grown(seed: int = 1) -> Harness:
    """A volume of several leaves and states, no two states alike."""
    harness = Harness(seed)
    chance = random.Random(seed)
    for turn in range(4):
        harness.make_inodes(turn * 300, 200)
        for _ in range(15):
            harness.write(chance.randrange(5), chance.randrange(30), 2, chance.randrange(1, 256))
        harness.keep()
    harness.write(1, 40, 3, 9)
    harness.commit()
    return harness


VOLUME = Scope(ScopeKind.VOLUME)

change = st.one_of(
    st.tuples(
        st.just("write"), st.integers(0, 4), st.integers(0, 29), st.sampled_from([1, 2, 5]),
        st.integers(1, 255),
    ),
    st.tuples(st.just("remove"), st.integers(0, 4), st.integers(0, 29)),
    st.tuples(st.just("make_inodes"), st.integers(0, 300), st.sampled_from([3, 150])),
    st.tuples(st.just("commit")),
    st.tuples(st.just("keep")),
    st.tuples(st.just("rollback"), st.integers(0, 20), st.booleans()),
    st.tuples(st.just("delete"), st.integers(0, 20)),
    st.tuples(st.just("reclaim")),
)


@settings(
    max_examples=40, deadline=None, derandomize=True,
    suppress_health_check=[HealthCheck.too_slow],
)
@given(
    st.lists(change, min_size=8, max_size=30), st.lists(change, min_size=10, max_size=60),
    st.booleans(),
)
def test_what_was_there_and_stays_is_read(
    before: list[Any], meanwhile: list[Any], restart: bool
) -> None:
    """Whatever happens while it reads, inside of a slice and between slices."""
    harness = Harness()

    def act(step: Any) -> None:
        getattr(harness, step[0])(*step[1:])
        for segment in harness.volume.space.segments.values():
            segment.cursor = 1  # every freed block is the next to be used

    for step in before:
        act(step)
    harness.commit()
    steps = iter(meanwhile)

    def next_step() -> None:
        step = next(steps, None)
        if step is not None:
            act(step)

    scrubber = Scrubber(harness, VOLUME, between=next_step, restart=restart)
    there = durable_blocks(harness)
    for _ in range(len(meanwhile)):
        if scrubber.scrub.done:
            break
        scrubber.slice(2)
        next_step()
    scrubber.run()
    assert not scrubber.damage
    assert there & durable_blocks(harness) <= scrubber.read


@pytest.mark.parametrize("in_flight", [False, True])
def test_blocks_that_are_freed_while_a_slice_reads_are_not_called_damaged(
    in_flight: bool,
) -> None:
    """Commits enough to use them again go by between two batches of one slice. in_flight: the
    slice begins while a commit is being written that has freed everything."""
    harness = Harness()
    volume = harness.volume
    chance = random.Random(5)
    for file in range(3):
        for block in range(0, 80, 2):  # extents of one block, so that batches are many
            harness.write(file, block, 1, 7)
    harness.commit()
    cut = None
    if in_flight:
        for file in range(3):
            for block in range(0, 80, 2):
                harness.write(file, block, 1, 8)
        cut = volume.cut()
    fills = iter(range(10_000))

    def overwrite_everything() -> None:
        if volume.committing:
            assert cut is not None
            cut.write()
            volume.complete(cut)
        for _ in range(8):
            for segment in volume.space.segments.values():
                segment.cursor = 1
            file, fill = chance.randrange(3), 2 * (next(fills) % 100) + 1
            for block in range(0, 80, 2):
                harness.write(file, block, 1, fill)
            harness.commit()

    scrubber = Scrubber(harness, Scope(ScopeKind.STATE), between=overwrite_everything)
    scrubber.slice(10_000)
    assert scrubber.scrub.done
    assert not scrubber.damage
    assert next(fills) > 4


def test_each_block_of_an_idle_volume_is_read_once() -> None:
    harness = grown()
    counted: list[tuple[int, int]] = []
    scrubber = Scrubber(harness, VOLUME)
    volume = harness.volume
    reader = volume.begin_reading(durable=True)
    while (scan := scrubber.scrub.next_scan()) is not None:
        while not scan.done:
            scrubber.read.clear()
            scrubber.batch(scan)
            counted += scrubber.read
        scrubber.scrub.finish(scan)
    volume.end_reading(reader)
    assert len(counted) == len({*counted})
    assert {*counted} == durable_blocks(harness)
    live = harness.reachable(volume.working.tree, None)
    for state in volume.states.all():
        live |= harness.reachable(volume.open_state(state), None)
    nodes = {address for address in live if address in scrubber.nodes}
    assert len(scrubber.nodes) == len(nodes)
    assert len(live) == len({address for address, _ in counted}) + 4 * len(nodes)


def test_since_a_state_reads_what_is_younger_and_nothing_else() -> None:
    harness = grown()
    old = harness.volume.states.listed()[1]
    scope = Scope(ScopeKind.SINCE, old.number, old.seq)
    scrubber = Scrubber(harness, scope).run()
    assert scrubber.read == durable_blocks(harness, after=old.seq)
    assert scrubber.read < durable_blocks(harness)


def test_one_state_is_read_whole() -> None:
    harness = grown()
    state = harness.volume.states.listed()[2]
    scrubber = Scrubber(harness, Scope(ScopeKind.STATE, state.number)).run()
    tree = harness.volume.open_state(state)
    assert {address for address, _ in scrubber.read} <= harness.reachable(tree, None)
    assert len(scrubber.read) == sum(
        Extent.unpack(item[3]).blocks
        for item in harness.volume.run(lambda: list(tree.iterate((0, 0, 0), (1 << 48, 0, 0))))
        if item[1] == ITEM_EXTENT
    )


def test_a_state_that_goes_while_it_is_verified_ends_the_verification() -> None:
    harness = grown()
    scrubber = Scrubber(harness, Scope(ScopeKind.STATE, harness.volume.states.listed()[2].number))
    scrubber.slice(1)
    harness.delete(2)
    harness.reclaim()
    with pytest.raises(AffsError, match="deleted") as caught:
        scrubber.run()
    assert caught.value.code == "state.gone"


def flip(harness: Harness, address: int, at: int = 100) -> None:
    segment = harness.volume.space.segments[address >> 32]
    offset = harness.volume.geometry.place_offset(segment.place)
    harness.device.content[offset + (address & 0xFFFFFFFF) * BLOCK_SIZE + at] ^= 1


def test_damaged_data_is_found_with_its_place() -> None:
    harness = grown()
    victims = sorted(durable_blocks(harness))[::7]
    for address, _ in victims:
        flip(harness, address)
    scrubber = Scrubber(harness, VOLUME).run()
    assert {damage.address for damage in scrubber.damage} == {address for address, _ in victims}
    for damage in scrubber.damage:
        assert damage.code == "verify.data"
        number, block = damage.low[0] - OBJECT_FIRST, damage.data_offset // BLOCK_SIZE
        assert damage.block == f"{damage.address >> 32}:{damage.address & 0xFFFFFFFF}"
        assert 0 <= number < 5
        assert 0 <= block < 64


def test_a_damaged_node_hides_only_what_is_below_it() -> None:
    harness = grown()
    whole = Scrubber(harness, VOLUME).run()
    root = Commit.unpack(harness.volume.durable_image).namespace_root
    leaf = max(whole.nodes - {root.address})
    flip(harness, leaf)
    scrubber = Scrubber(harness, VOLUME).run()
    (damage,) = scrubber.damage
    assert damage.code == "verify.node"
    assert damage.block == f"{leaf >> 32}:{leaf & 0xFFFFFFFF}"
    assert damage.low < damage.high
    assert scrubber.nodes == whole.nodes


def test_damage_in_a_system_tree_is_found_though_memory_has_the_node() -> None:
    harness = grown()
    record = Commit.unpack(harness.volume.durable_image)
    for root in (record.checkpoint_root, record.space_root):
        harness.device.content[(root.address & ((1 << 48) - 1)) * BLOCK_SIZE + 200] ^= 1
    scrubber = Scrubber(harness, VOLUME).run()
    assert [damage.code for damage in scrubber.damage] == ["verify.node"] * 2
    assert all(damage.block.startswith("@") for damage in scrubber.damage)


def test_known_damage_is_read_again_where_it_lies() -> None:
    """And forgotten only if its block was read, or is in use no longer."""
    harness = grown()
    state = harness.volume.states.listed()[0]
    address = min(address for address, birth in durable_blocks(harness, working=False)
                  if birth <= state.seq)  # fmt: skip
    tree = harness.volume.open_state(state)
    items = harness.volume.run(lambda: list(tree.iterate((0, 0, 0), (1 << 48, 0, 0))))
    extents = [(item[0], Extent.unpack(item[3])) for item in items if item[1] == ITEM_EXTENT]
    (number,) = [n for n, one in extents if one.address <= address < one.address + one.blocks]
    free = harness.volume.space.segments[address >> 32].bits.index(0) * 8
    read: dict[str, Any] = {
        "code": "verify.data", "block": f"{address >> 32}:{address & 0xFFFFFFFF}",
        "state": state.name, "objects": [number, number],
    }
    other = min(one.address for n, one in extents if n != number)
    missed = {**read, "block": f"{other >> 32}:{other & 0xFFFFFFFF}", "state": "rolled back"}
    freed = {**read, "block": f"{address >> 32}:{free}", "state": "deleted"}
    header = {"code": "verify.owner", "block": "byte 4096", "state": ""}
    store = VerifiedStore(harness.volume.trees.system)
    for entry in (read, missed, freed, header):
        assert store.put_damage(entry)
    flip(harness, address)
    scrubber = Scrubber(harness, Scope(ScopeKind.KNOWN)).run()
    assert [damage.block for damage in scrubber.damage] == [read["block"]]
    assert {one for one, _ in scrubber.read} == {
        one.address + index for n, one in extents if n == number for index in range(one.blocks)
    }
    known = scrubber.scrub.known
    assert known is not None
    assert [known.settled(entry) for entry in (read, missed, freed, header, {})] == [
        True, False, True, True, True
    ]  # fmt: skip
    again = ScrubPass.restore(harness.volume, scrubber.scrub.to_auv())
    assert again.known is not None
    assert list(again.known.ranges) == [(state.number, number, number)]


EXPRESSION = "an expression, found on the device by its text"


def put_index(harness: Harness, file: int, entries: int, nlink: int = 2) -> int:
    """An index with one entry in an object of the harness, which so becomes a directory."""
    volume, directory = harness.volume, OBJECT_FIRST + 1000 + file
    harness.make_inodes(file, 1)
    tree = volume.working.tree
    payload = volume.run(tree.get, directory, ITEM_INODE, 0)
    assert payload is not None
    changed = Inode.unpack(payload)._replace(nlink=nlink).pack()
    entry = b"x" + directory.to_bytes(6, "big")
    page = b"\0\0\1\0" + len(entry).to_bytes(2, "little") + entry
    head = IndexHead(EXPRESSION, Shape(1, 2, entries), None).pack()
    for kind, offset, payload in (
        (ITEM_INODE, 0, changed), (ITEM_INDEX, page_of(1, 0), head),
        (ITEM_INDEX, page_of(1, 1), page),
        (ITEM_INDEX_KEYS, directory, pack_keys({1: b"x"})),
    ):  # fmt: skip
        volume.run(tree.touch, directory, kind, offset)
        volume.reserve_metadata(RoomKind.NORMAL)
        volume.run(tree.put, directory, kind, offset, payload)
    volume.note_change()
    return directory


@pytest.mark.parametrize("restart", [False, True])
def test_indexes_are_judged_in_each_state_that_has_them_anew(restart: bool) -> None:
    """More of them than a cursor has room for; in the state where they came, and once."""
    harness = grown()
    wrong = {put_index(harness, 500 + file, 2) for file in range(0, 200, 2)}
    for file in range(1, 200, 2):
        put_index(harness, 500 + file, 1)
    put_index(harness, 900, 7, nlink=0)  # a removed directory goes piece by piece
    harness.keep()
    state = harness.volume.states.all()[-1]
    late = put_index(harness, 1000, 2)
    harness.commit()
    scrubber = Scrubber(harness, VOLUME, restart=restart)
    found = []
    while not scrubber.scrub.done:
        scrubber.slice(8)
        assert len(encode_canonical(scrubber.scrub.to_auv())) <= ITEM_MAX
        found += [(damage.code, damage.low[0]) for damage in scrubber.damage]
        scrubber.damage.clear()
    assert sorted({one for _, one in found}) == sorted({*wrong, late})
    assert {code for code, _ in found} == {"verify.index"}
    if not restart:
        assert max(Counter(found).values()) <= 2, "once in a state; both have leaves of their own"
    scope = Scope(ScopeKind.STATE, state=state.number, name="kept")
    found = [damage.low[0] for damage in Scrubber(harness, scope).run().damage]
    assert sorted(found) == sorted(wrong)


def test_an_index_with_a_damaged_node_is_not_judged() -> None:
    harness = grown()
    put_index(harness, 500, 2)
    harness.commit()
    harness.device.content[harness.device.content.rindex(EXPRESSION.encode())] ^= 1
    codes = {damage.code for damage in Scrubber(harness, VOLUME).run().damage}
    assert codes == {"verify.node"}


def test_damaged_headers_are_found() -> None:
    harness = grown()
    uuid = harness.volume.superblock.format_uuid
    record = Commit.unpack(harness.volume.durable_image)
    assert check_headers(harness.device, uuid, record) == []
    harness.device.content[layout.superblock_offset(1) + 300] ^= 4
    harness.device.content[layout.ring_offset(0, record.seq) + 300] ^= 4
    harness.device.content[layout.ring_offset(1, record.parent_seq) + 300] ^= 4
    codes = [damage.code for damage in check_headers(harness.device, uuid, record)]
    assert sorted(codes) == ["verify.ring_slot", "verify.ring_slot", "verify.superblock"]


def test_the_cursor_is_small_and_goes_on_where_it_was() -> None:
    harness = grown()
    scrubber = Scrubber(harness, VOLUME)
    read: Blocks = set()
    for _ in range(500):
        scrubber.read.clear()
        scrubber.slice(4)  # after a restart the way down is read first
        assert not scrubber.read & read, "nothing is read again"
        read |= scrubber.read
        if scrubber.scrub.done:
            break
        store = VerifiedStore(harness.volume.trees.system)
        store.put_cursor(scrubber.scrub.to_auv())
        harness.commit()
        harness.reopen(clean=False)
        cursor = VerifiedStore(harness.volume.trees.system).cursor()
        assert cursor is not None
        scrubber.scrub = ScrubPass.restore(harness.volume, cursor)
    assert scrubber.scrub.done
    assert read == durable_blocks(harness)


def test_results_and_damage_are_bounded_and_survive() -> None:
    harness = Harness()
    store = VerifiedStore(harness.volume.trees.system)
    for number in range(1, 40):
        assert store.next_number() == number
        store.add_result(number, {"number": number})
    for index in range(DAMAGE_MAX + 5):
        entry = {"block": f"1:{index}", "state": "s", "code": "verify.data", "run": index % 2}
        assert store.put_damage(entry) is (index < DAMAGE_MAX)
    again = {"block": "1:7", "state": "s", "code": "verify.data", "run": 9, "path": "/x"}
    assert store.put_damage(again)
    store.put_dates(5, {0: 100, 700: 200})
    harness.commit()
    harness.reopen(clean=True)
    store = VerifiedStore(harness.volume.trees.system)
    assert [one["number"] for one in store.results()] == list(range(39, 39 - RESULTS_MAX, -1))
    assert len(store.damage()) == DAMAGE_MAX
    assert again in store.damage()
    assert store.dates() == (5, {0: 100, 700: 200})
    store.drop_damage_before(1)
    assert {entry["run"] for entry in store.damage()} == {1, 9}
    store.put_dates(6, {3: 7})
    assert store.dates() == (6, {3: 7})
