"""Undo, redo, restore and retention on a real engine: what was, is again."""

import random
from typing import Any

import pytest
import trio
from runtime_engine import RealRuntime, running
from runtime_fake import OTHER

from affs_fuse.auv import decode
from affs_fuse.core.constants import ITEM_POLICY
from affs_fuse.runtime import undoing
from affs_fuse.volume.opening import OpenOptions
from affs_fuse.volume.settings import SettingKind
from affs_fuse.volume.volume import Volume

LABELS = ["a", "b", "c", "d"]


async def view(runtime: RealRuntime, desk: Any) -> dict[str, Any]:
    """What undo promises to bring back, but for the files."""
    states = await desk.ok("checkpoints")
    made = [state for state in states if "automatic" not in state["flags"]]
    return {
        "kept": {state["id"]: state["label"] for state in made},
        "pins": {state["id"]: state["pins"] for state in states if state["pins"]},
        "published": next((state["id"] for state in states if state["published"]), None),
        "rules": (await desk.ok("retention"))["rules"],
    }


class Story:
    """Runs steps, and keeps what the volume showed before and after each."""

    def __init__(self, runtime: RealRuntime) -> None:
        self.runtime = runtime
        self.desk = runtime.desk()
        self.views: list[dict[str, Any]] = []
        self.rollbacks: list[dict[str, bytes] | None] = []
        self.at = 0
        self.writes = 0

    async def begin(self) -> None:
        self.views = [await view(self.runtime, self.desk)]

    async def step(self, name: str, label: str, number: int) -> None:
        self.runtime.pass_time(7200)
        if name == "write":
            self.writes += 1
            await self.runtime.write(label, b"%d" % self.writes)
            return
        if name in ("undo", "redo"):
            await self._walk(name)
            return
        line = {
            "checkpoint": f"checkpoint -l {label}", "publish": "publish",
            "publish-kept": f"publish {label}", "rollback": f"rollback {label}",
            "back": "rollback", "pin": f"pin {label}", "unpin": f"unpin {label}",
            "delete": f"delete {label} --yes", "restore": f"restore {label}",
            "rules": f"set-retention --keep-last {number} --expire-labelled yes",
            "expire": "expire --yes",
        }[name]  # fmt: skip
        files = await self.runtime.files()
        entries = len(await self.desk.ok("log --limit 1000"))
        await self.desk.send(line)
        log = await self.desk.ok("log --limit 1000")
        if len(log) == entries or not undoing.changes_something(log[-1]):
            assert await view(self.runtime, self.desk) == self.views[self.at]
            return
        del self.views[self.at + 1 :], self.rollbacks[self.at :]
        self.views.append(await view(self.runtime, self.desk))
        self.rollbacks.append(files if name in ("rollback", "back") else None)
        self.at += 1

    async def _walk(self, name: str) -> None:
        back = name == "undo"
        files = await self.runtime.files()
        target = self.at - 1 if back else self.at + 1
        if not 0 <= target < len(self.views):
            assert (await self.desk.error(name))["code"] == "undo.nothing"
            return
        answer = await self.desk.send(name)
        assert "ok" in answer.to_auv(), answer
        assert await view(self.runtime, self.desk) == self.views[target]
        switch = self.rollbacks[min(self.at, target)]
        if switch is None:
            assert await self.runtime.files() == files
        else:
            assert await self.runtime.files() == switch
            self.rollbacks[min(self.at, target)] = files
        self.at = target


KINDS = [
    "write", "write", "checkpoint", "publish", "publish-kept", "rollback", "back", "pin", "unpin",
    "delete", "restore", "rules", "expire", "undo", "undo", "undo", "redo",
]  # fmt: skip


@pytest.mark.parametrize("seed", range(12))
async def test_undo_and_redo_walk_through_what_was(seed: int) -> None:
    chance = random.Random(seed)
    async with running() as runtime:
        story = Story(runtime)
        await story.begin()
        for _ in range(40):
            await story.step(chance.choice(KINDS), chance.choice(LABELS), chance.randrange(3))
        assert len(story.views) > 3


