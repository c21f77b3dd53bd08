"""What an import leaves for its undo: traces of all its batches, put into the operation log at its
end, as one operation.

Memory is bounded: an import that made too many changes, or too large ones, leaves none, and its
entry says so. So does one that went on from an earlier try, of which nobody has the traces.
"""

from collections.abc import Callable

from affs_fuse.runtime.ports import Plain
from affs_fuse.runtime.record_reversal import Trace, size_of
from affs_fuse.runtime.records import BATCH_MAX, Write

__all__ = ["ImportTraces", "LogImport"]

LogImport = Callable[[Plain, int, list[Trace] | None], None]
"""Puts an entry into the log: result, count of changed records, traces (None: not to be undone)."""


class ImportTraces:
    """bytes_max: of all traces. log: None for who logs nothing. whole: from the beginning on."""

    def __init__(self, bytes_max: int, log: LogImport | None, *, whole: bool) -> None:
        self._bytes_max = bytes_max
        self._log = log
        self._whole = whole
        self._traces: dict[bytes, Trace] = {}
        self._count = 0
        self.size = 0

    @property
    def write(self) -> Write | None:
        """Who takes the traces of the next batch; None where they are of no use any more, so that
        nobody makes them."""
        return self.take if self._whole else None

    def add(self, count: int) -> None:
        """So many records were changed."""
        self._count += count

    def take(self, rows: list[Plain], traces: list[Trace] | None) -> None:
        """A record that was changed before is taken back to what it was first."""
        for trace in traces or ():
            before = self._traces.get(trace["id"])
            if before is not None:
                before["version"] = trace["version"]
                continue
            self._traces[trace["id"]] = trace
            self.size += size_of([trace.get("before", b"")], ())
        fits = len(self._traces) <= BATCH_MAX and self.size <= self._bytes_max
        if traces is None or not fits:
            self._whole = False
            self._traces.clear()
            self.size = 0

    def finish(self, result: Plain, *, room: bool) -> None:
        """The import has come to its end, in this turn. room: for the traces."""
        if self._log is not None and self._count:
            whole = room and self._whole
            self._log(result, self._count, [*self._traces.values()] if whole else None)
