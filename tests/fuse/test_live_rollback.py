"""What a rollback of a live mount promises to those who have it open (semantics.md)."""

import errno
import mmap
import os
from pathlib import Path

import pytest
from mounted import Mounted


def code_of(function: object, *arguments: object) -> int:
    """The errno with which a call fails."""
    assert callable(function)
    with pytest.raises(OSError, match=r"\[Errno") as caught:
        function(*arguments)
    number = caught.value.errno
    assert number is not None
    return number


def test_open_handles_show_the_target(mounted: Mounted) -> None:
    path = mounted.directory / "file"
    path.write_bytes(b"target content")
    mounted.affsctl("publish")
    with path.open("r+b", buffering=0) as handle:
        assert handle.read() == b"target content"
        handle.seek(0)
        handle.write(b"LATER")
        handle.truncate(5)
        assert mounted.affsctl("rollback")["changed"] == 1
        handle.seek(0)
        assert handle.read() == b"target content"
        assert os.fstat(handle.fileno()).st_size == 14
        # The handle goes on with the target's file.
        handle.seek(0, os.SEEK_END)
        handle.write(b"!")
        assert path.read_bytes() == b"target content!"


def test_a_mapping_shows_the_target_and_its_dirty_pages_are_kept_for_undo(
    mounted: Mounted,
) -> None:
    path = mounted.directory / "file"
    path.write_bytes(b"t" * 8192)
    mounted.affsctl("publish")
    with path.open("r+b") as file, mmap.mmap(file.fileno(), 8192) as mapped:
        mapped[4096:4100] = b"late"  # in the kernel alone: nobody has been told
        mounted.affsctl("rollback")
        assert mapped[:] == b"t" * 8192
        assert path.read_bytes() == b"t" * 8192
        mounted.affsctl("rollback", "--undo")
        assert mapped[4096:4100] == b"late"
        assert path.read_bytes() == b"t" * 4096 + b"late" + b"t" * 4092


def test_negative_names_and_cached_attributes(mounted: Mounted) -> None:
    gone, kept = mounted.directory / "gone", mounted.directory / "kept"
    gone.write_text("back again")
    kept.write_text("x")
    kept.chmod(0o640)
    os.utime(kept, ns=(10**18, 10**18))
    os.setxattr(kept, "user.colour", b"blue")
    mounted.affsctl("publish")
    gone.unlink()
    assert not gone.exists()  # the kernel remembers that there is no such name
    kept.chmod(0o600)
    os.utime(kept, ns=(2 * 10**18, 2 * 10**18))
    os.setxattr(kept, "user.colour", b"red")
    new = mounted.directory / "new"
    new.write_text("will go")
    assert new.exists()
    assert kept.stat().st_mode & 0o777 == 0o600
    mounted.affsctl("rollback")
    assert gone.read_text() == "back again"
    assert not new.exists()
    assert kept.stat().st_mode & 0o777 == 0o640
    assert kept.stat().st_mtime_ns == 10**18
    assert os.getxattr(kept, "user.colour") == b"blue"
    assert sorted(os.listdir(mounted.directory)) == ["gone", "kept"]


def test_directories_come_back_to_life(mounted: Mounted) -> None:
    folder = mounted.directory / "a" / "b"
    folder.mkdir(parents=True)
    (folder / "file").write_text("x")
    mounted.affsctl("publish")
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        (folder / "file").unlink()
        folder.rmdir()
        (mounted.directory / "a").rmdir()
        for _ in range(2):
            mounted.affsctl("rollback")
            assert (folder / "file").read_text() == "x"
            assert os.listdir(folder) == ["file"]
            (folder / "another").mkdir()
            (folder / "another").rmdir()
            (folder / "file").unlink()
            folder.rmdir()
        mounted.affsctl("rollback")
    finally:
        os.close(descriptor)
    assert os.listdir(folder) == ["file"]


