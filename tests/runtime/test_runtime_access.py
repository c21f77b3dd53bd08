"""Who is who, and who may what: rules about roles, tokens, sessions that are resumed."""

import hmac
from pathlib import Path
from typing import Any

import pytest
from runtime_engine import running
from runtime_fake import EPOCH_NS, OTHER, OWNER, Desk, FakeRuntime

from affs_fuse.auv import encode
from affs_fuse.errors import AffsError, Category
from affs_fuse.runtime import authentication
from affs_fuse.runtime.policy import Identity, Policy, Role, Rule
from affs_fuse.volume.settings import SettingKind

ROLES, TOKENS = SettingKind.ROLES, SettingKind.TOKENS


@pytest.fixture
def runtime() -> FakeRuntime:
    return FakeRuntime()


# ---- rules ----


@pytest.mark.parametrize(
    ("rules", "command", "paths", "role"),
    [
        ([], "commit", [], Role.OBSERVER),
        ([Rule(Role.OPERATOR, uid=2000)], "commit", [], Role.OPERATOR),
        ([Rule(Role.OPERATOR, uid=2001)], "commit", [], Role.OBSERVER),
        ([Rule(Role.OPERATOR, gid=7)], "commit", [], Role.OPERATOR),
        ([Rule(Role.OPERATOR, gid=8)], "commit", [], Role.OBSERVER),
        ([Rule(Role.OPERATOR, gid=7), Rule(Role.ADMIN, uid=2000)], "x", [], Role.ADMIN),
        ([Rule(Role.ADMIN, uid=2000, commands=("delete",))], "delete", [], Role.ADMIN),
        ([Rule(Role.ADMIN, uid=2000, commands=("delete",))], "rollback", [], Role.OBSERVER),
        ([Rule(Role.ADMIN, uid=2000, paths=("/a",))], "x", ["/a/b"], Role.ADMIN),
        ([Rule(Role.ADMIN, uid=2000, paths=("/a",))], "x", ["/a"], Role.ADMIN),
        ([Rule(Role.ADMIN, uid=2000, paths=("/a",))], "x", ["/ab"], Role.OBSERVER),
        ([Rule(Role.ADMIN, uid=2000, paths=("/a",))], "x", ["/a", "/b"], Role.OBSERVER),
        ([Rule(Role.ADMIN, uid=2000, paths=("/a",))], "x", [], Role.OBSERVER),
        ([Rule(Role.ADMIN, uid=2000, paths=("/",))], "x", ["/b"], Role.ADMIN),
    ],
)
def test_what_rules_give(rules: list[Rule], command: str, paths: list[str], role: Role) -> None:
    policy = Policy(1000, lambda: rules)
    identity = Identity(2000, 2000, frozenset({2000, 7}))
    assert policy.role_for(identity, command, paths) is role


def test_a_token_has_no_more_than_its_role() -> None:
    policy = Policy(1000)
    for uid in (0, 1000):
        identity = Identity(uid, 0, role_max=Role.OPERATOR)
        assert policy.role(identity) is Role.OPERATOR
        assert policy.role_for(identity, "delete", []) is Role.OPERATOR


async def test_a_rule_counts_from_the_next_request_on(runtime: FakeRuntime) -> None:
    owner, other = Desk(runtime), Desk(runtime, OTHER)
    error = await other.error("commit")
    assert (error["code"], error["details"]["needed"]) == ("policy.role", "operator")
    assert "grant bob operator" in error["hint"]
    granted = await owner.ok("grant 2000 operator")
    assert (granted["number"], granted["kind"], granted["id"]) == (1, "user", 2000)
    assert await other.ok("commit")
    assert other.session.role is Role.OPERATOR
    assert (await owner.ok("grant user:2000 OPERATOR"))["number"] == 1  # the same place
    assert (await owner.ok("grant group:2000 admin --commands Delete,unpin"))["number"] == 2
    assert (await other.error("rollback"))["code"] == "policy.role"
    assert (await other.error("unpin x"))["code"] == "state.not_found"
    assert [rule["role"] for rule in await other.ok("roles")] == ["operator", "admin"]
    dry = await owner.ok("revoke 1 --dry-run")
    assert dry["plan"]["rule"]["id"] == 2000
    await owner.ok("grant 2000 admin")
    assert (await owner.error(f"revoke 1 --token {dry['token']}"))["code"] == "plan.stale"
    assert await owner.ok("revoke 1")
    assert (await other.error("commit"))["code"] == "policy.role"
    await owner.ok("undo")
    assert other.session.role is Role.ADMIN
    await owner.ok("undo 4")
    assert await owner.ok("roles") == []


