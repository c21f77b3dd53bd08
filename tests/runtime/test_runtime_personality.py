"""Personalities only tighten: proven for every command, every shipped package, and made-up ones."""

import copy
import json
from contextlib import suppress
from typing import Any

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from runtime_fake import OTHER, Desk, FakeRuntime

from affs_fuse import __version__
from affs_fuse.errors import AffsError
from affs_fuse.protocol import Answer
from affs_fuse.runtime.command import Command, Danger
from affs_fuse.runtime.commands import COMMANDS
from affs_fuse.runtime.hook import HookRules
from affs_fuse.runtime.hook_process import run_process
from affs_fuse.runtime.hooks import HookPlace, Hooks
from affs_fuse.runtime.observation import Observation
from affs_fuse.runtime.personalities import Personalities, shipped_manifests
from affs_fuse.runtime.personality import (
    MANIFEST_BYTES_MAX,
    NO_PERSONALITY,
    Confirmation,
    Personality,
    check_commands,
    read_manifest,
)
from affs_fuse.runtime.policy import Role
from affs_fuse.runtime.registry import Registry
from affs_fuse.runtime.slow import SlowLog
from affs_fuse.volume.settings import SettingKind

BY_NAME = {command.name: command for command in COMMANDS}
GROUPS = sorted({command.group for command in COMMANDS})
DEFAULTS = {"log": {"limit": 7}, "slow": {"limit": 3}, "diff": {"limit": 2}}
ONLY_MORE_REFUSALS = {"personality.disabled", "plan.unconfirmed"}


def manifest(
    *,
    name: str = "made",
    version: str = "1.2.3",
    groups: list[str] | None = None,
    disable: list[str] | None = None,
    confirm: dict[str, str] | None = None,
    defaults: dict[str, dict[str, int]] | None = None,
    labels: dict[str, str] | None = None,
    startup: list[str] | None = None,
    affs: str = "",
) -> str:
    """A manifest as text."""

    def table(title: str, found: dict[str, Any]) -> list[str]:
        pairs = [f"{json.dumps(key)} = {_toml(value)}" for key, value in found.items()]
        return [f"[{title}]", *pairs]

    about = {"manifest": 1, "name": name, "version": version, "title": "Made up", "affs": affs}
    commands: dict[str, Any] = {"disable": disable or []}
    if groups is not None:
        commands["groups"] = groups
    lines = [
        *table("personality", about), *table("commands", commands),
        *table("confirm", dict(confirm or {})),
        *table("defaults", dict(defaults or {})), *table("labels", dict(labels or {})),
        *table("startup", {"lines": startup or []}),
    ]  # fmt: skip
    return "\n".join(lines)


def _toml(value: Any) -> str:
    if isinstance(value, dict):
        inside = ", ".join(f"{json.dumps(key)} = {_toml(one)}" for key, one in value.items())
        return "{" + inside + "}"
    return json.dumps(value, ensure_ascii=False)


LEVELS = st.sampled_from(["none", "yes", "token"])
PLANNED = sorted(command.name for command in COMMANDS if command.plan is not None)
MADE_UP = st.builds(
    manifest,
    groups=st.none() | st.lists(st.sampled_from(GROUPS), unique=True),
    disable=st.lists(
        st.sampled_from(sorted(one.name for one in COMMANDS if not one.essential)), unique=True
    ),
    confirm=st.dictionaries(st.sampled_from(["reversible", "destructive", *PLANNED]), LEVELS),
    defaults=st.lists(st.sampled_from([*DEFAULTS]), unique=True).map(
        lambda names: {name: DEFAULTS[name] for name in names}
    ),
    labels=st.dictionaries(
        st.sampled_from([*BY_NAME]), st.text("abcäö \"'\\日", min_size=1, max_size=8), max_size=4
    ),
)


# ---- only tightens ----


