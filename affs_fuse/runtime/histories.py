"""What became of one object from kept state to kept state: `history` and `blame`.

docs/specs/Provenance.md. Invariants: states are opened one after the other, and each is held while
it is looked at; an object is followed by its id, through renames; nobody sees more of a state than
through a view of it.
"""

import base64
import stat
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from affs_fuse.auv import TextError, Value, equal, parse_quick
from affs_fuse.errors import AffsError, Category
from affs_fuse.posix.permissions import READ
from affs_fuse.posix.state_reader import StateReader
from affs_fuse.query.opening import find_file
from affs_fuse.query.paths import path_text
from affs_fuse.query.rows import Entry
from affs_fuse.query.sources import RECORD_BYTES_MAX, record_problem, record_too_large
from affs_fuse.runtime.describe import state_dict
from affs_fuse.runtime.file_looks import Look, changes_between, look_at
from affs_fuse.runtime.loader import Loader
from affs_fuse.runtime.opened_states import WORKING, OpenedStates
from affs_fuse.runtime.policy import Identity
from affs_fuse.runtime.queries import credentials_of
from affs_fuse.runtime.record_leaves import leaves
from affs_fuse.runtime.session import Session
from affs_fuse.volume.authors import Author
from affs_fuse.volume.states import KeptState
from affs_fuse.volume.volume import Volume

__all__ = ["Histories"]

Plain = dict[str, Any]


@dataclass(frozen=True, slots=True)
class _Step:
    """A state of the lineage. state None: the working one."""

    state: KeptState | None

    @property
    def text(self) -> str:
        return WORKING if self.state is None else self.state.hex_id


