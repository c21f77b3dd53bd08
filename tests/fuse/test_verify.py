"""`affsctl verify` on real mounts: damage planted on the device below a daemon that holds good
copies in memory; kill -9 and going on; a mount under load."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mounted import Mounted, fsck

from affs_fuse.core.constants import BLOCK_SIZE
from affs_fuse.protocol import Event

DAMAGED = 4
ALLOWED = ["verify.", "corrupt", "does not match its checksum"]


def flip(volume: Path, offset: int) -> None:
    with volume.open("r+b") as file:
        file.seek(offset)
        byte = file.read(1)[0]
        file.seek(offset)
        file.write(bytes([byte ^ 0x40]))
        os.fsync(file.fileno())


def verify(mounted: Mounted, *words: str) -> tuple[list[Any], dict[str, Any]]:
    """The damage that is told, and the result."""
    answer = mounted.affsctl("verify", *words)
    return answer["items"], answer["result"]


def damaged(mounted: Mounted, *words: str) -> list[Any]:
    """The same where affsctl ends with the status that says so."""
    done = mounted.run_affsctl("verify", *words)
    assert done.returncode == DAMAGED, done.stderr
    answer = json.loads(done.stdout)
    assert answer["result"]["outcome"] == "done"
    assert answer["result"]["damage"] == len(answer["items"])
    found = answer["items"]
    assert isinstance(found, list)
    return found


def test_damaged_data_is_found_below_good_copies(folder: Path) -> None:
    """The page cache of the mount and of the daemon's host may have it; the medium has not."""
    content = os.urandom(64 * BLOCK_SIZE)
    with Mounted(folder) as mounted:
        mounted.allowed = ALLOWED
        root = mounted.directory
        (root / "a" / "b").mkdir(parents=True)
        (root / "a" / "b" / "file").write_bytes(content)
        (root / "other").write_bytes(os.urandom(200_000))
        mounted.affsctl("checkpoint", "-l", "first")
        (root / "other").write_bytes(b"new" * 50_000)
        mounted.affsctl("publish")
        assert verify(mounted)[1]["damage"] == 0
        place = mounted.volume.read_bytes().index(content[20 * BLOCK_SIZE : 21 * BLOCK_SIZE])
        assert (root / "a" / "b" / "file").read_bytes() == content
        flip(mounted.volume, place + 77)
        with mounted.client() as client:
            watch = client.start("watch corruption --count 1")
            client.run("ping")  # the daemon has begun to watch
            (entry,) = damaged(mounted)
            (event,) = [part.event for part in watch.parts(20) if isinstance(part, Event)]
        assert entry["code"] == event["code"] == "verify.data"
        assert entry["path"] == event["path"] == "/a/b/file"
        assert entry["offset"] == 20 * BLOCK_SIZE
        assert entry["state"] == "first"
        assert entry["states"][0] == "working"
        assert len(entry["states"]) == 3
        assert entry["block"] == event["block"]
        # Narrower questions get the same answer, or none where it is not theirs.
        assert damaged(mounted, "/a")[0]["path"] == "/a/b/file"
        assert damaged(mounted, "/a/b/file", "--state", "first")[0]["state"] == "first"
        assert verify(mounted, "/other")[0] == []
        assert verify(mounted, "/a/../other")[0] == []
        for path in ("/../etc", "/nothing"):  # of the volume, and no other way
            refused = json.loads(mounted.affsctl("verify", path, status=16))
            assert refused["error"]["code"] == "verification.path"
        assert verify(mounted, "--since", "first")[0] == []
        assert mounted.affsctl("status")["verified"]["damage"] >= 1
        # Once more where damage is known: it is there, in whatever state; and nothing else is read.
        found, result = damaged(mounted, "--errors-only"), mounted.affsctl("verify", "--status")
        assert [entry["block"] for entry in found] == [entry["block"]] * len(found)
        assert result["result"]["scope"] == "known"
        assert 0 < result["result"]["data_blocks"] <= 64 * len(found)
        assert mounted.affsctl("status")["verified"]["damage"] >= 1
        # What is put right is no longer known as damage, after a look at what was known or at all.
        flip(mounted.volume, place + 77)
        assert verify(mounted, "--errors-only")[0] == []
        assert mounted.affsctl("status")["verified"]["damage"] == 0
        assert verify(mounted)[0] == []
        assert mounted.affsctl("status")["verified"] | {"oldest_ns": 0} == {
            "oldest_ns": 0, "damage": 0, "never": 0,
            "segments": mounted.affsctl("status")["verified"]["segments"],
        }