async def test_a_rollback_is_undone_and_done_again() -> None:
    async with running() as runtime:
        desk = runtime.desk()
        await runtime.write("file", b"published")
        await desk.ok("publish")
        await runtime.write("file", b"later")
        await desk.ok("rollback")
        await runtime.write("new", b"after it")
        dry = await desk.ok("undo --dry-run")
        (step,) = dry["plan"]["operations"]
        assert step["command"] == "rollback"
        assert step["rollback"]["removed"] == 1
        assert await runtime.files() == {"file": b"published", "new": b"after it"}
        await desk.ok(f"undo --token {dry['token']}")
        assert await runtime.files() == {"file": b"later"}
        await desk.ok("redo")
        assert await runtime.files() == {"file": b"published", "new": b"after it"}
        log = await desk.ok("log")
        assert [entry["command"] for entry in log] == ["publish", "rollback", "undo", "redo"]
        assert [entry["undone"] for entry in log] == [False, False, True, False]
        assert [entry.get("undoes") for entry in log[2:]] == [2, 3]


async def test_a_plan_of_undo_grows_stale() -> None:
    async with running() as runtime:
        desk = runtime.desk()
        await desk.ok("checkpoint -l a")
        token = (await desk.ok("undo --dry-run"))["token"]
        await desk.ok("checkpoint -l b")
        error = await desk.error(f"undo --token {token}")
        assert (error["code"], error["category"]) == ("plan.stale", "conflict")
        assert error["details"]["plan"]["operations"][0]["line"] == "checkpoint --label=b"
        await runtime.write("file", b"1")
        await desk.ok("rollback a")
        token = (await desk.ok("undo --dry-run"))["token"]
        await runtime.write("file", b"2")
        assert (await desk.error(f"undo --token {token}"))["code"] == "plan.stale"
        assert await runtime.files() == {"file": b"2"}


async def test_what_cannot_be_undone_says_why() -> None:
    async with running() as runtime:
        desk = runtime.desk()
        assert (await desk.error("undo"))["code"] == "undo.nothing"
        assert (await desk.error("redo"))["code"] == "undo.nothing"
        await desk.ok("commit")
        error = await desk.error("undo --operation 1")
        assert (error["code"], error["category"]) == ("undo.nothing", "not_found")
        await runtime.write("file", b"1")
        await desk.ok("checkpoint -l a")
        await runtime.write("file", b"2")
        await desk.ok("rollback a --discard --yes")
        error = await desk.error("undo")
        assert (error["code"], error["category"]) == ("undo.impossible", "conflict")
        assert "--discard" in error["message"]
        number = error["details"]["operation"]
        assert (await desk.ok(f"undo --operation {number - 1}"))["undone"]
        assert (await desk.error(f"undo --operation {number}"))["code"] == "undo.impossible"
        error = await desk.error(f"undo --operation {number - 1}")
        assert (error["code"], "undone already" in error["message"]) == ("undo.nothing", True)
        await desk.ok("checkpoint -l b")
        await desk.ok("delete b --now --yes")
        error = await desk.error("undo")
        assert (error["code"], error["category"]) == ("state.not_found", "not_found")


async def test_what_changed_since_is_left_alone() -> None:
    async with running() as runtime:
        desk = runtime.desk()
        await desk.ok("publish")
        await desk.ok("checkpoint -l a")
        await desk.ok("publish a")
        error = await desk.error("undo --operation 1")
        assert (error["code"], error["category"]) == ("state.changed", "conflict")
        await desk.ok("pin a")
        await desk.ok("set-retention --keep-last 5")
        await desk.ok("set-retention --keep-last 6")
        rules = [one["number"] for one in await desk.ok("log --command set-retention")]
        assert (await desk.error(f"undo --operation {rules[0]}"))["code"] == "setting.changed"
        assert (await desk.error("undo --operation 2"))["code"] == "state.published"
        states = await desk.ok("checkpoints")
        assert [state["label"] for state in states if state["published"]] == ["a"]
        await desk.ok("undo 6")
        assert await desk.ok("checkpoints") == []
        assert (await desk.ok("retention"))["rules"]["keep_last"] == 0


