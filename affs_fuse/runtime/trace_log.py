"""Entries of the operation log that are written in the turn of a change of records, with traces for
an undo beside them.

Invariant: a change, its entry and its traces are in one commit.
"""

import logging

from affs_fuse.errors import AffsError, Category
from affs_fuse.runtime.operation_entries import append_entry
from affs_fuse.runtime.ports import Logged, Plain
from affs_fuse.runtime.record_reversal import Trace, pack_traces, unpack_traces
from affs_fuse.volume.volume import Volume

__all__ = ["TraceLog"]

_log = logging.getLogger("affs.engine")


class TraceLog:
    """Loop thread only."""

    def __init__(self, volume: Volume) -> None:
        self._volume = volume

    @property
    def bytes_max(self) -> int:
        """Of the traces of one operation."""
        return self._volume.log.beside_max

    def put(
        self, logged: Logged, result: Plain, before: Plain, after: Plain,
        traces: list[Trace] | None,
    ) -> None:  # fmt: skip
        """before, after: sides of the effect. traces: None where it cannot be taken back. What
        cannot be written does not make the change a failure."""
        packed = pack_traces(traces) if traces is not None else b""
        more: Plain = {}
        if traces is None or len(packed) > self.bytes_max:
            packed, more = b"", {"too_large": True}
        entry = {**logged(result, before, after), **more}
        try:
            append_entry(self._volume, entry, packed, seq=self._volume.generation)
        except AffsError as problem:
            _log.warning("the operation log took no entry: %s", problem, extra={"fields": entry})

    def traces(self, number: int) -> list[Trace]:
        """Of an operation. conflict: undo.impossible, where they are not there any more."""
        traces = unpack_traces(self._volume.log.beside(number))
        if traces is None:
            raise AffsError(
                "undo.impossible", Category.CONFLICT,
                f"what operation {number} took away is kept no longer",
                hint="a rollback, or the kept states that have it, bring it back;"
                " `undo --operation N` undoes another one",
                details={"operation": number},
            )  # fmt: skip
        return traces
