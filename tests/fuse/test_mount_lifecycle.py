"""mount.affs as mount(8) and people see it: exit statuses, reasons, background, dead mounts."""

import os
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from mounted import END_TIMEOUT_S, ENVIRONMENT, Mounted

from affs_fuse.daemon import unmount as umount_helper
from affs_fuse.daemon.config import Environment
from affs_fuse.daemon.helpers import HELPERS, install_helpers
from affs_fuse.daemon.unmount import parse_unmount, unmount_and_wait
from affs_fuse.errors import AffsError
from affs_fuse.fuse import mount_table
from affs_fuse.volume.mkfs import MkfsOptions, make_volume


def mount_affs(*words: str, **changes: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "affs_fuse.daemon.main", *words],
        env={**ENVIRONMENT, **changes}, capture_output=True, text=True, check=False,
        timeout=END_TIMEOUT_S,
    )


@pytest.fixture
def place(folder: Path) -> Iterator[Path]:
    """A folder with a volume v and a directory m, on which nothing stays mounted."""
    make_volume(str(folder / "v"), MkfsOptions(size_bytes=64 << 20))
    (folder / "m").mkdir()
    yield folder
    while mount_table.mount_entry_of(str(folder / "m")) is not None:
        daemon = umount_helper._open_daemon(str(folder / "m"), Environment.capture())
        mount_table.unmount(str(folder / "m"), mount_table.MNT_DETACH)
        if daemon is not None:
            os.close(daemon)


def mount_in_background(place: Path, words: str = "") -> subprocess.CompletedProcess[str]:
    options = ",".join(filter(None, [f"log={place / 'log'},control={place / 'c'}", words]))
    return mount_affs(str(place / "v"), str(place / "m"), "-n", "-o", options)


def test_background_mount_answers_when_it_returns(place: Path) -> None:
    done = mount_in_background(place)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    (place / "m" / "file").write_text("x")
    entry = mount_table.mount_entry_of(str(place / "m"))
    assert entry is not None
    assert entry.filesystem_type == "fuse.affs"
    assert entry.source == os.fsencode(place / "v")
    assert "allow_other" in entry.options
    status, text = unmount_and_wait(
        parse_unmount([str(place / "m"), "-v"]), Environment.capture()
    )
    assert (status, text) == (0, f"{place / 'm'} unmounted, the volume is closed")
    # The daemon has ended: the volume can be had at once.
    assert mount_in_background(place).returncode == 0
    assert (place / "m" / "file").read_text() == "x"


def test_a_second_mount_names_the_owner(place: Path) -> None:
    with Mounted(place) as owner:
        done = mount_affs(str(owner.volume), str(place / "m"), "-o", f"log={place / 'log2'}")
        assert done.returncode == 32
        assert str(owner.pid) in done.stderr
        assert str(owner.volume) in done.stderr
        assert len(done.stderr.splitlines()) == 1


def test_what_is_no_volume_is_refused(place: Path) -> None:
    other = place / "other"
    other.write_bytes(os.urandom(1 << 20))
    before = other.read_bytes()
    (place / "empty").write_bytes(b"")
    for path, wanted in ((other, "other"), (place / "empty", "empty"), (place / "none", "none")):
        done = mount_affs(str(path), str(place / "m"), "-o", f"log={place / 'log'}")
        assert done.returncode == 32, done.stderr
        assert wanted in done.stderr
        assert done.stderr.startswith("mount.affs: ")
        assert len(done.stderr.splitlines()) == 1
    assert other.read_bytes() == before


def test_directory_must_be_there(place: Path) -> None:
    done = mount_affs(str(place / "v"), str(place / "missing"))
    assert done.returncode == 32
    assert "missing" in done.stderr
    (place / "file").write_text("")
    done = mount_affs(str(place / "v"), str(place / "file"))
    assert done.returncode == 32
    assert "not a directory" in done.stderr


def test_usage_errors_end_with_1(place: Path) -> None:
    assert mount_affs(str(place / "v")).returncode == 1
    done = mount_affs(str(place / "v"), str(place / "m"), "-o", "allowother")
    assert done.returncode == 1
    assert "did you mean 'allow_other'?" in done.stderr


def test_fake_mounts_nothing(place: Path) -> None:
    assert mount_affs(str(place / "v"), str(place / "m"), "-f").returncode == 0
    assert mount_table.mount_entry_of(str(place / "m")) is None
    assert mount_affs(str(place / "m"), str(place / "m"), "-f").returncode != 0


def test_a_log_that_cannot_be_written_ends_with_2(place: Path) -> None:
    done = mount_affs(str(place / "v"), str(place / "m"), "-o", f"log={place}/none/log")
    assert done.returncode == 2
    assert "none/log" in done.stderr


