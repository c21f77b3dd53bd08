"""Evolving a collection: another schema, and its records migrated to it.

docs/specs/Collections.md, "Evolution". What fits one batch happens in one step, schema and records
together. More than that takes several: first the declaration says that the collection evolves, and
to what; then the records follow, batch by batch; last the new schema alone is declared. Invariants:
- All records are looked at before the first is changed; what cannot be migrated is said then.
- A collection that is on the way says so in its declaration. From its beginning, commands write
  records that are migrated already, so what is left only grows smaller, but for the mount.
- A migration of what is migrated changes nothing: an interrupted evolution is gone through again.
"""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial

from affs_fuse.auv import Value, equal
from affs_fuse.errors import AffsError, Category
from affs_fuse.posix.batches import Declare, Replace, Seen, Step, StepError
from affs_fuse.posix.declarations import Declaration, packed
from affs_fuse.posix.files_by_path import FilesByPath
from affs_fuse.query.opening import path_error
from affs_fuse.query.paths import path_named, path_text
from affs_fuse.query.schema_changes import Evolution, parse_evolution
from affs_fuse.runtime.asker import Asker
from affs_fuse.runtime.collection_reading import CollectionReading, not_declared
from affs_fuse.runtime.collection_survey import Counts, Judged, Survey
from affs_fuse.runtime.collection_verbs import (
    EXAMPLES_MAX,
    CollectionVerbs,
    Examples,
    Standing,
    basis_of,
    changed,
    demand_settled,
    demand_valid,
)
from affs_fuse.runtime.collections_port import Logged, Progress
from affs_fuse.runtime.evolution_undo import EvolutionUndo, row_of, trace_of_step
from affs_fuse.runtime.expectation import Basis, demand
from affs_fuse.runtime.policy import Identity
from affs_fuse.runtime.ports import Plain
from affs_fuse.runtime.queries import credentials_of
from affs_fuse.runtime.record_reversal import Trace
from affs_fuse.runtime.record_texts import changed_aside
from affs_fuse.runtime.records import ATTEMPTS_MAX, BATCH_BYTES_MAX, BATCH_MAX, busy
from affs_fuse.runtime.steps import Journal, Steps
from affs_fuse.runtime.trace_log import TraceLog

__all__ = ["CollectionEvolution"]

SWEEP_RECORDS = 200
"""In one of several batches: a small volume has room for so many, and the loop goes on."""

PASSES_MAX = 20
STRICT_PASSES = 3
"""After so many, names that come by the mount at the very end are left to `check`."""


@dataclass(slots=True)
class _Batch:
    """Records to be written anew. count, size: of all that were offered; steps, traces: of them the
    first, as many as one batch may have."""

    steps: list[Step] = field(default_factory=list)
    traces: list[Trace] = field(default_factory=list)
    count: int = 0
    size: int = 0

    @property
    def fits(self) -> bool:
        return self.count <= BATCH_MAX - 1 and self.size <= BATCH_BYTES_MAX

    @property
    def full(self) -> bool:
        return len(self.steps) >= SWEEP_RECORDS or self.size > BATCH_BYTES_MAX // 2

    def add(self, step: Replace, before: bytes) -> None:
        self.count += 1
        self.size += len(step.data)
        if self.fits:
            self.steps.append(step)
            self.traces.append(trace_of_step(step, before))


