"""Opening a device fails at each of its system calls in turn: an error that has a name, and no
descriptor stays behind."""

import errno
import fcntl
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from affs_fuse.device.file import open_device
from affs_fuse.errors import AffsError
from affs_fuse.volume.mkfs import MkfsOptions, make_volume
from affs_fuse.volume.opening import OpenOptions
from affs_fuse.volume.volume import Volume

ERRNOS = (errno.EIO, errno.ENOSPC, errno.EDQUOT, errno.EINTR, errno.ETIMEDOUT, errno.ENOMEM)


@pytest.fixture
def volume_file(tmp_path: Path) -> Path:
    path = tmp_path / "volume"
    make_volume(str(path), MkfsOptions(size_bytes=64 << 20))
    return path


def descriptors() -> set[str]:
    """Of this process, by what they are open on."""
    found = set()
    for name in os.listdir("/proc/self/fd"):
        try:
            found.add(os.readlink(f"/proc/self/fd/{name}"))
        except FileNotFoundError:
            continue  # the one that listed them
    return found


def failing(real: Callable[..., object], number: int, path: Path) -> Callable[..., object]:
    """Fails for the volume alone: for its path, or a descriptor of it."""

    def call(first: object, *rest: object, **named: object) -> object:
        target = first if isinstance(first, str) else os.readlink(f"/proc/self/fd/{first}")
        if str(target) == str(path):
            raise OSError(number, os.strerror(number))
        return real(first, *rest, **named)

    return call


@pytest.mark.parametrize("number", ERRNOS, ids=[errno.errorcode[one] for one in ERRNOS])
@pytest.mark.parametrize("name", ["open", "fstat", "flock"])
def test_each_call_of_opening_fails(
    monkeypatch: pytest.MonkeyPatch, volume_file: Path, name: str, number: int
) -> None:
    module = fcntl if name == "flock" else os
    before = volume_file.read_bytes()
    with monkeypatch.context() as patch:
        patch.setattr(module, name, failing(getattr(module, name), number, volume_file))
        with pytest.raises(AffsError) as caught:
            open_device(str(volume_file))
        assert caught.value.code == "device.io"
        with pytest.raises(AffsError):
            Volume.open(str(volume_file), OpenOptions())
    assert str(volume_file) not in descriptors()
    assert volume_file.read_bytes() == before
    Volume.open(str(volume_file), OpenOptions()).close()
