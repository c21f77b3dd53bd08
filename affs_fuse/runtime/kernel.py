"""What the engine asks of the kernel's caches, as a Protocol; fuse/invalidation.py answers it.

Every coroutine here works in a worker thread of its own: the kernel may block a notification until
a request that is under way has been answered, and the loop has to go on answering. A caller must
hold no request back while one of them runs (semantics.md, "Rollback on a live mount").
"""

from collections.abc import Iterable, Sequence
from typing import Protocol

__all__ = ["KernelPort", "NoKernel"]


class KernelPort(Protocol):
    """The kernel's caches of one mount. Inodes and names that it does not know cost nothing."""

    @property
    def directory(self) -> str:
        """Where the mount lies; "" if there is none."""

    def knows(self, inode: int) -> bool:
        """Whether the kernel may hold anything about the inode."""

    def known(self) -> list[int]:
        """All inodes that the kernel may hold anything about."""

    def mount_points(self) -> list[bytes]:
        """Paths, relative to our root, on which something else is mounted."""

    def distrust(self, inodes: Iterable[int]) -> None:
        """The next open of each of these must not keep cached pages."""

    async def invalidate_inodes(self, inodes: Sequence[int]) -> None:
        """Write back what is dirty, then drop attributes, ACLs and pages of each."""

    async def invalidate_entries(self, entries: Sequence[tuple[int, bytes]]) -> None:
        """Drop what each name (parent inode, name) means, negative answers too."""

    async def look_up(self, paths: Sequence[bytes]) -> None:
        """Look each path (relative to our root) up once, so that the kernel moves what moved."""


class NoKernel:
    """A volume without a mount: nothing is cached anywhere."""

    directory = ""

    def knows(self, inode: int) -> bool:
        return False

    def known(self) -> list[int]:
        return []

    def mount_points(self) -> list[bytes]:
        return []

    def distrust(self, inodes: Iterable[int]) -> None:
        pass

    async def invalidate_inodes(self, inodes: Sequence[int]) -> None:
        pass

    async def invalidate_entries(self, entries: Sequence[tuple[int, bytes]]) -> None:
        pass

    async def look_up(self, paths: Sequence[bytes]) -> None:
        pass
