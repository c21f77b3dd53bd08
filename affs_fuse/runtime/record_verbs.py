"""Changes of records as commands ask for them: done, planned, and taken back.

Invariant: a change, its entry in the operation log and what an undo of it needs are in one commit.
"""

import logging
from collections.abc import Sequence
from functools import partial

from affs_fuse.errors import AffsError, Category
from affs_fuse.runtime.expectation import Basis
from affs_fuse.runtime.operation_entries import append_entry
from affs_fuse.runtime.ports import Logged, Plain
from affs_fuse.runtime.record_operations import Operation
from affs_fuse.runtime.record_reversal import Trace, operations_of, pack_traces, unpack_traces
from affs_fuse.runtime.records import Records
from affs_fuse.runtime.session import Session
from affs_fuse.volume.volume import Volume

__all__ = ["RecordVerbs"]

_log = logging.getLogger("affs.engine")

CHANGED_SINCE = ("record.not_found", "record.exists", "record.version", "record.no_file")
"""What a change of a record fails with that is taken back, where it is not as it was left."""


class RecordVerbs:
    """Implements the calls of EnginePort. Loop thread only."""

    def __init__(self, volume: Volume, records: Records) -> None:
        self._volume = volume
        self._records = records

    async def change(
        self, operations: Sequence[Operation], asker: Session, expect: Basis = None,
        logged: Logged | None = None,
    ) -> list[Plain]:  # fmt: skip
        write = partial(self._write, logged) if logged is not None else None
        return await self._records.apply(operations, asker.identity, expect, write=write)

    async def plan(self, operations: Sequence[Operation], asker: Session) -> Plain:
        return await self._records.plan(operations, asker.identity)

    async def take_back(self, number: int, asker: Session, logged: Logged) -> list[Plain]:
        operations = self._inverse(number)
        try:
            return await self.change(operations, asker, None, logged)
        except AffsError as error:
            raise _told(error, number) from None

    async def plan_taking_back(self, number: int, asker: Session) -> Plain:
        operations = self._inverse(number)
        try:
            return await self.plan(operations, asker)
        except AffsError as error:
            raise _told(error, number) from None

    def _inverse(self, number: int) -> list[Operation]:
        traces = unpack_traces(self._volume.log.beside(number))
        if traces is None:
            raise AffsError(
                "undo.impossible", Category.CONFLICT,
                f"what operation {number} took away is kept no longer",
                hint="a rollback, or the kept states that have it, bring it back;"
                " `undo --operation N` undoes another one",
                details={"operation": number},
            )  # fmt: skip
        return operations_of(traces)

    def _write(self, logged: Logged, rows: list[Plain], traces: list[Trace] | None) -> None:
        self.log(logged, _result(rows), len(rows), traces)

    def log(self, logged: Logged, result: Plain, changed: int, traces: list[Trace] | None) -> None:
        """An entry, in the turn of the change. traces: None where it cannot be taken back. What
        cannot be written does not make the change a failure."""
        count = {"records": changed}
        packed = pack_traces(traces) if traces is not None else b""
        more: Plain = {}
        if traces is None or len(packed) > self._volume.log.beside_max:
            packed, more = b"", {"too_large": True}
        entry = {**logged(result, count, count), **more}
        try:
            append_entry(self._volume, entry, packed, seq=self._volume.generation)
        except AffsError as problem:
            _log.warning("the operation log took no entry: %s", problem, extra={"fields": entry})


def _result(rows: list[Plain]) -> Plain:
    """Of an entry: small."""
    if len(rows) != 1:
        return {"count": len(rows)}
    return {key: value for key, value in rows[0].items() if key != "before"}


def _told(error: AffsError, number: int) -> AffsError:
    if error.code not in CHANGED_SINCE:
        return error
    return AffsError(
        "record.changed", Category.CONFLICT,
        f"operation {number} cannot be taken back: {error.message}",
        hint="the record was changed since; `log` shows by which command, `history` by whom",
        details={**error.details, "operation": number},
    )  # fmt: skip
