"""What root's daemon keeps of root's capabilities, on real mounts: in every thread, with and
without hooks, and that everything which once took them still works."""

import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
from mounted import Mounted

from affs_ctl.client import Client
from affs_fuse.daemon.privileges import CAPABILITIES, hides_processes
from affs_fuse.fuse import mount_table

SETS = ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")
SEARCH = 1 << CAPABILITIES["dac_read_search"]
PTRACE = 1 << CAPABILITIES["sys_ptrace"]
OVERRIDE = 1 << CAPABILITIES["dac_override"]
SOMEBODY, GROUP = 1000, 4711


def status_of(path: Path) -> dict[str, int]:
    """The capability sets and no_new_privs in a status file of /proc."""
    lines = (line.partition(":") for line in path.read_text().splitlines())
    words = {name: value.strip() for name, _, value in lines}
    sets = {name: int(words[name], 16) for name in SETS}
    return {**sets, "NoNewPrivs": int(words["NoNewPrivs"])}


def threads(mounted: Mounted) -> list[dict[str, int]]:
    found = [status_of(task / "status") for task in Path(f"/proc/{mounted.pid}/task").iterdir()]
    assert len(found) > 1, "workers have begun"
    return found


MINE = status_of(Path("/proc/self/status"))


def test_what_is_left_and_that_it_suffices(folder: Path) -> None:
    """A rollback that moves a closed directory, a verification, and SIGTERM, which unmounts."""
    with Mounted(folder) as mounted:
        root = mounted.directory
        (root / "closed" / "a").mkdir(parents=True)
        (root / "closed" / "a" / "file").write_bytes(os.urandom(100_000))
        os.chown(root / "closed", SOMEBODY, SOMEBODY)
        (root / "closed").chmod(0o700)
        mounted.affsctl("publish")
        (root / "closed" / "a").rename(root / "closed" / "b")
        mounted.affsctl("rollback", "--yes")
        assert os.listdir(root / "closed") == ["a"]
        assert len((root / "closed" / "a" / "file").read_bytes()) == 100_000
        assert mounted.affsctl("verify")["result"]["damage"] == 0
        for one in threads(mounted):
            assert one == {
                "CapInh": 0, "CapPrm": SEARCH, "CapEff": SEARCH, "CapBnd": SEARCH, "CapAmb": 0,
                "NoNewPrivs": 1,
            }  # fmt: skip
        assert "capabilities that are left: dac_read_search" in mounted.read_log()
        mounted.terminate()
        assert mount_table.mount_entry_of(str(root)) is None
        assert not Path(f"{folder}/control").exists()


def test_programs_of_hooks_have_what_the_owner_of_the_mount_has(folder: Path) -> None:
    out, program = folder / "out", folder / "p"
    program.write_text(f"#!/bin/sh\ncat /proc/self/status > {out}.new; mv {out}.new {out}\n")
    program.chmod(0o755)
    with Mounted(folder, options="hooks=all") as mounted, mounted.client() as client:
        client.command("hook", {"name": "p", "on": ["publish"], "run": str(program)})
        client.run("publish")
        while not out.exists():
            client.run("ping")
        for one in threads(mounted):
            assert (one["CapPrm"], one["CapEff"], one["NoNewPrivs"]) == (SEARCH, SEARCH, 0)
        told = status_of(out)
        assert told["CapEff"] == told["CapPrm"] == MINE["CapBnd"]


@pytest.mark.parametrize("of_somebody", ["volume", "log", "metrics"])
def test_places_that_are_not_roots(folder: Path, of_somebody: str) -> None:
    """Only where root as a mere user could not write: then the daemon keeps what lets it."""
    place = folder / "place"
    place.mkdir()
    mounted = Mounted(folder)
    if of_somebody == "volume":
        os.chown(mounted.volume, SOMEBODY, SOMEBODY)
        mounted.volume.chmod(0o600)
    else:
        os.chown(place, SOMEBODY, SOMEBODY)
        mounted.options = f"metrics={place}/m.prom"
    if of_somebody == "log":
        mounted.log, mounted.options = place / "log", ""
    with mounted:
        (mounted.directory / "file").write_bytes(b"x" * 100_000)
        mounted.affsctl("commit")
        kept = SEARCH | OVERRIDE
        for one in threads(mounted):
            assert (one["CapPrm"], one["CapEff"], one["CapBnd"]) == (kept, kept, kept)
        assert mounted.affsctl("verify")["result"]["damage"] == 0
    if of_somebody == "metrics":
        assert "affs_up{" in (place / "m.prom").read_text()


def test_processes_that_proc_hides_are_seen(folder: Path) -> None:
    """Who writes is told by name, as on any other host."""
    program = str(Path(__file__).with_name("hidden_proc_daemon.py"))
    folder.chmod(0o755)
    mounted = Mounted(folder, program=(program,))
    try:
        mounted.start()
        for one in threads(mounted):
            assert one["CapPrm"] == one["CapBnd"] == SEARCH | PTRACE
        as_somebody = [
            "nsenter", "-t", str(mounted.pid), "-m", "setpriv", f"--reuid={SOMEBODY}",
            f"--regid={SOMEBODY}", f"--groups={GROUP}",
        ]  # fmt: skip
        inside = ["nsenter", "-t", str(mounted.pid), "-m", "sh", "-c"]
        root = mounted.directory
        subprocess.run([*inside, f"mkdir -m 2770 {root}/d; chgrp {GROUP} {root}/d"], check=True)
        subprocess.run([*as_somebody, "touch", f"{root}/d/file"], check=True)
        with mounted.client() as client:
            (row,) = ask(client, "list /d | select @changed_by, @changed_uid, @gid")
        assert row == {"changed_by": "touch", "changed_uid": SOMEBODY, "gid": GROUP}
        mounted.terminate()
    finally:
        mounted.close()


def ask(client: Client, line: str) -> list[Any]:
    call = client.start(line)
    call.result()
    return [row for item in call.items for row in (item if isinstance(item, list) else [item])]


@pytest.mark.parametrize(
    ("options", "hides"),
    [
        ("rw", False), ("rw,hidepid=0", False), ("rw,hidepid=off", False), ("rw,gid=4", False),
        ("rw,gid=4,hidepid=2", True), ("rw,hidepid=ptraceable", True), ("hidepid=noaccess", True),
    ],
)  # fmt: skip
def test_what_mounts_of_proc_hide(options: str, hides: bool) -> None:
    assert hides_processes(options) is hides


def test_a_mount_that_only_reads_keeps_no_more_than_one_that_writes(folder: Path) -> None:
    with Mounted(folder) as mounted:
        (mounted.directory / "file").write_text("x")
    os.chown(mounted.volume, SOMEBODY, SOMEBODY)
    mounted.volume.chmod(0o600)
    mounted.options = "ro,hooks=all"
    with mounted:
        assert (mounted.directory / "file").read_text() == "x"
        for one in threads(mounted):
            assert (one["CapPrm"], one["CapBnd"], one["NoNewPrivs"]) == (SEARCH, SEARCH, 1)
