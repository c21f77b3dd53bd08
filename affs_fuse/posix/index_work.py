"""What there is to do for indexes, done in turns: files that wait are taken in, new indexes are
built, and what is left of dropped ones goes.

Everything follows from what the tree says: which indexes are declared, which have a head and how
far that is, which files are pending. So a crash or a rollback between two turns needs no word: the
next turn goes on from there.
"""

from collections.abc import Callable
from dataclasses import replace

from affs_fuse.core.codec import Name
from affs_fuse.core.constants import (
    ITEM_DENTRY,
    ITEM_INDEX,
    ITEM_INDEX_KEYS,
    ITEM_INDEX_PENDING,
)
from affs_fuse.core.tree import NodeMissing
from affs_fuse.errors import AffsError
from affs_fuse.posix import directory as directories
from affs_fuse.posix import inodes
from affs_fuse.posix.context import Context
from affs_fuse.posix.index_turn import IndexTurn, KeysOf
from affs_fuse.posix.indexes import DeclaredIndex, heads, pending_files
from affs_fuse.volume.index_check import IndexHead, pack_keys, page_of, unpack_keys
from affs_fuse.volume.index_pages import IndexDamage
from affs_fuse.volume.missing import DataMissing
from affs_fuse.volume.reserve import RoomKind

__all__ = ["IndexWork", "More"]

More = Callable[[], bool]
"""Whether the turn may go on; asked after each file."""

SLICE_BYTES = 8 << 10
"""Of items that one turn looks at: some two hundred entries of a directory."""

WORK_MAX = 256
"""Changes of pages in one turn."""


class IndexWork:
    """context: of the state that the mount shows. damaged: directories that have an index which
    cannot be kept up; they are left alone until they are declared anew. building:
    (files that are in it, files that there are) of the index that is built now, None without."""

    def __init__(self, context: Callable[[], Context], keys_of: KeysOf) -> None:
        self._context = context
        self._keys_of = keys_of
        self.damaged: dict[int, AffsError] = {}
        self.building: tuple[int, int] | None = None

    @property
    def any(self) -> bool:
        """Whether there may be something to do."""
        return self._context().marks.any

    def step(self, more: More, *, pending_only: bool = False) -> int | None:
        """One turn; how many files were taken in, or None if there was nothing to do. pending_only:
        nothing is built, and of what goes only what must be done first. Errors: NodeMissing,
        DataMissing (call again); volume.no_space, volume.read_only."""
        context = self._context()
        for number in context.marks.waiting():
            declared = context.marks.declared(number)
            try:
                done = self._directory(context, number, declared, more, pending_only)
            except IndexDamage as damage:
                self.damaged[number] = damage
                done = None
            else:
                self.damaged.pop(number, None)
            if done is not None:
                return done
            if not pending_only:
                context.marks.settled(number)
                self.building = None
        return None

    def _directory(
        self, context: Context, number: int, declared: tuple[DeclaredIndex, ...], more: More,
        pending_only: bool,
    ) -> int | None:  # fmt: skip
        there = heads(context.tree, number)
        known = {one.id for one in declared}
        for index in there:
            if index not in known and not (pending_only and _is_going(there[index])):
                self._drop(context, number, index, there[index])
                return 0
        waiting = pending_files(context.tree, number, 0, SLICE_BYTES)
        if not declared:
            if waiting:
                _forget_pending(context, number, waiting)
            return 0 if waiting else None
        turn = IndexTurn(context, number, declared, self._keys_of)
        if waiting:
            _refresh(turn, waiting, more)
            return turn.apply()
        for one in declared if not pending_only else ():
            if turn.built(one.id) is not None:
                self._build(context, number, one.id, turn, more)
                return turn.apply()
        return None

    def _build(
        self, context: Context, number: int, index: int, turn: IndexTurn, more: More
    ) -> None:
        """Take in the next entries of the directory."""
        at = turn.built(index)
        assert at is not None
        first = (number, ITEM_DENTRY, max(at, directories.COOKIE_DOT_DOT) + 1)
        items = context.tree.scan(first, (number, ITEM_DENTRY + 1, 0), SLICE_BYTES)
        files = [Name.unpack(payload).object for _, _, _, payload in items]
        done = _refresh(turn, files, more)
        turn.advance(index, items[done - 1][2] if items else None)
        size = inodes.load_directory(context.tree, number).size
        self.building = (min(turn.entries(index), size), size)

    def _drop(self, context: Context, number: int, index: int, payload: bytes) -> None:
        """A part of an index that is declared no more: first the keys of files, then pages, its
        head last."""
        try:
            head = IndexHead.unpack(payload)
        except IndexDamage:
            head = IndexHead("")
        after = head.dropped or 0
        tree = context.tree
        first, end = (number, ITEM_INDEX_KEYS, after + 1), (number, ITEM_INDEX_KEYS + 1, 0)
        changes: list[tuple[int, int, bytes | None]] = []
        items = tree.scan(first, end, SLICE_BYTES)
        for _, _, file, held in items:
            keys = unpack_keys(held)
            if keys.pop(index, None) is not None:
                changes.append((ITEM_INDEX_KEYS, file, pack_keys(keys) if keys else None))
        if items:
            head = replace(head, dropped=items[-1][2])
            changes.append((ITEM_INDEX, page_of(index, 0), head.pack()))
        else:
            first, end = (
                (number, ITEM_INDEX, page_of(index, 1)), (number, ITEM_INDEX, page_of(index + 1, 0))
            )  # fmt: skip
            pages = tree.scan(first, end, SLICE_BYTES)
            changes += [(ITEM_INDEX, offset, None) for _, _, offset, _ in pages]
            mark = replace(head, dropped=after).pack() if pages else None
            changes.append((ITEM_INDEX, page_of(index, 0), mark))
        _change(context, number, changes)


def _is_going(payload: bytes) -> bool:
    """Whether the head says already that its index is dropped: then files can be taken in."""
    try:
        return IndexHead.unpack(payload).dropped is not None
    except IndexDamage:
        return False


def _refresh(turn: IndexTurn, files: list[int], more: More) -> int:
    """Plan as many of the files as the turn may take, one at least; how many. What is missing ends
    the turn early, or, at its first file, is raised."""
    for done, file in enumerate(files):
        if done and (turn.work >= WORK_MAX or not more()):
            return done
        try:
            turn.refresh(file)
        except (NodeMissing, DataMissing):
            if not done:
                raise
            return done
    return len(files)


def _forget_pending(context: Context, number: int, files: list[int]) -> None:
    _change(context, number, [(ITEM_INDEX_PENDING, file, None) for file in files])


def _change(context: Context, number: int, changes: list[tuple[int, int, bytes | None]]) -> None:
    """Items of a directory, all at once: (type, offset, payload or None)."""
    for kind, offset, _ in changes:
        context.tree.touch(number, kind, offset)
    context.volume.reserve_metadata(RoomKind.REMOVE, 1 + len(changes) // 8)
    for kind, offset, payload in changes:
        if payload is None:
            context.tree.delete(number, kind, offset)
        else:
            context.tree.put(number, kind, offset, payload)
