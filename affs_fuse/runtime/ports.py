"""What the commands ask of the engine, as a typing.Protocol; they know no more of it than this.

Values are plain: None, bool, int (within Int64), str, bytes, list, dict with str keys. Text is
valid UTF-8. Every call runs on the loop's thread and may be awaited by many tasks at once.

Cancellation: a call that is cancelled either had no effect, or goes on shielded past its point of
no return and then returns as if nothing had happened. It never leaves half of a verb behind.

Failures are `AffsError`; the codes that the commands rely on are named with each call.

State dict (docs/specs/ControlProtocol.md): id (32 hex digits), number, seq, label ("" when it has
none), author, message, time_ns, parent (id or None), published (bool), undo (bool: `rollback
--undo` returns to it), pins (int), flags (list of "automatic", "hidden", "doomed"), objects
(count), bytes (in use on the volume when it was made), reclaim_ns (of a deleted one that can be
restored: until when; else None).

Change dict: kind ("added" | "removed" | "changed" | "renamed"), path (for people; with path_b64,
the exact bytes in base64, when the name is not UTF-8), from and from_b64 likewise for what was
renamed, what (list of "data", "meta", "xattr", "collection"), bytes (growth, negative when it
shrank), type ("file" | "directory" | "symlink" | "other").
"""

from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from typing import Any, Protocol

from affs_fuse.auv import Value
from affs_fuse.runtime.asker import Asker
from affs_fuse.runtime.collections_port import CollectionsPort, Logged
from affs_fuse.runtime.expectation import Basis
from affs_fuse.runtime.import_order import ImportOrder
from affs_fuse.runtime.indexes_port import IndexesPort
from affs_fuse.runtime.inputs import Input
from affs_fuse.runtime.record_operations import Operation
from affs_fuse.runtime.session import Session
from affs_fuse.runtime.settings_port import SettingKey, SettingsPort
from affs_fuse.volume.authors import Author

__all__ = ["Emit", "EnginePort", "Listener", "Logged", "Plain", "SettingKey", "SettingsPort"]

Plain = dict[str, Any]
"""An object of plain values, keyed as the docstring of the call that gives it says."""

Emit = Callable[[Value], Awaitable[None]]
"""Takes one row; waits until there is room for the next."""


class Listener(Protocol):
    """Whoever is told while something is at work; both wait until there is room for more."""

    async def item(self, value: Value) -> None: ...

    async def progress(self, done: int, total: int | None, unit: str, note: str = "") -> None: ...