def test_a_dead_mount_is_taken_away(place: Path) -> None:
    mounted = Mounted(place)
    mounted.start()
    try:
        with (mounted.directory / "file").open("w") as file:
            os.fsync(file.fileno())
        assert mounted._process is not None
        mounted._process.kill()
        mounted._process.wait()
        assert mount_table.is_dead(str(mounted.directory))
        mounted._reap()
        mounted.start()
        assert (mounted.directory / "file").exists()
        entries = [
            entry
            for entry in mount_table.mount_entries()
            if entry.directory == os.fsencode(mounted.directory)
        ]
        assert len(entries) == 1
    finally:
        mounted.close()


def test_read_only(place: Path) -> None:
    with Mounted(place) as mounted:
        (mounted.directory / "file").write_text("x")
    before = mounted.volume.read_bytes()
    with Mounted(place, options="ro") as mounted:
        mounted.allowed = ["opened for reading only"]
        assert (mounted.directory / "file").read_text() == "x"
        with pytest.raises(OSError, match="Read-only"):
            (mounted.directory / "new").write_text("x")
        assert mounted.affsctl("status")["read_only"] is True
        mounted.affsctl("checkpoint", status=13)
    assert mounted.volume.read_bytes() == before


def test_view_published(place: Path) -> None:
    with Mounted(place) as mounted:
        (mounted.directory / "file").write_text("published")
        mounted.affsctl("publish")
        (mounted.directory / "file").write_text("later")
    with Mounted(place, options="ro,view=published") as mounted:
        assert (mounted.directory / "file").read_text() == "published"


def test_view_published_of_a_volume_without_one(place: Path) -> None:
    done = mount_in_background(place, "ro,view=published")
    assert done.returncode == 32
    assert "published" in done.stderr


def test_amiga_images_are_handed_on(place: Path) -> None:
    image = place / "image"
    image.write_bytes(b"DOS\x01" + bytes(1020))
    programs = place / "bin"
    programs.mkdir()
    (programs / "mount").write_text('#!/bin/sh\necho "called: $*"\n')
    (programs / "mount").chmod(0o755)
    done = mount_affs(
        str(image), str(place / "m"), "-o", "ro", PATH=f"{programs}:{os.environ['PATH']}"
    )
    assert done.stdout == f"called: -i -t affs -o ro,loop {image} {place / 'm'}\n"


def test_helpers_are_installed_and_run(tmp_path: Path) -> None:
    installed = install_helpers(str(tmp_path))
    assert {Path(path).name for path in installed.paths} == set(HELPERS)
    for path in installed.paths:
        assert stat.S_IMODE(os.stat(path).st_mode) == 0o755
        assert sys.executable in Path(path).read_text()
    install_helpers(str(tmp_path))  # ours may be replaced
    foreign = tmp_path / "sbin" / "mount.affs"
    foreign.write_text("#!/bin/sh\n")
    with pytest.raises(AffsError, match="not ours"):
        install_helpers(str(tmp_path))
    assert foreign.read_text() == "#!/bin/sh\n"


def test_umount_helper_refuses_what_is_not_ours(place: Path) -> None:
    environment = Environment.capture()
    status, text = unmount_and_wait(parse_unmount([str(place / "m")]), environment)
    assert status == 32
    assert "no AfFS volume" in text
    assert parse_unmount(["-x", "/m"]).problem
    assert parse_unmount([]).problem
    assert parse_unmount(["/m", "-fl", "-t", "fuse.affs"]).lazy


def test_umount_helper_says_who_is_busy(place: Path) -> None:
    with Mounted(place) as mounted, (mounted.directory / "file").open("w"):
        request = parse_unmount([str(mounted.directory)])
        status, text = unmount_and_wait(request, Environment.capture())
        assert status == 32
        assert "fuser" in text


def test_control_socket_mode(place: Path) -> None:
    with Mounted(place, options="control_mode=0660") as mounted:
        assert stat.S_IMODE(mounted.control.stat().st_mode) == 0o660
        found = os.getxattr(mounted.directory, "user.affs.control")
        assert found == os.fsencode(mounted.control)
    assert not mounted.control.exists()


def test_commit_by_timer(place: Path) -> None:
    with Mounted(place, options="commit_interval=0.2") as mounted:
        seq = mounted.affsctl("status")["seq"]
        (mounted.directory / "file").write_text("x")
        end = time.monotonic() + 10
        while mounted.affsctl("status")["seq"] == seq:
            assert time.monotonic() < end, "the timer does not commit"
        mounted.kill()
        mounted.start()
        assert (mounted.directory / "file").read_text() == "x"