async def test_a_rule_for_a_path_is_for_commands_that_name_one(runtime: FakeRuntime) -> None:
    owner, other = Desk(runtime), Desk(runtime, OTHER)
    diff = runtime.registry.find("diff")
    object.__setattr__(diff, "role", Role.OPERATOR)
    try:
        await owner.ok("cd /a")
        await owner.ok("grant 2000 operator --path b")
        assert (await owner.ok("roles"))[0]["paths"] == ["/a/b"]
        assert (await other.error("diff"))["code"] == "policy.role"
        assert (await other.error("diff --path /a"))["code"] == "policy.role"
        assert (await other.error("diff --path /a/b/../c"))["code"] == "policy.role"
        assert await other.ok("diff --path /a/b/c")
        assert await other.ok("diff --path b/c", session={"directory": "/a"})
    finally:
        object.__setattr__(diff, "role", Role.OBSERVER)


async def test_a_rule_that_cannot_be_read_gives_nothing(
    runtime: FakeRuntime, caplog: pytest.LogCaptureFixture
) -> None:
    odd: list[Any] = [
        "admin", {"kind": "user", "id": 2000, "role": "king"},
        {"kind": "user", "id": "2000", "role": "admin"},
        {"kind": "god", "id": 2000, "role": "admin"},
        {"kind": "user", "id": 2000, "role": "admin", "commands": "all"},
        {"kind": "user", "id": 2000, "role": "admin", "until_ns": 5},
    ]  # fmt: skip
    for value in odd:
        await runtime.engine.settings.put(ROLES, None, value)
    other = Desk(runtime, OTHER)
    assert other.session.role is Role.OBSERVER
    assert len([one for one in caplog.messages if "cannot be read" in one]) == len(odd)
    assert [rule["name"] for rule in await other.ok("roles")] == ["(cannot be read)"] * len(odd)
    assert await Desk(runtime).ok("revoke 1")


async def test_grant_knows_whom(runtime: FakeRuntime) -> None:
    desk = Desk(runtime)
    for who in ("nobody-here", "group:none", "robot:7", "user:", ":7"):
        assert (await desk.error(f"grant {who} admin"))["code"] == "policy.account"
    error = await desk.error("grant 7 operator --commands comit")
    assert (error["code"], error["details"]["candidates"][0]) == ("command.unknown", "commit")


# ---- tokens ----


def greeted(runtime: FakeRuntime, token: str, peer: Identity = OTHER) -> Desk:
    session, _ = runtime.sessions.greet(peer, "program", "", {"token": token})
    desk = Desk(runtime, peer)
    desk.session = session
    return desk


def refused(runtime: FakeRuntime, offer: Any) -> AffsError:
    with pytest.raises(AffsError) as caught:
        runtime.sessions.greet(OTHER, "program", "", offer)
    return caught.value


async def test_a_token_stands_for_who_made_it(runtime: FakeRuntime) -> None:
    owner = Desk(runtime)
    made = await owner.ok("create-token --role operator --expires 2h -m backup")
    token = made["secret"]["token"]
    assert made["until_ns"] - made["created_ns"] == 7200 * 10**9
    desk = greeted(runtime, token)
    assert (desk.session.identity.uid, desk.session.identity.user) == (1000, "ann")
    assert await desk.ok("commit")
    assert (await desk.error("rollback"))["code"] == "policy.role"
    assert (await desk.error("create-token"))["code"] == "auth.token_session"
    assert (await owner.ok("log --command commit"))[-1]["role"] == "operator"
    assert [one["note"] for one in await owner.ok("tokens")] == ["backup"]
    assert await Desk(runtime, OTHER).ok("tokens") == []
    assert (await Desk(runtime, OTHER).error("revoke-token 1"))["code"] == "auth.no_token"
    await owner.ok("revoke-token 1")
    error = await desk.error("ping")
    assert (error["code"], error["category"]) == ("auth.refused", "denied")
    assert refused(runtime, {"token": token}).code == "auth.refused"
    await owner.ok("undo")
    assert await desk.ok("ping")
    runtime.time.ticks += 7200 * 1000
    assert (await desk.error("ping"))["code"] == "auth.refused"
    assert refused(runtime, {"token": token}).code == "auth.refused"


