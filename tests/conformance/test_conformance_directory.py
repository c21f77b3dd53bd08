"""Reading directories: order of cookies, seekdir and rewinddir, entries that come and go."""

import ctypes
import errno
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from posix_kit import KINDS_OF_ENTRY, fails, make, write_file

libc = ctypes.CDLL(None, use_errno=True)
libc.opendir.restype = ctypes.c_void_p
libc.opendir.argtypes = [ctypes.c_char_p]
libc.readdir.restype = ctypes.c_void_p
libc.telldir.restype = ctypes.c_long
for name in ("readdir", "telldir", "rewinddir", "closedir"):
    getattr(libc, name).argtypes = [ctypes.c_void_p]
libc.seekdir.argtypes = [ctypes.c_void_p, ctypes.c_long]
NAME_AT, TYPE_AT = 19, 18


@contextmanager
def directory(path: str) -> Iterator[int]:
    stream = libc.opendir(path.encode())
    assert stream
    yield stream
    libc.closedir(stream)


def read_entry(stream: int) -> str | None:
    entry = libc.readdir(stream)
    return ctypes.string_at(entry + NAME_AT).decode() if entry else None


def read_all(stream: int) -> list[str]:
    found = []
    while (name := read_entry(stream)) is not None:
        found.append(name)
    return found


def test_dot_and_dot_dot(place: Path) -> None:
    os.mkdir("d")
    with directory("d") as stream:
        assert sorted(read_all(stream)) == [".", ".."]
        assert read_entry(stream) is None


def test_types_and_numbers(place: Path) -> None:
    for kind in KINDS_OF_ENTRY:
        make(kind, kind)
    with directory(".") as stream:
        while entry := libc.readdir(stream):
            name = ctypes.string_at(entry + NAME_AT).decode()
            found = os.lstat(name)
            assert ctypes.string_at(entry + TYPE_AT, 1)[0] == found.st_mode >> 12
            if name != "..":
                assert ctypes.c_uint64.from_address(entry).value == found.st_ino


def test_each_name_once(place: Path) -> None:
    wanted = {f"file-{count}-{'x' * (count % 200)}" for count in range(3000)}
    for name in wanted:
        os.mknod(name)
    found = os.listdir()
    assert len(found) == len(wanted)
    assert set(found) == wanted


def test_seek_to_where_one_was(place: Path) -> None:
    for count in range(500):
        os.mknod(f"f{count}")
    with directory(".") as stream:
        cookies, names = [], []
        while True:
            cookie = libc.telldir(stream)
            name = read_entry(stream)
            if name is None:
                break
            cookies.append(cookie)
            names.append(name)
        assert len(names) == 502
        for at in (499, 3, 250, 0, 501, 77):
            libc.seekdir(stream, cookies[at])
            assert read_all(stream) == names[at:]
        libc.rewinddir(stream)
        assert read_all(stream) == names


def test_a_cookie_outlives_removals(place: Path) -> None:
    for count in range(400):
        os.mknod(f"f{count}")
    with directory(".") as stream:
        first = [read_entry(stream) for _ in range(200)]
        cookie = libc.telldir(stream)
        rest = read_all(stream)
        for name in [*first, *rest[::2]]:
            if name not in (".", "..", None):
                os.unlink(name)
        libc.seekdir(stream, cookie)
        again = read_all(stream)
        kept = [name for name in rest[1::2] if name not in (".", "..")]
        assert [name for name in again if name in kept] == kept


def test_rewind_shows_the_present(place: Path) -> None:
    os.mknod("a")
    with directory(".") as stream:
        assert sorted(read_all(stream)) == [".", "..", "a"]
        os.mknod("b")
        os.unlink("a")
        libc.rewinddir(stream)
        assert sorted(read_all(stream)) == [".", "..", "b"]


def test_removing_while_reading(place: Path) -> None:
    """What rm -r does: every entry is met though the ones before it went."""
    for count in range(2000):
        os.mknod(f"f{count}")
    met = 0
    with directory(".") as stream:
        while (name := read_entry(stream)) is not None:
            if name not in (".", ".."):
                os.unlink(name)
                met += 1
    assert met == 2000
    assert os.listdir() == []


CHURN = """
import os, sys
n = 0
sys.stdout.write("x"); sys.stdout.flush()
while os.getppid() != 1:
    os.mknod(f"churn-{n}")
    if n >= 50:
        os.unlink(f"churn-{n - 50}")
    n += 1
"""


def test_entries_stay_seen_while_others_come_and_go(place: Path) -> None:
    """POSIX: an entry that is there all the time is seen once by every pass."""
    os.mkdir("d")
    stable = {f"stable-{count}" for count in range(1500)}
    for name in stable:
        os.mknod(f"d/{name}")
    churn = subprocess.Popen([sys.executable, "-c", CHURN], cwd="d", stdout=subprocess.PIPE)
    try:
        assert churn.stdout is not None
        assert churn.stdout.read(1) == b"x"
        for _ in range(5):
            with directory("d") as stream:
                seen = [name for name in read_all(stream) if name.startswith("stable")]
            assert len(seen) == len(stable)
            assert set(seen) == stable
    finally:
        churn.kill()
        churn.communicate()


def test_renaming_while_reading(place: Path) -> None:
    os.mkdir("away")
    for count in range(800):
        os.mknod(f"f{count}")
    seen = []
    with directory(".") as stream:
        while (name := read_entry(stream)) is not None:
            seen.append(name)
            if name.startswith("f"):
                os.rename(name, f"away/{name}")
    assert len([name for name in seen if name.startswith("f")]) == 800
    assert len(os.listdir("away")) == 800


def test_size_and_blocks_of_a_directory(place: Path) -> None:
    os.mkdir("d")
    before = os.stat("d").st_size
    for count in range(200):
        os.mknod(f"d/{'n' * 200}{count}")
    assert os.stat("d").st_size >= before


def test_what_is_no_directory(place: Path) -> None:
    write_file("a")
    with fails(errno.ENOTDIR):
        os.listdir("a")
    with fails(errno.ENOTDIR):
        os.chdir("a")
    with fails(errno.ENOENT):
        os.listdir("b")


def test_deep_trees(place: Path) -> None:
    depth = 200
    for _ in range(depth):
        os.mkdir("deep")
        os.chdir("deep")
    write_file("bottom", b"x")
    path = os.getcwd()
    assert path.count("/deep") == depth
    os.chdir(place)
    assert os.path.getsize("/".join(["deep"] * depth) + "/bottom") == 1
