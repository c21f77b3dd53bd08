"""`-o ro,view=published` on real mounts: beside an owner, across its ends, and without one."""

import errno
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from mounted import Mounted

from affs_ctl.discover import find
from affs_fuse.control import remove_dead_daemons
from affs_fuse.errors import AffsError

DEADLINE_S = 20


def eventually(check: Callable[[], object], within_s: float = DEADLINE_S) -> None:
    """check() gets true in time."""
    end = time.monotonic() + within_s
    while not check():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.05)


def text_of(path: Path, *also: int) -> str:
    """Its content, "" while it is not there. also: errnos that count as not there."""
    try:
        return path.read_text()
    except OSError as error:
        if error.errno not in (errno.ENOENT, errno.ESTALE, *also):
            raise
        return ""


@pytest.fixture
def owner(mounted: Mounted) -> Mounted:
    """A mount for writing, of which one state is published."""
    (mounted.directory / "kept").write_text("kept")
    (mounted.directory / "file").write_text("one")
    mounted.affsctl("publish")
    return mounted


@pytest.fixture
def view(owner: Mounted, folder: Path) -> Iterator[Mounted]:
    """The published state of the same volume, on another directory."""
    with viewer(owner, folder / "w") as made:
        yield made


def viewer(owner: Mounted, place: Path) -> Mounted:
    place.mkdir()
    (place / "v.affs").symlink_to(owner.volume)
    return Mounted(place, options="ro,view=published")


def publish(owner: Mounted, text: str) -> str:
    (owner.directory / "file").write_text(text)
    state: str = owner.affsctl("publish")["id"]
    return state


def refusal(mounted: Mounted, line: str) -> AffsError:
    """The error that the daemon answers."""
    with mounted.client() as client, pytest.raises(AffsError) as caught:
        client.run(line)
    return caught.value


def holds(owner: Mounted) -> int:
    count: int = owner.affsctl("status")["holds"]
    return count


def test_it_shows_what_is_published_and_moves_on(owner: Mounted, view: Mounted) -> None:
    shown = view.directory / "file"
    assert shown.read_text() == "one"
    (owner.directory / "file").write_text("not published")
    (owner.directory / "new").write_text("not published")
    os.sync()
    assert shown.read_text() == "one"
    assert not (view.directory / "new").exists()
    eventually(lambda: holds(owner) == 1)

    publish(owner, "two")
    eventually(lambda: shown.read_text() == "two", 3)
    assert (view.directory / "new").read_text() == "not published"
    eventually(lambda: holds(owner) == 1)


def test_names_and_handles_of_what_is_gone(owner: Mounted, view: Mounted) -> None:
    (owner.directory / "d").mkdir()
    (owner.directory / "d/inside").write_text("inside")
    (owner.directory / "doomed").write_text("doomed" * 4000)
    publish(owner, "two")
    eventually(lambda: (view.directory / "doomed").exists(), 3)
    assert (view.directory / "d/inside").read_text() == "inside"
    with (view.directory / "doomed").open("rb") as doomed, (view.directory / "file").open() as kept:
        (owner.directory / "doomed").unlink()
        (owner.directory / "d").rename(owner.directory / "e")
        publish(owner, "three")
        eventually(lambda: not (view.directory / "doomed").exists(), 3)
        assert (view.directory / "e/inside").read_text() == "inside"
        assert not (view.directory / "d").exists()
        with pytest.raises(OSError, match="Stale file handle"):
            os.pread(doomed.fileno(), 100, 0)
        assert kept.read() == "three"
    assert sorted(os.listdir(view.directory)) == sorted(os.listdir(owner.directory))


def test_nothing_changes_through_it(owner: Mounted, view: Mounted) -> None:
    with pytest.raises(OSError, match="Read-only file system"):
        (view.directory / "file").write_text("x")
    view.allowed += ["operation log took no entry", "code=volume.read_only"]
    for line in ("checkpoint", "publish", "rollback published", "pin published"):
        error = refusal(view, line)
        assert (error.code, line) == ("volume.read_only", line)
        assert "shows the published state" in error.message
    assert not view.affsctl("commit")["changed"]
    assert refusal(view, "hold published").code == "hold.not_owner"
    status = view.affsctl("status")
    assert status["read_only"]
    assert status["mount"] == str(view.directory)
    assert [state["id"] for state in view.affsctl("checkpoints")] == [status["published"]["id"]]
    shown = owner.affsctl("show", "published")
    del shown["frees_bytes"]  # which `show` alone has: it costs a comparison
    assert status["published"] == shown
    assert view.affsctl("diff")["items"] == []
    # By what the volume is called, clients find its own daemon.
    for name in (status["uuid"], str(owner.volume)):
        assert find(name).socket == str(owner.control)
    assert find(str(view.directory / "file")).socket == str(view.control)


