"""One verification of a volume that is in use: which trees, in which order, and where it is.

docs/internals/checking.md, "Online". Kept states are taken by rising seq, the working state last.
Of each only what was born after its parent is read: what is older is in the parent too (births only
grow, and what a state has dropped never comes back), and the parent has had its turn. Invariants:
- What was reachable when the verification began, and still is when it ends, has been read.
- Between slices nothing is held and nothing is believed: the trees are looked up anew, so states
  may be made, deleted, reclaimed and rolled back to meanwhile.
"""

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from affs_fuse.core.codec import Commit, Pointer
from affs_fuse.errors import AffsError, Category
from affs_fuse.volume.scrub import Damage, Memory, TreeScan
from affs_fuse.volume.scrub_indexes import WAITING_KEPT_MAX, DirectoryCheck, MetIndexes
from affs_fuse.volume.scrub_known import KnownDamage
from affs_fuse.volume.scrub_walk import LEVELS_KEPT_MAX, ObjectWalk
from affs_fuse.volume.states import KeptState
from affs_fuse.volume.verified import VerifiedStore
from affs_fuse.volume.verify_nodes import FIRST_KEY, LAST_KEY, Key
from affs_fuse.volume.volume import Volume

__all__ = ["WORKING", "Scope", "ScopeKind", "ScrubPass", "Totals"]

WORKING = 0
"""In the place of a state's number."""

_ANY_NUMBER = 1 << 62
"""Above every state's number, so that (seq, _ANY_NUMBER) stands behind all states of that seq."""

_SYSTEM_TREES = ("checkpoint", "system", "space")


class ScopeKind(StrEnum):
    """volume: everything. since: what was born after a kept state. state: one state, whole.
    path: everything below a path in one state. known: what is known to be damaged."""

    VOLUME = "volume"
    SINCE = "since"
    STATE = "state"
    PATH = "path"
    KNOWN = "known"


@dataclass(frozen=True, slots=True)
class Scope:
    """state: number of the state that since, state or path name, WORKING for the working one.
    since_seq: of the state of since. number, directory: the object that the path names. path,
    name: of path and state, for people."""

    kind: ScopeKind
    state: int = WORKING
    since_seq: int = 0
    number: int = 0
    directory: bool = False
    path: str = ""
    name: str = ""

    def to_auv(self) -> dict[str, Any]:
        return {
            "kind": str(self.kind), "state": self.state, "since_seq": self.since_seq,
            "number": self.number, "directory": self.directory, "path": self.path,
            "name": self.name,
        }

    @classmethod
    def from_auv(cls, value: dict[str, Any]) -> "Scope":
        return cls(**{**value, "kind": ScopeKind(value["kind"])})


@dataclass(slots=True)
class Totals:
    """What has been read so far. unstable: reads that were good the second time only."""

    nodes: int = 0
    data_blocks: int = 0
    damage: int = 0
    unstable: int = 0


