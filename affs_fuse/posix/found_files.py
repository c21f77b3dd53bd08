"""What was looked up of files in some states, for who asks the same states again.

A state does not change, so what is kept of it holds for as long as its root is the same node: no
change has to be told here, a commit just has another root.
"""

from collections import OrderedDict
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from affs_fuse.core.codec import Inode, Pointer

__all__ = ["FoundFile", "FoundFiles", "KnownFiles", "Place"]

Place = tuple[int, bytes]
"""(directory, name)."""

STATES_MAX = 4
FILES_MAX = 2048
"""Of a state; some 2 KiB each at most."""


class FoundFile(NamedTuple):
    """An object with all its names. inline: content that lies beside the inode, where it has
    some."""

    inode: Inode
    places: list[Place]
    inline: bytes | None


class KnownFiles:
    """Of one state."""

    def __init__(self) -> None:
        self._files: dict[int, FoundFile | None] = {}

    def __len__(self) -> int:
        return len(self._files)

    def first(self, numbers: Sequence[int]) -> list[FoundFile | None]:
        """Of the first ones up to, not including, one that is not known."""
        files = self._files
        found = []
        for number in numbers:
            if number not in files:
                break
            found.append(files[number])
        return found

    def add(self, found: Iterable[tuple[int, FoundFile | None]]) -> None:
        """found: by number, FILES_MAX at most."""
        new = dict(found)
        if len(self._files) + len(new) > FILES_MAX:
            self._files.clear()
        self._files.update(new)


class FoundFiles:
    """Loop thread only."""

    def __init__(self) -> None:
        self._states: OrderedDict[tuple[int, int], KnownFiles] = OrderedDict()

    def __len__(self) -> int:
        return len(self._states)

    def of(self, root: Pointer) -> KnownFiles:
        """Of the state whose tree has this root."""
        key = root.address, root.birth
        known = self._states.get(key)
        if known is None:
            known = self._states[key] = KnownFiles()
            if len(self._states) > STATES_MAX:
                self._states.popitem(last=False)
        self._states.move_to_end(key)
        return known