def test_reclaim_under_load_breaks_no_read(owner: Mounted, view: Mounted) -> None:
    """Every publication deletes the one before; readers of the view see whole states only."""
    big = 40
    stop = threading.Event()
    odd: list[str] = []

    def read() -> None:
        while not stop.is_set():
            for number in range(big):
                try:
                    data = (view.directory / f"b{number}").read_bytes()
                except OSError as error:
                    if error.errno not in (errno.ENOENT, errno.ESTALE):
                        odd.append(f"b{number}: {error}")
                    continue
                if len({*data}) > 1:
                    odd.append(f"b{number} is mixed")

    def write(generation: int) -> None:
        for number in range(big):
            (owner.directory / f"b{number}").write_bytes(bytes([generation]) * 100_000)

    write(1)
    former = publish(owner, "1")
    eventually(lambda: (view.directory / "b0").exists(), 3)
    reader = threading.Thread(target=read)
    reader.start()
    try:
        for generation in range(2, 7):
            write(generation)
            newer = publish(owner, str(generation))
            owner.affsctl("delete", former, "--now", "--yes")
            former = newer
        eventually(lambda: text_of(view.directory / "file") == "6")
        assert (view.directory / "b39").read_bytes() == bytes([6]) * 100_000
    finally:
        stop.set()
        reader.join()
    assert not odd, odd[:5]


def test_it_outlives_its_owner_and_finds_the_next(owner: Mounted, view: Mounted) -> None:
    eventually(lambda: holds(owner) == 1)
    publish(owner, "last")
    owner.unmount()
    eventually(lambda: text_of(view.directory / "file") == "last")
    assert (view.directory / "kept").read_text() == "kept"

    owner.start()
    eventually(lambda: holds(owner) == 1)
    publish(owner, "again")
    eventually(lambda: text_of(view.directory / "file") == "again", 3)

    owner.kill()
    assert (view.directory / "file").read_text() == "again"
    assert (view.directory / "kept").read_text() == "kept"
    owner.allowed.append("was not closed")
    owner.start()
    eventually(lambda: holds(owner) == 1)
    publish(owner, "after the crash")
    eventually(lambda: text_of(view.directory / "file") == "after the crash", 3)


def test_the_lease_of_a_dead_viewer_runs_out(owner: Mounted, folder: Path) -> None:
    dead = viewer(owner, folder / "w")
    dead.start()
    try:
        eventually(lambda: holds(owner) == 1)
        former = owner.affsctl("show", "published")["id"]
        dead.kill()
    finally:
        dead.close()
        remove_dead_daemons("/run/affs")
    publish(owner, "two")
    assert owner.affsctl("delete", former, "--now", "--yes")["freed_bytes"] is None
    assert former in {state["id"] for state in owner.affsctl("checkpoints", "--all")}
    eventually(
        lambda: former not in {state["id"] for state in owner.affsctl("checkpoints", "--all")}
    )
    assert holds(owner) == 0


def test_a_viewer_that_slept_longer_than_its_lease(owner: Mounted, view: Mounted) -> None:
    """Its state is reclaimed and overwritten meanwhile; it reads nothing wrong, and catches up."""
    view.allowed += ["volume.node_corrupt", "volume.data_corrupt"]
    eventually(lambda: holds(owner) == 1)
    for number in range(50):
        (owner.directory / f"s{number}").write_bytes(b"a" * 50_000)
    (owner.directory / "old").mkdir()
    former = publish(owner, "two")
    eventually(lambda: text_of(view.directory / "file") == "two", 3)
    assert (view.directory / "s0").read_bytes() == b"a" * 50_000
    os.kill(view.pid, signal.SIGSTOP)
    try:
        eventually(lambda: holds(owner) == 0)
        for generation in range(4):
            for number in range(50):
                (owner.directory / f"s{number}").write_bytes(b"%d" % generation * 50_000)
            newer = publish(owner, f"later {generation}")
            owner.affsctl("delete", former, "--now", "--yes")
            former = newer
        (owner.directory / "old").rename(owner.directory / "new")
        publish(owner, "three")
    finally:
        os.kill(view.pid, signal.SIGCONT)
    for number in range(50):
        # Parts of both states, if the view moves on between two requests; or an error. Never what
        # was published in between: nobody looked at that.
        with suppress(OSError):
            assert set((view.directory / f"s{number}").read_bytes()) <= set(b"a3")
    eventually(lambda: text_of(view.directory / "file", errno.EIO) == "three")
    eventually(lambda: not (view.directory / "old").exists())
    assert sorted(os.listdir(view.directory)) == sorted(os.listdir(owner.directory))
    for number in range(50):
        assert (view.directory / f"s{number}").read_bytes() == b"3" * 50_000
    eventually(lambda: holds(owner) == 1)


def test_a_hold_by_hand(owner: Mounted) -> None:
    former = owner.affsctl("show", "published")["id"]
    held = owner.affsctl("hold", "published", "--lease", "60")
    assert (held["state"], held["published"], held["lease_s"]) == (former, former, 60)
    newer = publish(owner, "two")
    assert owner.affsctl("delete", former, "--now", "--yes")["freed_bytes"] is None
    assert owner.affsctl("hold", "--renew", held["hold"])["published"] == newer
    assert former in {state["id"] for state in owner.affsctl("checkpoints", "--all")}
    owner.affsctl("hold", "--release", held["hold"])
    eventually(
        lambda: former not in {state["id"] for state in owner.affsctl("checkpoints", "--all")}
    )
    assert refusal(owner, f"hold --release {held['hold']}").code == "hold.not_found"
    assert refusal(owner, "hold").code == "command.contradiction"
    assert "hold" not in {entry["command"] for entry in owner.affsctl("log")}
