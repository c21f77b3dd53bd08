"""Changes of records as commands ask for them: done, planned, and taken back.
"""

from collections.abc import Sequence
from functools import partial

from affs_fuse.errors import AffsError, Category
from affs_fuse.runtime.expectation import Basis
from affs_fuse.runtime.ports import Logged, Plain
from affs_fuse.runtime.record_operations import Operation
from affs_fuse.runtime.record_reversal import Trace, operations_of
from affs_fuse.runtime.records import Records
from affs_fuse.runtime.session import Session
from affs_fuse.runtime.trace_log import TraceLog

__all__ = ["RecordVerbs", "changed_since"]

CHANGED_SINCE = ("record.not_found", "record.exists", "record.version", "record.no_file")
"""What a change of a record fails with that is taken back, where it is not as it was left."""


class RecordVerbs:
    """Implements the calls of EnginePort. Loop thread only."""

    def __init__(self, log: TraceLog, records: Records) -> None:
        self._log = log
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
            raise changed_since(error, number) from None

    async def plan_taking_back(self, number: int, asker: Session) -> Plain:
        operations = self._inverse(number)
        try:
            return await self.plan(operations, asker)
        except AffsError as error:
            raise changed_since(error, number) from None

    def _inverse(self, number: int) -> list[Operation]:
        return operations_of(self._log.traces(number))

    def _write(self, logged: Logged, rows: list[Plain], traces: list[Trace] | None) -> None:
        self.log(logged, _result(rows), len(rows), traces)

    def log(self, logged: Logged, result: Plain, changed: int, traces: list[Trace] | None) -> None:
        """As TraceLog.put."""
        count = {"records": changed}
        self._log.put(logged, result, count, count, traces)


def _result(rows: list[Plain]) -> Plain:
    """Of an entry: small."""
    if len(rows) != 1:
        return {"count": len(rows)}
    return {key: value for key, value in rows[0].items() if key != "before"}


def changed_since(error: AffsError, number: int) -> AffsError:
    """What an error means to who takes back an operation."""
    if error.code not in CHANGED_SINCE:
        return error
    return AffsError(
        "record.changed", Category.CONFLICT,
        f"operation {number} cannot be taken back: {error.message}",
        hint="the record was changed since; `log` shows by which command, `history` by whom",
        details={**error.details, "operation": number},
    )  # fmt: skip
