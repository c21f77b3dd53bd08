"""Hooks: which may run, what they are told, and that they never get in the way."""

import json
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from runtime_fake import OTHER, Desk, FakeRuntime
from trio.testing import wait_all_tasks_blocked

from affs_fuse.auv import Value
from affs_fuse.clock import Clock
from affs_fuse.errors import AffsError
from affs_fuse.runtime.hook import Hook, HookRules
from affs_fuse.runtime.hook_process import OUTPUT_BYTES_MAX, HookOutcome, run_process, through_shell
from affs_fuse.runtime.hooks import HOOKS_MAX, QUEUE_MAX, RUNNING_MAX, HookPlace, Hooks
from affs_fuse.runtime.observation import Observation
from affs_fuse.runtime.policy import Identity
from affs_fuse.runtime.slow import SlowLog
from affs_fuse.volume.settings import SettingKind

PLACE = HookPlace("0d9bcd56", "/mnt/fake", [sys.executable, "post"], lambda: -1)
ALL = HookRules("all", owner_uid=1000)


class Runs:
    """Stands in for `run_process`. gate: runs wait for it."""

    def __init__(self) -> None:
        self.calls: list[tuple[list[str], dict[str, Any], dict[str, str]]] = []
        self.running = 0
        self.running_max = 0
        self.gate: trio.Event | None = None
        self.outcome = HookOutcome(0, b"fine\n", False)

    async def __call__(
        self, command: Sequence[str], data: bytes, environment: Mapping[str, str], timeout_s: float
    ) -> HookOutcome:
        self.calls.append(([*command], json.loads(data), dict(environment)))
        self.running += 1
        self.running_max = max(self.running, self.running_max)
        try:
            if self.gate is not None:
                await self.gate.wait()
        finally:
            self.running -= 1
        return self.outcome


class HookedRuntime(FakeRuntime):
    """hooks: its hooks, with `runs` in place of processes."""

    def __init__(self, rules: HookRules = ALL) -> None:
        super().__init__()
        self.runs = Runs()
        self.hooks = Hooks(
            self.engine.settings, self.events, rules, PLACE, self.runs, Clock()
        )
        self.dispatcher._observation = Observation(SlowLog(Clock(), 0.0), hooks=self.hooks)

    async def add(self, hook: Hook) -> None:
        await self.engine.settings.change(self.hooks.addition(hook))


def made(name: str = "x", on: tuple[str, ...] = ("publish",), **fields: Any) -> Hook:
    base = {"program": "/bin/true", "url": "", "timeout_s": 5, "user": "ann", **fields}
    return Hook(name, on, **base)


# ---- declaring ----


async def test_a_hook_is_declared_listed_and_removed() -> None:
    desk = Desk(HookedRuntime())
    added = await desk.ok("hook copy publish rollback --run /usr/bin/copy --seconds 7")
    assert (added["on"], added["program"], added["timeout_s"]) == (
        ["publish", "rollback"], "/usr/bin/copy", 7
    )
    await desk.ok("hook alert corruption --post http://127.0.0.1:9000/x")
    assert [one["name"] for one in await desk.ok("hooks")] == ["copy", "alert"]
    assert (await desk.error("hook copy commit --run /bin/true"))["code"] == "hook.exists"
    assert (await desk.ok("unhook copy --dry-run"))["plan"]["program"] == "/usr/bin/copy"
    assert len(await desk.ok("hooks")) == 2
    assert (await desk.ok("unhook copy"))["name"] == "copy"
    missing = await desk.error("unhook copy")
    assert (missing["code"], missing["details"]) == ("hook.not_found", {"candidates": ["alert"]})
    await desk.ok("undo")
    assert {one["name"] for one in await desk.ok("hooks")} == {"alert", "copy"}


@pytest.mark.parametrize(
    "words",
    [
        "x publish", "x publish --run /a --post http://b/", "x publish --run a/b",
        "x publish --run /a/../b", "x publish --run '/a\n'", "'' publish --run /a",
        "../x publish --run /a", "x publish --post ftp://b/", "x publish --post http://u@b/",
        "x publish --post http:///x", "x publish --post http://b/../c",
        "x publish --post 'http://b/ c'", "x publish --post http://b:99999/",
        "x publish --post http://b/#f",
    ],
)  # fmt: skip
async def test_what_is_no_hook(words: str) -> None:
    assert (await Desk(HookedRuntime()).error(f"hook {words}"))["code"] == "hook.invalid"


async def test_hooks_on_hooks_are_no_hooks() -> None:
    error = await Desk(HookedRuntime()).error("hook x hook --run /bin/true")
    assert error["category"] == "invalid"


async def test_only_root_and_the_owner_declare() -> None:
    """Though the policy of the volume may make others admin."""
    runtime = HookedRuntime()
    assert (await Desk(runtime, OTHER).error("hook x publish --run /a"))["code"] == "policy.role"
    with pytest.raises(AffsError) as caught:
        runtime.hooks.demand_owner(2000)
    assert caught.value.code == "hook.owner"
    runtime.hooks.demand_owner(0)
    assert (await Desk(runtime, Identity(0, 0, user="root")).ok("hook x publish --run /a"))["name"]


