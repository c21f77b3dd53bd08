"""Who may ask what, and where relative paths begin, on a mounted volume."""

from types import SimpleNamespace

import pytest
from mounted import END_TIMEOUT_S, Mounted
from test_query_mounted import ask

from affs_ctl.client import Client
from affs_fuse.errors import AffsError
from affs_fuse.runtime.commands.records import UPDATE, UpdateOptions
from affs_fuse.runtime.policy import Identity, Policy, Role, Rule

pytestmark = pytest.mark.mount


def test_an_observer_asks_the_present_and_changes_nothing(mounted: Mounted) -> None:
    (mounted.directory / "p/a").write_text("1")
    mounted.allowed.append("policy.role")
    with mounted.client() as client:
        client.run("checkpoint -l observed")
        token = client.run("create-token --role observer")["secret"]["token"]
    path = str(mounted.control)
    with Client.connect(path, auth={"token": token}, timeout_s=END_TIMEOUT_S) as client:
        assert ask(client, "find /p | select $ as v")[0] == [{"v": 1}]
        for line in (
            "find /p as of observed", "find /p changed since observed",
            "find /p | join (find /p as of observed) on $ = $ as o", "explain find /p as of @",
            "create /p/b 1", "update /p/a set $ 2", "move /p/a /p/b", "erase /p/a --yes",
            'batch [{"create": "/p/b", "value": 1}]',
        ):  # fmt: skip
            with pytest.raises(AffsError) as caught:
                client.run(line)
            assert caught.value.code == "policy.role", line
    assert (mounted.directory / "p/a").read_text() == "1"


def test_relative_paths_begin_at_the_directory_of_the_session(mounted: Mounted) -> None:
    (mounted.directory / "p/q").mkdir()
    with mounted.client() as client:
        client.run("cd /p")
        client.run("create a 1")
        client.run("create q/b 2")
        client.run("move a ../p/q/c")
        assert ask(client, "find . | select @path, $ as v")[0] == [
            {"path": "/p/q/b", "v": 2}, {"path": "/p/q/c", "v": 1},
        ]  # fmt: skip
        client.run("cd q")
        assert ask(client, "list .. | select name")[0] == [{"name": "q"}]
        assert ask(client, "get ./b | select $ as v")[0] == [{"v": 2}]
        client.command("batch", {"operations": [{"update": "b", "changes": ["set", "$", 3]}]})
    assert (mounted.directory / "p/q/b").read_text() == "3\n"


def test_a_rule_for_certain_paths_does_not_count_for_ids() -> None:
    rule = Rule(Role.OPERATOR, uid=7, paths=("/p",))
    policy = Policy(owner_uid=0, rules=lambda: [rule])
    session = SimpleNamespace(identity=Identity(7, 7, user="u"), policy=policy)
    context = SimpleNamespace(session=session, path=lambda text: "/p/" + text)
    assert UPDATE.plan is not None
    with pytest.raises(AffsError) as caught:
        UPDATE.plan(context, UpdateOptions("0" * 32, ("set", "a", 1)))
    assert caught.value.code == "policy.role"