async def test_a_deleted_state_comes_back_until_its_time_is_over() -> None:
    async with running() as runtime:
        desk = runtime.desk()
        await runtime.write("file", b"x" * 100_000)
        state = await desk.ok("checkpoint -l a")
        await runtime.remove("file")
        plan = (await desk.ok("delete a --dry-run"))["plan"]
        assert (plan["frees_bytes"] >= 100_000, plan["readers"]) == (True, 0)
        hold = (await desk.ok("hold a"))["hold"]
        assert (await desk.ok("delete a --dry-run"))["plan"]["readers"] == 1
        await desk.ok(f"hold --release {hold}")
        assert (plan["added"], plan["bytes"]) == (1, 100_000)
        assert plan["undo"]["until_ns"] == runtime.now_ns + 86_400 * 10**9
        answer = await desk.ok("delete a --yes")
        assert answer["reclaim_ns"] == plan["undo"]["until_ns"]
        assert await desk.ok("checkpoints") == []
        (gone,) = [one for one in await desk.ok("checkpoints --all") if "doomed" in one["flags"]]
        assert (gone["id"], gone["reclaim_ns"]) == (state["id"], answer["reclaim_ns"])
        runtime.pass_time(86_399)
        assert (await desk.ok("restore a"))["id"] == state["id"]
        assert await runtime.files_of(state["id"]) == {"file": b"x" * 100_000}
        await desk.ok("undo")  # the restore
        await desk.ok("set-retention --grace 0s")
        runtime.pass_time(3 * 86_400)
        await desk.ok("checkpoint -l other")
        await desk.ok("delete other --yes")  # a reason to look
        with trio.fail_after(10):
            while [one for one in await desk.ok("checkpoints --all") if one["id"] == state["id"]]:
                await trio.sleep(0.01)
        assert (await desk.error("restore a"))["code"] == "state.not_found"


async def test_a_label_in_use_stops_a_restore() -> None:
    async with running() as runtime:
        desk = runtime.desk()
        first = await desk.ok("checkpoint -l a")
        await desk.ok("delete a --yes")
        second = await desk.ok("checkpoint -l a")
        error = await desk.error("restore a")
        assert (error["code"], error["category"]) == ("state.label_taken", "exists")
        await desk.ok("delete a --yes")
        assert (await desk.ok("restore a"))["id"] == second["id"]
        await desk.ok("delete a --yes")
        assert (await desk.error("restore 018b"))["code"] == "state.ambiguous"
        assert (await desk.ok(f"restore {first['id'][:20]}"))["id"] == first["id"]


async def test_a_writer_ends_the_time_of_grace() -> None:
    """Room that only deleted states hold is no reason to refuse a write."""
    async with running() as runtime:
        desk = runtime.desk()
        size = (await desk.ok("df"))["available"] * 2 // 3
        await runtime.write("large", b"x" * size)
        await desk.ok("checkpoint -l a")
        await runtime.remove("large")
        await desk.ok("delete a --yes")
        await desk.ok("commit")
        assert (await desk.ok("df"))["available"] < size
        await runtime.write("again", b"y" * size)
        await desk.ok("commit")
        assert await runtime.files() == {"again": b"y" * size}
        assert (await desk.error("restore a"))["code"] == "state.not_found"


async def test_an_entry_too_large_for_the_log_says_so() -> None:
    async with running() as runtime:
        desk = runtime.desk()
        many = {f"{number:032x}": True for number in range(80)}
        entry = {"command": "x", "line": "y" * 900, "ok": True, "before": {"kept": many}}
        await runtime.engine.record_operation({**entry, "after": {"kept": many}, "user": "ann"})
        error = await desk.error("undo")
        assert error["code"] == "undo.impossible"
        assert "more than its log entry could hold" in error["message"]