def test_a_damaged_node_is_found_with_the_names_of_what_it_holds(folder: Path) -> None:
    # Reading moves access times, and with them nodes.
    with Mounted(folder, options="noatime") as mounted:
        mounted.allowed = ALLOWED
        root = mounted.directory
        for number in range(40):
            (root / f"dir{number:02}").mkdir()
            for name in range(20):
                (root / f"dir{number:02}" / f"file{name:02}").write_bytes(b"%d" % name * 300)
        mounted.affsctl("checkpoint", "-l", "kept")
        (root / "dir07" / "file03").write_bytes(b"marked by these bytes" * 20)
        mounted.affsctl("commit")
        image = mounted.volume.read_bytes()
        place = image.index(b"marked by these bytes" * 20)
        flip(mounted.volume, place)
        assert (root / "dir07" / "file03").read_bytes() == b"marked by these bytes" * 20
        (entry,) = damaged(mounted)
        assert entry["code"] == "verify.node"
        assert entry["state"] == "working"
        assert "/dir07" in entry["paths"], "its own entries, and with them their names, are gone"
        number = (root / "dir07" / "file03").stat().st_ino
        assert entry["objects"][0] <= number <= entry["objects"][1]
        found = {(root / path[1:]).stat().st_ino for path in entry["paths"]}
        assert all(entry["objects"][0] <= one <= entry["objects"][1] for one in found)
        assert verify(mounted, "--state", "kept")[0] == []


def test_it_goes_on_after_kill_nine_where_it_was(folder: Path) -> None:
    """Killed in the middle: the next daemon reads the rest, and not much more than that."""
    slow = str(Path(__file__).with_name("slow_medium_daemon.py"))
    with Mounted(folder, program=(slow,), options="commit_interval=0.1") as mounted:
        mounted.allowed = ["did not close", "unclean", "not closed", *ALLOWED]
        for number in range(40):
            (mounted.directory / f"f{number:02}").write_bytes(os.urandom(1 << 20))
        mounted.affsctl("publish")
        image = mounted.volume.read_bytes()
        content = (mounted.directory / "f39").read_bytes()
        flip(mounted.volume, image.index(content[:BLOCK_SIZE]))
        gate = folder / "v.affs.gate"
        gate.write_text(str(20 << 20))
        answer = mounted.affsctl("verify", "--detach")
        assert answer["result"]["outcome"] == "running"
        wait_until(lambda: stored_bytes(mounted) > 8 << 20)
        (mounted.directory / "later").write_bytes(b"x")
        mounted.affsctl("commit")  # whatever cursor there is, is durable with it
        mounted.kill()
        gate.unlink()
        mounted.start()
        status = wait_until(lambda: finished(mounted))
        assert status["outcome"] == "done"
        assert status["number"] == 1
        assert status["damage"] == 1
        assert status["bytes"] < 60 << 20, "40 MiB, and what was read between cursor and kill"
        (known,) = mounted.affsctl("verify", "--status")["items"]
        assert known["path"] == "/f39"
        assert "verification of the volume resumed" in mounted.read_log()


def stored_bytes(mounted: Mounted) -> int:
    """How far the cursor is that the newest commit has."""
    running = mounted.affsctl("verify", "--status")["result"]["running"]
    assert running is not None, "it has ended already"
    stored = running["saved"]
    assert isinstance(stored, int)
    return stored


