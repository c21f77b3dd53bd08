"""An engine in memory for tests of what lies above it: a dict of paths, states as copies of it.

It keeps the promises of ports.py that tests of the command surface can see; what a volume does is
tested on the real engine.
"""

from collections.abc import AsyncGenerator, Callable
from typing import Any

import trio

from affs_fuse.auv import check
from affs_fuse.clock import Clock
from affs_fuse.errors import AffsError, Category
from affs_fuse.protocol import Answer, Failure, Request
from affs_fuse.runtime.authentication import Authentication, PeerCredentials, Tokens
from affs_fuse.runtime.commands import COMMANDS
from affs_fuse.runtime.dispatcher import Dispatcher
from affs_fuse.runtime.events import EventBus
from affs_fuse.runtime.expectation import Basis, demand
from affs_fuse.runtime.observation import Observation
from affs_fuse.runtime.policy import Identity, Policy
from affs_fuse.runtime.registry import Registry
from affs_fuse.runtime.roles import RoleRules
from affs_fuse.runtime.session import Session, Sessions

EPOCH_NS = 1_700_000_000 * 10**9


class Ticking:
    """A clock that moves a millisecond each time it is read, and chance that counts."""

    def __init__(self) -> None:
        self.ticks = 0
        self.draws = 0

    def now_ns(self) -> int:
        self.ticks += 1
        return EPOCH_NS + self.ticks * 1_000_000

    def entropy(self, length: int) -> bytes:
        self.draws += 1
        return self.draws.to_bytes(length, "big")


class FakeCollections:
    """There are none."""

    async def paths(self, identity: Identity) -> list[str]:
        return []

    async def schema_of(self, path: str, identity: Identity) -> None:
        return None