async def test_their_number_is_bounded() -> None:
    runtime = HookedRuntime()
    for number in range(HOOKS_MAX):
        await runtime.add(made(f"h{number}"))
    with pytest.raises(AffsError) as caught:
        await runtime.add(made("one-more"))
    assert caught.value.code == "hook.too_many"


VALUES: st.SearchStrategy[Value] = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.text(max_size=5) | st.binary(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=5,
)


@settings(deadline=None)
@given(st.dictionaries(st.sampled_from([*made().to_auv()]), VALUES))
def test_a_volume_may_hold_anything_as_a_hook(changes: dict[str, Value]) -> None:
    value = {**made().to_auv(), **changes}
    hook = Hook.from_auv(value)
    if hook is not None:
        hook.check()
        assert hook.to_auv() == value
    assert Hook.from_auv([value]) is None


# ---- what the host allows ----


@pytest.mark.parametrize(
    ("program", "allowed"),
    [
        ("/opt/hooks/a", True), ("/opt/hooks/b/c", False), ("/opt/hooks", False),
        ("/usr/bin/one", True), ("/usr/bin/one2", False), ("/bin/sh", False),
    ],
)  # fmt: skip
def test_programs_that_are_listed(program: str, allowed: bool) -> None:
    rules = HookRules("listed", ("/opt/hooks/", "/usr/bin/one"), ())
    assert (rules.refusal(made(program=program)) == "") is allowed
    assert HookRules("off", (program,)).refusal(made(program=program))
    assert HookRules("listed").refusal(made(program=program))
    assert not HookRules("all").refusal(made(program=program))


@pytest.mark.parametrize(
    ("url", "allowed"),
    [
        ("http://127.0.0.1:9000/a", True), ("http://127.0.0.1:9000/", True),
        ("http://127.0.0.1:900/a", False), ("http://127.0.0.1/a", False),
        ("https://127.0.0.1:9000/a", False), ("http://127.0.0.1.evil:9000/a", False),
        ("https://example.org/only", True), ("https://example.org/only/more", False),
        ("https://example.org/only?x=1", False), ("https://example.org/onlyy", False),
    ],
)  # fmt: skip
def test_urls_that_are_listed(url: str, allowed: bool) -> None:
    rules = HookRules("listed", (), ("http://127.0.0.1:9000/", "https://example.org/only", "junk"))
    assert (rules.refusal(made(program="", url=url)) == "") is allowed


def test_programs_that_may_not_be_trusted(tmp_path: Path) -> None:
    program = tmp_path / "p"
    program.write_text("#!/bin/sh\n")
    uid = os.getuid()
    rules = HookRules("all", owner_uid=uid)
    assert rules.program_problem(str(program), -1) == "it is no program"
    program.chmod(0o755)
    assert rules.program_problem(str(program), -1) == ""
    assert rules.program_problem(str(program), tmp_path.stat().st_dev) == "it lies on this volume"
    program.chmod(0o775)
    assert rules.program_problem(str(program), -1) == "others can write to it"
    program.chmod(0o755)
    tmp_path.chmod(0o1777)  # somebody could put a link to another program in its place
    assert rules.program_problem(str(program), -1) == "others can write to its folder"
    tmp_path.chmod(0o755)
    assert rules.program_problem(str(tmp_path), -1) == "it is no program"
    assert "No such file" in rules.program_problem(str(tmp_path / "absent"), -1)
    if uid == 0:
        program.chmod(0o755)
        os.chown(program, 2000, 2000)
        assert "belongs neither" in rules.program_problem(str(program), -1)


# ---- running ----


async def test_a_hook_gets_its_event_and_nothing_of_it_in_the_command() -> None:
    runtime = HookedRuntime()
    await runtime.add(made("copy", ("publish",)))
    await runtime.add(made("post", ("publish",), program="", url="http://127.0.0.1:1/x"))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(runtime.hooks.serve)
        await wait_all_tasks_blocked()
        runtime.events.publish("commit")
        event = runtime.events.publish("publish", label="$(reboot); 'x'", seq=4)
        while runtime.hooks.statistics().done < 2:
            await trio.sleep(0.001)
        nursery.cancel_scope.cancel()
    (command, told, environment), (post, _, _) = sorted(runtime.runs.calls)
    assert command == through_shell("/bin/true")
    assert post == [sys.executable, "post", "http://127.0.0.1:1/x"]
    assert told["event"]["label"] == "$(reboot); 'x'"
    assert (told["volume"], told["mount"], told["hook"]) == ("0d9bcd56", "/mnt/fake", "copy")
    assert environment["AFFS_CURSOR"] == event["cursor"]
    assert not any("reboot" in text for text in [*command, *environment.values()])


