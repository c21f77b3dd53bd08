"""inotify for changes made through the mount, statvfs, sync, and mounts of and over it."""

import ctypes
import errno
import os
import struct
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from posix_kit import call, fails, opened, settled_blocks_free, write_file

EVENTS = {
    0x1: "access", 0x2: "modify", 0x4: "attrib", 0x8: "close_write", 0x10: "close", 0x20: "open",
    0x40: "moved_from", 0x80: "moved_to", 0x100: "create", 0x200: "delete", 0x400: "delete_self",
    0x800: "move_self", 0x2000: "unmount", 0x8000: "ignored",
}  # fmt: skip
IN_ISDIR = 0x40000000


class Watch:
    def __init__(self) -> None:
        self.descriptor = call("inotify_init1", os.O_NONBLOCK | os.O_CLOEXEC)

    def add(self, path: str, mask: int = 0xFFF) -> int:
        return call("inotify_add_watch", self.descriptor, path.encode(), mask)

    def read(self) -> list[tuple[str, str]]:
        """(event, name) in order; opening and closing left out."""
        found = []
        try:
            data = os.read(self.descriptor, 65536)
        except BlockingIOError:
            return []
        while data:
            _, mask, _, length = struct.unpack_from("iIII", data)
            name = data[16 : 16 + length].rstrip(b"\0").decode()
            data = data[16 + length :]
            event = EVENTS[mask & ~IN_ISDIR]
            if event not in ("open", "close", "access"):
                found.append((event, name))
        return found


@contextmanager
def watching(path: str) -> Iterator[Watch]:
    watch = Watch()
    watch.add(path)
    yield watch
    os.close(watch.descriptor)


def test_inotify_of_a_directory(place: Path) -> None:
    os.mkdir("d")
    with watching("d") as watch:
        write_file("d/a", b"x")
        assert watch.read() == [("create", "a"), ("modify", "a"), ("close_write", "a")]
        os.rename("d/a", "d/b")
        assert watch.read() == [("moved_from", "a"), ("moved_to", "b")]
        os.chmod("d/b", 0o600)
        os.setxattr("d/b", "user.x", b"1")
        assert set(watch.read()) == {("attrib", "b")}
        os.mkdir("d/e")
        os.symlink("x", "d/l")
        os.mkfifo("d/f")
        os.link("d/b", "d/c")
        found = watch.read()
        assert [event for event in found if event[0] == "create"] == [
            ("create", name) for name in ("e", "l", "f", "c")
        ]
        os.truncate("d/b", 0)
        assert ("modify", "b") in watch.read()
        os.unlink("d/c")
        os.rmdir("d/e")
        found = watch.read()
        assert ("delete", "c") in found
        assert ("delete", "e") in found


def test_inotify_of_a_file(place: Path) -> None:
    write_file("a", b"x")
    with watching("a") as watch:
        with opened("a", os.O_WRONLY) as descriptor:
            os.write(descriptor, b"y")
        os.rename("a", "b")
        os.unlink("b")
        events = [event for event, _ in watch.read()]
        assert events[:3] == ["modify", "close_write", "move_self"]
        assert "delete_self" in events


def test_inotify_across_directories(place: Path) -> None:
    os.mkdir("d")
    os.mkdir("e")
    write_file("d/a")
    with watching("d") as left, watching("e") as right:
        os.rename("d/a", "e/b")
        assert left.read() == [("moved_from", "a")]
        assert right.read() == [("moved_to", "b")]


def test_statvfs(place: Path) -> None:
    settled_blocks_free()
    found = os.statvfs(".")
    assert found.f_bsize >= 512
    assert found.f_frsize >= 512
    assert found.f_namemax == 255
    assert 0 < found.f_bavail <= found.f_bfree <= found.f_blocks
    assert 0 < found.f_ffree <= found.f_files
    with opened(".") as descriptor:
        assert os.fstatvfs(descriptor).f_blocks == found.f_blocks
    for count in range(100):
        os.mknod(f"f{count}")
    assert found.f_files - found.f_ffree + 100 <= (
        os.statvfs(".").f_files - os.statvfs(".").f_ffree + 1
    )


def test_statvfs_counts_what_is_written(place: Path) -> None:
    before = settled_blocks_free()
    write_file("a", os.urandom(4 << 20))
    with opened("a", os.O_RDWR) as descriptor:
        os.fsync(descriptor)
    used = (before - os.statvfs(".").f_bfree) * os.statvfs(".").f_frsize
    assert 4 << 20 <= used < 6 << 20


def test_one_device(place: Path) -> None:
    write_file("a")
    os.mkdir("d")
    assert os.stat("a").st_dev == os.stat("d").st_dev == os.stat(".").st_dev


def test_bind_mount(place: Path) -> None:
    for name in ("source", "target"):
        os.mkdir(name)
    write_file("source/a", b"x")
    subprocess.run(["mount", "--bind", "source", "target"], check=True)
    try:
        write_file("target/b", b"y")
        assert sorted(os.listdir("source")) == ["a", "b"]
        with fails(errno.EXDEV):
            os.rename("source/a", "target/c")
        with fails(errno.EBUSY):
            os.rmdir("target")
        subprocess.run(["mount", "-o", "remount,bind,ro", "target"], check=True)
        with fails(errno.EROFS):
            write_file("target/c")
        write_file("source/c")
    finally:
        subprocess.run(["umount", "target"], check=True)


def test_a_mount_below(place: Path) -> None:
    os.mkdir("d")
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", "d"], check=True)
    try:
        write_file("d/a")
        with fails(errno.EBUSY):
            os.rename("d", "e")
        with fails(errno.EXDEV):
            os.link("d/a", "a")
    finally:
        subprocess.run(["umount", "d"], check=True)
    assert os.listdir("d") == []


def test_sync(place: Path) -> None:
    write_file("a", b"x")
    os.sync()
    with opened(".") as descriptor:
        call("syncfs", descriptor)
        os.fsync(descriptor)


def test_sync_file_range(place: Path) -> None:
    with opened("a", os.O_RDWR | os.O_CREAT) as descriptor:
        os.write(descriptor, b"x" * 10_000)
        call("sync_file_range", descriptor, ctypes.c_long(0), ctypes.c_long(0), 7)


def test_handles_by_name(place: Path) -> None:
    """name_to_handle_at and open_by_handle_at, as NFS servers and backup programs use them."""
    write_file("a", b"abc")
    handle = ctypes.create_string_buffer(struct.pack("Ii", 128, 0), 136)
    mount = ctypes.c_int()
    call("name_to_handle_at", -100, b"a", handle, ctypes.byref(mount), 0)
    with opened(".") as directory:
        descriptor = call("open_by_handle_at", directory, handle, os.O_RDONLY)
    assert os.read(descriptor, 9) == b"abc"
    os.close(descriptor)