class FakeEngine:
    """files: the working state, path to content. gate: when it is there, verbs wait for it before
    they act. meanwhile: called by each verb, with its name, before it acts."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.kept: list[dict[str, Any]] = []
        self.contents: dict[str, dict[str, bytes]] = {}
        self.log: list[dict[str, Any]] = []
        self.seq = 1
        self.clean_files: dict[str, bytes] = {}
        self.aside: str | None = None
        self.holds: dict[str, dict[str, Any]] = {}
        self.deleted: list[dict[str, Any]] = []
        self.directories = {"/", "/a", "/a/b"}
        self.settings = FakeSettings()
        self.collections = FakeCollections()
        self.calls: list[str] = []
        self.damage: list[dict[str, Any]] = []
        self.gate: trio.Event | None = None
        self.meanwhile: Callable[[str], None] = lambda name: None
        self.failure: Exception | None = None
        self.author: Callable[[Any], int] = lambda author: 0

    async def _verb(self, name: str) -> None:
        self.calls.append(name)
        self.meanwhile(name)
        if self.gate is not None:
            await self.gate.wait()
        if self.failure is not None:
            raise self.failure

    async def status(self) -> dict[str, Any]:
        published = [state for state in self.kept if state["published"]]
        return {
            "uuid": "0d9bcd56-5cda-4bd4-9e0b-3cbb0f3f7d4f",
            "label": "fake",
            "mount": "/mnt/fake",
            "backends": ["/srv/fake.affs"],
            "read_only": False,
            "read_only_reason": "",
            "seq": self.seq,
            "commit_time_ns": EPOCH_NS,
            "dirty": self.files != self.clean_files,
            "dirty_bytes": 0,
            "published": published[0] if published else None,
            "base": None,
            "states": len(self.kept),
            "objects": len(self.files),
            "holds": len(self.holds),
            "open_files": 0,
            "space": await self.space(),
            "jobs": [],
            "verified": {"oldest_ns": EPOCH_NS, "segments": 3, "never": 0, "damage": 0},
            "degraded": False,
            "uptime_s": 75.5,
            "started_ns": EPOCH_NS,
            "version": "0.1.0",
        }

    async def space(self) -> dict[str, Any]:
        used = sum(map(len, self.files.values()))
        return {
            "total": 1 << 30,
            "used": used,
            "free": (1 << 30) - used,
            "available": (1 << 30) - used - 4096,
            "live": used,
            "kept": 0,
            "reclaimable": 0,
            "reserved": 4096,
            "objects": len(self.files),
            "objects_free": 1 << 20,
        }

    async def commit(self, message: str) -> dict[str, Any]:
        await self._verb("commit")
        changed = self.files != self.clean_files
        if changed:
            self._cut()
        return {"seq": self.seq, "time_ns": EPOCH_NS + self.seq, "changed": changed}

    def _cut(self) -> None:
        self.seq += 1
        self.clean_files = dict(self.files)

    def _keep(self, label: str, message: str, author: str, flags: list[str]) -> dict[str, Any]:
        self._cut()
        number = len(self.kept) + 1
        state = {
            "id": f"{0xA0000000 + number:08x}" + "0" * 24,
            "number": number,
            "seq": self.seq,
            "label": label,
            "author": author,
            "message": message,
            "time_ns": EPOCH_NS + self.seq,
            "parent": self.kept[-1]["id"] if self.kept else None,
            "published": False,
            "undo": False,
            "reclaim_ns": None,
            "pins": 0,
            "flags": flags,
            "objects": len(self.files),
            "bytes": sum(map(len, self.files.values())),
        }
        self.kept.append(state)
        self.contents[state["id"]] = dict(self.files)
        return state

    async def checkpoint(self, label: str, message: str, author: str) -> dict[str, Any]:
        await self._verb("checkpoint")
        if label and any(state["label"] == label for state in self.kept):
            raise AffsError("state.label_taken", Category.EXISTS, f"label {label!r} is in use")
        return self._keep(label, message, author, [])

    async def states(self, include_hidden: bool = False) -> list[dict[str, Any]]:
        return list(self.kept)

    async def resolve_state(self, text: str) -> dict[str, Any]:
        found = [
            state
            for state in self.kept
            if text == state["label"]
            or (len(text) >= 4 and state["id"].startswith(text))
            or (text == "published" and state["published"])
            or text == f"#{state['seq']}"
        ]
        if text == "@":
            found = self.kept[-1:]
        if not found:
            raise AffsError("state.not_found", Category.NOT_FOUND, f"no state {text!r}")
        if len(found) > 1:
            ids = [state["id"] for state in found]
            raise AffsError("state.ambiguous", Category.INVALID, text, details={"candidates": ids})
        return found[0]

    async def publish(
        self,
        state: str | None,
        message: str,
        author: str,
        *,
        dry_run: bool = False,
        expect: Basis = None,
    ) -> dict[str, Any]:
        await self._verb("plan" if dry_run else "publish")
        former = next((one for one in self.kept if one["published"]), None)
        seq = self.seq if self.files == self.clean_files else self.seq + 1
        chosen = await self.resolve_state(state) if state is not None else None
        basis: Basis = [former["id"] if former else None, chosen["id"] if chosen else seq]
        if dry_run:
            return {"state": chosen, "previous": former, "basis": basis}
        demand(expect, basis, "publish")
        target = (
            self._keep("", message, author, [])
            if state is None
            else await self.resolve_state(state)
        )
        previous = next((one["id"] for one in self.kept if one["published"]), None)
        for one in self.kept:
            one["published"] = one is target
        return {**target, "previous": previous}

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
    ) -> dict[str, Any]:
        await self._verb("plan" if dry_run else "rollback")
        if undo:
            if self.aside is None:
                raise AffsError("state.nothing_to_undo", Category.NOT_FOUND, "nothing to undo")
            state = self.aside
        target = await self.resolve_state(state or "published")
        there = self.contents[target["id"]]
        counts = {
            "added": len(there.keys() - self.files.keys()),
            "removed": len(self.files.keys() - there.keys()),
            "changed": sum(there[k] != v for k, v in self.files.items() if k in there),
            "renamed": 0,
        }
        seq = self.seq if self.files == self.clean_files else self.seq + 1
        basis: Basis = [seq, target["id"]]
        if dry_run:
            shown = {"target": target, "seq": seq, **counts, "bytes": 0, "changes": []}
            return {**shown, "open_files": [], "mounts_below": [], "basis": basis}
        demand(expect, basis, "rollback")
        aside = None
        if not discard and any(counts.values()):
            aside = self._keep("", "put aside by a rollback", author, ["automatic"])
            self.aside = aside["id"]
        self.files = dict(there)
        self._cut()
        answer = {"target": target, "abandoned": aside, "left": None if discard else self.aside}
        return {**answer, "seq": self.seq, **counts, "stale_handles": 0}

    async def frees(self, state: str) -> int:
        return int((await self.resolve_state(state))["bytes"])

    async def diff(
        self, a: str | None, b: str | None, limit: int | None
    ) -> AsyncGenerator[dict[str, Any], None]:
        before = await self._content(a or "published")
        after = await self._content(b or "working")
        count = 0
        for path in sorted(before.keys() | after.keys()):
            old, new = before.get(path), after.get(path)
            if old == new:
                continue
            if count == limit:
                return
            count += 1
            kind = "added" if old is None else "removed" if new is None else "changed"
            growth = len(new or b"") - len(old or b"")
            yield {"kind": kind, "path": path, "what": ["data"], "bytes": growth, "type": "file"}
            await trio.lowlevel.checkpoint()

    async def _content(self, text: str) -> dict[str, bytes]:
        if text == "working":
            return self.files
        if text == "published" and not any(state["published"] for state in self.kept):
            return {}
        return self.contents[(await self.resolve_state(text))["id"]]

    async def delete_state(
        self, state: str, *, grace_s: int = 0, dry_run: bool = False, expect: Basis = None
    ) -> dict[str, Any]:
        await self._verb("plan" if dry_run else "delete")
        found = await self.resolve_state(state)
        for refusal in ("published", "pinned"):
            if found["published" if refusal == "published" else "pins"]:
                raise AffsError(f"state.{refusal}", Category.CONFLICT, f"it is {refusal}")
        children = [other["id"] for other in self.kept if other["parent"] == found["id"]]
        basis: Basis = [found["id"], found["label"], list(children)]
        if dry_run:
            shown = {"state": found, "descendants": children, "frees_bytes": found["bytes"]}
            return {**shown, "readers": 0, "beside": "working", "basis": basis}
        demand(expect, basis, "delete")
        self._delete(found, grace_s)
        reclaim_ns = EPOCH_NS + grace_s * 10**9 if grace_s else None
        answer = {"state": found, "freed_bytes": found["bytes"], "waits_for": []}
        return {**answer, "reclaim_ns": reclaim_ns}

    def _delete(self, state: dict[str, Any], grace_s: int) -> None:
        self.kept.remove(state)
        if grace_s:
            self.deleted.append(state)

    def _restore(self, text: str) -> dict[str, Any]:
        found = [one for one in self.deleted if text in (one["id"], one["label"])]
        if not found:
            raise AffsError("state.not_found", Category.NOT_FOUND, f"no deleted state {text!r}")
        self.deleted.remove(found[-1])
        self.kept.append(found[-1])
        return found[-1]

    async def restore_state(self, state: str) -> dict[str, Any]:
        await self._verb("restore")
        return self._restore(state)

    async def change_states(
        self, before: dict[str, Any], after: dict[str, Any], *, grace_s: int
    ) -> None:
        await self._verb("change")
        published = next((one["id"] for one in self.kept if one["published"]), None)
        if before.get("published", published) != published:
            raise AffsError("state.changed", Category.CONFLICT, "published since")
        for one, kept in after.get("kept", {}).items():
            if kept:
                self._restore(one)
        for one, count in after.get("pins", {}).items():
            (await self.resolve_state(one))["pins"] += count - before["pins"][one]
        if "published" in after:
            for state in self.kept:
                state["published"] = state["id"] == after["published"]
        for one, kept in after.get("kept", {}).items():
            if not kept:
                self._delete(await self.resolve_state(one), grace_s)

    async def expire(
        self,
        choose: Callable[[list[dict[str, Any]]], list[dict[str, Any]]],
        grace_s: int,
        *,
        expect: Basis = None,
    ) -> list[dict[str, Any]]:
        await self._verb("expire")
        chosen = choose(list(self.kept))
        demand(expect, [state["id"] for state in chosen], "expire")
        for state in chosen:
            self._delete(state, grace_s)
        return chosen

    async def verify(
        self, *, path: str, state: str | None, since: str | None, author: str,
        errors_only: bool, detach: bool, full_speed: bool,
    ) -> AsyncGenerator[dict[str, Any], None]:
        await self._verb("verify")
        if not detach:
            yield {"progress": {"done": 1, "total": 2, "unit": "bytes", "note": "working"}}
            for damage in self.damage:
                yield {"damage": damage}
        yield {"result": self._verified("running" if detach else "done")}

    def _verified(self, outcome: str) -> dict[str, Any]:
        return {
            "number": 1, "scope": "volume", "outcome": outcome, "bytes": 4096,
            "damage": len(self.damage), "unstable": 0, "medium": "direct",
        }

    async def cancel_verification(self) -> dict[str, Any]:
        return self._verified("cancelled")

    async def verified(self) -> dict[str, Any]:
        return {
            "oldest_ns": EPOCH_NS, "segments": 3, "never": 0, "damage": len(self.damage),
            "running": None, "results": [self._verified("done")], "known": self.damage,
        }

    async def check_directory(self, path: str, asker: Session) -> None:
        await trio.lowlevel.checkpoint()
        if path not in self.directories:
            raise AffsError("record.not_found", Category.NOT_FOUND, f"no {path}")

    async def hold(self, state: str, lease_s: int) -> dict[str, Any]:
        found = await self.resolve_state(state)
        published = [other["id"] for other in self.kept if other["published"]]
        hold = {
            "hold": f"{len(self.holds) + 1:016x}",
            "state": found["id"],
            "number": found["number"],
            "seq": found["seq"],
            "lease_s": lease_s,
            "published": published[0] if published else None,
        }
        self.holds[hold["hold"]] = hold
        return hold

    async def renew_hold(self, hold_id: str, lease_s: int) -> dict[str, Any]:
        if hold_id not in self.holds:
            raise AffsError("hold.not_found", Category.NOT_FOUND, f"no hold {hold_id!r}")
        self.holds[hold_id]["lease_s"] = lease_s
        return self.holds[hold_id]

    async def release_hold(self, hold_id: str) -> dict[str, Any]:
        return {**await self.renew_hold(hold_id, 0), **self.holds.pop(hold_id)}

    async def pin(self, state: str) -> dict[str, Any]:
        await self._verb("pin")
        found = await self.resolve_state(state)
        found["pins"] += 1
        return dict(found)

    async def unpin(
        self, state: str, *, dry_run: bool = False, expect: Basis = None
    ) -> dict[str, Any]:
        await self._verb("plan" if dry_run else "unpin")
        found = await self.resolve_state(state)
        if dry_run:
            return {"state": dict(found), "basis": [found["id"], found["pins"]]}
        demand(expect, [found["id"], found["pins"]], "unpin")
        if not found["pins"]:
            raise AffsError("state.not_pinned", Category.CONFLICT, "it is not pinned")
        found["pins"] -= 1
        return dict(found)

    async def operations(self, limit: int, before: int | None = None) -> list[dict[str, Any]]:
        return [entry for entry in self.log if before is None or entry["number"] < before][-limit:]

    async def record_operation(self, entry: dict[str, Any]) -> int:
        self.log.append({**entry, "number": len(self.log) + 1, "seq": self.seq})
        return len(self.log)


class FakeSettings:
    """Settings in a dict."""

    def __init__(self) -> None:
        self.kept: dict[tuple[int, int], Any] = {}
        self.version = 0

    def get(self, kind: int, number: int) -> Any:
        return self.kept.get((kind, number))

    def items(self, kind: int) -> list[tuple[int, Any]]:
        kept = sorted(self.kept.items())
        return [(number, value) for (one, number), value in kept if one == kind]

    async def put(self, kind: int, number: int | None, value: Any) -> int:
        if number is None:
            number = max((known for known, _ in self.items(kind)), default=0) + 1
        await self.change({(kind, number): value})
        return number

    async def delete(self, kind: int, number: int) -> bool:
        found = (kind, number) in self.kept
        await self.change({(kind, number): None})
        return found

    async def change(
        self,
        changes: dict[tuple[int, int], Any],
        *,
        expect: dict[tuple[int, int], Any] | None = None,
    ) -> None:
        await trio.lowlevel.checkpoint()
        for key, value in (expect or {}).items():
            if self.kept.get(key) != value:
                raise AffsError("setting.changed", Category.CONFLICT, "it was changed since")
        self.version += 1
        for key, value in changes.items():
            self.kept[key] = value
            if value is None:
                del self.kept[key]


class Recorder:
    """A Reply that keeps what it is given. room: items until it blocks, None for no end."""

    def __init__(self, room: int | None = None) -> None:
        self.items: list[Any] = []
        self.events: list[Any] = []
        self.steps: list[Any] = []
        self.room = room

    async def item(self, value: Any) -> None:
        if self.room is not None and len(self.items) >= self.room:
            await trio.sleep_forever()
        self.items.append(value)

    async def progress(self, done: int, total: int | None, unit: str, note: str = "") -> None:
        self.steps.append((done, total, unit, note))

    async def event(self, event: dict[str, Any]) -> None:
        self.events.append(event)


class FakeRuntime:
    """Everything between a connection and the engine, over a FakeEngine. The owner of the mount is
    uid 1000."""

    def __init__(self, observation: Observation | None = None) -> None:
        self.time = Ticking()
        clock = self.clock = self.make_clock()
        self.engine = FakeEngine()
        self.registry = Registry(COMMANDS)
        self.events = EventBus(clock, self.time.entropy)
        policy = Policy(1000, RoleRules(self.engine.settings))
        providers = PeerCredentials(), Tokens(self.engine.settings, clock)
        entropy = self.time.entropy
        self.sessions = Sessions(policy, clock, entropy, Authentication(providers))
        self.dispatcher = Dispatcher(
            engine=self.engine,
            registry=self.registry,
            events=self.events,
            sessions=self.sessions,
            clock=clock,
            entropy=self.time.entropy,
            observation=observation,
        )

    def make_clock(self) -> Clock:
        return Clock(now_ns=self.time.now_ns)


OWNER = Identity(uid=1000, gid=1000, user="ann")
OTHER = Identity(uid=2000, gid=2000, user="bob")


class Desk:
    """A session at a runtime, which asks and gets."""

    def __init__(self, runtime: FakeRuntime, identity: Identity = OWNER) -> None:
        self.runtime = runtime
        self.session: Session = runtime.sessions.open(identity, "test")
        self.reply = Recorder()
        self._next_id = 0

    async def send(self, line: str | None = None, **fields: Any) -> Answer | Failure:
        self._next_id += 1
        request = Request(id=self._next_id, line=line, **fields)
        running = self.runtime.dispatcher.admit(self.session, request)
        answer = await self.runtime.dispatcher.serve(running, self.reply)
        assert answer.id == request.id
        check(answer.to_auv())
        return answer

    async def ok(self, line: str | None = None, **fields: Any) -> Any:
        answer = await self.send(line, **fields)
        assert isinstance(answer, Answer), answer
        return answer.ok

    async def error(self, line: str | None = None, **fields: Any) -> dict[str, Any]:
        answer = await self.send(line, **fields)
        assert isinstance(answer, Failure), answer
        return answer.error