async def test_few_at_once_and_a_bounded_queue(caplog: pytest.LogCaptureFixture) -> None:
    runtime = HookedRuntime()
    await runtime.add(made("slow", ("commit",), program="", url="http://a/"))
    runtime.runs.gate = trio.Event()
    heard = runtime.events.subscribe(["hook"])
    async with trio.open_nursery() as nursery:
        nursery.start_soon(runtime.hooks.serve)
        await wait_all_tasks_blocked()
        for _ in range(RUNNING_MAX + QUEUE_MAX + 3):
            runtime.events.publish("commit")
            await wait_all_tasks_blocked()
        assert runtime.hooks.statistics().waiting == QUEUE_MAX
        assert runtime.hooks.statistics().left_out == 3
        assert (await heard.receive())["outcome"] == "left_out"
        runtime.runs.gate.set()
        while runtime.hooks.statistics().waiting or runtime.runs.running:
            await trio.sleep(0.001)
        nursery.cancel_scope.cancel()
    assert runtime.runs.running_max == RUNNING_MAX
    assert len(runtime.runs.calls) == RUNNING_MAX + QUEUE_MAX


async def test_a_foreign_volume_runs_nothing_and_is_told_of_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    runtime = HookedRuntime(HookRules("listed", owner_uid=1000))
    await runtime.add(made("evil", ("commit",), program="/bin/sh"))
    await runtime.engine.settings.put(SettingKind.HOOKS, None, {"name": "broken"})
    async with trio.open_nursery() as nursery:
        nursery.start_soon(runtime.hooks.serve)
        await wait_all_tasks_blocked()
        for _ in range(5):
            runtime.events.publish("commit")
        while runtime.hooks.statistics().refused < 5:
            await trio.sleep(0.001)
        nursery.cancel_scope.cancel()
    assert runtime.runs.calls == []
    assert len(caplog.records) == 1
    (row,) = await Desk(runtime).ok("hooks")
    assert (row["allowed"], "does not list it" in row["refusal"]) == (False, True)
    assert row["last"] == f"refused: {row['refusal']}"


@pytest.mark.parametrize(
    ("outcome", "last"),
    [
        (HookOutcome(3, b"no\nluck", False), "ended with 3"),
        (HookOutcome(-15, b"", True), "was ended after 5 s"),
    ],
)
async def test_a_failure_is_told_with_its_output(
    outcome: HookOutcome, last: str, caplog: pytest.LogCaptureFixture
) -> None:
    runtime = HookedRuntime()
    runtime.runs.outcome = outcome
    await runtime.add(made("bad", ("publish",)))
    heard = runtime.events.subscribe(["hook"])
    async with trio.open_nursery() as nursery:
        nursery.start_soon(runtime.hooks.serve)
        await wait_all_tasks_blocked()
        runtime.events.publish("publish")
        event = await heard.receive()
        nursery.cancel_scope.cancel()
    assert (event["hook"], event["outcome"], event["reason"]) == ("bad", "failed", last)
    (row,) = await Desk(runtime).ok("hooks")
    assert (row["failed"], row["last"]) == (1, last)
    fields: Any = caplog.records[-1]
    assert fields.fields["output"] == outcome.output.decode()


# ---- processes ----


async def shell(script: str, data: bytes = b"", timeout_s: float = 30) -> HookOutcome:
    return await run_process(["/bin/sh", "-c", script], data, {"PATH": os.defpath}, timeout_s)


async def test_a_process_gets_its_input_and_little_else() -> None:
    outcome = await shell("cat; pwd; env | sort; ls /proc/$$/fd | wc -l", b"told\n")
    text = outcome.output.decode().split("\n")
    assert text[:2] == ["told", "/"]
    names = {line.partition("=")[0] for line in text[2:-2]}
    assert names <= {"PATH", "PWD", "SHLVL", "_", "OLDPWD"}
    assert outcome.status == 0


async def test_output_is_cut_and_the_rest_dropped() -> None:
    outcome = await shell("head -c 1000000 /dev/zero; exit 4")
    assert (outcome.status, outcome.output) == (4, bytes(OUTPUT_BYTES_MAX))


async def test_input_that_nobody_reads_holds_nobody_up() -> None:
    assert (await shell("exit 0", b"x" * 1_000_000)).status == 0


async def test_time_ends_a_process_and_its_children(tmp_path: Path) -> None:
    pid_file = tmp_path / "pid"
    outcome = await shell(f"sleep 1000 & echo $! > {pid_file}; wait", timeout_s=0.5)
    assert outcome.timed_out
    assert outcome.status != 0
    child = Path(f"/proc/{pid_file.read_text().strip()}")
    with trio.fail_after(30):
        while child.exists() and b"Z" not in (child / "stat").read_bytes().split()[2]:
            await trio.sleep(0.01)


async def test_a_child_that_keeps_the_output_open_does_not_hold_the_hook() -> None:
    """By the real clock: a jumping one may pass the timeout before the shell has ended."""
    outcome = await shell("sleep 1000 & exit 0", timeout_s=600)
    assert (outcome.status, outcome.timed_out) == (0, False)


async def test_a_program_that_is_not_there_is_a_status() -> None:
    outcome = await run_process(through_shell("/no/such/program"), b"", {}, 5)
    assert outcome.status in (126, 127)