class CollectionEvolution:
    """Loop thread only."""

    def __init__(
        self, files: FilesByPath, verbs: CollectionVerbs, steps: Steps, reading: CollectionReading,
        log: TraceLog,
    ) -> None:  # fmt: skip
        self._undo = EvolutionUndo(files, steps, log)
        self._verbs = verbs
        self._steps = steps
        self._reading = reading

    async def evolve(
        self, path: str, words: Sequence[Value], asker: Asker, progress: Progress, *,
        tolerate: bool = False, dry_run: bool = False, expect: Basis = None,
        logged: Logged | None = None,
    ) -> Plain:  # fmt: skip
        """words: as parse_evolution takes. logged: for an entry, if records change. tolerate:
        records that cannot be migrated stay as they are. As `declare`, and changed (count of
        records), changes (the first: path, before, after), steps (how many batches). Errors:
        collection.*, record.*"""
        for _ in range(ATTEMPTS_MAX):
            standing = await self._verbs.standing(path, asker.identity)
            demand_settled(standing)
            if standing.collection is None or standing.collection.schema is None:
                raise not_declared(standing.shown)
            evolution = parse_evolution(standing.collection.schema, list(words))
            answer, batch, counts, examples = await self._look(standing, evolution, asker)
            basis = basis_of(standing, examples)
            if dry_run:
                return {**answer, "basis": basis}
            demand(expect, basis, "evolution")
            demand_valid(standing, counts, examples, tolerate=tolerate)
            if batch.fits:
                declaration = standing.with_schema(evolution.schema.value)
                journal = None
                if batch.steps and logged is not None:
                    journal = self._undo.journal(standing, declaration, batch.traces, logged)
                try:
                    if await self._carry_out(
                        standing, declaration, batch.steps, asker.identity, journal=journal
                    ):
                        return answer
                    continue
                except AffsError as error:
                    if error.code != "volume.no_space" or batch.count <= SWEEP_RECORDS:
                        raise
            begun = {**standing.declaration, "evolving": list(evolution.words)}
            journal = None
            if logged is not None:
                journal = self._undo.journal(standing, begun, None, logged)
            if await self._carry_out(standing, begun, [], asker.identity, journal=journal):
                await self.resume(path, asker, progress)
                return answer
        raise busy()

    async def take_back(
        self, number: int, was: Sequence[Sequence[Value]], will: Sequence[Sequence[Value]],
        identity: Identity, logged: Logged,
    ) -> list[Plain]:  # fmt: skip
        """As CollectionsPort says."""
        traces = self._undo.traces(number)
        for _ in range(ATTEMPTS_MAX):
            standing = await self._verbs.standing_as(was[0], identity)
            declaration = _declaration_of(will[0])
            steps: list[Step] = []
            back: list[Trace] = []
            for trace in traces:
                step, before = await self._undo.former(trace, identity, number)
                steps.append(step)
                back.append(trace_of_step(step, before))
            journal = self._undo.journal(standing, declaration, back, logged)
            if await self._carry_out(standing, declaration, steps, identity, journal=journal):
                return [row_of(trace) for trace in back]
        raise busy()

    async def resume(self, path: str, asker: Asker, progress: Progress) -> Plain:
        """Bring an evolution to its end. path, id, changed, schema. Errors: collection.settled,
        collection.not_found ..."""
        count = 0
        for attempt in range(PASSES_MAX):
            standing = await self._verbs.standing(path, asker.identity)
            collection = standing.collection
            if collection is None or collection.schema is None:
                raise not_declared(standing.shown)
            evolution = collection.evolution
            if evolution is None:
                raise AffsError(
                    "collection.settled", Category.CONFLICT,
                    f"{standing.shown} is not on the way to another schema",
                    details={"path": standing.shown},
                )  # fmt: skip
            done = await self._pass(standing, evolution, asker, progress)
            count += done
            if done:
                continue
            if attempt >= STRICT_PASSES:
                standing = await self._verbs.standing(path, asker.identity)
            declaration = standing.with_schema(evolution.schema.value)
            if await self._carry_out(standing, declaration, [], asker.identity, held=False):
                return {
                    "path": standing.shown, "id": standing.object_id, "changed": count,
                    "schema": evolution.schema.value,
                }  # fmt: skip
        raise busy()

    # ---- looking ----

    @asynccontextmanager
    async def _survey(
        self, standing: Standing, evolution: Evolution, asker: Asker
    ) -> AsyncIterator[Survey]:
        await self._verbs.fetch(standing.seen.number)
        async with self._reading.open(asker) as reader:
            directory = await self._reading.directory(reader, standing.shown)
            async with self._reading.survey(
                asker, reader, directory, evolution.schema, evolution.migrated
            ) as survey:
                yield survey

    async def _look(
        self, standing: Standing, evolution: Evolution, asker: Asker
    ) -> tuple[Plain, _Batch, Counts, Examples]:
        batch, examples = _Batch(), Examples()
        shown: list[Plain] = []
        async with self._survey(standing, evolution, asker) as survey:
            while (judged := await survey.next()) is not None:
                examples.add(judged)
                step = await _replacement(standing, judged)
                if step is None:
                    continue
                batch.add(step, judged.text)
                if len(shown) < EXAMPLES_MAX:
                    path = path_text(judged.entry.path)
                    shown.append({"path": path, "before": judged.before, "after": judged.after})
        answer = {
            "path": standing.shown, "id": standing.object_id, **survey.counts.to_value(),
            "examples": examples.first, "schema": evolution.schema.value, "changed": batch.count,
            "changes": shown, "in_one_step": batch.fits,
            "declared": standing.with_schema(evolution.schema.value),
            "before": standing.declaration,
        }  # fmt: skip
        return answer, batch, survey.counts, examples

    # ---- changing ----

    async def _carry_out(
        self, standing: Standing, declaration: Declaration, steps: Sequence[Step],
        identity: Identity, *, held: bool = True, journal: Journal | None = None,
    ) -> bool:  # fmt: skip
        """The declaration and these records in one step; whether all was still as it stood. held:
        also if a command changed a record there, it is not."""
        data = packed(declaration) if declaration else b""
        whole = [Declare(standing.parts, data, standing.seen), *steps]
        return await self._apply(standing, whole, identity, held=held, journal=journal) is None

    async def _apply(
        self, standing: Standing, steps: Sequence[Step], identity: Identity, *, held: bool,
        journal: Journal | None = None,
    ) -> int | None:  # fmt: skip
        """None, or which of the steps was not as it was seen. Errors: record.denied, volume.*"""
        guard = partial(self._verbs.guard, standing, held=held)
        try:
            await self._steps.carry_out(
                steps, credentials_of(identity), guard, journal=journal
            )
        except StepError as error:
            if not error.changed:
                shown = path_text(b"/" + b"/".join(steps[error.index].path))
                raise path_error(error.error, shown) from None
            return error.index
        return None

    async def _pass(
        self, standing: Standing, evolution: Evolution, asker: Asker, progress: Progress
    ) -> int:
        """Migrate what is left; how many records there were. Some of them may be left again."""
        found, batch = 0, _Batch()
        total = standing.seen.inode.size
        async with self._survey(standing, evolution, asker) as survey:
            while (judged := await survey.next()) is not None:
                step = await _replacement(standing, judged)
                if step is not None:
                    found += 1
                    batch.add(step, judged.text)
                if batch.full:
                    await self._migrate(standing, batch.steps, asker)
                    await progress(survey.counts.records, total)
                    batch = _Batch()
        await self._migrate(standing, batch.steps, asker)
        return found

    async def _migrate(self, standing: Standing, steps: list[Step], asker: Asker) -> None:
        """One batch; records that somebody changed since wait for the next pass. Errors:
        collection.changed, if it is on the way no longer."""
        while steps:
            stale = await self._apply(standing, steps, asker.identity, held=False)
            if stale is None:
                return
            now = await self._verbs.standing(standing.shown, asker.identity)
            if now.declaration is not standing.declaration:
                raise changed(standing.shown)
            del steps[stale]


def _declaration_of(side: Sequence[Value]) -> Declaration:
    """Of a directory in an effect: [id, declaration or None]."""
    declaration = side[1]
    return declaration if isinstance(declaration, dict) else {}


async def _replacement(standing: Standing, judged: Judged) -> Replace | None:
    """What a record becomes; None where it stays. Errors: record.too_large."""
    if judged.findings or equal(judged.before, judged.after):
        return None
    entry = judged.entry
    path = path_named(entry.path)
    text = await changed_aside(judged.text, judged.before, judged.after, path)
    return Replace((*standing.parts, entry.name), text, Seen(entry.number, entry.inode))
