"""The entries of an index that lie in some ranges, leaf by leaf, and the runs of equal keys there.

What raises NodeMissing has moved nothing and is called again.
"""

from bisect import bisect_left
from collections.abc import Iterator, Sequence

from affs_fuse.posix.index_keys import BEYOND, Range, key_of_entry
from affs_fuse.volume.index_pages import IndexPages

__all__ = ["Leaves", "runs_of"]


class Leaves:
    """ranges: in order and apart. Goes forward or backward, not both."""

    def __init__(self, pages: IndexPages, ranges: Sequence[Range]) -> None:
        self._pages = pages
        self._left = list(ranges)
        self._at: bytes | None = None

    def forward(self) -> list[bytes] | None:
        """The next entries, perhaps none; None behind the last ones. Errors: NodeMissing,
        index.damaged."""
        if not self._left:
            return None
        low, high = self._left[0]
        chunk = self._pages.forward(low if self._at is None else self._at)
        if chunk.beyond is not None and chunk.beyond < high:
            self._at = chunk.beyond
            return chunk.entries
        del self._left[0]
        self._at = None
        return chunk.entries[: bisect_left(chunk.entries, high)]

    def backward(self) -> list[bytes] | None:
        """The same from the last ones on, in falling order."""
        if not self._left:
            return None
        low, high = self._left[-1]
        chunk = self._pages.backward(high if self._at is None else self._at)
        self._at = chunk.beyond
        if chunk.beyond is None or chunk.beyond <= low:
            del self._left[-1]
            self._at = None
        return chunk.entries[bisect_left(chunk.entries, low) :][::-1]


def runs_of(entries: Sequence[bytes]) -> Iterator[tuple[bytes, int, int]]:
    """(key, from where, up to where) of the entries that have one key. No key begins another."""
    at, end = 0, len(entries)
    while at < end:
        key = key_of_entry(entries[at])
        after = at + 1
        if after < end and entries[after].startswith(key):
            after = bisect_left(entries, key + BEYOND, after, end)
        yield key, at, after
        at = after
