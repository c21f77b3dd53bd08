"""Every conformance test runs twice: on ext4, which proves that the test says what Linux does, and
on a mounted AfFS volume. Where the two differ for a reason, the test takes one of them by name and
docs/limits.md has the line.

One mount serves the session; each test gets an empty directory of its own. ext4 lies in a file in
memory (with ea_inode, so that it takes attribute values of 64 KiB); near the largest file size,
which ext4 does not reach, tmpfs stands in for it.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).resolve().parents[1] / "fuse"))

from mounted import Mounted
from posix_kit import KINDS_OF_ENTRY, memory_folder

REFERENCE_BYTES = 512 << 20


@pytest.fixture
def folder() -> Iterator[Path]:
    """An empty folder with a short path, for a volume of the test's own."""
    made = memory_folder()
    yield made
    shutil.rmtree(made)


@pytest.fixture(scope="session")
def ext4() -> Iterator[Path]:
    """The root of an ext4 on a loop device."""
    folder = memory_folder()
    image, directory = folder / "image", folder / "m"
    with image.open("wb") as file:
        file.truncate(REFERENCE_BYTES)
    directory.mkdir()
    subprocess.run(
        ["mkfs.ext4", "-q", "-O", "ea_inode", "-E", "nodiscard", str(image)], check=True
    )
    subprocess.run(["mount", "-o", "loop", str(image), str(directory)], check=True)
    yield directory
    subprocess.run(["umount", str(directory)], check=True)
    shutil.rmtree(folder)


@pytest.fixture(scope="session")
def tmpfs() -> Iterator[Path]:
    """The root of a tmpfs."""
    folder = memory_folder()
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", str(folder)], check=True)
    yield folder
    subprocess.run(["umount", str(folder)], check=True)
    folder.rmdir()


@pytest.fixture(scope="session")
def volume() -> Iterator[Mounted]:
    """A new volume, mounted so that device nodes and setuid programs work."""
    folder = memory_folder()
    with Mounted(folder, options="dev,suid", size_bytes=1 << 30) as made:
        yield made
    shutil.rmtree(folder)


@pytest.fixture(scope="session", params=["ext4", "affs"])
def filesystem(request: pytest.FixtureRequest) -> Path:
    """The root of the filesystem under test."""
    return root_of(request, request.param)


def root_of(request: pytest.FixtureRequest, name: str) -> Path:
    if name == "affs":
        mounted: Mounted = request.getfixturevalue("volume")
        return mounted.directory
    root: Path = request.getfixturevalue(name)
    return root


def empty_place(root: Path) -> Iterator[Path]:
    """A new directory that everybody may use, and the test's working directory; gone after it."""
    made = Path(tempfile.mkdtemp(prefix="t", dir=root))
    made.chmod(0o777)
    before = os.getcwd()
    os.chdir(made)
    yield made
    os.chdir(before)
    shutil.rmtree(made)


@pytest.fixture
def place(filesystem: Path) -> Iterator[Path]:
    yield from empty_place(filesystem)


@pytest.fixture(params=["tmpfs", "affs"])
def vast_place(request: pytest.FixtureRequest) -> Iterator[Path]:
    """As place, where files may have nearly 2^63 bytes."""
    yield from empty_place(root_of(request, request.param))


@pytest.fixture
def affs_place(volume: Mounted) -> Iterator[Path]:
    """As place, on AfFS alone: for what differs from other filesystems for a reason."""
    yield from empty_place(volume.directory)


@pytest.fixture(autouse=True)
def plain_umask() -> Iterator[None]:
    before = os.umask(0o022)
    yield
    os.umask(before)


@pytest.fixture(params=KINDS_OF_ENTRY)
def kind(request: pytest.FixtureRequest) -> str:
    """Every type of file in turn."""
    name: str = request.param
    return name


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Without root and /dev/fuse there is nothing to mount."""
    if os.geteuid() == 0 and os.path.exists("/dev/fuse"):
        return
    for item in items:
        if "conformance" in item.path.parts:
            item.add_marker(pytest.mark.skip(reason="mounting takes root and /dev/fuse"))


