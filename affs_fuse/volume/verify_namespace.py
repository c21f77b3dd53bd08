"""Checking the namespaces of all states: items once, each object's rules, names against links.

The first state is read whole. Each further one is compared with the state before it, node by node
from the top, so the cost is that of the differences, as everywhere in AfFS. What is kept between
states:

- two sums of hashes, one over directory entries, one over parent links. They are equal exactly when
every
  entry has its link and every link its entry (but for a chance of one in 2^60);
- the parent of every directory, for reachability;
- the blocks that this state refers to: no state refers to a block twice.

A state in which a node is damaged cannot be summed up; the next one is read whole again.
"""

import stat
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from itertools import groupby

from affs_fuse.core import bitmap
from affs_fuse.core.checksum import first_bad_block
from affs_fuse.core.codec import Extent, Inode, Pointer, Superblock, unpack_name
from affs_fuse.core.constants import (
    BLOCK_SHIFT,
    ITEM_COLLECTION,
    ITEM_DENTRY,
    ITEM_INODE,
    ITEM_ORPHAN,
    ITEM_PARENT,
    NODE_BLOCKS,
    OBJECT_COLLECTIONS,
    OBJECT_ORPHANS,
    OBJECT_ROOT,
    TREE_NAMESPACE,
)
from affs_fuse.device.device import Device
from affs_fuse.errors import AffsError
from affs_fuse.volume.layout import block_of, segment_of
from affs_fuse.volume.verify_nodes import (
    FIRST_KEY,
    LAST_KEY,
    Branch,
    Item,
    Key,
    NodeReader,
    address_text,
    last_object,
)
from affs_fuse.volume.verify_object import ObjectCheck, extents_of_item
from affs_fuse.volume.verify_report import Progress, Report

__all__ = ["NamespaceCheck", "StateToCheck"]

STANDALONE = {
    "verify.node", "verify.unreadable", "verify.key_range", "verify.data", "verify.address",
    "verify.block_twice", "verify.birth",
}
"""Findings that hold whatever else of their state is damaged."""

EXPLAINED_MAX = 100
DEPTH_MAX = 4096
PROGRESS_EXTENTS = 256
UNREAD = {"verify.node", "verify.unreadable"}
NAMES_MAX = 8
"""Of objects in one damaged node: enough to know where to look."""

_MASK = (1 << 64) - 1
_LISTS = {
    OBJECT_ORPHANS: ("verify.orphan", "orphans"),
    OBJECT_COLLECTIONS: ("verify.collection", "collections"),
}


@dataclass(frozen=True, slots=True)
class StateToCheck:
    """name: for people. objects: how many inodes there should be, None where nobody says."""

    name: str
    root: Pointer
    seq: int
    objects: int | None


@dataclass(slots=True)
class _Model:
    """What is known of the state that was checked last."""

    root: Pointer | None = None
    entry_sum: int = 0
    link_sum: int = 0
    objects: int = 0
    directories: dict[int, int] = field(default_factory=dict)
    orphans: set[int] = field(default_factory=set)
    collections: set[int] = field(default_factory=set)
    blocks: dict[int, bytearray] = field(default_factory=dict)


class LostNames:
    """Collects names of objects of which items lay in damaged nodes. places: (directory, name), by
    the node's address in words."""

    def __init__(self, lost: list[Branch]) -> None:
        self._ranges = [
            (one.low[0], last_object(one.high), address_text(one.pointer)) for one in lost
        ]
        self.places: dict[str, list[tuple[int, bytes]]] = {}

    def look_at(self, directory: int, payload: bytes) -> None:
        """A directory entry."""
        entry, name = unpack_name(payload)
        for low, high, where in self._ranges:
            if low <= entry.object <= high:
                places = self.places.setdefault(where, [])
                if len(places) < NAMES_MAX:
                    places.append((directory, name))