async def test_a_token_is_shown_once_and_kept_as_a_hash(runtime: FakeRuntime) -> None:
    owner = Desk(runtime)
    token = (await owner.ok("create-token"))["secret"]["token"]
    secret = token.split("_")[2].encode()
    kept = [encode(value) for value in runtime.engine.settings.kept.values()]
    logged = [encode(entry) for entry in runtime.engine.log]
    shown = [encode(await owner.ok(line)) for line in ("log", "tokens", "lines", "who")]
    assert not [one for one in [*kept, *logged, *shown] if secret in one]
    assert "hash" not in (await owner.ok("tokens"))[0]


async def test_only_the_right_token_opens(runtime: FakeRuntime) -> None:
    owner = Desk(runtime)
    first = (await owner.ok("create-token"))["secret"]["token"]
    second = (await owner.ok("create-token"))["secret"]["token"]
    word, number, secret = first.split("_")
    wrong: list[Any] = [
        "", word, f"{word}_{number}", f"{word}_{number}_", f"{word}_2_{secret}", f"x_1_{secret}",
        f"{word}_9_{secret}", f"{word}_-1_{secret}", f"{word}_1_{secret}x",
        f"{word}_1_{secret[:-1]}",
        f"{word}_{'9' * 400}_{secret}", f"{word}_\u0661_{secret}", 7, None, ["x"], first.upper(),
        f"{word}_0_{secret}",
    ]  # fmt: skip
    for token in wrong:
        assert refused(runtime, {"token": token}).code == "auth.refused", token
    error = refused(runtime, {"password": "x"})
    assert (error.code, error.category) == ("auth.unknown", Category.UNSUPPORTED)
    assert greeted(runtime, first).session.identity.token == 1
    assert greeted(runtime, second).session.identity.token == 2
    await runtime.engine.settings.put(TOKENS, 1, {"hash": "text"})
    assert refused(runtime, {"token": first}).code == "auth.refused"


async def test_a_number_that_comes_again_is_another_token(runtime: FakeRuntime) -> None:
    owner = Desk(runtime)
    desk = greeted(runtime, (await owner.ok("create-token"))["secret"]["token"])
    await owner.ok("revoke-token 1")
    assert (await owner.ok("create-token"))["number"] == 1
    assert (await desk.error("ping"))["code"] == "auth.refused"


async def test_secrets_are_compared_in_constant_time(
    runtime: FakeRuntime, monkeypatch: pytest.MonkeyPatch
) -> None:
    compared: list[tuple[bytes, bytes]] = []

    def compare(a: bytes, b: bytes) -> bool:
        compared.append((a, b))
        return hmac.compare_digest(a, b)

    class Recorded:
        compare_digest = staticmethod(compare)

    await Desk(runtime).ok("create-token")
    monkeypatch.setattr(authentication, "hmac", Recorded)
    for token in ("affs_1_x", "affs_9_x", "nonsense"):
        refused(runtime, {"token": token})
    assert [len(a) == len(b) == 32 for a, b in compared] == [True] * 3
    source = Path(authentication.__file__).read_text()
    assert source.count("compare_digest") == 1
    assert "expected ==" not in source


# ---- sessions ----


async def test_a_session_is_resumed_by_who_opened_it(runtime: FakeRuntime) -> None:
    first, resumed = runtime.sessions.greet(OWNER, "shell", "", None)
    assert not resumed
    desk = Desk(runtime)
    desk.session = first
    await desk.ok("cd /a")
    await desk.error("cd /nowhere")
    assert await desk.ok("cd b") == {"directory": "/a/b"}
    with pytest.raises(AffsError) as caught:
        runtime.sessions.greet(OWNER, "shell", first.id, None)
    assert (caught.value.code, caught.value.retryable) == ("session.attached", True)
    runtime.sessions.detach(first)
    stranger, resumed = runtime.sessions.greet(OTHER, "shell", first.id, None)
    assert (resumed, stranger is first, stranger.directory) == (False, False, "/")
    again, resumed = runtime.sessions.greet(OWNER, "shell 2", first.id, None)
    assert (resumed, again is first) == (True, True)
    desk.session = again
    assert await desk.ok("pwd") == {"directory": "/a/b"}
    assert await desk.ok("pwd", session={"directory": "x"}) == {"directory": "/a/b/x"}
    history = await desk.ok("lines")
    assert [entry["line"] for entry in history] == ["cd /a", "cd /nowhere", "cd b", "pwd", "pwd"]
    assert [entry["number"] for entry in await desk.ok("lines --failed")] == [2]
    assert [entry["line"] for entry in await desk.ok("lines cd --limit 1")] == ["cd b"]
    runtime.sessions.detach(again)
    runtime.time.ticks += 3600 * 1000 + 10
    _, resumed = runtime.sessions.greet(OWNER, "shell", first.id, None)
    assert not resumed


