"""Keeping indexes up to date on a volume in use: what waits is taken in, in short turns.

Invariants:
- A turn takes a few milliseconds, one at a time, with the loop free between two of them.
- Nothing depends on it: as long as files wait, queries look at them (docs/specs/Indexes.md).
- What fails is logged once, and tried again later; what had begun to change something has made
  the volume read-only by then.
"""

import logging
from collections.abc import Awaitable, Callable
from typing import Any

import trio

from affs_fuse.errors import AffsError
from affs_fuse.posix.namespace import Namespace
from affs_fuse.query.index_values import keys_of_content
from affs_fuse.runtime.jobs import JobProgress
from affs_fuse.runtime.loader import Loader
from affs_fuse.volume.volume import Volume

__all__ = ["IndexUpkeep"]

_log = logging.getLogger("affs.engine")

SLICE_S = 0.002
POLL_S = 0.5
"""How long a change waits at most: a program that saves a file in several writes is done by then,
and looking whether something waits costs less than a microsecond."""

CATCH_UP_S = 0.1
RETRY_S = 5.0


class IndexUpkeep:
    """Loop thread only."""

    def __init__(self, volume: Volume, namespace: Namespace, loader: Loader) -> None:
        self._volume = volume
        self._files = namespace.files
        self._loader = loader
        self._work = namespace.files.index_work(keys_of_content)
        self._turn = trio.Lock()
        self._told: set[str] = set()

    @property
    def waiting(self) -> bool:
        """Whether there may be something to do."""
        return self._work.any and not self._volume.read_only

    @property
    def damaged(self) -> dict[int, AffsError]:
        """Directories with an index that cannot be kept up."""
        return self._work.damaged

    def jobs(self) -> list[JobProgress]:
        """The building of an index, if one is built."""
        building = self._work.building
        return [JobProgress("index", *building, "files")] if building is not None else []

    async def serve(self) -> None:
        """Never returns."""
        while True:
            try:
                while self.waiting and await self.turn():
                    await trio.lowlevel.checkpoint()
            except (AffsError, MemoryError) as error:
                self._tell(error)
                await trio.sleep(RETRY_S)
            await trio.sleep(POLL_S)

    async def catch_up(self) -> None:
        """Take in what waits, for a tenth of a second at most: for somebody who is about to ask or
        to commit. What goes wrong here is told elsewhere."""
        if not self.waiting:
            return
        monotonic = self._volume.clock.monotonic
        end = monotonic() + CATCH_UP_S
        try:
            while self.waiting and monotonic() < end and await self.turn(pending_only=True):
                await trio.lowlevel.checkpoint()
        except (AffsError, MemoryError) as error:
            self._tell(error)

    def before(self, commit: Callable[[], Awaitable[Any]]) -> Callable[[], Awaitable[None]]:
        """A commit after records were changed, with what indexes say of them."""

        async def caught_up() -> None:
            await self.catch_up()
            await commit()

        return caught_up

    async def turn(self, *, pending_only: bool = False) -> bool:
        """One turn; whether there was something to do. Errors: volume.*, device.*"""
        async with self._turn:
            end = self._volume.clock.monotonic() + SLICE_S
            done = await self._loader.run(
                self._work.step, lambda: self._volume.clock.monotonic() < end,
                pending_only=pending_only,
            )  # fmt: skip
        for number, damage in self._work.damaged.items():
            self._tell(damage, f"directory {number}: ")
        return done is not None

    def _tell(self, error: AffsError | MemoryError, where: str = "") -> None:
        text = f"{where}{error.message if isinstance(error, AffsError) else 'no memory'}"
        if text not in self._told:
            self._told.add(text)
            _log.warning("indexes are not up to date: %s", text)
