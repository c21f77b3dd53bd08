"""EROFS of every call that changes something, on a mount for reading alone; ENOSPC of every call
that takes room, on a small volume that is full, and what still works there.
"""

import errno
import os
import shutil
import struct
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from every_call import CHANGING, LOOKING, MAKING, access, errno_of, name_of
from mounted import Mounted, fsck
from posix_kit import fails, fallocate, memory_folder, opened, read_file, write_file

SMALL_BYTES = 64 << 20
TRIES_MAX = 5000
"""Ample for what metadata finds room for after data finds none."""
OLD_FILES = 60
LONG = "n" * 240
ACL_ACCESS = "system.posix_acl_access"
LARGE_ACL = struct.pack("<I", 2) + b"".join(
    struct.pack("<HHI", tag, 6, number)
    for tag, number in (
        (1, 2**32 - 1), *((2, 1000 + user) for user in range(200)), (4, 2**32 - 1),
        (16, 2**32 - 1), (32, 2**32 - 1),
    )
)  # fmt: skip
"""Of 200 named users: it needs a block of its own on ext4."""


class Ext4:
    """As Mounted, for what this file needs of it."""

    def __init__(self, folder: Path) -> None:
        self.image, self.directory, self.options = folder / "image", folder / "e", "loop"
        self.directory.mkdir()
        with self.image.open("wb") as file:
            file.truncate(SMALL_BYTES)
        words = ["-q", "-b", "4096", "-m", "0", "-N", "512", "-O", "ea_inode", str(self.image)]
        subprocess.run(["mkfs.ext4", *words], check=True)

    def start(self) -> None:
        words = ["mount", "-o", self.options, str(self.image), str(self.directory)]
        subprocess.run(words, check=True)

    def unmount(self) -> None:
        subprocess.run(["umount", str(self.directory)], check=True)

    def close(self) -> None:
        if os.path.ismount(self.directory):
            self.unmount()


@pytest.fixture(scope="module", params=["ext4", "affs"])
def small(request: pytest.FixtureRequest) -> Iterator[Ext4 | Mounted]:
    """A volume of 64 MiB; the tests leave it mounted for writing. That of AfFS must be sound."""
    folder = memory_folder()
    made = Ext4(folder) if request.param == "ext4" else Mounted(folder, size_bytes=SMALL_BYTES)
    try:
        made.start()
        yield made
        made.unmount()
        if isinstance(made, Mounted):
            made.allowed.append("objects without a name stay for now")  # while there is no room
            made.check_log()
            fsck(made.volume)
    finally:
        made.close()
        shutil.rmtree(folder)


@pytest.fixture
def here(small: Ext4 | Mounted) -> Iterator[Path]:
    """An empty directory, the working directory."""
    made, before = small.directory / "t", os.getcwd()
    made.mkdir()
    os.chdir(made)
    yield made
    os.chdir(before)
    shutil.rmtree(made)


# ---- EROFS ----


def populate() -> None:
    write_file("file", b"data")
    os.chmod("file", 0o755)
    os.setxattr("file", "user.kept", b"1")
    os.mkdir("d")
    os.symlink("file", "l")
    os.mkfifo("fifo")


def test_a_mount_for_reading_alone(small: Ext4 | Mounted, here: Path) -> None:
    populate()
    options = small.options
    os.chdir("/")
    small.unmount()
    small.options = f"{options},ro" if options else "ro"
    small.start()
    os.chdir(here)
    try:
        check_read_only()
    finally:
        os.chdir("/")
        small.unmount()
        small.options = options
        small.start()
        os.chdir(here)


def check_read_only() -> None:
    def is_refused(name: str, action: Callable[[], object], wanted: int = errno.EROFS) -> None:
        got = errno_of(action)
        assert got == wanted, f"{name}: {name_of(got)} instead of {name_of(wanted)}"

    for name, action in MAKING.items():
        is_refused(name, lambda action=action: action("new"))
    for name, action in CHANGING.items():
        path = "file" if name != "exchange" else "l"
        is_refused(name, lambda action=action, path=path: action(path))
    is_refused("rmdir", lambda: os.rmdir("d"))
    is_refused("O_TMPFILE", lambda: os.open(".", os.O_TMPFILE | os.O_WRONLY))
    is_refused("access", lambda: access("file", os.W_OK))
    is_refused("rename, replacing", lambda: os.rename("file", "l"))
    is_refused("link, linking to a link", lambda: os.link("l", "m", follow_symlinks=False))
    is_refused("access of a fifo", lambda: access("fifo", os.W_OK), 0)
    with opened("file") as descriptor:
        for name, change in (
            ("fchmod", lambda: os.fchmod(descriptor, 0)),
            ("fchown", lambda: os.fchown(descriptor, 1, 1)),
            ("futimens", lambda: os.utime(descriptor)),
            ("fsetxattr", lambda: os.setxattr(descriptor, "user.x", b"")),
            ("fremovexattr", lambda: os.removexattr(descriptor, "user.kept")),
        ):
            is_refused(name, change)
    check_what_is_no_change()