async def prepared(package: str | None, *, in_use: bool = True) -> FakeRuntime:
    """A runtime with states to work on, a hook, an installed package, and one more, in use."""
    runtime = FakeRuntime()
    place = HookPlace("u", "/mnt/fake", ["post"], lambda: -1)
    hooks = Hooks(
        runtime.engine.settings, runtime.events, HookRules("all", owner_uid=1000), place,
        run_process, runtime.clock,
    )  # fmt: skip
    runtime.dispatcher._observation = Observation(SlowLog(runtime.clock, 0.0), hooks=hooks)
    desk = Desk(runtime)
    for label in ("before-upgrade", "nightly", "a", "b"):
        runtime.engine.files[f"/{label}"] = b"x"
        await desk.ok(f"checkpoint -l {label}")
    await desk.ok("publish before-upgrade")
    await desk.ok("publish nightly")
    await desk.ok("pin before-upgrade")
    await desk.ok("hook copy publish --run /bin/true")
    await desk.ok("install-personality " + json.dumps(manifest(name="mine")))
    for number in range(20):
        await desk.ok(f"commit -m {number}")
    if package is not None:
        name = read_manifest(package).name
        value = {"name": name, "manifest": package}
        await runtime.engine.settings.put(SettingKind.PACKAGES, None, value)
        if in_use:
            await runtime.engine.settings.put(SettingKind.PERSONALITY, 0, name)
    return runtime


def traces(runtime: FakeRuntime) -> Any:
    """Everything that a command can have changed."""
    engine = runtime.engine
    kept = {key: one for key, one in engine.settings.kept.items() if key[0] != 8}
    calls = [call for call in engine.calls if call != "plan"]
    return copy.deepcopy((engine.files, engine.kept, engine.seq, calls, engine.holds, kept))


def lines_of(command: Command[Any]) -> list[str]:
    lines = [one.line for one in command.examples if one.line.lower().startswith(command.name)]
    assert lines, f"{command.name} has no example to try"
    extra = [f"{lines[-1]} --yes", f"{lines[-1]} --dry-run"] if command.plan is not None else []
    return [*lines, *extra]


async def outcome(runtime: FakeRuntime, **request: Any) -> tuple[str, Any, Any]:
    answer = await Desk(runtime).send(**request, trace="t")
    after = traces(runtime)
    if isinstance(answer, Answer):
        return "", answer.ok, after
    return answer.error["code"], answer.error["message"], after


async def check_package(package: str, commands: list[Command[Any]]) -> None:
    personality = read_manifest(package)
    for command in commands:
        if command.endless:
            assert personality.allows(command)
            continue
        for line in lines_of(command):
            free, bound = await prepared(package, in_use=False), await prepared(package)
            invocation = free.registry.parse_line(line)
            request: dict[str, Any] = {"line": line}
            if command.name in personality.defaults and not invocation.wants_help:
                given = {**personality.defaults[command.name], **invocation.arguments}
                request = {"command": command.name, "args": given}
            before = traces(bound)
            code, value, after = await outcome(bound, line=line)
            if code in ONLY_MORE_REFUSALS:
                assert after == before, line
                continue
            free_code, free_value, free_after = await outcome(free, **request)
            assert code == free_code, line
            if command.group not in ("Asking", "Personality") and command.name != "status":
                assert value == free_value, line
            if code:  # a plan that fails has called less than the command that fails
                after, free_after = (one[:3] + one[4:] for one in (after, free_after))
            assert after == free_after, line


@pytest.mark.parametrize("name", [*shipped_manifests()])
async def test_a_shipped_package_only_tightens(name: str) -> None:
    await check_package(shipped_manifests()[name], list(COMMANDS))


@settings(max_examples=15, deadline=None)
@given(MADE_UP, st.data())
def test_a_made_up_package_only_tightens(package: str, data: st.DataObject) -> None:
    few = data.draw(st.lists(st.sampled_from(list(COMMANDS)), unique=True, min_size=1, max_size=6))
    trio.run(check_package, package, few)


@settings(deadline=None)
@given(MADE_UP)
def test_confirmation_and_presence_are_monotone(package: str) -> None:
    """The same for all commands and dangers at once, without running anything."""
    personality = read_manifest(package)
    for command in COMMANDS:
        for danger in Danger:
            without = NO_PERSONALITY.confirmation(command, danger)
            assert personality.confirmation(command, danger) >= without
        assert personality.allows(command) or not command.essential
        assert NO_PERSONALITY.allows(command)


