"""Whether the indexes of a directory say what its files say: the check that reads the records.

An iterator of problems in words, None in between; a step may raise NodeMissing or DataMissing and
is then made again. What the items say among themselves is checked first (volume/index_check.py).
"""

import stat
from collections.abc import Callable, Iterator

from affs_fuse.core.codec import Name
from affs_fuse.core.constants import (
    ITEM_DENTRY,
    ITEM_INDEX,
    ITEM_INDEX_KEYS,
    ITEM_INDEX_PENDING,
)
from affs_fuse.errors import AffsError
from affs_fuse.posix.index_turn import RECORD_BYTES_MAX
from affs_fuse.posix.indexes import declared_indexes, read_head
from affs_fuse.posix.state_reader import StateReader
from affs_fuse.query.index_values import keys_of_content
from affs_fuse.volume.index_check import IndexCheck, unpack_keys

__all__ = ["IndexAudit"]

SLICE_BYTES = 16 << 10


class IndexAudit:
    """reader: of the state; it has to be allowed to read every file. files: compared so far.
    indexes: the names of those that are complete."""

    def __init__(self, reader: StateReader, directory: int) -> None:
        self._reader = reader
        self._tree = reader.tree
        self._directory = directory
        self._declared: set[int] = set()
        self._expressions: dict[int, str] = {}
        self._check = IndexCheck()
        self._cursor = 0
        self._phases: list[Callable[[], Iterator[str] | None]] = [
            self._open, self._take_pages, self._take_keys, self._compare_keys, self._compare_files
        ]  # fmt: skip
        self._found: Iterator[str] = iter(())
        self.files = 0
        self.indexes: list[str] = []

    def __iter__(self) -> Iterator[str | None]:
        return self

    def __next__(self) -> str | None:
        problem = next(self._found, None)
        if problem is not None:
            return problem
        if not self._phases:
            raise StopIteration
        found = self._phases[0]()
        if found is not None:
            self._found = found
            del self._phases[0]
            self._cursor = 0
        return None

    # ---- phases: what they find when they end, None before ----

    def _open(self) -> Iterator[str]:
        names = []
        problems = []
        for one in declared_indexes(self._reader.declaration(self._directory)):
            self._declared.add(one.id)
            try:
                head = read_head(self._tree, self._directory, one.id)
            except AffsError as error:
                problems.append(f"index {one.name}: {error.message}")
                continue
            if head is not None and head.usable:
                self._expressions[one.id] = one.expression
                names.append(one.name)
                if head.expression != one.expression:
                    problems.append(f"index {one.name} was built for {head.expression}")
        self.indexes = names
        return iter(problems)

    def _take_pages(self) -> Iterator[str] | None:
        items = self._scan(ITEM_INDEX)
        for offset, payload in items:
            self._check.take_page(offset, payload)
        return None if items else iter(())

    def _take_keys(self) -> Iterator[str] | None:
        items = self._scan(ITEM_INDEX_KEYS)
        for number, payload in items:
            self._check.take_keys(number, payload)
        return None if items else iter(self._check.finish())

    def _compare_keys(self) -> Iterator[str] | None:
        """Every file with keys is one of the directory, and they are those of its content. What is
        declared no more is not kept up."""
        return self._each(ITEM_INDEX_KEYS, self._judge)

    def _compare_files(self) -> Iterator[str] | None:
        """Every file of the directory has keys."""
        return self._each(ITEM_DENTRY, self._judge_missing)

    def _each(self, kind: int, judge: Callable[[int, bytes], str | None]) -> Iterator[str] | None:
        first = (self._directory, kind, self._cursor + 1)
        item = self._tree.seek(*first)
        if item is None or item[:2] != (self._directory, kind):
            return iter(())
        problem = judge(item[2], item[3])
        self._cursor = item[2]
        if problem is not None:
            self._found = iter((problem,))
        return None

    def _scan(self, kind: int) -> list[tuple[int, bytes]]:
        first = (self._directory, kind, self._cursor + 1)
        items = self._tree.scan(first, (self._directory, kind + 1, 0), SLICE_BYTES)
        if items:
            self._cursor = items[-1][2]
        return [(offset, payload) for _, _, offset, payload in items]

    def _judge(self, number: int, payload: bytes) -> str | None:
        held = unpack_keys(payload)
        if self._is_pending(number) or not held.keys() & self._declared:
            return None
        inode = self._reader.inode(number)
        member = any(parent == self._directory for parent, _ in self._reader.places(number))
        if inode is None or not member:
            return f"object {number} has keys, and is no file of the directory"
        content = None
        if inode.size <= RECORD_BYTES_MAX:
            content = self._reader.content(number, inode)
        keys = keys_of_content(list(self._expressions.values()), content)
        wanted = dict(zip(self._expressions, keys, strict=True))
        self.files += 1
        if {key: value for key, value in held.items() if key in wanted} == wanted:
            return None
        return f"object {number} has other keys than its content"

    def _judge_missing(self, cookie: int, payload: bytes) -> str | None:
        number = Name.unpack(payload).object
        if not self._expressions or self._is_pending(number):
            return None
        if self._tree.get(self._directory, ITEM_INDEX_KEYS, number) is not None:
            return None
        inode = self._reader.inode(number)
        if inode is None or not stat.S_ISREG(inode.mode):
            return None
        return f"object {number} is a file of the directory and has no keys"

    def _is_pending(self, number: int) -> bool:
        return self._tree.get(self._directory, ITEM_INDEX_PENDING, number) is not None
