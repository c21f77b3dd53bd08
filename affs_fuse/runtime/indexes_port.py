"""The indexes of a volume as commands see them (docs/specs/Indexes.md)."""

from collections.abc import Awaitable, Callable
from typing import Any, Protocol

from affs_fuse.runtime.asker import Asker

__all__ = ["IndexesPort", "Progress"]

Progress = Callable[[int, int], Awaitable[None]]
"""(files that were taken in, about how many there are)."""


class IndexesPort(Protocol):
    """An index row: path, name, expression, state ("ready", "building", "damaged", "waiting": not
    begun), entries, files (entries of the directory), pending (counts). Errors of all: record.*,
    volume.*, device.*"""

    async def rows(self, path: str, asker: Asker) -> list[dict[str, Any]]:
        """Of one directory, or of all that the asker can reach ("")."""

    async def create(
        self, path: str, expression: str, name: str, asker: Asker, progress: Progress, *,
        wait: bool,
    ) -> dict[str, Any]:  # fmt: skip
        """name "": the expression. The row; with wait when it is ready. invalid:
        index.expression, query.*, index.too_many; exists: index.exists."""

    async def drop(self, path: str, name: str, asker: Asker) -> dict[str, Any]:
        """The row as it was. not_found: index.not_found."""

    async def rebuild(
        self, path: str, name: str, asker: Asker, progress: Progress, *, wait: bool
    ) -> list[dict[str, Any]]:
        """name "": all of the directory. The rows. not_found: index.not_found."""

    async def check(
        self, path: str, asker: Asker, emit: Callable[[dict[str, Any]], Awaitable[None]]
    ) -> dict[str, Any]:
        """Holds the indexes against the records; each problem (path, problem) goes to emit.
        indexes, files, problems (counts). path "": of all directories."""