class Histories:
    """Loop thread only."""

    def __init__(self, volume: Volume, loader: Loader, states: OpenedStates) -> None:
        self._volume = volume
        self._loader = loader
        self._states = states

    async def history(
        self, path: str, asker: Session, *, state: str | None, everything: bool
    ) -> AsyncGenerator[Plain, None]:
        """A row for each state in which the object changed, newest first; see ports.py. state: to
        begin with. everything: also states that the first one does not descend from."""
        first, identity = self._first(state), asker.identity
        found = await self._find(path, identity, first)
        pairs = self._pairs_of_all(first) if everything else self._pairs(first)
        looks: dict[int, Look | None] = {}
        for newer, older in pairs:
            key, below = _key(newer), _key(older)
            if key not in looks:
                looks[key] = await self._look(newer, identity, found, None)
            if below not in looks:
                looks[below] = await self._look(older, identity, found, looks[key])
            row = await self._row(newer, older, looks[key], looks[below], identity)
            if not everything:
                del looks[key]
            if row is not None:
                yield row

    async def blame(
        self, path: str, asker: Session, *, state: str | None
    ) -> AsyncGenerator[Plain, None]:
        """A row for each leaf of a record, in its order: place, value, and the step that gave it
        this value. Errors: record.*"""
        first, identity = self._first(state), asker.identity
        async with self._reader(first, identity) as reader:
            entry = await self._loader.run(find_file, reader, path)
            value = await self._record(reader, entry.number, entry.inode, entry.path)
        object_id = entry.inode.object_id
        known = dict(leaves(value))
        givers: dict[str, Plain] = {}
        open_places = {**known}
        newer, look = first, await self._look(first, identity, object_id, None)
        for step, older in self._pairs(first):
            assert step.text == newer.text
            earlier = await self._look(older, identity, object_id, look)
            same = look is not None and earlier is not None and look.data == earlier.data
            if not same:
                before = await self._leaves_in(older, identity, object_id) if earlier else {}
                gone = [place for place, one in open_places.items()
                        if place not in before or not equal(before[place], one)]  # fmt: skip
                if gone:
                    giver = self._giver(newer, look)
                    givers |= dict.fromkeys(gone, giver)
                    for place in gone:
                        del open_places[place]
            if not open_places or older is None:
                break
            newer, look = older, earlier
        for place, one in known.items():
            giver = givers.get(place) or self._giver(newer, look)
            yield {"place": place, "value": one, "id": object_id.hex(), **giver}

    # ---- states ----

    def _first(self, state: str | None) -> _Step:
        if state in (None, WORKING):
            return _Step(None)
        return _Step(self._volume.find_state(state))

    def _parent(self, step: _Step) -> _Step | None:
        """The nearest state in front of it that users see."""
        states = self._volume.states
        number = self._volume.working.ancestor if step.state is None else step.state.parent
        found = states.get(number)
        while found is not None and not found.listed:
            found = states.get(found.parent)
        return _Step(found) if found is not None else None

    def _pairs(self, first: _Step) -> "list[tuple[_Step, _Step | None]]":
        """(a state, its parent) from the first one on back."""
        pairs: list[tuple[_Step, _Step | None]] = []
        at: _Step | None = first
        while at is not None:
            parent = self._parent(at)
            pairs.append((at, parent))
            at = parent
        return pairs

    def _pairs_of_all(self, first: _Step) -> "list[tuple[_Step, _Step | None]]":
        """The same of every state that is not newer than the first one."""
        seq = first.state.seq if first.state is not None else None
        states = [one for one in reversed(self._volume.states.listed()) if seq in (None, one.seq)
                  or one.seq < (seq or 0)]  # fmt: skip
        steps = [_Step(one) for one in states]
        if first.state is None:
            steps.insert(0, first)
        return [(step, self._parent(step)) for step in steps]

    @asynccontextmanager
    async def _reader(self, step: _Step, identity: Identity) -> AsyncIterator[StateReader]:
        async with self._states.open(step.text) as tree:
            yield StateReader(self._volume, tree, credentials_of(identity))

    # ---- the object ----

    async def _find(self, path: str, identity: Identity, first: _Step) -> bytes:
        """The id of the object at a path; of one that is gone, of the one that was there last."""
        missing: AffsError | None = None
        for step, _ in self._pairs(first):
            async with self._reader(step, identity) as reader:
                try:
                    entry: Entry = await self._loader.run(find_file, reader, path)
                except AffsError as error:
                    if error.code != "record.not_found":
                        raise
                    missing = missing or error
                else:
                    return entry.inode.object_id
        assert missing is not None
        raise missing

    async def _look(
        self, step: _Step | None, identity: Identity, object_id: bytes, newer: Look | None
    ) -> Look | None:
        if step is None:
            return None
        async with self._reader(step, identity) as reader:
            return await look_at(self._loader, reader, object_id, newer)

    async def _row(
        self, newer: _Step, older: _Step | None, now: Look | None, before: Look | None,
        identity: Identity,
    ) -> Plain | None:  # fmt: skip
        if now is None and before is None:
            return None
        if now is not None and before is not None:
            what = changes_between(before, now)
            if not what:
                return None
            row = self._giver(newer, now) | {"kind": "changed", "what": what}
        elif now is not None:
            row = self._giver(newer, now) | {"kind": "created", "what": []}
            other = await self._other(older, identity, now)
            if other:
                row["replaced"] = other
        else:
            assert before is not None
            row = self._giver(newer, None) | {"kind": "removed", "what": []}
            other = await self._other(newer, identity, before)
            if other:
                row["replaced_by"] = other
        shown = now or before
        assert shown is not None
        row |= _path_fields("path", shown.path)
        if before is not None and now is not None and before.path != now.path:
            row |= _path_fields("from", before.path)
        row["id"] = shown.inode.object_id.hex()
        row["size"] = _size(now)
        row["size_before"] = _size(before)
        return row

    async def _other(self, step: _Step | None, identity: Identity, look: Look) -> str:
        """The id of another object that has this one's path in a state; "" without."""
        if step is None or not look.path:
            return ""
        async with self._reader(step, identity) as reader:
            try:
                found = await self._loader.run(find_file, reader, look.path.decode())
            except (AffsError, UnicodeDecodeError):
                return ""
        return found.inode.object_id.hex()

    def _giver(self, step: _Step, look: Look | None) -> Plain:
        """Which state, and who changed the object last before it. commit, by: None where nobody
        knows."""
        state = step.state
        author: Author | None = None
        commit = None
        if look is not None and look.inode.changed_commit:
            commit = look.inode.changed_commit
            author = self._volume.authors.get(look.inode.changed_by)
        return {
            "state": None if state is None else state_dict(self._volume, state),
            "time_ns": look.inode.ctime_ns if look is not None else None,
            "commit": commit,
            "by": None if author is None else author._asdict(),
        }

    # ---- records ----

    async def _leaves_in(
        self, step: _Step | None, identity: Identity, object_id: bytes
    ) -> dict[str, Value]:
        """Of the record as it is in a state; none where it is no record there."""
        if step is None:
            return {}
        async with self._reader(step, identity) as reader:
            found = await self._loader.run(reader.by_id, object_id)
            if found is None:
                return {}
            try:
                return dict(leaves(await self._record(reader, *found, b"")))
            except AffsError:
                return {}

    async def _record(
        self, reader: StateReader, number: int, inode: Any, path: bytes
    ) -> Value:
        """Errors: record.*"""
        text = path_text(path)
        if not stat.S_ISREG(inode.mode):
            raise AffsError(
                "record.no_file", Category.INVALID, f"{text} is no regular file, and so no record",
                details={"path": text},
            )  # fmt: skip
        if not await self._loader.run(reader.may, number, inode, READ):
            raise AffsError(
                "record.denied", Category.DENIED, f"{text} may not be read by this user",
                details={"path": text},
            )  # fmt: skip
        if inode.size > RECORD_BYTES_MAX:
            raise record_too_large(path, inode.size)
        data = await self._loader.run(reader.content, number, inode)
        try:
            return parse_quick(data)
        except TextError as error:
            raise record_problem(path, error) from None


def _key(step: _Step | None) -> int:
    if step is None:
        return -1
    return 0 if step.state is None else step.state.number


def _size(look: Look | None) -> int | None:
    return None if look is None else look.inode.size


def _path_fields(name: str, path: bytes) -> Plain:
    """The path for people, and its exact bytes where that is not all of it."""
    fields: Plain = {name: path_text(path)}
    try:
        path.decode()
    except UnicodeDecodeError:
        fields[f"{name}_b64"] = base64.b64encode(path).decode()
    return fields
