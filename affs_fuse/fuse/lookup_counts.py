"""How often the kernel has been given each inode, as the FUSE protocol has it.

Every answer that carries an entry (lookup, create, mkdir, mknod, symlink, link, and each readdir
entry but `.` and `..`) counts one; a forget takes off what it names. Invariants:
- A count is never negative: a forget of more than was given is a fault of ours, and is cut at zero.
- The root is known from the start and for ever.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

__all__ = ["LookupCountStatistics", "LookupCounts"]

ROOT_INODE = 1


@dataclass(frozen=True, slots=True)
class LookupCountStatistics:
    """inodes: known to the kernel. excess: forgets of more than was given (a fault if not 0)."""

    inodes: int
    excess: int


class LookupCounts:
    """inode -> count. Loop thread only."""

    def __init__(self) -> None:
        self._counts: dict[int, int] = {}
        self._excess = 0

    def add(self, inode: int) -> None:
        """One more entry with this inode was given to the kernel."""
        counts = self._counts
        counts[inode] = counts.get(inode, 0) + 1

    def forget(self, pairs: Sequence[tuple[int, int]]) -> list[int]:
        """Take off (inode, count) pairs; the inodes that the kernel does not know any more."""
        gone: list[int] = []
        for inode, count in pairs:
            left = self._counts.get(inode, 0) - count
            if left > 0:
                self._counts[inode] = left
                continue
            if left < 0 and inode != ROOT_INODE:
                self._excess += 1
            if self._counts.pop(inode, None) is not None and inode != ROOT_INODE:
                gone.append(inode)
        return gone

    def __contains__(self, inode: int) -> bool:
        return inode in self._counts or inode == ROOT_INODE

    def __iter__(self) -> Iterator[int]:
        yield ROOT_INODE
        yield from (inode for inode in self._counts if inode != ROOT_INODE)

    def __len__(self) -> int:
        return len(self._counts)

    def statistics(self) -> LookupCountStatistics:
        return LookupCountStatistics(len(self._counts), self._excess)