def test_what_is_not_in_the_target_is_stale(mounted: Mounted) -> None:
    mounted.affsctl("publish")
    path = mounted.directory / "new"
    with path.open("w+b", buffering=0) as handle:
        handle.write(b"abandoned")
        assert mounted.affsctl("rollback")["stale_handles"] == 1
        assert not path.exists()
        assert code_of(os.pread, handle.fileno(), 10, 0) == errno.ESTALE
        assert code_of(os.pwrite, handle.fileno(), b"x", 0) == errno.ESTALE
        assert code_of(os.fstat, handle.fileno()) == errno.ESTALE
        mounted.affsctl("rollback", "--undo")
        assert path.read_bytes() == b"abandoned"
        assert os.pread(handle.fileno(), 10, 0) == b"abandoned"


def test_a_moved_directory_takes_its_visitors_along(mounted: Mounted) -> None:
    old, new = mounted.directory / "old", mounted.directory / "new"
    (old / "sub").mkdir(parents=True)
    (old / "sub" / "file").write_text("x")
    mounted.affsctl("publish")
    old.rename(new)
    descriptor = os.open(new / "sub", os.O_RDONLY | os.O_DIRECTORY)
    try:
        mounted.affsctl("rollback")
        assert os.readlink(f"/proc/self/fd/{descriptor}") == str(old / "sub")
        assert os.listdir(descriptor) == ["file"]
        assert (old / "sub" / "file").read_text() == "x"
        assert not new.exists()
    finally:
        os.close(descriptor)


def test_unlinked_but_open_files_survive_or_return(mounted: Mounted) -> None:
    path = mounted.directory / "file"
    path.write_bytes(b"published")
    mounted.affsctl("publish")
    with path.open("r+b", buffering=0) as handle:
        path.unlink()
        handle.write(b"PUBLISHED")
        mounted.affsctl("rollback")
        assert path.read_bytes() == b"published"
        handle.seek(0)
        assert handle.read() == b"published"
        assert os.fstat(handle.fileno()).st_nlink == 1


def test_discard_keeps_nothing(mounted: Mounted) -> None:
    mounted.affsctl("publish")
    (mounted.directory / "new").write_bytes(os.urandom(1 << 20))
    answer = mounted.affsctl("rollback", "--discard", "--yes")
    assert answer["abandoned"] is None
    assert len(mounted.affsctl("checkpoints")) == 1
    mounted.affsctl("rollback", "--undo", status=16)


def test_a_mount_in_the_way_is_in_the_plan(mounted: Mounted, tmp_path: Path) -> None:
    mounted.affsctl("publish")
    inner = mounted.directory / "inner"
    inner.mkdir()
    assert os.system(f"mount -t tmpfs none {inner}") == 0
    try:
        assert mounted.affsctl("rollback", "--dry-run")["plan"]["mounts_below"] == ["inner"]
        error = mounted.affsctl("rollback", status=14)
        assert inner.is_mount()
        assert "inner" in error
        mounted.affsctl("rollback", "--force")
        assert not inner.exists()
    finally:
        os.system(f"umount -l {inner} 2>/dev/null")


def test_the_plan_says_what_is_open(mounted: Mounted) -> None:
    path = mounted.directory / "file"
    path.write_text("x")
    mounted.affsctl("publish")
    with path.open("a") as file:
        file.write("y")
        file.flush()
        plan = mounted.affsctl("rollback", "--dry-run")["plan"]
    assert plan["open_files"] == [{"path": "/file", "handles": 1}]
    assert [(change["kind"], change["path"]) for change in plan["changes"]] == [
        ("changed", "/file")
    ]
    assert path.read_text() == "xy"


def test_rollback_by_label_and_history(mounted: Mounted) -> None:
    path = mounted.directory / "file"
    for number in range(3):
        path.write_text(str(number))
        mounted.affsctl("checkpoint", "-l", f"v{number}")
    mounted.affsctl("rollback", "v0")
    assert path.read_text() == "0"
    mounted.affsctl("rollback", "v2")
    assert path.read_text() == "2"
    mounted.affsctl("rollback", "v1")
    assert path.read_text() == "1"
    # Nothing had changed since v2, so undo leads there and no state was made for it.
    mounted.affsctl("rollback", "--undo")
    assert path.read_text() == "2"