class NamespaceCheck:
    """Checks states one after the other. reached: by segment, the blocks that any state reaches.
    counted: the inodes of each state that was read whole. reach_node is told of each new node."""

    def __init__(
        self,
        device: Device,
        superblock: Superblock,
        segment_blocks: int,
        nodes: NodeReader,
        report: Report,
        *,
        data: bool,
        next_object: int,
    ) -> None:
        self._device = device
        self._key = superblock.hash_key
        self._segment_blocks = segment_blocks
        self._nodes = nodes
        self._report = report
        self._data = data
        self._next_object = next_object
        self._model = _Model()
        self._state = StateToCheck("", Pointer(0, 0, 0, bytes(16), 0, 0, 0), 0, None)
        self._damage_before = 0
        self.reached: dict[int, bytearray] = {}
        self.counted: dict[StateToCheck, int] = {}
        self._extents = 0

    # ---- one state ----

    def check(self, state: StateToCheck) -> None:
        """Everything about one state; what is wrong goes to the report."""
        self._state = state
        self._damage_before = self._nodes.damage_count
        self._nodes.lost.clear()
        self._report.states += 1
        before = len(self._report.findings)
        if self._model.root is None:
            self._check_whole(state.root)
        else:
            self._check_difference(self._model.root, state.root)
        self._judge_totals()
        self._model.root = state.root
        if self._damaged:
            self._model = _Model()
            self._drop_consequences(before)
            self._name_what_is_lost(before)

    def _name_what_is_lost(self, before: int) -> None:
        """Paths for the nodes that are damaged: of objects that lay in them, as far as the names in
        this state's other nodes tell."""
        lost = LostNames(self._nodes.lost)
        for (number, kind, _), payload in self._nodes.range(self._state.root, FIRST_KEY, LAST_KEY):
            if kind == ITEM_DENTRY:
                lost.look_at(number, payload)
        findings = self._report.findings
        for index, found in enumerate(findings[before:], before):
            paths = [self._path_to(*place) for place in lost.places.get(found.block, ())]
            if found.code in UNREAD and paths:
                more = f"; in it lay {', '.join(paths)}" if len(paths) > 1 else ""
                findings[index] = replace(found, path=paths[0], message=found.message + more)

    def _path_to(self, directory: int, name: bytes) -> str:
        above = self._path(directory)
        return ("" if above == "/" else above) + "/" + shown(name)

    def _drop_consequences(self, before: int) -> None:
        """Without a node's items its objects look wrong: keep what stands for itself."""
        findings = self._report.findings
        findings[before:] = [found for found in findings[before:] if found.code in STANDALONE]
        self._report.warning(
            "verify.state_unjudged",
            "because of the damage, links, sizes and reachability could not be judged",
            state=self._state.name,
        )

    def _check_whole(self, root: Pointer) -> None:
        self._model = _Model()
        for number, members in self._lists():
            for item in self._nodes.range(root, (number, 0, 0), (number + 1, 0, 0)):
                members.add(item[0][2])
        items = self._count_items(self._nodes.items(root, self._state.name))
        for number, group in groupby(items, key=lambda item: item[0][0]):
            check = self._object_check(number)
            for item in group:
                self._account(item, 1)
                check.take(item)
            check.finish()
        self._check_reachable(self._model.directories)
        self._check_members(None)

    def _check_difference(self, before: Pointer, root: Pointer) -> None:
        old, new = self._differing_leaves(before, root)
        removed = dict(item for branch in old for item in self._leaf(branch))
        added = dict(item for branch in new for item in self._leaf(branch))
        gone = [item for item in removed.items() if added.get(item[0]) != item[1]]
        come = [item for item in added.items() if removed.get(item[0]) != item[1]]
        self._report.items += len(come)
        for item in gone:
            self._account(item, -1)
        for item in come:
            self._account(item, 1)
        touched = {item[0][0] for item in gone} | {item[0][0] for item in come}
        for item in (*gone, *come):  # a list changes what holds for its members
            if item[0][0] in (OBJECT_ORPHANS, OBJECT_COLLECTIONS):
                touched.add(item[0][2])
        for number in sorted(touched):
            self._check_object(number)
        self._check_reachable(touched & self._model.directories.keys())
        self._check_members(touched)

    def _check_object(self, number: int) -> None:
        items = list(self._nodes.range(self._state.root, (number, 0, 0), (number + 1, 0, 0)))
        if not items:
            return
        check = self._object_check(number)
        for item in items:
            check.take(item)
        check.finish()

    def _object_check(self, number: int) -> ObjectCheck:
        def complain(code: str, message: str) -> None:
            self._complain(code, f"object {number}: {message}", number)

        model = self._model
        return ObjectCheck(
            number, self._key, number in model.orphans, complain, number in model.collections
        )

    def _count_items(self, items: Iterator[Item]) -> Iterator[Item]:
        for item in items:
            self._report.items += 1
            yield item

    # ---- what differs between two states ----

    def _differing_leaves(
        self, before: Pointer, root: Pointer
    ) -> tuple[list[Branch], list[Branch]]:
        """Leaves that only one of the two trees has; below a shared node nothing is looked at, but
        where the two parents give it other ranges of keys.
        """
        levels: dict[int, tuple[dict[tuple[int, int], Branch], ...]] = {}
        for side, pointer in enumerate((before, root)):
            branch = Branch(pointer)
            levels.setdefault(pointer.level, ({}, {}))[side][branch.identity] = branch
        while levels:
            level = max(levels)
            old, new = levels.pop(level)
            for shared in old.keys() & new.keys():
                if old[shared] != new[shared]:
                    if level or old[shared].pointer != new[shared].pointer:
                        continue  # further down; or one of the two pointers lies
                    self._nodes.attempt(new[shared], self._state.name)
                del old[shared], new[shared]
            if level == 0:
                return list(old.values()), list(new.values())
            for side, branches in enumerate((old, new)):
                for branch in branches.values():
                    node = self._nodes.attempt(branch, self._state.name)
                    if node is None:
                        continue
                    below = levels.setdefault(level - 1, ({}, {}))[side]
                    below.update((child.identity, child) for child in node.branches)
        return [], []

    def _leaf(self, branch: Branch) -> tuple[Item, ...]:
        node = self._nodes.attempt(branch, self._state.name)
        return node.items if node is not None else ()

    @property
    def _damaged(self) -> bool:
        """A node of this state could not be read."""
        return self._nodes.damage_count > self._damage_before

    # ---- sums over a state ----

    def _account(self, item: Item, sign: int) -> None:
        """Add an item to what is known of the state, or take it away."""
        (number, kind, offset), payload = item
        model = self._model
        if kind == ITEM_DENTRY:
            entry, name = unpack_name(payload)
            value = hash((number, entry.object, entry.kind, name))
            model.entry_sum = (model.entry_sum + sign * value) & _MASK
        elif kind == ITEM_PARENT:
            link, name = unpack_name(payload)
            value = hash((link.object, number, link.kind, name))
            model.link_sum = (model.link_sum + sign * value) & _MASK
        elif kind == ITEM_INODE:
            self._account_inode(number, Inode.unpack(payload), sign)
        elif kind == ITEM_ORPHAN:
            (model.orphans.add if sign > 0 else model.orphans.discard)(offset)
        elif kind == ITEM_COLLECTION and number == OBJECT_COLLECTIONS:
            (model.collections.add if sign > 0 else model.collections.discard)(offset)
        else:
            extent = extents_of_item(item)
            if extent is not None:
                self._account_extent(item[0], *extent, sign)

    def _account_inode(self, number: int, inode: Inode, sign: int) -> None:
        self._model.objects += sign
        if sign > 0:
            self._report.objects += 1
            if number >= self._next_object:
                self._complain("verify.object_number", f"object {number} was never given out", 0)
            if inode.changed_commit > self._state.seq:
                why = f"object {number}: changed in the future (commit {inode.changed_commit})"
                self._complain("verify.birth", why, number)
        if stat.S_ISDIR(inode.mode) and inode.nlink:
            if sign > 0:
                self._model.directories[number] = inode.parent
            else:
                self._model.directories.pop(number, None)

    def _account_extent(self, key: Key, extent: Extent, sums: bytes, sign: int) -> None:
        segment, first = segment_of(extent.address), block_of(extent.address)
        bits = self._bits(self._model.blocks, segment)
        if first + extent.blocks > self._segment_blocks:
            if sign > 0:
                self._complain("verify.address", f"object {key[0]}: data past its segment", key[0])
            return
        try:
            change = bitmap.set_range if sign > 0 else bitmap.clear_range
            change(bits, first, extent.blocks)
        except ValueError:
            if sign > 0:
                self._complain(
                    "verify.block_twice",
                    f"object {key[0]} at byte {key[2]}: the state refers to a block twice",
                    key[0],
                    address=f"{segment}:{first}",
                )
        if sign < 0:
            return
        if extent.birth > self._state.seq:
            self._complain(
                "verify.birth", f"object {key[0]}: data born in the future ({extent.birth})", key[0]
            )
        self._reach(segment, first, extent.blocks)
        self._report.data_blocks += extent.blocks
        if self._data:
            self._check_data(key, extent, sums)

    def _check_data(self, key: Key, extent: Extent, sums: bytes) -> None:
        """Read the blocks of an extent and compare them with their checksums."""
        where = f"{segment_of(extent.address)}:{block_of(extent.address)}"
        self._report.data_blocks_checked += extent.blocks
        try:
            offset = self._nodes.data_offset(extent.address, extent.blocks)
        except AffsError as error:
            self._complain("verify.address", error.message, key[0], address=where)
            return
        data, result = self._device.read(offset, extent.blocks << BLOCK_SHIFT)
        if not result.ok:
            message = f"data at byte {key[2]} cannot be read (errno {result.errno})"
            self._complain("verify.unreadable", message, key[0], address=where)
            return
        at = 0
        while (bad := first_bad_block(data[at << BLOCK_SHIFT :], sums[4 * at :])) is not None:
            at += bad
            byte = key[2] + (at << BLOCK_SHIFT)
            block = f"{segment_of(extent.address)}:{block_of(extent.address) + at}"
            message = f"the data at byte {byte} does not match its checksum"
            self._complain("verify.data", message, key[0], address=block)
            at += 1
        self._extents += 1
        if self._extents % PROGRESS_EXTENTS == 0:
            checked = self._report.data_blocks_checked
            self._report.progress(Progress("checking data", checked, 0, "blocks"))

    def _judge_totals(self) -> None:
        model, state = self._model, self._state
        if self._damaged:
            return
        self.counted[state] = model.objects
        if model.entry_sum != model.link_sum:
            self._explain_links()
        if state.objects is not None and model.objects != state.objects:
            self._complain(
                "verify.object_count",
                f"{model.objects} inodes are there, the record says {state.objects}",
                0,
            )

    def _explain_links(self) -> None:
        """Entries and links differ: find out which. Slow, and only now."""
        difference: Counter[tuple[int, int, int, bytes]] = Counter()
        for (number, kind, _), payload in self._nodes.items(self._state.root, self._state.name):
            if kind == ITEM_DENTRY:
                entry, name = unpack_name(payload)
                difference[number, entry.object, entry.kind, name] += 1
            elif kind == ITEM_PARENT:
                link, name = unpack_name(payload)
                difference[link.object, number, link.kind, name] -= 1
        wrong = sorted(key for key, count in difference.items() if count)
        for parent, child, _, name in wrong[:EXPLAINED_MAX]:
            entry_only = difference[parent, child, _, name] > 0
            what = "has no parent link back" if entry_only else "has no directory entry"
            self._complain(
                "verify.entry_link",
                f"the name {shown(name)} of object {child} in directory {parent} {what}",
                parent if entry_only else child,
            )

    def _check_reachable(self, numbers: Iterable[int]) -> None:
        """Does every one of these directories lie below the root?"""
        directories = self._model.directories
        safe = {OBJECT_ROOT}
        for number in numbers:
            chain: list[int] = []
            at = number
            while at not in safe and len(chain) <= len(directories):
                chain.append(at)
                if at not in directories:
                    break
                at = directories[at]
            if at in safe:
                safe.update(chain)
            else:
                self._complain(
                    "verify.unreachable", f"directory {number} does not lie below the root", 0
                )

    def _lists(self) -> tuple[tuple[int, set[int]], tuple[int, set[int]]]:
        """(object that stands for it, its members), of each list."""
        model = self._model
        return (OBJECT_ORPHANS, model.orphans), (OBJECT_COLLECTIONS, model.collections)

    def _check_members(self, touched: set[int] | None) -> None:
        """Is every object in the lists there? touched: look at these alone."""
        for held, members in self._lists():
            code, name = _LISTS[held]
            for number in sorted(members if touched is None else touched & members):
                bounds = (number, ITEM_INODE, 0), (number, ITEM_INODE, 1)
                if next(self._nodes.range(self._state.root, *bounds), None) is None:
                    why = f"the list of {name} has object {number}, which is not there"
                    self._complain(code, why, 0)

    # ---- blocks that are in use ----

    def reach_node(self, pointer: Pointer) -> None:
        """A node that was not met before: it must lie where nothing else lies."""
        if pointer.tree != TREE_NAMESPACE:
            return
        segment, first = segment_of(pointer.address), block_of(pointer.address)
        bits = self._bits(self.reached, segment)
        try:
            bitmap.set_range(bits, first, NODE_BLOCKS)
        except ValueError:
            self._report.error(
                "verify.block_twice",
                "a tree node lies over other blocks in use",
                state=self._state.name,
                block=address_text(pointer),
            )

    def _reach(self, segment: int, first: int, count: int) -> None:
        bits = self._bits(self.reached, segment)
        try:
            bitmap.set_range(bits, first, count)
        except ValueError:  # another state has some of them too
            for block in range(first, first + count):
                bits[block >> 3] |= 1 << (block & 7)

    def _bits(self, maps: dict[int, bytearray], segment: int) -> bytearray:
        bits = maps.get(segment)
        if bits is None:
            bits = maps[segment] = bytearray(self._segment_blocks // 8)
        return bits

    # ---- words ----

    def _complain(self, code: str, message: str, number: int, *, address: str = "") -> None:
        """Report an error of this state; number: the object whose path helps, 0 for none."""
        path = self._path(number) if number else ""
        self._report.error(code, message, path=path, state=self._state.name, block=address)

    def _path(self, number: int) -> str:
        """One path that leads to an object, as far as parent links go."""
        parts: list[str] = []
        for _ in range(DEPTH_MAX):
            if number == OBJECT_ROOT:
                return "/" + "/".join(reversed(parts))
            bounds = (number, ITEM_PARENT, 0), (number, ITEM_PARENT + 1, 0)
            link = next(self._nodes.range(self._state.root, *bounds), None)
            if link is None:
                break
            entry, name = unpack_name(link[1])
            parts.append(shown(name))
            number = entry.object
        return f"(object {number})/" + "/".join(reversed(parts)) if parts else f"(object {number})"


def shown(name: bytes) -> str:
    """A name without anything that a terminal would obey."""
    text = name.decode("utf-8", "backslashreplace")
    return "".join(
        letter if letter.isprintable() else f"\\x{ord(letter):02x}" for letter in text
    )
