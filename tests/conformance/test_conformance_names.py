"""Names and paths: the limits, loops of links, bytes that are no text, numbers of links."""

import errno
import os
from pathlib import Path

import pytest
from posix_kit import fails, make, read_file, unmake, write_file

NAME_MAX, PATH_MAX = 255, 4096


@pytest.mark.parametrize("length", [1, 100, 254, NAME_MAX])
def test_names_up_to_the_limit(place: Path, kind: str, length: int) -> None:
    name = "n" * length
    make(kind, name)
    assert os.listdir() == [name]
    os.rename(name, "m" * length)
    assert os.listdir() == ["m" * length]
    unmake(kind, "m" * length)


def test_names_past_the_limit(place: Path) -> None:
    write_file("a")
    name = "n" * (NAME_MAX + 1)
    for call in (
        lambda: os.open(name, os.O_CREAT | os.O_WRONLY),
        lambda: os.open(name, os.O_RDONLY),
        lambda: os.mkdir(name),
        lambda: os.mkfifo(name),
        lambda: os.symlink("x", name),
        lambda: os.link("a", name),
        lambda: os.rename("a", name),
        lambda: os.rename(name, "a"),
        lambda: os.unlink(name),
        lambda: os.rmdir(name),
        lambda: os.stat(name),
        lambda: os.chmod(name, 0o600),
        lambda: os.chown(name, 0, 0),
        lambda: os.truncate(name, 0),
        lambda: os.readlink(name),
        lambda: os.utime(name),
        lambda: os.listxattr(name),
        lambda: os.stat(f"{name}/x"),
    ):
        with fails(errno.ENAMETOOLONG):
            call()
    assert os.listdir() == ["a"]


def test_paths_at_the_limit(place: Path) -> None:
    os.mkdir("d")
    prefix = "d/../"
    path = prefix * ((PATH_MAX - 2) // len(prefix))
    path += "a" * (PATH_MAX - 1 - len(path))
    write_file(path, b"x")
    assert os.stat(path).st_size == 1
    with fails(errno.ENAMETOOLONG):
        os.stat(path[:-1] + "/" + "bc")


def test_loops_of_links(place: Path) -> None:
    os.symlink("b", "a")
    os.symlink("a", "b")
    os.symlink("self", "self")
    for name in ("a", "b", "self"):
        for call in (
            lambda name=name: os.open(name, os.O_RDONLY),
            lambda name=name: os.open(name, os.O_CREAT | os.O_WRONLY),
            lambda name=name: os.stat(name),
            lambda name=name: os.stat(f"{name}/x"),
            lambda name=name: os.chmod(name, 0o600),
            lambda name=name: os.truncate(name, 0),
            lambda name=name: os.mkdir(f"{name}/x"),
            lambda name=name: os.link(f"{name}/x", "y"),
            lambda name=name: os.rename(f"{name}/x", "y"),
        ):
            with fails(errno.ELOOP):
                call()
        assert os.readlink(name) in ("a", "b", "self")


def test_chains_of_links(place: Path) -> None:
    write_file("l0", b"x")
    for count in range(1, 42):
        os.symlink(f"l{count - 1}", f"l{count}")
    assert read_file("l40") == b"x"
    with fails(errno.ELOOP):
        os.stat("l41")


@pytest.mark.parametrize(
    "name",
    [
        b"\xff\xfe", b"caf\xe9", "café".encode(), "cafe\u0301".encode(), b"new\nline", b"tab\t",
        b"\x01\x1b[31m", b" ", b"...", b".hidden", b"-rf", b"a\\b", b"*?[", "\U0001f600".encode(),
        b"\xed\xa0\x80", b"x" * 254 + b"\xff",
    ],
)  # fmt: skip
def test_names_are_bytes(place: Path, name: bytes) -> None:
    write_file(name, b"content")
    assert os.listdir(b".") == [name]
    assert read_file(name) == b"content"
    os.symlink(name, b"link")
    assert os.readlink(b"link") == name
    os.mkdir(b"d")
    os.rename(name, b"d/" + name)
    assert os.listdir(b"d") == [name]
    assert os.stat(b"d/" + name).st_size == 7


def test_case_and_composition_count(place: Path) -> None:
    names = {b"a", b"A", "é".encode(), "e\u0301".encode(), "É".encode()}
    for name in names:
        write_file(name, name)
    assert set(os.listdir(b".")) == names
    assert all(read_file(name) == name for name in names)


def test_slashes(place: Path) -> None:
    os.makedirs(".//d///e//")
    write_file("d//e///f", b"x")
    assert read_file("./d/./e/../e/f") == b"x"
    assert os.path.samefile("d/e/", "d//e/.")
    with fails(errno.ENOTDIR):
        os.stat("d/e/f/")
    with fails(errno.ENOTDIR):
        os.stat("d/e/f/.")


def test_above_the_root(filesystem: Path) -> None:
    assert os.stat(filesystem / "..").st_dev != os.stat(filesystem).st_dev


def test_fifteen_hundred_subdirectories(place: Path) -> None:
    for count in range(1500):
        os.mkdir(f"d{count}")
    assert os.stat(".").st_nlink == 1502


def test_the_same_number_while_it_lives(place: Path, kind: str) -> None:
    make(kind, "a")
    before = os.lstat("a")
    os.rename("a", "b")
    os.mkdir("d")
    os.rename("b", "d/c")
    after = os.lstat("d/c")
    assert (before.st_dev, before.st_ino) == (after.st_dev, after.st_ino)
