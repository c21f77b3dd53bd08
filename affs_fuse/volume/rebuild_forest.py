"""Trees out of loose nodes: exactly where pointers survive, by births where they do not.

docs/internals/rebuild.md has the reasons. The rules:

- A pointer names one node: address, birth, level, checksum, keys in its range. What hangs below is
  exact.
- A leaf that a pointer names and that is gone is lost: older versions of it are provably older.
- Below an inner node that is gone, nodes of its range are taken newest first, and one that overlaps
  what was taken is provably older than that, since live nodes never overlap.

Key ranges shrink on the way down and levels fall, so nothing is visited twice.
"""

from bisect import bisect_left, bisect_right
from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from affs_fuse.core.codec import Pointer, verify_node
from affs_fuse.core.constants import NODE_SIZE
from affs_fuse.core.errors import StructureError
from affs_fuse.device.device import Device
from affs_fuse.volume.rebuild_scan import FoundNode, Identity
from affs_fuse.volume.verify_nodes import (
    FIRST_KEY,
    LAST_KEY,
    Branch,
    Item,
    Key,
    Node,
    decode_node,
)

__all__ = ["NEVER", "Assembly", "Forest", "Lost", "Rank", "not_after"]

Rank = Callable[[FoundNode], int]
"""Where pointers are gone: NEVER if a node cannot be part of the tree; lower numbers first."""

NEVER = -1

BIRTH_MAX = 1 << 64
LEVEL_MAX = 16
NODES_KEPT = 64


@dataclass(frozen=True, slots=True)
class Lost:
    """Keys low <= key < high hung below a node of this level that is gone."""

    low: Key
    high: Key
    level: int


@dataclass(slots=True)
class Assembly:
    """The leaves of one tree in key order; no two overlap. lost: leaves that are known to be gone.
    by_births: some of it was chosen by births, not by pointers. gone: addresses of all nodes that
    pointers name and that are not there."""

    leaves: list[FoundNode] = field(default_factory=list)
    lost: list[Lost] = field(default_factory=list)
    by_births: bool = False
    gone: set[int] = field(default_factory=set)

    @property
    def exact(self) -> bool:
        return not self.lost and not self.by_births


class _Claims:
    """Disjoint ranges [low, high) of keys that are spoken for."""

    def __init__(self) -> None:
        self._lows: list[Key] = []
        self._highs: list[Key] = []

    def overlap(self, low: Key, high: Key) -> bool:
        index = bisect_right(self._highs, low)
        return index < len(self._lows) and self._lows[index] < high

    def add(self, low: Key, high: Key) -> None:
        first = bisect_left(self._highs, low)
        last = bisect_right(self._lows, high)
        if first < last:
            low = min(low, self._lows[first])
            high = max(high, self._highs[last - 1])
        self._lows[first:last] = [low]
        self._highs[first:last] = [high]


