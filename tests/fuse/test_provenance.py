"""Who changed what, on a mount: two users, several programs, commands, renames and a rollback."""

import os
import subprocess
from pathlib import Path

import pytest
from mounted import Mounted, fsck

from affs_ctl.client import Client
from affs_fuse.errors import AffsError

pytestmark = pytest.mark.mount

ALICE, BOB = 12345, 12346


def run_as(mounted: Mounted, user: int, *words: str, input: str = "") -> None:
    """A program in the mount's root. (The way there is for root alone.)"""
    subprocess.run(
        words, user=user, group=user, extra_groups=[], input=input.encode(), check=True,
        stdout=subprocess.DEVNULL, cwd=mounted.directory,
    )  # fmt: skip


@pytest.fixture
def mounted(tmp_path: Path) -> Mounted:
    with Mounted(tmp_path) as made:
        (made.directory / "p").mkdir()
        (made.directory / "p").chmod(0o777)
        yield made
        made.unmount()
        fsck(made.volume)


def rows(client: Client, line: str) -> list[dict]:
    call = client.start(line)
    call.result()
    return call.items


def by(row: dict) -> tuple[int, str, str] | None:
    return row["by"] and (row["by"]["uid"], row["by"]["kind"], row["by"]["name"])


def test_two_users_and_their_programs(mounted: Mounted) -> None:
    path = mounted.directory / "p/record"
    with mounted.client() as client:
        anna = '{"age": 30, "name": "Anna", "tags": ["a", "b"]}'
        run_as(mounted, ALICE, "tee", "p/record", input=anna)
        os.chmod(path, 0o666)
        client.run("checkpoint -l one")
        run_as(mounted, BOB, "dd", "of=p/record", "status=none",
               input='{"age": 31, "name": "Anna", "tags": ["a", "c"]}')  # fmt: skip
        client.run("checkpoint -l two")
        run_as(mounted, ALICE, "mv", "p/record", "p/renamed")
        client.run("checkpoint -l three")
        client.run("update /p/renamed set name Berta --if-version "
                   + rows(client, "get /p/renamed")[0]["version"])  # fmt: skip
        found = rows(client, "history /p/renamed")
        assert [row["state"] and row["state"]["label"] for row in found] == [
            None, "three", "two", "one",
        ]  # fmt: skip
        assert [by(row) for row in found] == [
            (0, "command", "update"), (ALICE, "process", "mv"), (BOB, "process", "dd"),
            (0, "process", Path("/proc/self/comm").read_text().strip()),
        ]  # fmt: skip
        assert [row["what"] for row in found] == [["content"], ["name"], ["content"], []]
        assert [row["kind"] for row in found] == ["changed", "changed", "changed", "created"]
        assert found[1]["from"] == "/p/record"
        assert found[0]["size_before"] == found[1]["size"]
        [operation] = found[0]["operations"]
        [entry] = [one for one in client.run("log") if one["command"] == "update"]
        assert (operation["number"], operation["trace"]) == (entry["number"], entry["trace"])
        assert found[0]["by"]["user"] == "root"

        blamed = {row["place"]: row for row in rows(client, "blame /p/renamed")}
        assert {place: (row["state"] and row["state"]["label"], by(row))
                for place, row in blamed.items()} == {
            "age": ("two", (BOB, "process", "dd")),
            "name": (None, (0, "command", "update")),
            "tags[0]": ("one", by(found[3])),
            "tags[1]": ("two", (BOB, "process", "dd")),
        }  # fmt: skip
        assert blamed["tags[1]"]["value"] == "c"
        as_of = {row["place"]: row["state"]["label"]
                 for row in rows(client, "blame /p/record --state two")}  # fmt: skip
        assert as_of["name"] == "one"

        [row] = rows(client, "list /p | select name, changed_by, changed_uid, changed_how, "
                             "created_commit < changed_commit as later")  # fmt: skip
        assert row == {
            "name": "renamed", "changed_by": "update", "changed_uid": 0, "changed_how": "command",
            "later": True,
        }  # fmt: skip
        client.run("rollback two --yes")
        assert [row["state"]["label"] for row in rows(client, "history /p/record")] == [
            "two", "one",
        ]  # fmt: skip
        everything = rows(client, f"history {found[0]['id']} --all")
        assert [(row["state"] or {}).get("label") for row in everything] == [
            "", "three", "two", "one",
        ]  # fmt: skip
        assert len(rows(client, f"history {found[0]['id']} --all --limit 2")) == 2
    mounted.remount()
    with mounted.client() as client:
        assert by(rows(client, "history /p/record")[0]) == (BOB, "process", "dd")


def test_gone_and_made_again_is_another_object(mounted: Mounted) -> None:
    path = mounted.directory / "p/x"
    with mounted.client() as client:
        path.write_text("1")
        client.run("checkpoint -l first")
        path.unlink()
        client.run("checkpoint -l without")
        [gone, made] = rows(client, "history /p/x")
        assert (gone["kind"], gone["state"]["label"], gone["by"]) == ("removed", "without", None)
        assert made["kind"] == "created"
        path.write_text("2")
        [again] = rows(client, "history /p/x")
        assert (again["kind"], again["state"]) == ("created", None)
        assert again["id"] != made["id"]
        assert "replaced" not in again
        client.run("checkpoint -l again")
        other = mounted.directory / "p/y"
        other.write_text("3")
        os.replace(other, path)
        [row] = rows(client, "history /p/x")
        assert row["replaced"] == again["id"]
        [removed, created] = rows(client, f"history {again['id']}")
        assert (removed["kind"], removed["replaced_by"]) == ("removed", row["id"])
        assert created["state"]["label"] == "again"
        for line, code in [
            ("history /p/none", "record.not_found"), ("blame /p", "record.no_file"),
            ("history /p/x --state none", "state.not_found"), ("blame /p/none", "record.not_found"),
        ]:  # fmt: skip
            with pytest.raises(AffsError) as caught:
                rows(client, line)
            assert caught.value.code == code
        (mounted.directory / "p/bad").write_text("{")
        with pytest.raises(AffsError) as caught:
            rows(client, "blame /p/bad")
        assert caught.value.code == "record.syntax"


def test_what_a_shell_starts_is_told_from_the_shell(mounted: Mounted) -> None:
    copy = "exec dd if=/dev/zero bs=1 count=1 status=none > p/out"
    run_as(mounted, ALICE, "sh", "-c", copy)
    with mounted.client() as client:
        [row] = rows(client, "history /p/out")
        assert by(row) == (ALICE, "process", "dd")
        run_as(mounted, ALICE, "fallocate", "-l", "10000", "p/room")
        [row] = rows(client, "history /p/room")
        assert by(row) == (ALICE, "process", "fallocate")
        run_as(mounted, BOB, "python3", "-c", "import os; os.mkdir('p/outd')")
        [row] = rows(client, "history /p/outd")
        assert by(row)[:2] == (BOB, "process")

