"""mkdir, mknod, mkfifo, symlink and link: what they make, what they move, how they fail."""

import errno
import os
import socket
import stat
from pathlib import Path

import pytest
from posix_kit import (
    GROUP,
    OTHER_GROUP,
    USER,
    as_user,
    fails,
    linkat_descriptor,
    make,
    mode_of,
    moved,
    opened,
    read_file,
    unmake,
    write_file,
)


def test_mkdir(place: Path) -> None:
    assert moved(lambda: os.mkdir("d", 0o7777), ".") == ["mc"]
    found = os.stat("d")
    assert stat.S_ISDIR(found.st_mode)
    assert found.st_nlink == 2
    assert mode_of("d") == 0o1755
    assert os.stat(".").st_nlink == 3
    assert found.st_atime_ns == found.st_mtime_ns == found.st_ctime_ns
    assert os.path.samefile("d/..", ".")
    assert os.path.samefile("d/.", "d")


def test_directories_count_in_their_parent(place: Path) -> None:
    for count in range(5):
        assert os.stat(".").st_nlink == 2 + count
        os.mkdir(f"d{count}")
    write_file("a")
    assert os.stat(".").st_nlink == 7


def test_mknod_makes_each_type(place: Path, kind: str) -> None:
    if kind in ("directory", "symlink"):
        return
    make(kind, "a", 0o640)
    found = os.lstat("a")
    device = os.makedev(1, 3) if kind in ("character", "block") else 0
    assert found.st_rdev == device
    assert (found.st_size, found.st_blocks, found.st_nlink) == (0, 0, 1)
    assert mode_of("a") == 0o640
    tests = {
        "file": stat.S_ISREG, "fifo": stat.S_ISFIFO, "socket": stat.S_ISSOCK,
        "character": stat.S_ISCHR, "block": stat.S_ISBLK,
    }  # fmt: skip
    assert tests[kind](found.st_mode)


@pytest.mark.parametrize(("major", "minor"), [(0, 0), (1, 255), (255, 256), (4095, 1048575)])
def test_device_numbers(place: Path, major: int, minor: int) -> None:
    os.mknod("a", stat.S_IFBLK | 0o600, os.makedev(major, minor))
    device = os.stat("a").st_rdev
    assert (os.major(device), os.minor(device)) == (major, minor)


def test_devices_take_privilege(place: Path) -> None:
    for kind in (stat.S_IFCHR, stat.S_IFBLK):
        with fails(errno.EPERM):
            as_user(lambda kind=kind: os.mknod("a", kind | 0o600, os.makedev(1, 3)))
    as_user(lambda: os.mkfifo("f"))
    as_user(lambda: os.mknod("g", stat.S_IFREG | 0o600))
    assert (os.stat("f").st_uid, os.stat("g").st_gid) == (USER, GROUP)


def test_mknod_of_a_directory(place: Path) -> None:
    with fails(errno.EPERM):
        os.mknod("d", stat.S_IFDIR | 0o755)
    with fails(errno.EINVAL):
        os.mknod("d", stat.S_IFLNK | 0o755)


def test_names_taken_or_impossible(place: Path, kind: str) -> None:
    make(kind, "taken")
    makers = (
        lambda path: os.mkdir(path),
        lambda path: os.mkfifo(path),
        lambda path: os.symlink("x", path),
        lambda path: os.mknod(path, stat.S_IFREG | 0o600),
    )
    for maker in makers:
        with fails(errno.EEXIST):
            maker("taken")
        with fails(errno.ENOENT):
            maker("missing/a")
        with fails(errno.ENOENT):
            maker("")
        with fails(errno.EEXIST):
            maker(".")
        if kind in ("directory", "symlink"):
            continue
        with fails(errno.ENOTDIR):
            maker("taken/a")
    unmake(kind, "taken")


def test_trailing_slash(place: Path) -> None:
    os.mkdir("d/")
    write_file("a")
    with fails(errno.ENOENT):
        os.symlink("x", "l/")
    with fails(errno.ENOENT):
        os.mkfifo("f/")
    with fails(errno.ENOENT, errno.ENOTDIR):
        os.link("a", "b/")


def test_setgid_directory_gives_its_group(place: Path) -> None:
    os.mkdir("d")
    os.chown("d", 0, OTHER_GROUP)
    os.chmod("d", 0o2777)

    def fill() -> None:
        os.mkdir("d/sub", 0o755)
        write_file("d/a")
        os.mkfifo("d/f")
        os.symlink("x", "d/l")

    as_user(fill)
    for name in ("sub", "a", "f", "l"):
        found = os.lstat(f"d/{name}")
        assert (found.st_uid, found.st_gid) == (USER, OTHER_GROUP)
    assert mode_of("d/sub") == 0o2755
    assert mode_of("d/a") == 0o644


def test_setgid_executable_below_a_foreign_setgid_directory(place: Path) -> None:
    os.mkdir("d")
    os.chown("d", 0, OTHER_GROUP)
    os.chmod("d", 0o2777)

    def create(name: str) -> None:
        os.close(os.open(name, os.O_CREAT | os.O_WRONLY, 0o2755))

    as_user(lambda: create("d/a"))
    assert mode_of("d/a") == 0o755
    as_user(lambda: create("d/b"), groups=[OTHER_GROUP])
    assert mode_of("d/b") == 0o2755