async def test_the_log_is_bounded_and_filtered() -> None:
    async with running() as runtime:
        desk = runtime.desk()
        await desk.ok("set-retention --log-entries 100")
        for number in range(60):
            runtime.pass_time(60)
            await desk.ok("commit")
            await desk.error(f"pin none{number}")
        log = await desk.ok("log --limit 1000")
        assert [entry["number"] for entry in log] == list(range(22, 122))
        failed = await desk.ok("log --failed --limit 3")
        assert [entry["error"] for entry in failed] == ["state.not_found"] * 3
        assert failed[-1]["line"] == "pin none59"
        recent = await desk.ok("log --since 5m --command COMMIT")
        assert [entry["number"] for entry in recent] == [110, 112, 114, 116, 118, 120]
        assert await desk.ok("log --user bob") == []
        assert len(await desk.ok("log --user 1000 --limit 7")) == 7
        await desk.ok("set-retention --log-days 1")
        runtime.pass_time(2 * 86_400)
        for _ in range(20):
            await desk.ok("commit")
        assert len(await desk.ok("log --limit 1000")) == 20


async def test_replaying_the_log_gives_the_same_tree() -> None:
    """The inputs are what was written between commands; the rest stands in the log."""

    async def write(runtime: RealRuntime, number: int) -> None:
        await runtime.write(f"file{number % 3}", b"%d" % number * 500)
        if number % 4 == 3:
            await runtime.remove(f"file{number % 3}")

    lines = [
        "checkpoint -l a", "publish", "rollback a", "undo", "pin a", "checkpoint -l b",
        "delete b --yes", "rollback '@{1h ago}'", "restore b", "redo", "publish b",
        "undo --operation 6", "rollback published~1", "set-retention --keep-last 1",
        "unpin a", "expire --yes", "undo 2",
    ]  # fmt: skip
    async with running(seed=5) as first:
        desk = first.desk()
        for number, line in enumerate(lines):
            first.pass_time(1800)
            await write(first, number)
            await desk.send(line)
        log = await desk.ok("log --limit 1000")
        tree, states = await first.files(), await desk.ok("checkpoints")
        assert sum(entry["ok"] for entry in log) >= 12
    async with running(seed=6) as second:
        desk = second.desk()
        replayed = [*dict.fromkeys((entry["trace"], entry["line"]) for entry in log)]
        for number, (_, line) in enumerate(replayed):
            second.pass_time(1800)
            await write(second, number)
            await desk.send(line)
        assert len(replayed) == len(lines)
        assert await second.files() == tree
        again = await desk.ok("checkpoints")
        keys = ("label", "published", "pins", "flags", "objects", "message")
        assert [{key: one[key] for key in keys} for one in again] == [
            {key: one[key] for key in keys} for one in states
        ]


async def test_what_was_answered_is_in_the_log_after_a_crash() -> None:
    async with running() as runtime:
        desk = runtime.desk()
        for line in ("checkpoint -l a", "pin a", "set-retention --keep-last 9", "grant 7 operator"):
            await desk.ok(line)
            crashed = Volume.open("", OpenOptions(device=runtime.device, clock=runtime.clock))
            ((_, payload),) = crashed.log.newest(1)
            entry = decode(payload)
            assert isinstance(entry, dict)
            assert entry["command"] == line.split()[0]
            assert entry["before"] != entry["after"]


