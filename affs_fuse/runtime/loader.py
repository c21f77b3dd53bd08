"""Running namespace operations: try, load what is missing, and run again from the beginning.

Invariants:
- An operation that raised NodeMissing or DataMissing has changed nothing (architecture.md).
- Every load that was begun is ended, whatever happens in between.
- What was found damaged is reported once in a while, not once for each read, and data by its path.
"""

import logging
from collections.abc import Awaitable, Callable, Iterator
from typing import Any, ParamSpec, TypeVar

import trio

from affs_fuse.core.tree import Tree
from affs_fuse.errors import AffsError, Category
from affs_fuse.runtime.events import EventBus
from affs_fuse.runtime.workers import Workers
from affs_fuse.volume.missing import DataMissing, NodeMissing
from affs_fuse.volume.verify_nodes import address_text
from affs_fuse.volume.volume import Volume

__all__ = ["Loader"]

_log = logging.getLogger("affs.engine")

P = ParamSpec("P")
R = TypeVar("R")
Item = TypeVar("Item")
Plain = dict[str, Any]

ATTEMPTS_MAX = 100_000
"""An operation that needs more loads than this does not find what it loads: a fault of ours."""

SLICE_S = 0.002

REPORT_EVERY_S = 60.0
REPORTS_KEPT_MAX = 4096


class Loader:
    """Loads nodes and data for the operations of one volume. names: path and state of an object in
    a tree, for people. Loop thread only."""

    def __init__(
        self, volume: Volume, workers: Workers, events: EventBus, names: "Names"
    ) -> None:
        self._names = names
        self._volume = volume
        self._workers = workers
        self._events = events
        self._under_way: dict[tuple[int, int], trio.Event] = {}
        self._reported: dict[str, float] = {}

    async def run(self, function: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R:
        """The operation's result, or its error; AffsError of the load that failed."""
        for _ in range(ATTEMPTS_MAX):
            try:
                return self._volume.attempt(function, *args, **kwargs)
            except (NodeMissing, DataMissing) as error:
                missing = error
            await self.load(missing)
        raise AssertionError("an operation that never finds what it loads")

    async def each(self, items: Iterator[Item], consume: Callable[[Item], object]) -> None:
        """Consume an iterator whose __next__ may raise NodeMissing or DataMissing and be called
        again then, in slices that leave the loop to others. consume must not raise."""
        monotonic = self._volume.clock.monotonic
        while True:
            slice_end = monotonic() + SLICE_S
            try:
                for item in items:
                    consume(item)
                    if monotonic() > slice_end:
                        break
                else:
                    return
            except (NodeMissing, DataMissing) as error:
                missing: NodeMissing | DataMissing = error
            else:
                await trio.lowlevel.checkpoint()
                continue
            await self.load(missing)

    async def load(self, missing: NodeMissing | DataMissing) -> None:
        """Get it into memory. Errors: device.io, volume.node_corrupt, volume.data_corrupt ..."""
        if isinstance(missing, DataMissing):
            await self._load(missing)
            return
        key = (missing.pointer.tree, missing.pointer.address)
        other = self._under_way.get(key)
        if other is not None:
            # Somebody loads this node already. If that fails, the next attempt finds it out.
            await other.wait()
            return
        done = self._under_way[key] = trio.Event()
        try:
            await self._load(missing)
        finally:
            del self._under_way[key]
            done.set()

    async def _load(self, missing: NodeMissing | DataMissing) -> None:
        try:
            load = self._volume.begin_load(missing)
            try:
                if not load.attempt():
                    await self._workers.load(load.execute)
            finally:
                self._volume.end_load(load)
        except AffsError as error:
            if self._is_news(error):
                self._tell(error, await self._named(error, missing))
            raise

    async def _named(self, error: AffsError, missing: NodeMissing | DataMissing) -> Plain:
        """The block, and of data path and state; the operation that met it keeps its tree open."""
        if isinstance(missing, NodeMissing):
            return {"block": address_text(missing.pointer)}
        details = error.details
        if "object" not in details:
            return {}
        named = {"block": f"{details['segment']}:{details['block']}"}
        if details["object"]:
            named.update(await self._names(self, missing.tree, details["object"]))
        return named

    def report(self, error: AffsError) -> None:
        """Log damage and device failures, and tell whoever watches; the same one not too often."""
        if self._is_news(error):
            self._tell(error, {})

    def _is_news(self, error: AffsError) -> bool:
        if error.category not in (Category.CORRUPT, Category.IO):
            return False
        now = self._volume.clock.monotonic()
        key = f"{error.code} {error.message}"
        if now - self._reported.get(key, -REPORT_EVERY_S) < REPORT_EVERY_S:
            return False
        if len(self._reported) >= REPORTS_KEPT_MAX:
            self._reported.clear()
        self._reported[key] = now
        return True

    def _tell(self, error: AffsError, names: Plain) -> None:
        _log.error("%s: %s", error.code, error.message, extra={"fields": names})
        kind = "corruption" if error.category is Category.CORRUPT else "degraded"
        self._events.publish(
            kind, code=error.code, message=error.message, details=error.details, **names
        )


Names = Callable[[Loader, Tree, int], Awaitable[Plain]]
