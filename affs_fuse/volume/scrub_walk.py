"""Everything below one directory, object by object: what verifying a path walks.

The cursor is the way down, (directory, offset of the entry that was entered last) for each level,
and the object in work; so a walk goes on after a restart, and in a tree that has changed
meanwhile. Directories that are moved while it walks may be missed or met twice.
"""

import stat
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from affs_fuse.core.codec import Name
from affs_fuse.core.constants import ITEM_DENTRY
from affs_fuse.volume.scrub import TreeScan
from affs_fuse.volume.verify_nodes import Key

__all__ = ["LEVELS_KEPT_MAX", "ObjectWalk", "ScanMaker"]

LEVELS_KEPT_MAX = 96
"""Of the way down in a stored cursor; from a deeper place a walk begins again at this level."""

LISTED_MAX = 1024
_DIRECTORY_KIND = stat.S_IFDIR >> 12


class ScanMaker(Protocol):
    """How a walk gets its scans: of the keys [start, end), with or without file data."""

    def __call__(
        self, start: Key, end: Key, *, data: bool, on_item: Callable[[Key, bytes], object] | None
    ) -> TreeScan: ...


@dataclass(slots=True)
class ObjectWalk:
    """number: the object in work, 0 for none; key: where in it. levels: the way down."""

    number: int
    directory: bool
    key: Key
    levels: list[list[int]] = field(default_factory=list)
    _listed: list[deque[tuple[int, int, bool]]] = field(default_factory=list)
    _listing: TreeScan | None = None

    @classmethod
    def below(cls, number: int, *, directory: bool) -> "ObjectWalk":
        return cls(number, directory, (number, 0, 0))

    def next_scan(self, make: ScanMaker) -> TreeScan | None:
        """What to scan now; None at the end of the walk."""
        self._listing = None
        while not self.number and self.levels:
            while len(self._listed) < len(self.levels):
                self._listed.append(deque())
            if not self._listed[-1]:
                self._listing = self._list(make)
                return self._listing
            offset, number, directory = self._listed[-1].popleft()
            self.levels[-1][1] = offset
            self.number, self.directory, self.key = number, directory, (number, 0, 0)
        if not self.number:
            return None
        return make(self.key, (self.number + 1, 0, 0), data=True, on_item=None)

    def _list(self, make: ScanMaker) -> TreeScan:
        """The next entries of the deepest directory."""
        directory, after = self.levels[-1]
        listed = self._listed[-1]

        def collect(key: Key, payload: bytes) -> None:
            entry = Name.unpack(payload)
            listed.append((key[2], entry.object, entry.kind == _DIRECTORY_KIND))
            if len(listed) >= LISTED_MAX:
                scan.stop()

        first = directory, ITEM_DENTRY, after + 1
        scan = make(first, (directory, ITEM_DENTRY + 1, 0), data=False, on_item=collect)
        return scan

    def leave(self, scan: TreeScan) -> None:
        """The slice is over: remember where in the object it was."""
        if scan is not self._listing and not self.directory:
            self.key = scan.position

    def finish(self, scan: TreeScan) -> None:
        """The scan has come to its end."""
        if scan is self._listing:
            if not self._listed[-1]:
                self.levels.pop()
                self._listed.pop()
            return
        if self.directory:
            self.levels.append([self.number, 0])
        self.number = 0