class EnginePort(Protocol):
    """The engine as seen by commands/. Every key below is there unless it is said to be
    optional."""

    @property
    def settings(self) -> SettingsPort: ...

    @property
    def indexes(self) -> IndexesPort: ...

    @property
    def collections(self) -> CollectionsPort: ...

    @property
    def seq(self) -> int:
        """Of the last durable commit."""

    @property
    def author(self) -> Callable[[Author], int]:
        """The number of an author, for `acting`."""

    async def status(self) -> Plain:
        """uuid, label, backends (list of paths), mount (path or ""; these two as
        `os.fsdecode` gives them), read_only (bool), read_only_reason, waits_for_room (why a
        commit waits for the host's, or ""), seq and commit_time_ns of the last durable commit,
        dirty (bool: the working state differs from it), dirty_bytes, published (state dict or
        None), base (state that the working state descends from, or None), states (count of kept
        ones), objects,
        open_files, holds (count of those of `hold`), space (as `space`), jobs (list of {name, done,
        total, unit}), verified (oldest_ns, segments, never, damage: as `verified`), degraded
        (bool), uptime_s, started_ns, version."""

    async def space(self) -> Plain:
        """In bytes: total, used, free, available (what an ordinary writer can still get), live
        (held by the working state) and kept (by kept states alone), counted by the differences
        between states; in `status` both are None where they were not asked for since the last
        change; reclaimable (freed, but not yet usable again), reserved; and objects, objects_free
        (counts)."""

    async def frees(self, state: str) -> int:
        """Bytes that deleting this state alone would free now; 0 for one from which several
        descend. Errors: as resolve_state."""

    async def commit(self, message: str) -> Plain:
        """Makes the working state durable. seq, time_ns, changed (bool: False when there was
        nothing to do)."""

    async def checkpoint(self, label: str, message: str, author: str) -> Plain:
        """Commits and keeps the cut. The new state dict. exists: state.label_taken."""

    async def states(self, include_hidden: bool = False) -> list[Plain]:
        """Kept states in ascending order of seq."""

    async def resolve_state(self, text: str) -> Plain:
        """The state that the text names: an id or an unambiguous prefix of at least 4 digits, a
        label, `published`, `published~N`, `@` (newest kept), `@~N`, `#17` (by seq).
        not_found: state.not_found, state.none_published; invalid: state.ambiguous."""

    async def publish(
        self,
        state: str | None,
        message: str,
        author: str,
        *,
        dry_run: bool = False,
        expect: Basis = None,
    ) -> Plain:
        """Publishes an existing state, or (None) the working state in one atomic step. The state
        dict, and previous (id or None). Dry run, nothing changed: state (None: the working one) and
        previous (state dicts or None), basis. conflict: plan.stale."""

    async def rollback(
        self,
        state: str | None,
        *,
        undo: bool = False,
        discard: bool = False,
        dry_run: bool = False,
        force: bool = False,
        author: str = "",
        expect: Basis = None,
    ) -> Plain:
        """The working state becomes the target (None: the published one; undo: what the last
        rollback abandoned). Done: target (state dict), abandoned (state dict of what was kept, or
        None), left (id of the state that an undo goes to, None with discard), seq, added, removed,
        changed, renamed (counts of what differs between the state that was left, as it was sealed,
        and the target), stale_handles (count).
        Dry run, nothing changed: target, seq (of the working state that the plan is made on; it
        moves with every change of the namespace), the same counts, bytes, changes (first changes,
        at most 100 change dicts, as they would happen), open_files (list of {path, handles}),
        mounts_below (list of paths), basis.
        expect: the basis of a dry run. Unless the state that is left is exactly that one's, nothing
        happens (conflict: plan.stale); it is compared in the turn of the switch."""

    def diff(self, a: str | None, b: str | None, limit: int | None) -> AsyncGenerator[Plain, None]:
        """Change dicts from a to b, at most `limit`. a, b: as `resolve_state` takes, or `working`;
        None means `published` for a (the empty tree when nothing is) and `working` for b. The
        caller closes the generator (`contextlib.aclosing`); states are held no longer than that."""

    def verify(
        self, *, path: str, state: str | None, since: str | None, author: str,
        errors_only: bool, detach: bool, full_speed: bool,
    ) -> AsyncGenerator[Plain, None]:
        """Reads everything back from the medium, in the background: of the volume, of one state,
        of a path ("" for none) in a state (None: the working one), what is newer than a state, or
        (errors_only) where damage is known: what is sound there now is forgotten.
        Joins the one in work if it is of the same scope. Gives, any number of times, {damage:
        damage dict} and {progress: {done, total (0: not known), unit, note}}; last, {result:
        result dict}: with detach at once, without waiting for the end. Who stops following does
        not stop it.
        Damage dict: code (of a finding), message, path ("" where none has it), state (where it was
        found first, "" where it is in none), block, segment, run (number of the verification),
        found_ns; of data states (list of names of all that have it, "working" among them) and
        offset; of nodes paths, objects (first and last number).
        Result dict: number, scope ("volume" | "since" | "state" | "path" | "known"), path, state,
        outcome ("running" | "done" | "cancelled" | "failed"), code (of the failure), author,
        started_ns,
        ended_ns, seq (what is older was read), nodes, data_blocks, bytes, damage (count), unstable
        (reads that were good the second time), medium ("direct" | "dropped" | "memory").
        busy: verification.running; not_found: verification.path; unsupported:
        verification.not_owner."""

    async def cancel_verification(self) -> Plain:
        """Ends the one in work; its result dict. not_found: verification.not_running."""

    async def verified(self) -> Plain:
        """What verifications have found: oldest_ns (the oldest date at which a segment was found
        sound, None where none was), segments (in use), never (of them never found sound), damage
        (count), running (result dict with done, total, unit, note; or None), results (newest
        first), known (damage dicts)."""

    async def check_directory(self, path: str, asker: Session) -> None:
        """That path names a directory that the asker may enter. not_found: record.not_found;
        denied: record.denied; invalid: session.directory."""

    async def query(
        self, line: str, asker: Asker, emit: Emit, *, bare: bool = False
    ) -> Plain:
        """Gives each row of a query (docs/specs/QueryLanguage.md) to emit; bare: of records that
        nothing was selected of, the value alone. rows, files (looked at),
        refused (no records), denied (not readable for the asker), problems (of the first refused:
        code, message, path, line, column ...). query.*, record.*, state.*; denied: policy.role, for
        a kept state."""

    async def change_records(
        self, operations: Sequence[Operation], asker: Session, expect: Basis = None,
        logged: Logged | None = None,
    ) -> list[Plain]:  # fmt: skip
        """All of them in one step, or none; durable when it returns. logged: makes the entry for
        the operation log, which is in the same commit. One row for each: action,
        path, id, version; with update and erase, before; with move, from. record.*; conflict:
        plan.stale, if expect is no longer the basis; details.operation says which one."""

    async def plan_records(self, operations: Sequence[Operation], asker: Session) -> Plain:
        """changes (action, path, before, after, to), basis; nothing changed."""

    async def take_back_records(
        self, number: int, asker: Session, logged: Logged
    ) -> list[Plain]:
        """What an operation of the log did to records, undone: rows as of `change_records`.
        record.*; conflict: record.changed, where one is not as the operation left it;
        undo.impossible."""

    async def plan_taking_back(self, number: int, asker: Session) -> Plain:
        """As `plan_records`. Errors: as `take_back_records`."""

    def history(
        self, path: str, asker: Session, *, state: str | None, everything: bool
    ) -> AsyncGenerator[Plain, None]:
        """The changes of an object (path: or its id) from state to state, newest first
        (docs/specs/Provenance.md). state (state dict, None: the working one), time_ns, commit and
        by ({uid, kind, name}; None where nobody knows) of the last change before it, kind
        ("created" | "changed" | "removed"), what (list), path, from (of what was renamed), id,
        size, size_before, replaced and replaced_by (id of another object that had the path before,
        or has it afterwards). not_found: record.not_found, state.*"""

    def blame(self, path: str, asker: Session, *, state: str | None) -> AsyncGenerator[Plain, None]:
        """Of each leaf of a record: place, value, id (of the record), and as of `history` state,
        time_ns, commit, by. record.*, state.*"""

    async def import_records(
        self, order: ImportOrder, asker: Session, input: Input, listener: Listener,
        begin: Callable[[], Awaitable[None]], logged: Logged | None = None,
    ) -> Plain:  # fmt: skip
        """Makes records of all of an input (docs/specs/Transfer.md). begin: called when input is
        wanted. logged: as of `change_records`, for an entry at the end. To the listener go what was
        refused (record, line, column, code, message; name, text) and progress. records, created,
        replaced, skipped, refused (counts), resumed_at (records of before), dry_run, exit_status;
        the counts stand in the details of errors, too. import.*, record.*, query.*; input.*"""

    async def imports(self, asker: Session) -> list[Plain]:
        """Unfinished imports into directories within the asker's reach: path, damaged (bool; then
        no more), format, source, user, started_ns, offset, and the counts as above."""

    async def drop_import(self, path: str, asker: Session) -> Plain:
        """path. not_found: import.nothing; busy: import.running."""

    async def explain(
        self, line: str, asker: Asker, *, analyze: bool
    ) -> tuple[list[Plain], Plain]:
        """The steps of a query: step, text, rows (estimate, or None), inside ("join", optional);
        with analyze, which runs it, in and out (counts). And a summary: files, and with analyze as
        of `query`, seconds, memory_bytes (most that was kept), slices. Errors: as `query`."""

    async def delete_state(
        self, state: str, *, grace_s: int = 0, dry_run: bool = False, expect: Basis = None
    ) -> Plain:
        """Done: state (its dict as it was), freed_bytes (now or soon; None while not known),
        waits_for (list of ids of states that keep its blocks), reclaim_ns (until when it can be
        restored, None: not at all). Dry run, nothing changed: state, descendants (list of ids),
        frees_bytes, readers (how many views, queries and holds keep its blocks until they end),
        beside (id, or `working`: what to compare it with, to see what it alone has), basis.
        conflict: state.pinned, state.published; plan.stale, if expect is no longer the basis."""

    async def restore_state(self, state: str) -> Plain:
        """Brings back a deleted state that is still whole, by its id or label. The state dict.
        not_found: state.not_found, state.reclaimed; exists: state.label_taken."""

    async def change_states(self, before: Plain, after: Plain, *, grace_s: int) -> None:
        """The keys `published`, `kept` and `pins` of an effect (effects.py): what is as before
        says becomes as after says, all in one commit. grace_s: of what is deleted. conflict:
        state.changed, state.pinned, state.published, state.not_pinned; not_found, exists: as
        `restore_state`."""

    async def expire(
        self, choose: Callable[[list[Plain]], list[Plain]], grace_s: int, *, expect: Basis = None
    ) -> list[Plain]:
        """Deletes what choose() gives of all listed states (state dicts by rising seq), in one
        commit; those. conflict: plan.stale, unless expect is the list of their ids."""

    async def pin(self, state: str) -> Plain:
        """One pin more. The state dict."""

    async def unpin(self, state: str, *, dry_run: bool = False, expect: Basis = None) -> Plain:
        """One pin less. The state dict. Dry run: state (its dict), basis. conflict:
        state.not_pinned, plan.stale."""

    async def hold(self, state: str, lease_s: int) -> Plain:
        """Keep the state's blocks for lease_s seconds. hold (id), state (id), number, seq, lease_s,
        published (id of the published state, or None). busy: hold.too_many; unsupported:
        hold.not_owner."""

    async def renew_hold(self, hold_id: str, lease_s: int) -> Plain:
        """As `hold`, from now on. not_found: hold.not_found."""

    async def release_hold(self, hold_id: str) -> Plain:
        """As `hold`, with a lease_s of 0. not_found: hold.not_found."""

    async def operations(self, limit: int, before: int | None = None) -> list[Plain]:
        """The newest entries of the volume's operation log (below number `before`), in ascending
        order; entries as given to `record_operation`, with number (rising by 1) and seq (of the
        last durable commit when the entry was made) added. What was too large was left out: line
        is cut, result empty; too_large (True): before and after are empty, too."""

    async def record_operation(self, entry: Plain) -> int:
        """Appends to the operation log, which no rollback touches; the entry's number. Keys:
        time_ns, command, line, uid, user, role, session, trace, ok (bool), error (code or ""),
        result (small object), begun_seq (as seq, when the command began), before and after (sides
        of an effect, or empty), and undoes (number) where the operation reverses another. An entry
        with an effect is durable when this returns."""
