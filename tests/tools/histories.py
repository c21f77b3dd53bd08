"""Volumes with a past, and eyes for them: for tests that destroy and recover.

The eyes are the second reader's, which shares no code with what is tested; it only remembers
decoded nodes, because these tests look at everything again and again.
"""

import random
import stat
from collections.abc import Callable
from itertools import count
from pathlib import Path

from test_second_reader import Shape, shape

from affs_fuse.clock import Clock
from affs_fuse.core.checksum import crc32c
from affs_fuse.core.constants import (
    BLOCK_SIZE,
    NODE_SIZE,
    OWNER_OFFSET,
    RING_OFFSET,
    SUPERBLOCK_OFFSET,
)
from affs_fuse.volume.layout import REGIONS
from affs_fuse.volume.mkfs import MkfsOptions, make_volume
from affs_fuse.volume.opening import OpenOptions
from affs_tools.library import Library
from affs_tools.reader.image import Image, Item
from affs_tools.reader.namespace import Namespace
from affs_tools.reader.structures import EXTENT, XATTR, Record

__all__ = [
    "MIB",
    "WORKING",
    "Eyes",
    "History",
    "copy",
    "destroy",
    "node_places",
    "shapes",
    "store",
    "survey",
]

MIB = 1 << 20
PIECE = 64 << 10
WORKING = "working"
INTERNAL = 2 | 4  # hidden or doomed states are not recovered
NAMESPACE, CHECKPOINT, SPACE = 1, 2, 4


class Eyes(Image):
    """The second reader with a memory."""

    def __post_init__(self) -> None:
        self.crc = crc32c
        self._leaves: dict[tuple[int, int, int], list[Item]] = {}
        self._children: dict[
            tuple[int, int, int], list[tuple[tuple[int, int, int], Record]]
        ] = {}
        super().__post_init__()

    def leaf(self, header: Record, image: bytes) -> list[Item]:
        known = header["tree"], header["address"], header["birth"]
        if known not in self._leaves:
            self._leaves[known] = super().leaf(header, image)
        return self._leaves[known]

    def children(
        self, header: Record, image: bytes
    ) -> list[tuple[tuple[int, int, int], Record]]:
        known = header["tree"], header["address"], header["birth"]
        if known not in self._children:
            self._children[known] = super().children(header, image)
        return self._children[known]


def shapes(path: str) -> dict[str, Shape]:
    """What every state shows, by id."""
    with Eyes(path) as image:
        found = {WORKING: shape(image, image.working())}
        for state in image.states():
            if not state.record["flags"] & INTERNAL:
                found[state.record["id"].hex()] = shape(image, state)
        return found


def node_places(path: str) -> dict[int, tuple[int, int]]:
    """(level, tree) of every node of the newest commit, by its byte on the device."""
    with Eyes(path) as image:
        roots = [image.commit[f"{name}_root"] for name in ("checkpoint", "system", "space")]
        roots += [state.root for state in [*image.states(), image.working()]]
        return {
            image.node_offset(found[0]): (found[0]["level"], found[0]["tree"])
            for root in roots
            for found in image.nodes(root)
        }


def destroy(path: str, what: set[str], nodes: dict[int, tuple[int, int]]) -> None:
    """Zero out "superblocks", "owners", "rings", "inner" nodes, the "table" of states, "space"."""
    with open(path, "r+b") as file:

        def zero(offset: int, length: int) -> None:
            file.seek(offset)
            file.write(bytes(length))

        for region in REGIONS:
            if "superblocks" in what:
                zero(region + SUPERBLOCK_OFFSET, BLOCK_SIZE)
            if "owners" in what:
                zero(region + OWNER_OFFSET, BLOCK_SIZE)
            if "rings" in what:
                zero(region + RING_OFFSET, 64 * BLOCK_SIZE)
        for offset, (level, tree) in nodes.items():
            inner = level > 0 and "inner" in what
            if inner or (tree == SPACE and "space" in what):
                zero(offset, NODE_SIZE)
            if tree == CHECKPOINT and "table" in what:
                zero(offset, NODE_SIZE)


def survey(path: str) -> dict[str, dict[bytes, set[int]]]:
    """By state and path: every byte offset at which something lies that the path needs."""
    found: dict[str, dict[bytes, set[int]]] = {}
    with Eyes(path) as image:
        for state in [image.working(), *image.states()]:
            if state.number and state.record["flags"] & INTERNAL:
                continue
            needs: dict[int, set[int]] = {}
            data: dict[int, set[int]] = {}
            for pointer, header, node in image.nodes(state.root):
                for item in image.leaf(header, node) if header["level"] == 0 else ():
                    needs.setdefault(item.object, set()).add(image.node_offset(pointer))
                    data.setdefault(item.object, set()).update(_blocks(image, item))
            paths: dict[bytes, set[int]] = {}
            above: dict[bytes, set[int]] = {}
            for entry in Namespace(image, state).entries():
                parent = entry.path.rpartition(b"/")[0]
                above[entry.path] = set(needs[entry.object])
                above[entry.path] |= above[parent] if entry.path else set()
                paths[entry.path] = above[entry.path] | data[entry.object]
            key = state.record["id"].hex() if state.number else WORKING
            found[key] = paths
    return found