def finished(mounted: Mounted) -> dict[str, Any] | None:
    results = mounted.affsctl("verify", "--status")["result"]["results"]
    return results[0] if results else None


def wait_until(question: Callable[[], Any]) -> Any:
    for _ in range(300):
        if answer := question():
            return answer
        time.sleep(0.1)
    raise AssertionError("it did not come to that")


def test_cancelling_ends_it_and_leaves_no_cursor(folder: Path) -> None:
    slow = str(Path(__file__).with_name("slow_medium_daemon.py"))
    with Mounted(folder, program=(slow,)) as mounted:
        gate = folder / "v.affs.gate"
        gate.write_text("0")
        (mounted.directory / "f").write_bytes(os.urandom(4 << 20))
        mounted.affsctl("verify", "--detach")
        mounted.affsctl("verify", "--detach")  # joins
        refused = json.loads(mounted.affsctl("verify", "--since", "@", "--detach", status=16))
        assert refused["error"]["code"] == "state.not_found"
        mounted.affsctl("checkpoint")
        refused = json.loads(mounted.affsctl("verify", "--since", "@", "--detach", status=11))
        assert refused["error"]["code"] == "verification.running"
        with mounted.client() as client:
            cancel = client.start("verify --cancel")
            client.run("ping")  # it has been heard
            gate.unlink()
            result = cancel.result(timeout_s=60)
        assert isinstance(result, dict)
        assert result["outcome"] == "cancelled"
        refused = json.loads(mounted.affsctl("verify", "--cancel", status=16))
        assert refused["error"]["code"] == "verification.not_running"
        mounted.affsctl("commit")
        mounted.remount()
        status = mounted.affsctl("verify", "--status")["result"]
        assert status["running"] is None
        assert status["results"][0]["outcome"] == "cancelled"


def test_no_damage_is_told_of_a_volume_that_changes(folder: Path) -> None:
    """Writers, rollbacks, deletes and reclaim beside several verifications."""
    with Mounted(folder, options="commit_interval=0.05") as mounted:
        mounted.allowed = ["still open"]
        busy = Path(__file__).with_name("busy_writer.py")
        (mounted.directory / "big").write_bytes(os.urandom(20 << 20))
        mounted.affsctl("publish")
        with subprocess.Popen([sys.executable, str(busy), str(mounted.directory), "7"]) as writer:
            try:
                for turn in range(3):
                    mounted.affsctl("verify", "--detach", "--full-speed")
                    mounted.affsctl("checkpoint", "-l", f"s{turn}")
                    mounted.affsctl("rollback", f"s{max(0, turn - 1)}", "--force")
                    if turn > 1:
                        mounted.affsctl("delete", f"s{turn - 2}", "--yes")
                    assert verify(mounted)[1]["outcome"] == "done"
                assert writer.poll() is None
            finally:
                writer.terminate()
                writer.wait()
        results = mounted.affsctl("verify", "--status")["result"]["results"]
        assert len(results) >= 3
        assert {result["damage"] for result in results} == {0}
        mounted.unmount()
        fsck(mounted.volume)
        mounted.start()


def test_a_mount_that_only_reads_is_verified_and_nothing_is_kept(folder: Path) -> None:
    content = os.urandom(100_000)
    with Mounted(folder) as mounted:
        mounted.allowed = [*ALLOWED, "read-only"]
        (mounted.directory / "file").write_bytes(content)
        mounted.affsctl("publish")
        mounted.unmount()
        flip(mounted.volume, mounted.volume.read_bytes().index(content[:BLOCK_SIZE]))
        before = mounted.volume.read_bytes()
        mounted.options = "ro"
        mounted.start()
        (entry,) = damaged(mounted)
        assert entry["path"] == "/file"
        assert mounted.affsctl("verify", "--status")["result"]["results"] == []
        mounted.unmount()
        assert mounted.volume.read_bytes() == before
        mounted.options = "ro,view=published"
        mounted.start()
        refused = json.loads(mounted.affsctl("verify", status=2))
        assert refused["error"]["code"] == "verification.not_owner"