@dataclass(slots=True)
class ScrubPass:
    """number: of this verification. until: blocks born later need not be read.

    system: system trees still to come. states_after: (seq, number) of the state that was finished
    last. state: the one in work, None between two. key: where in it. ended: all is read but indexes
    that wait to be judged. checking: the directory of which that is being done.
    """

    volume: Volume
    number: int
    scope: Scope
    started_ns: int
    until: int
    author: str = ""
    totals: Totals = field(default_factory=Totals)
    headers_done: bool = False
    system: list[str] = field(default_factory=list)
    states_after: tuple[int, int] = (0, 0)
    state: int | None = None
    key: Key = FIRST_KEY
    working_done: bool = False
    ended: bool = False
    walk: ObjectWalk | None = None
    known: KnownDamage | None = None
    memory: Memory = field(default_factory=Memory)
    met: MetIndexes = field(default_factory=MetIndexes)
    checking: DirectoryCheck | None = None
    _finish: Callable[[TreeScan], Iterator[Damage | None] | None] | None = None

    @classmethod
    def begin(
        cls, volume: Volume, number: int, scope: Scope, author: str
    ) -> "ScrubPass":
        """Everything from its beginning."""
        whole = scope.kind in (ScopeKind.VOLUME, ScopeKind.SINCE, ScopeKind.KNOWN)
        made = cls(volume, number, scope, volume.clock.now_ns(), volume.durable_seq, author)
        made.headers_done = not whole
        made.system = list(_SYSTEM_TREES) if whole else []
        made.states_after = (scope.since_seq, _ANY_NUMBER)
        if scope.kind is ScopeKind.PATH:
            made.walk = ObjectWalk.below(scope.number, directory=scope.directory)
        if scope.kind is ScopeKind.KNOWN:
            states = {state.name: state.number for state in volume.states.all()}
            entries = VerifiedStore(volume.trees.system).damage()
            made.known = KnownDamage(entries, {**states, "working": WORKING}, volume.space)
        return made

    # ---- a slice ----

    @property
    def done(self) -> bool:
        return self.ended and not self.met.waiting and self.checking is None

    @property
    def indivisible(self) -> bool:
        """A system tree is in work, or an index of the working state: it is another one after each
        commit, so one reader sees it through."""
        return bool(self.system) or (self.checking is not None and self.checking.state == WORKING)

    def next_scan(self) -> TreeScan | None:
        """What to read now, in the newest durable commit; None at the end. Under a reader of
        Volume.begin_reading(durable=True), and `leave` or `finish` what it gives under the same
        one."""
        record = self.durable_record()
        if self.system:
            self._finish = self._system_finished
            root: Pointer = getattr(record, f"{self.system[0]}_root")
            return TreeScan(root, self.volume.space, self.memory)
        if (scan := self._index_scan(record)) is not None:
            return scan
        if self.ended:
            return None
        if self.walk is not None:
            return self._walk_scan(self.walk, record)
        if self.known is not None:
            return self._known_scan(self.known, record)
        while (state := self._choose_state(record)) is not None:
            found = self._root_of(state, record)
            if found is not None:
                self._finish = self._state_finished
                return self._scan(found, state, self.key)
            self.state, self.key = None, FIRST_KEY  # it was deleted meanwhile
        self.ended = True
        return None

    def durable_record(self) -> Commit:
        """Of the newest durable commit."""
        return Commit.unpack(self.volume.durable_image)

    def leave(self, scan: TreeScan) -> None:
        """The slice is over before the scan is."""
        if self.system:
            return  # small, and a version of its own each commit: it begins again
        if self.checking is not None:
            begin, end = self.checking.ranges[0]
            self.checking.ranges[0] = max(begin, scan.position), end
        elif self.walk is not None:
            self.walk.leave(scan)
        else:
            self.key = scan.position

    def finish(self, scan: TreeScan) -> Iterator[Damage | None]:
        """The scan has come to its end. Steps (None) that may give damage: of an index that was
        read by it."""
        assert self._finish is not None, "no scan was given out"
        return self._finish(scan) or iter(())

    def _system_finished(self, scan: TreeScan) -> None:
        self.system.pop(0)

    def _state_finished(self, scan: TreeScan) -> None:
        assert self.state is not None
        if self.state == WORKING:
            self.working_done = True
        state, self.state, self.key = self.state, None, FIRST_KEY
        if self.scope.kind is ScopeKind.STATE:
            self.ended = True
        elif (kept := self.volume.states.get(state)) is not None:
            self.states_after = (kept.seq, kept.number)

    def _walk_scan(self, walk: ObjectWalk, record: Commit) -> TreeScan | None:
        found = self._root_of(self.scope.state, record)
        if found is None:
            raise _gone(self.scope.name)
        root = found[0]

        def make(
            start: Key, end: Key, *, data: bool, on_item: Callable[[Key, bytes], object] | None
        ) -> TreeScan:
            return TreeScan(
                root, self.volume.space, self.memory, start=start, end=end, data=data,
                on_item=on_item or self.met.looker(self.scope.state), until=self.until,
            )

        scan = walk.next_scan(make)
        self._finish = walk.finish
        self.ended = scan is None
        return scan

    def _known_scan(self, known: KnownDamage, record: Commit) -> TreeScan | None:
        def finish(scan: TreeScan | None) -> None:
            known.ranges.popleft()
            self.state, self.key = None, FIRST_KEY

        self._finish = finish
        while known.ranges:
            self.state, low, high = known.ranges[0]
            found = self._root_of(self.state, record)
            if found is not None:
                begin = max(self.key, (low, 0, 0))
                return self._scan(found, self.state, begin, (high + 1, 0, 0))
            finish(None)  # it was deleted meanwhile
        self.ended = True
        return None

    def _scan(
        self, found: tuple[Pointer, int], state: int, start: Key, end: Key = LAST_KEY
    ) -> TreeScan:
        root, born_after = found
        return TreeScan(
            root, self.volume.space, self.memory, start=start, end=end, born_after=born_after,
            until=self.until, on_item=self.met.looker(state),
        )

    # ---- indexes ----

    def _index_scan(self, record: Commit) -> TreeScan | None:
        """Of the directory whose indexes are to be judged next; None when none waits."""
        while self.checking is not None or self.met.waiting:
            if self.checking is None:
                self.checking = DirectoryCheck.of(*self.met.waiting.popleft())
            check = self.checking
            found = self._root_of(check.state, record)
            if found is not None:
                self._finish = self._index_finished
                begin, end = check.ranges[0]
                return TreeScan(
                    found[0], self.volume.space, self.memory,
                    start=begin, end=end, data=False, on_item=check.take,
                )
            self.checking = None  # the state was deleted meanwhile
        return None

    def _index_finished(self, scan: TreeScan) -> Iterator[Damage | None] | None:
        check = self.checking
        assert check is not None
        check.ranges.popleft()
        if check.ranges:
            return None
        self.checking = None
        return check.verdict()

    # ---- states ----

    def _choose_state(self, record: Commit) -> int | None:
        """The one in work, else the next; None when there is none left."""
        if self.state is not None:
            return self.state
        if self.scope.kind is ScopeKind.STATE:
            self.state = self.scope.state
            if self.state != WORKING and self.volume.states.get(self.state) is None:
                raise _gone(self.scope.name)
            return self.state
        following = self._following(record)
        if following is not None:
            self.state = following.number
        elif not self.working_done:
            self.state = WORKING
            self.states_after = (record.seq, _ANY_NUMBER)
        return self.state

    def _following(self, record: Commit) -> KeptState | None:
        """The next kept state that may have something of what this verification is to read."""
        states = self.volume.states
        for state in states.all():
            if (state.seq, state.number) <= self.states_after or state.seq > record.seq:
                continue
            if states.seq_of(state.parent) < self.until:
                return state
        return None

    def _root_of(self, state: int, record: Commit) -> tuple[Pointer, int] | None:
        """The state's root, and the birth up to which another one has what it has."""
        states = self.volume.states
        whole = self.scope.kind in (ScopeKind.STATE, ScopeKind.PATH, ScopeKind.KNOWN)
        if state == WORKING:
            ancestor = states.get(record.ancestor)
            bound = ancestor.seq if ancestor is not None else 0
            return record.namespace_root, 0 if whole else max(bound, self.scope.since_seq)
        kept = states.get(state)
        if kept is None or kept.seq > record.seq:
            return None
        bound = states.seq_of(kept.parent) if kept.parent else 0
        return kept.root, 0 if whole else max(bound, self.scope.since_seq)

    def state_name(self, state: int | None = None) -> str:
        """For people; of the state in work by default."""
        number = state if state is not None else self.state
        if number is None and self.walk is not None:
            number = self.scope.state
        if number is None:
            return ""
        kept = self.volume.states.get(number)
        return "working" if number == WORKING else kept.name if kept is not None else f"#{number}"

    # ---- the cursor ----

    def to_auv(self) -> dict[str, Any]:
        """All that `restore` needs, at most 4 KiB."""
        walk, state, key, ended = self.walk, self.state, self.key, self.ended
        met = [*self.met.waiting]
        if self.checking is not None:
            met.insert(0, (self.checking.state, self.checking.directory))
        if len(met) > WAITING_KEPT_MAX:
            state, key, ended = met[WAITING_KEPT_MAX][0], (met[WAITING_KEPT_MAX][1], 0, 0), False
        return {
            "number": self.number, "scope": self.scope.to_auv(), "started_ns": self.started_ns,
            "until": self.until, "author": self.author,
            "nodes": self.totals.nodes, "data_blocks": self.totals.data_blocks,
            "damage": self.totals.damage, "unstable": self.totals.unstable,
            "headers_done": self.headers_done, "system": list(self.system),
            "states_after": list(self.states_after), "state": state, "key": list(key),
            "indexes": [list(one) for one in met[:WAITING_KEPT_MAX]], "ended": ended,
            "working_done": self.working_done,
            "walk": None if walk is None else {
                "number": walk.number, "directory": walk.directory, "key": list(walk.key),
                "levels": [list(level) for level in walk.levels[:LEVELS_KEPT_MAX]],
            },
        }

    @classmethod
    def restore(cls, volume: Volume, value: dict[str, Any]) -> "ScrubPass":
        """Go on where `to_auv` was; of known damage, which is soon read, from the beginning.
        Raises ValueError, KeyError or TypeError for another value."""
        scope = Scope.from_auv(value["scope"])
        if scope.kind is ScopeKind.KNOWN:
            return cls.begin(volume, value["number"], scope, value["author"])
        totals = Totals(
            value["nodes"], value["data_blocks"], value["damage"], value["unstable"]
        )
        seq, number = value["states_after"]
        made = cls(
            volume, value["number"], scope, value["started_ns"],
            value["until"], value["author"], totals, value["headers_done"],
            list(value["system"]), (seq, number), value["state"], _key(value["key"]),
            value["working_done"],
        )
        made.ended = value.get("ended", False)  # earlier versions had neither of the two
        made.met = MetIndexes(deque((state, number) for state, number in value.get("indexes", ())))
        if (walk := value["walk"]) is not None:
            levels = [list(level) for level in walk["levels"]]
            deep = len(levels) >= LEVELS_KEPT_MAX
            made.walk = ObjectWalk(
                0 if deep else walk["number"], walk["directory"], _key(walk["key"]), levels
            )
        return made


def _key(value: list[int]) -> Key:
    number, kind, offset = value
    return number, kind, offset


def _gone(name: str) -> AffsError:
    return AffsError(
        "state.gone", Category.NOT_FOUND, f"state {name} was deleted while it was verified"
    )