class Forest:
    """The nodes of one volume. Those that are misplaced are not given to it."""

    def __init__(self, device: Device, identity: Identity, nodes: list[FoundNode]) -> None:
        self._device = device
        self._identity = identity
        self._recent: OrderedDict[int, Node] = OrderedDict()
        self.by_tree: dict[int, list[FoundNode]] = {}
        self._by_address: dict[tuple[int, int], list[FoundNode]] = {}
        for node in sorted(nodes, key=lambda node: node.first):
            if node.count:
                self.by_tree.setdefault(node.tree, []).append(node)
            self._by_address.setdefault((node.tree, node.address), []).append(node)

    def follow(self, branch: Branch) -> FoundNode | None:
        """The node that a pointer names, if it is there and is what the pointer says."""
        pointer = branch.pointer
        for node in self._by_address.get((pointer.tree, pointer.address), ()):
            same = node.birth == pointer.birth and node.level == pointer.level
            if not same or node.checksum != int.from_bytes(pointer.checksum[:4], "little"):
                continue
            if node.count == 0 or branch.low <= node.first <= node.last < branch.high:
                return node
        return None

    def read(self, node: FoundNode, high: Key = LAST_KEY) -> Node | None:
        """Its content, once more from the device; None if that has changed meanwhile."""
        known = self._recent.get(node.offset)
        if known is not None and node.level == 0:
            return known
        image, result = self._device.read(node.offset, NODE_SIZE)
        if not result.ok:
            return None
        try:
            verify_node(image, *self._identity)
        except StructureError:
            return None
        nowhere = Pointer(0, 0, 0, bytes(16), 0, 0, 0)
        decoded = decode_node(image, Branch(nowhere, FIRST_KEY, high))
        if node.level == 0:
            self._recent[node.offset] = decoded
            if len(self._recent) > NODES_KEPT:
                self._recent.popitem(last=False)
        return decoded

    def items(self, assembly: Assembly) -> Iterator[tuple[Item, FoundNode]]:
        """All items in key order, each with the leaf that has it."""
        for leaf in assembly.leaves:
            node = self.read(leaf)
            for item in node.items if node is not None else ():
                yield item, leaf

    def assemble(
        self, tree: int, root: Pointer | None, rank: Rank = lambda _: 0
    ) -> Assembly:
        """The tree below a root, or, for None, of nodes chosen by births alone."""
        work = _Assembler(self, self.by_tree.get(tree, []), rank)
        if root is None:
            work.fill(FIRST_KEY, LAST_KEY, LEVEL_MAX, BIRTH_MAX)
        elif root.birth:
            work.descend(Branch(root))
        work.result.leaves.sort(key=lambda node: node.first)
        work.result.lost.sort(key=lambda lost: lost.low)
        return work.result


class _Assembler:
    """One assembly under way. nodes: by their first key, none empty. claims: key ranges that have
    their nodes."""

    def __init__(self, forest: Forest, nodes: list[FoundNode], rank: Rank) -> None:
        self._forest = forest
        self._nodes = nodes
        self._firsts = [node.first for node in nodes]
        self._rank = rank
        self._claims = _Claims()
        self.result = Assembly()

    def descend(self, branch: Branch) -> None:
        pending = [branch]
        while pending:
            at = pending.pop()
            node = self._forest.follow(at)
            if node is None:
                self._lose(at)
            else:
                pending.extend(self._take(node, at.high))

    def _take(self, node: FoundNode, high: Key) -> tuple[Branch, ...]:
        """Take a node in; what is to be visited below it."""
        if node.count:
            self._claims.add(node.first, _after(node.last))
        if node.level == 0:
            self.result.leaves.append(node)
            return ()
        decoded = self._forest.read(node, high)
        return decoded.branches if decoded is not None else ()

    def _lose(self, branch: Branch) -> None:
        pointer = branch.pointer
        self.result.gone.add(pointer.address)
        if pointer.level:
            self.fill(branch.low, branch.high, pointer.level, pointer.birth)
            return
        self.result.lost.append(Lost(branch.low, branch.high, 0))
        self._claims.add(branch.low, branch.high)

    def fill(self, low: Key, high: Key, level: int, birth: int) -> None:
        """Nodes below this level, not born after this: by rank, then newest first."""
        self.result.by_births = True
        begin, end = bisect_left(self._firsts, low), bisect_left(self._firsts, high)
        fitting = [
            (rank, -node.birth, -node.level, node.first, node)
            for node in self._nodes[begin:end]
            if node.level < level
            and node.birth <= birth
            and node.last < high
            and (rank := self._rank(node)) != NEVER
        ]
        for *_, node in sorted(fitting, key=lambda each: each[:4]):
            if self._claims.overlap(node.first, _after(node.last)):
                continue
            for branch in self._take(node, high):
                self.descend(branch)


def _after(key: Key) -> Key:
    return key[0], key[1], key[2] + 1


def not_after(seq: int) -> Rank:
    """Nodes of commits up to this one, for trees that no rollback touches."""
    return lambda node: 0 if node.birth <= seq else NEVER