def test_symlink(place: Path) -> None:
    assert moved(lambda: os.symlink("target", "l"), ".") == ["mc"]
    found = os.lstat("l")
    assert stat.S_ISLNK(found.st_mode)
    assert mode_of("l") == 0o777
    assert (found.st_size, found.st_nlink) == (6, 1)
    assert os.readlink("l") == "target"


@pytest.mark.parametrize("length", [1, 59, 60, 255, 1000, 4094, 4095])
def test_symlink_targets(place: Path, length: int) -> None:
    target = "t" * length
    os.symlink(target, "l")
    assert os.readlink("l") == target
    assert os.lstat("l").st_size == length


def test_symlink_target_bytes(place: Path) -> None:
    target = bytes(byte for byte in range(1, 256)) + b"/../\xff"
    os.symlink(target, b"l")
    assert os.readlink(b"l") == target
    with fails(errno.ENOENT):
        os.symlink("", "m")
    with fails(errno.ENAMETOOLONG):
        os.symlink("t" * 4096, "m")


def test_readlink_of_what_is_none(place: Path, kind: str) -> None:
    make(kind, "a")
    if kind == "symlink":
        assert os.readlink("a") == "nowhere"
    else:
        with fails(errno.EINVAL):
            os.readlink("a")


def test_link_to_each_type(place: Path, kind: str) -> None:
    make(kind, "a")
    if kind == "directory":
        with fails(errno.EPERM):
            os.link("a", "b")
        return

    def link() -> None:
        os.link("a", "b", follow_symlinks=False)

    assert moved(link, "a", ".") == ["c", "mc"]
    assert os.lstat("a").st_ino == os.lstat("b").st_ino
    assert os.lstat("a").st_nlink == os.lstat("b").st_nlink == 2
    os.unlink("a")
    assert os.lstat("b").st_nlink == 1


def test_links_are_one_file(place: Path) -> None:
    write_file("a", b"abc")
    os.mkdir("d")
    os.link("a", "d/b")
    write_file("d/b", b"other")
    assert read_file("a") == b"other"
    os.chmod("a", 0o600)
    assert mode_of("d/b") == 0o600


def test_link_fails(place: Path) -> None:
    write_file("a")
    os.mkdir("d")
    os.symlink("a", "l")
    with fails(errno.EEXIST):
        os.link("a", "d")
    with fails(errno.EEXIST):
        os.link("a", "l")
    with fails(errno.EEXIST):
        os.link("a", "a")
    with fails(errno.ENOENT):
        os.link("b", "c")
    with fails(errno.ENOENT):
        os.link("a", "missing/c")
    with fails(errno.ENOTDIR):
        os.link("a", "a/c")
    with fails(errno.EXDEV):
        os.link("a", "/dev/shm/affs-link")


def test_link_follows_when_asked(place: Path) -> None:
    write_file("a")
    os.symlink("a", "l")
    os.link("l", "m", follow_symlinks=False)
    assert os.readlink("m") == "a"
    with opened("a", os.O_RDONLY) as descriptor:
        linkat_descriptor(descriptor, "n")
    assert os.lstat("n").st_ino == os.stat("a").st_ino


def test_no_new_name_for_what_has_none(place: Path) -> None:
    write_file("a")
    with opened("a", os.O_RDONLY) as descriptor:
        os.unlink("a")
        with fails(errno.ENOENT):
            linkat_descriptor(descriptor, "b")


def test_many_links(place: Path) -> None:
    write_file("a")
    for count in range(1000):
        os.link("a", f"l{count}")
    assert os.stat("a").st_nlink == 1001
    for count in range(1000):
        os.unlink(f"l{count}")
    assert os.stat("a").st_nlink == 1


def test_permission_to_make(place: Path) -> None:
    os.mkdir("d", 0o755)
    write_file("a")
    os.chmod("a", 0o666)
    makers = (
        lambda: os.mkdir("d/x"),
        lambda: os.mkfifo("d/x"),
        lambda: os.symlink("t", "d/x"),
        lambda: os.link("a", "d/x"),
        lambda: os.close(os.open("d/x", os.O_CREAT | os.O_WRONLY)),
    )
    for maker in makers:
        with fails(errno.EACCES):
            as_user(maker)
    assert os.listdir("d") == []


def test_unix_socket_serves(place: Path) -> None:
    with socket.socket(socket.AF_UNIX) as server, socket.socket(socket.AF_UNIX) as client:
        server.bind("s")
        server.listen()
        client.connect("s")
        peer, _ = server.accept()
        with peer:
            peer.sendall(b"hello")
            assert client.recv(9) == b"hello"
        with socket.socket(socket.AF_UNIX) as second, fails(errno.EADDRINUSE):
            second.bind("s")
    with socket.socket(socket.AF_UNIX) as client, fails(errno.ECONNREFUSED):
        client.connect("s")
    os.unlink("s")