@pytest.mark.parametrize("fault", [False, True], ids=["cancelled", "internal"])
async def test_what_was_done_before_the_end_is_logged(
    fault: bool, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Three operations are to be undone; after the first the client gives up, or we fail."""
    async with running() as runtime:
        desk = runtime.desk()
        for label in LABELS[:3]:
            await desk.ok(f"checkpoint -l {label}")
        change = runtime.engine.change_states
        done: list[Any] = []

        async def change_once(before: Any, after: Any, *, grace_s: int) -> None:
            if done and fault:
                raise ValueError("for this test")
            await change(before, after, grace_s=grace_s)
            done.append(after)
            if not fault:
                runtime.dispatcher.cancel(desk.session, 4)

        monkeypatch.setattr(runtime.engine, "change_states", change_once)
        error = await desk.error("undo 3")
        code = "runtime.internal" if fault else "request.cancelled"
        assert error["code"] == code
        monkeypatch.undo()
        assert [state["label"] for state in await desk.ok("checkpoints")] == ["a", "b"]
        log = await desk.ok("log")
        assert [(entry["command"], entry["error"]) for entry in log[3:]] == [
            ("undo", ""), ("undo", code),
        ]  # fmt: skip
        assert log[3]["undoes"] == 3
        await desk.ok("redo")
        assert [state["label"] for state in await desk.ok("checkpoints")] == ["a", "b", "c"]


async def test_rules_that_cannot_be_read_stop_nothing(caplog: pytest.LogCaptureFixture) -> None:
    async with running() as runtime:
        desk = runtime.desk()
        await runtime.write("file", b"1")
        await desk.ok("checkpoint -l a")
        await runtime.write("file", b"2")
        runtime.volume.trees.system.put(SettingKind.RETENTION, ITEM_POLICY, 1, b"\xc1")
        await desk.ok("rollback a")
        await desk.ok("undo")
        assert (await desk.ok("delete a --yes"))["reclaim_ns"] == runtime.now_ns + 86_400 * 10**9
        assert (await desk.ok("retention"))["rules"]["keep_last"] == 0
        assert [entry["command"] for entry in await desk.ok("log")][-1] == "delete"
        await desk.ok("set-retention --keep-last 3")  # in place of the damaged one
        assert (await desk.ok("retention"))["rules"]["keep_last"] == 3
        await desk.ok("undo")
        assert runtime.volume.settings.items(SettingKind.RETENTION) == []
        runtime.volume.trees.system.put(SettingKind.RETENTION, ITEM_POLICY, 1, b"\xc1")
        assert await runtime.engine.settings.delete(SettingKind.RETENTION, 1)
    assert "the default rules of retention hold" in caplog.text


async def test_only_an_admin_sees_what_changed() -> None:
    async with running() as runtime:
        await runtime.desk().ok("publish")
        (entry,) = await runtime.desk().ok("log")
        assert entry["after"]["published"]
        (entry,) = await runtime.desk(OTHER).ok("log")
        assert not {"before", "after"} & entry.keys()


# ---- the rules alone ----


def entry(number: int, undoes: int | None = None) -> dict[str, Any]:
    made = {"number": number, "ok": True, "before": {"pins": {}}, "command": "x"}
    return made if undoes is None else {**made, "undoes": undoes}


@pytest.mark.parametrize(
    ("entries", "undo", "redo"),
    [
        ([entry(1), entry(2)], [2, 1], None),
        ([entry(1), entry(2), entry(3, 2)], [1], 3),
        ([entry(1), entry(2), entry(3, 2), entry(4, 1)], [], 4),
        ([entry(1), entry(2), entry(3, 2), entry(4, 1), entry(5, 4)], [1], 3),
        ([entry(1), entry(2), entry(3, 2), entry(4, 3)], [2, 1], None),
        ([entry(1), entry(2, 1), entry(3)], [3], None),
        ([entry(1), entry(2, 1), entry(3, 2), entry(4, 1)], [], 4),
        ([entry(5), entry(6, 3)], [5], None),  # what it reversed is out of the log
    ],
)
def test_which_operation_is_meant(
    entries: list[dict[str, Any]], undo: list[int], redo: int | None
) -> None:
    assert [one["number"] for one in undoing.find_undo(entries, 9)] == undo
    found = undoing.find_redo(entries)
    assert (found["number"] if found else None) == redo