async def test_a_session_of_a_token_takes_the_token_again(runtime: FakeRuntime) -> None:
    owner = Desk(runtime)
    token = (await owner.ok("create-token"))["secret"]["token"]
    desk = greeted(runtime, token)
    runtime.sessions.detach(desk.session)
    _, resumed = runtime.sessions.greet(OWNER, "x", desk.session.id, None)
    assert not resumed
    session, resumed = runtime.sessions.greet(OTHER, "x", desk.session.id, {"token": token})
    assert (resumed, session) == (True, desk.session)


async def test_a_wrong_context_is_told(runtime: FakeRuntime) -> None:
    for context in ({"directory": 7}, {"dir": "/a"}, {"directory": "/a\0"}):
        error = await Desk(runtime).error("pwd", session=context)
        assert (error["code"], error["category"]) == ("session.context", "invalid")


async def test_who_is_here(runtime: FakeRuntime) -> None:
    owner, other = Desk(runtime), Desk(runtime, OTHER)
    await other.ok("ping")
    seen = await owner.ok("who")
    assert [(one["user"], one["role"], one["own"], one["requests"]) for one in seen] == [
        ("ann", "admin", True, 0), ("bob", "observer", False, 1),
    ]  # fmt: skip
    assert {one["id"] for one in seen} == {owner.session.id, other.session.id}
    assert seen[0]["opened_ns"] > EPOCH_NS
    assert [one["id"] for one in await other.ok("who")] == ["", other.session.id]


@pytest.mark.parametrize(
    ("directory", "text", "path"),
    [("/", "a", "/a"), ("/a", "..", "/"), ("/a", "../../..", "/"), ("/a/b", "./c//d/", "/a/b/c/d"),
     ("/a", "/x", "/x"), ("/", "//x", "/x"), ("/", ".affs", "/.affs"), ("/a", ".", "/a")],
)  # fmt: skip
async def test_paths_from_the_sessions_directory(directory: str, text: str, path: str) -> None:
    desk = Desk(FakeRuntime())
    desk.runtime.engine.directories = {path}
    desk.session.directory = directory
    assert await desk.ok(command="cd", args={"directory": text}) == {"directory": path}


async def test_cd_goes_where_the_user_may() -> None:
    async with running() as runtime:
        owner, other = runtime.desk(), runtime.desk(OTHER)
        await runtime.write("file", b"x")
        await runtime.mkdir("open", 0o755)
        await runtime.mkdir("shut", 0o700)
        assert await other.ok("cd open") == {"directory": "/open"}
        assert await other.ok("cd ..") == {"directory": "/"}
        for line, code in (("cd shut", "session.directory"), ("cd shut/x", "record.denied"),
                           ("cd file", "session.directory"), ("cd none", "record.not_found")):
            assert (await other.error(line))["code"] == code, line
        assert await other.ok("pwd") == {"directory": "/"}
        root = runtime.desk(Identity(0, 0, user="root"))
        assert await root.ok("cd shut") == {"directory": "/shut"}
        assert (await owner.ok("diff --path /open"))["added"] == 1


async def test_diff_below_a_path() -> None:
    async with running() as runtime:
        desk = runtime.desk()
        await runtime.write("one", b"1")
        await desk.ok("publish")
        await runtime.write("one", b"12")
        await runtime.write("two", b"2")
        await runtime.write("onemore", b"3")
        summary = await desk.ok("diff --path /one")
        assert (summary["count"], summary["changed"], summary["bytes"]) == (1, 1, 1)
        assert [change["path"] for change in desk.reply.items] == ["/one"]
        assert (await desk.ok("diff --path two --limit 1"))["added"] == 1
        assert (await desk.ok("diff --limit 2"))["more"]