async def test_roles_are_as_they_were() -> None:
    for package in shipped_manifests().values():
        runtime = await prepared(package)
        for command in COMMANDS:
            if command.role > Role.OBSERVER:
                error = await Desk(runtime, OTHER).error(lines_of(command)[0])
                assert error["code"] == "policy.role"


def test_what_cannot_be_confirmed_is_not_asked_to_be() -> None:
    for command in COMMANDS:
        if command.plan is None:
            confirm = {command.name: Confirmation.TOKEN}
            personality = Personality("x", (1, 0, 0), "x", confirm=confirm)
            assert personality.confirmation(command, command.danger) is Confirmation.NONE


def test_nobody_is_locked_out() -> None:
    essential = {command.name for command in COMMANDS if command.essential}
    assert {"help", "describe", "status", "hold", "watch", "use-personality"} <= essential


# ---- what they do ----


async def test_a_level_is_asked_for_and_given() -> None:
    runtime = await prepared(manifest(confirm={"rollback": "token", "delete": "token"}))
    desk = Desk(runtime)
    error = await desk.error("rollback a --yes")
    assert error["code"] == "plan.unconfirmed"
    assert "guarded by the personality" in error["message"]
    assert "--yes" not in error["hint"]
    assert (await desk.ok(error["details"]["confirmed_line"]))["target"]["label"] == "a"
    error = await desk.error("delete b --yes")
    assert (error["code"], "takes something away" in error["message"]) == ("plan.unconfirmed", True)
    token = (await desk.ok("delete b --dry-run"))["token"]
    await desk.ok(f"delete b --token {token}")


async def test_a_command_that_is_left_out() -> None:
    desk = Desk(await prepared(manifest(groups=["Looking"], labels={"log": "Diary"})))
    error = await desk.error("checkpoint -l x")
    assert (error["code"], error["category"]) == ("personality.disabled", "denied")
    text = (await desk.ok("help"))["text"]
    assert "  checkpoint " not in text
    assert "  checkpoints " in text
    assert "Diary: who did what" in text
    described = {one["name"] for one in (await desk.ok("describe"))["commands"]}
    assert "delete" not in described
    assert "use-personality" in described
    assert not (await desk.ok("complete delet"))["candidates"]


async def test_defaults_of_queries_give_way_to_what_is_said() -> None:
    desk = Desk(await prepared(manifest(defaults={"log": {"limit": 3}})))
    assert len(await desk.ok("log")) == 3
    assert len(await desk.ok("log --limit 5")) == 5
    assert len(await desk.ok(command="log", args={"limit": 4})) == 4


async def test_the_life_of_a_package() -> None:
    desk = Desk(FakeRuntime())
    assert (await desk.ok("personality"))["name"] == "none"
    first = manifest(version="1.0")
    assert (await desk.ok(command="install-personality", args={"source": first}))["name"] == "made"
    assert (await desk.error(command="install-personality", args={"source": first}))["code"] == (
        "personality.installed"
    )
    plan = (await desk.ok("use-personality made --dry-run"))["plan"]
    assert (plan["name"], plan["from"], plan["disappears"]) == ("made", "none", [])
    await desk.ok("use-personality made")
    assert (await desk.error("remove-personality made"))["code"] == "personality.in_use"
    same = await desk.error(command="upgrade-personality", args={"source": first})
    assert (same["code"], same["category"]) == ("personality.not_newer", "conflict")
    newer = manifest(version="1.0.1", disable=["delete"])
    plan = (await desk.ok(command="upgrade-personality", args={"source": newer, "dry_run": True}))
    assert (plan["plan"]["from"], plan["plan"]["to"]) == ("1.0.0", "1.0.1")
    await desk.ok(command="upgrade-personality", args={"source": newer})
    assert (await desk.error("delete x"))["code"] == "personality.disabled"
    assert (await desk.ok("use-personality none"))["from"] == "made"
    assert (await desk.ok("remove-personality made"))["version"] == "1.0.1"
    assert (await desk.error("remove-personality made"))["code"] == "personality.not_found"
    rows = await desk.ok("personalities")
    assert [row["name"] for row in rows] == [*shipped_manifests()]
    assert not any(row["installed"] or row["in_use"] for row in rows)