def _blocks(image: Image, item: Item) -> set[int]:
    body = b""
    if item.type == 6:
        body = item.payload
    elif item.type == 3:
        fixed = XATTR.decode(item.payload)
        body = item.payload[XATTR.size + fixed["name_length"] :] if fixed["storage"] else b""
    if not body:
        return set()
    extent = EXTENT.decode(body)
    first = image.locate(extent["address"])
    return {first + index * BLOCK_SIZE for index in range(extent["blocks"])}


def _seeded_clock() -> Clock:
    ticks = count(10**18, 1_000_000)
    return Clock(lambda: next(ticks), lambda: 0.0)


class History:
    """A random past. last: the event that the working state comes from: "kept", "rolled back"..."""

    def __init__(self, path: str, seed: int, steps: int = 40) -> None:
        self.path = path
        self._random = random.Random(seed)
        self._directories = [b""]
        self._files: list[bytes] = []
        self._step = 0
        self.last = ""
        clock, entropy = _seeded_clock(), random.Random(seed).randbytes
        options = MkfsOptions(size_bytes=64 * MIB)
        make_volume(path, options, clock=clock, entropy=entropy)
        self._library = Library(path, OpenOptions(clock=clock, entropy=entropy))
        choices: list[tuple[int, Callable[[], None]]] = [
            (35, self._make), (7, self._mkdir), (10, self._overwrite), (16, self._unlink),
            (5, self._rename), (3, self._link), (3, self._symlink), (3, self._attribute),
            (2, self._truncate), (4, self._commit), (5, self._checkpoint), (2, self._publish),
            (2, self._roll_back), (3, self._delete),
        ]  # fmt: skip
        actions = [action for _, action in choices]
        weights = [weight for weight, _ in choices]
        for self._step in range(steps):
            self._random.choices(actions, weights)[0]()
        self._library.close()

    def _new(self, letter: bytes, index: int = 0) -> bytes:
        name = b"%s%d.%d" % (letter, self._step, index)
        directory = self._random.choice(self._directories)
        return directory + b"/" + name if directory else name

    def _file(self) -> bytes | None:
        return self._random.choice(self._files) if self._files else None

    def _make(self) -> None:
        for index in range(self._random.choice([1, 1, 5, 60])):
            path = self._new(b"f", index)
            size = self._random.choice([0, 10, 500, 3000, 20000])
            self._library.write(path, self._random.randbytes(size))
            self._files.append(path)

    def _mkdir(self) -> None:
        path = self._new(b"d")
        self._library.mkdir(path)
        self._directories.append(path)

    def _overwrite(self) -> None:
        if path := self._file():
            offset = self._random.choice([0, 4096, 10000, 50000])
            data = self._random.randbytes(self._random.choice([100, 5000]))
            self._library.write(path, data, offset)

    def _unlink(self) -> None:
        for _ in range(self._random.choice([1, 1, 3, 80])):
            if path := self._file():
                self._library.unlink(path)
                self._files.remove(path)

    def _rename(self) -> None:
        if path := self._file():
            target = self._new(b"r")
            self._library.rename(path, target)
            self._files.remove(path)
            self._files.append(target)

    def _link(self) -> None:
        if path := self._file():
            self._files.append(self._new(b"l"))
            self._library.link(path, self._files[-1])

    def _symlink(self) -> None:
        self._library.symlink(self._new(b"s"), b"target %d" % self._step)

    def _attribute(self) -> None:
        if path := self._file():
            value = self._random.randbytes(self._random.choice([5, 6000]))
            self._library.setxattr(path, b"user.a%d" % self._step, value)

    def _truncate(self) -> None:
        if path := self._file():
            self._library.truncate(path, self._random.choice([0, 100, 5000]))

    def _commit(self) -> None:
        self._library.commit()

    def _checkpoint(self) -> None:
        self._library.checkpoint(f"kept {self._step}")
        self.last = "kept"

    def _publish(self) -> None:
        self._library.publish(f"published {self._step}")
        self.last = "kept"

    def _roll_back(self) -> None:
        states = self._library.volume.states
        if not states.listed():
            return
        self._library.commit()
        self._library.rollback(self._random.choice(states.listed()))
        self.last = "rolled back"
        with Eyes(self.path) as image:
            now = shape(image, image.working())
        modes = {path: entry[0] for path, entry in now.items() if isinstance(entry[0], int)}
        self._directories = [path for path, mode in modes.items() if stat.S_ISDIR(mode)]
        self._files = [path for path, mode in modes.items() if stat.S_ISREG(mode)]

    def _delete(self) -> None:
        states = self._library.volume.states
        if spare := [state for state in states.listed() if state != states.published]:
            self._library.delete(self._random.choice(spare))


def copy(source: str, target: str) -> None:
    store(target, Path(source).read_bytes())


def store(path: str, content: bytes | bytearray) -> None:
    """As a sparse file: most of these volumes is nothing."""
    nothing = bytes(PIECE)
    with open(path, "wb") as file:
        for at in range(0, len(content), PIECE):
            piece = content[at : at + PIECE]
            if piece != nothing:
                file.seek(at)
                file.write(piece)
        file.truncate(len(content))
