"""What an evolution in one step leaves for its undo, and the records as they were before
(collection_evolution.py)."""

from collections.abc import Sequence

from affs_fuse.errors import AffsError
from affs_fuse.posix.batches import Changed, Replace
from affs_fuse.posix.declarations import Declaration
from affs_fuse.posix.files_by_path import FilesByPath
from affs_fuse.query.opening import path_error
from affs_fuse.query.paths import path_fields, path_named
from affs_fuse.query.rows import content_version
from affs_fuse.runtime.collection_verbs import Standing
from affs_fuse.runtime.policy import Identity
from affs_fuse.runtime.ports import Logged, Plain
from affs_fuse.runtime.queries import credentials_of
from affs_fuse.runtime.record_operations import Operation
from affs_fuse.runtime.record_reversal import Trace, size_of
from affs_fuse.runtime.record_verbs import changed_since
from affs_fuse.runtime.records import SPARE_BYTES, demand_same, no_object
from affs_fuse.runtime.steps import Journal, Steps
from affs_fuse.runtime.trace_log import TraceLog

__all__ = ["EvolutionUndo", "row_of", "trace_of_step"]


def trace_of_step(step: Replace, before: bytes) -> Trace:
    """As record_reversal.py says. before: the content."""
    return {
        "did": "update", "path": b"/" + b"/".join(step.path), "id": step.seen.inode.object_id,
        "version": content_version(step.data), "before": before,
    }  # fmt: skip


def row_of(trace: Trace) -> Plain:
    """Of a record that was changed, for people."""
    return {
        "action": "updated", **path_fields(trace["path"]), "id": trace["id"].hex(),
        "version": trace["version"],
    }  # fmt: skip


class EvolutionUndo:
    """Loop thread only."""

    def __init__(self, files: FilesByPath, steps: Steps, log: TraceLog) -> None:
        self._files = files
        self._steps = steps
        self._log = log

    def traces(self, number: int) -> list[Trace]:
        """Errors: undo.impossible."""
        return self._log.traces(number)

    def journal(
        self, standing: Standing, declaration: Declaration, traces: list[Trace] | None,
        logged: Logged,
    ) -> Journal:  # fmt: skip
        """Of a step that declares this, and changes these records. traces: None where it cannot be
        taken back."""
        size = size_of([trace["before"] for trace in traces or ()], ())
        kept = traces if size <= self._log.bytes_max else None
        count = len(traces or ())
        was = {"collections": [[standing.object_id, standing.declaration or None]]}
        will = {"collections": [[standing.object_id, declaration or None]]}

        def write(changed: Sequence[Changed], whole: bool) -> None:
            self._log.put(
                logged, {"path": standing.shown, "changed": count}, {**was, "records": count},
                {**will, "records": count}, kept if whole else None,
            )  # fmt: skip

        return Journal(1 + min(size, self._log.bytes_max) // SPARE_BYTES, write)

    async def former(
        self, trace: Trace, identity: Identity, number: int
    ) -> tuple[Replace, bytes]:
        """The step that makes a record what it was, and what it is. number: of the operation.
        conflict: record.changed."""
        run, credentials = self._steps.run, credentials_of(identity)
        shown = path_named(trace["path"])
        try:
            path = await run(self._files.path_of, trace["id"], credentials)
            if path is None:
                raise no_object(trace["id"].hex())
            seen, data = await self._steps.look(path, shown, credentials)
            expected = Operation("rewrite", shown, if_version=trace["version"])
            demand_same(expected, seen, content_version(data))
        except OSError as error:
            raise changed_since(path_error(error, shown), number) from None
        except AffsError as error:
            raise changed_since(error, number) from None
        return Replace(path, trace["before"], seen), data