async def test_one_that_is_shipped_is_installed_by_using_it() -> None:
    desk = Desk(FakeRuntime())
    await desk.ok("use-personality server")
    row = next(row for row in await desk.ok("personalities") if row["name"] == "server")
    assert (row["in_use"], row["installed"], row["shipped"]) == (True, True, True)
    error = await desk.error("use-personality servr")
    assert (error["code"], "server" in error["hint"]) == ("personality.not_found", True)


async def test_a_package_that_cannot_be_read_loosens_nothing(
    caplog: pytest.LogCaptureFixture,
) -> None:
    for value in ({"name": "x", "manifest": "broken = "}, {"name": "y"}, 7):
        runtime = await prepared(None)
        await runtime.engine.settings.put(SettingKind.PACKAGES, None, value)
        await runtime.engine.settings.put(SettingKind.PERSONALITY, 0, "x")
        desk = Desk(runtime)
        assert (await desk.error("rollback a --yes"))["code"] == "plan.unconfirmed"
        error = await desk.error("use-personality none")
        await desk.ok(error["details"]["confirmed_line"])
        assert (await desk.ok("rollback a"))["target"]["label"] == "a"
    assert "cannot be read" in caplog.text


# ---- manifests ----


def test_shipped_packages_are_sound() -> None:
    assert [*shipped_manifests()] == ["demo", "developer", "minimal", "school-lab", "server"]
    runtime = FakeRuntime()
    personalities = Personalities(runtime.engine.settings, Registry(COMMANDS))
    for name, text in shipped_manifests().items():
        package, _ = personalities.read(name)
        assert package.name == name
        assert package.fits(__version__)
        assert package.help
        assert package.startup
        assert len(text.encode()) <= MANIFEST_BYTES_MAX


@pytest.mark.parametrize(
    "text",
    [
        "", "[personality", "x = 1", '[personality]\nmanifest = 2', manifest(name="none"),
        manifest(name="A"), manifest(version="1.x"), manifest(version="1.2.3.4"),
        manifest(affs="=1"), manifest(groups=["Nothing"]), manifest(disable=["nothing"]),
        manifest(disable=["help"]), manifest(confirm={"nothing": "yes"}),
        manifest(confirm={"commit": "yes"}), manifest(confirm={"delete": "maybe"}),
        manifest(defaults={"commit": {"message": 1}}), manifest(defaults={"log": {"nothing": 1}}),
        manifest(defaults={"log": {"limit": 0}}), manifest(defaults={"nothing": {}}),
        manifest(labels={"nothing": "x"}), manifest(labels={"log": "x" * 3000}),
        manifest(startup=["commit"]), manifest(startup=["watch"]), manifest(startup=["stats"]),
        manifest(startup=["ping"] * 9), manifest() + "\n" + "#" * MANIFEST_BYTES_MAX,
        manifest() + '\n[help]\ntext = 3', manifest() + '\n[more]\nx = 1',
        manifest() + "\n[startup.more]\nx = 1", "[personality]\nmanifest = 1\nname = 3",
    ],
)  # fmt: skip
def test_what_is_no_manifest(text: str) -> None:
    personalities = Personalities(FakeRuntime().engine.settings, Registry(COMMANDS))
    with pytest.raises(AffsError) as caught:
        personalities.read(text if text else "\n")
    assert caught.value.code == "personality.manifest"
    assert "\n" not in caught.value.message


def test_compatibility() -> None:
    package = read_manifest(manifest(affs=">=1.2, <2"))
    found = [one for one in ("1.1.9", "1.2.0", "1.99", "2.0.0", "2.1") if package.fits(one)]
    assert found == ["1.2.0", "1.99"]


async def test_one_for_another_version_is_not_installed() -> None:
    error = await Desk(FakeRuntime()).error(
        command="install-personality", args={"source": manifest(affs=">=99")}
    )
    assert (error["code"], error["category"]) == ("personality.version", "unsupported")


@settings(deadline=None)
@given(MADE_UP)
def test_what_is_made_up_is_accepted(package: str) -> None:
    check_commands(read_manifest(package), BY_NAME)


@settings(deadline=None)
@given(st.text() | st.binary().map(lambda data: data.decode("latin-1")))
def test_any_text_is_a_manifest_or_an_error(text: str) -> None:
    with suppress(AffsError):
        assert read_manifest(text).name