def check_what_is_no_change() -> None:
    """A name that is taken is told before EROFS, and reading goes on."""
    for action in (os.mkdir, os.mkfifo, lambda path: os.symlink("x", path)):
        with fails(errno.EEXIST):
            action("file")
    with opened("file", os.O_RDONLY | os.O_CREAT) as descriptor:
        assert os.read(descriptor, 9) == b"data"
    for name in LOOKING.keys() - {"open O_DIRECTORY", "readlink", "opendir", "chdir", "execve"}:
        LOOKING[name]("file")
    assert sorted(os.listdir()) == ["d", "fifo", "file", "l"]


# ---- ENOSPC ----


def fill() -> None:
    """The volume: with data to the last block, then what is left for metadata alone."""
    with opened("big", os.O_CREAT | os.O_WRONLY) as descriptor:
        for size in (1 << 20, 4096):
            with fails(errno.ENOSPC):
                while True:
                    os.write(descriptor, os.urandom(size))
        os.fsync(descriptor)
    for number in range(TRIES_MAX):
        if errno_of(lambda number=number: os.symlink("t" * 4000, f"{number}{LONG}")):
            return
    raise AssertionError(f"{TRIES_MAX} symbolic links find room on a full volume")


def write_at(path: str, offset: int) -> None:
    with opened(path, os.O_WRONLY) as descriptor:
        os.pwrite(descriptor, b"x" * 4096, offset)
        os.fsync(descriptor)


def allocate(number: int) -> None:
    with opened("held", os.O_RDWR) as descriptor:
        fallocate(descriptor, 0, number << 12, 1 << 20)


def copy(number: int) -> None:
    with opened("data") as source, opened("held", os.O_WRONLY) as target:
        os.copy_file_range(source, target, 8192, 0, number << 13)
        os.fsync(target)


HELD: list[int] = []
TAKING: dict[str, Callable[[int], object]] = {
    "write": lambda number: write_at("held", number << 12),
    "write into a hole": lambda number: write_at("sparse", number << 12),
    "fallocate": allocate,
    "copy_file_range": copy,
    "open O_CREAT": lambda number: write_file(f"o{number}{LONG}"),
    "open O_TMPFILE": lambda _: HELD.append(os.open(".", os.O_TMPFILE | os.O_WRONLY)),
    "mkdir": lambda number: os.mkdir(f"d{number}{LONG}"),
    "mknod": lambda number: os.mknod(f"n{number}{LONG}"),
    "mkfifo": lambda number: os.mkfifo(f"f{number}{LONG}"),
    "symlink": lambda number: os.symlink("t" * 2000, f"s{number}{LONG}"),
    "link": lambda number: os.link("held", f"l{number}{LONG}"),
    "rename": lambda number: os.rename(f"old{number}", f"new/{number}{LONG}"),
    "setxattr": lambda number: os.setxattr("held", f"user.{number}", os.urandom(3000)),
    "set an ACL": lambda number: os.setxattr(f"acl{number}", ACL_ACCESS, LARGE_ACL),
}
"""Each takes a little more, and never the same again."""


def take_all(wanted: int) -> None:
    """Each of TAKING until it fails with this errno; once if that is 0."""
    for name, action in TAKING.items():
        got = 0
        for number in range(TRIES_MAX if wanted else 1):
            got = errno_of(lambda action=action, number=number: action(number))
            if got:
                break
        assert got == wanted, f"{name}: {name_of(got)} instead of {name_of(wanted)}"


def test_every_call_on_a_full_volume(small: Ext4 | Mounted, here: Path) -> None:
    os.mkdir("new")
    os.mkdir("empty")
    write_file("data", os.urandom(8192))
    write_file("held")
    os.setxattr("data", "user.x", b"1")
    with opened("sparse", os.O_CREAT | os.O_WRONLY) as descriptor:
        os.ftruncate(descriptor, 1 << 40)
    for number in range(OLD_FILES):
        write_file(f"old{number}")
        write_file(f"acl{number}")
    try:
        fill()
        take_all(errno.ENOSPC)
        for change in (lambda: os.chmod("data", 0o600), lambda: os.utime("data")):
            wanted = errno.ENOSPC if isinstance(small, Mounted) else 0  # docs/limits.md, POSIX
            assert errno_of(change) == wanted
        check_what_takes_no_room()
    finally:
        while HELD:
            os.close(HELD.pop())
    os.unlink("big")
    os.truncate("held", 0)
    for name in os.listdir():
        if LONG in name:
            (os.rmdir if name.startswith("d") else os.unlink)(name)
    shutil.rmtree("new")
    os.mkdir("new")
    write_file("old0")
    take_all(0)
    os.close(HELD.pop())


def check_what_takes_no_room() -> None:
    """Reading, and everything that only gives back."""
    assert len(read_file("data")) == 8192
    assert "held" in os.listdir()
    os.removexattr("data", "user.x")
    os.truncate("data", 100)
    with opened("big", os.O_RDWR) as descriptor:
        fallocate(descriptor, 3, 4096, 4096)
        os.ftruncate(descriptor, 1 << 20)
    os.rmdir("empty")
    os.unlink(f"acl{OLD_FILES - 1}")
