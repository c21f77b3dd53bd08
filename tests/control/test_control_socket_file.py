"""Where the socket lies, who may use it, what becomes of leftovers; and the peer's credentials."""

import dataclasses
import os
import socket
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from affs_fuse.control import SocketFile, remove_dead_daemons
from affs_fuse.control.peer import peer_identity, user_name
from affs_fuse.errors import AffsError, Category
from affs_fuse.protocol import Announcement

ANNOUNCEMENT = Announcement(
    uuid="0d9bcd56-5cda-4bd4-9e0b-3cbb0f3f7d4f",
    label="fake",
    socket="/run/affs/x.sock",
    mountpoint="/mnt",
    volume="/srv/x.affs",
    pid=1,
)

root_only = pytest.mark.skipif(os.getuid() != 0, reason="changes owners")


def code_of(path: str, **options: object) -> str:
    with pytest.raises(AffsError) as caught:
        SocketFile.open(path, **options)  # type: ignore[arg-type]
    assert caught.value.hint or caught.value.code == "control.group"
    return caught.value.code


@pytest.mark.parametrize("mode", [0o600, 0o660, 0o666])
def test_the_mode_is_exact_whatever_the_umask(tmp_path: Path, mode: int) -> None:
    path = str(tmp_path / "sub" / "c.sock")
    before = os.umask(0o777)
    os.umask(before)
    with SocketFile.open(path, mode=mode):
        assert stat.S_IMODE(os.stat(path).st_mode) == mode
    assert not os.path.exists(path)


def test_the_socket_is_narrow_from_its_first_moment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = str(tmp_path / "c.sock")
    seen = []
    real = os.chmod

    def watching(name: str, mode: int) -> None:
        seen.append(stat.S_IMODE(os.stat(name).st_mode))
        real(name, mode)

    monkeypatch.setattr(os, "chmod", watching)
    before = os.umask(0)
    try:
        SocketFile.open(path, mode=0o666).close()
    finally:
        os.umask(before)
    assert seen == [0o600]


@root_only
def test_the_group(tmp_path: Path) -> None:
    path = str(tmp_path / "c.sock")
    with SocketFile.open(path, mode=0o660, group="daemon"):
        assert os.stat(path).st_gid == 1
    with SocketFile.open(path, group="12345"):
        assert os.stat(path).st_gid == 12345
    assert code_of(path, group="no such group") == "control.group"


def test_the_announcement_comes_and_goes_with_it(tmp_path: Path) -> None:
    path, beside = str(tmp_path / "c.sock"), tmp_path / "run" / "c.json"
    with SocketFile.open(path, announcement=ANNOUNCEMENT, announcement_path=str(beside)):
        assert Announcement.parse(beside.read_bytes()) == ANNOUNCEMENT
        assert stat.S_IMODE(beside.stat().st_mode) == 0o644
        assert os.listdir(beside.parent) == ["c.json"]
    assert os.listdir(beside.parent) == []


def test_a_stale_socket_is_replaced(tmp_path: Path) -> None:
    path = str(tmp_path / "c.sock")
    left = socket.socket(socket.AF_UNIX)
    left.bind(path)
    left.close()
    with SocketFile.open(path), socket.socket(socket.AF_UNIX) as client:
        client.connect(path)


def test_a_living_one_is_not(tmp_path: Path) -> None:
    path = str(tmp_path / "c.sock")
    with SocketFile.open(path):
        assert code_of(path) == "control.in_use"
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(path)


def test_closing_leaves_a_successor_alone(tmp_path: Path) -> None:
    path = str(tmp_path / "c.sock")
    first = SocketFile.open(path)
    os.unlink(path)
    with SocketFile.open(path):
        first.close()
        assert os.path.exists(path)


def test_a_file_that_is_no_socket_is_not_touched(tmp_path: Path) -> None:
    path = tmp_path / "c.sock"
    path.write_text("mine")
    assert code_of(str(path)) == "control.in_use"
    assert path.read_text() == "mine"


def test_a_path_has_107_bytes_at_most(tmp_path: Path) -> None:
    room = 107 - len(str(tmp_path)) - 1
    with SocketFile.open(str(tmp_path / ("s" * room))):
        pass
    error = None
    try:
        SocketFile.open(str(tmp_path / ("ü" * (room // 2 + 1))))
    except AffsError as caught:
        error = caught
    assert error is not None
    assert (error.code, error.category) == ("control.socket_path", Category.INVALID)
    assert "107" in error.message


@pytest.mark.parametrize("where", ["shared", "shared/below"])
def test_a_directory_that_others_can_change(tmp_path: Path, where: str) -> None:
    (tmp_path / where).mkdir(parents=True)
    (tmp_path / "shared").chmod(0o777)
    assert code_of(str(tmp_path / where / "c.sock")) == "control.directory"


@root_only
def test_a_directory_of_somebody_else(tmp_path: Path) -> None:
    os.chown(tmp_path, 4242, -1)
    assert code_of(str(tmp_path / "c.sock")) == "control.directory"


def test_what_the_system_refuses(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert code_of(str(tmp_path / "file" / "c.sock")) == "control.socket"


def test_nothing_is_left_when_the_announcement_fails(tmp_path: Path) -> None:
    path = tmp_path / "c.sock"
    (tmp_path / "x.json").mkdir()
    options = {"announcement": ANNOUNCEMENT, "announcement_path": str(tmp_path / "x.json")}
    assert code_of(str(path), **options) == "control.socket"
    assert sorted(os.listdir(tmp_path)) == ["x.json"]


def test_credentials_of_this_process() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        identity = peer_identity(ours)
    assert (identity.uid, identity.gid, identity.pid) == (os.getuid(), os.getgid(), os.getpid())
    assert identity.groups == {os.getgid(), *os.getgroups()}


@root_only
@pytest.mark.parametrize("count", [0, 3, 500])
def test_credentials_with_many_groups(public_tmp_path: Path, count: int) -> None:
    path = str(public_tmp_path / "c.sock")
    program = (
        "import os, socket, sys\n"
        f"os.setgroups(range(5000, {5000 + count})); os.setgid(77); os.setuid(4242)\n"
        f"s = socket.socket(socket.AF_UNIX); s.connect({path!r}); s.recv(1)\n"
    )
    with SocketFile.open(path, mode=0o666) as file:
        process = subprocess.Popen([sys.executable, "-c", program])
        try:
            file.socket.setblocking(True)
            file.socket.settimeout(10)
            connected, _ = file.socket.accept()
            with connected:
                identity = peer_identity(connected)
        finally:
            process.wait(10)
    assert (identity.uid, identity.gid) == (4242, 77)
    assert identity.groups == {77, *range(5000, 5000 + count)}


def test_a_user_without_an_account_is_a_number() -> None:
    assert user_name(0) == "root"
    assert user_name(3_999_999_999) == "3999999999"


def test_what_dead_daemons_left_is_removed_and_nothing_else(tmp_path: Path) -> None:
    def announce(name: str, view: str) -> Path:
        announced = dataclasses.replace(
            ANNOUNCEMENT, socket=str(tmp_path / f"{name}.sock"), view=view
        )
        path = tmp_path / f"{name}.json"
        path.write_bytes(announced.to_json())
        assert Announcement.parse(path.read_bytes()) == announced
        return path

    dead, lost = announce("u.view.1", "published"), announce("u.view.2", "published")
    alive, owner = announce("u.view.3", "published"), announce("u", "")
    killed = announce("v", "")
    odd = tmp_path / "u.view.4.json"
    odd.write_text("{")
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(tmp_path / "u.view.1.sock"))
    open_socket = SocketFile.open
    with open_socket(str(tmp_path / "u.view.3.sock")), open_socket(str(tmp_path / "u.sock")):
        remove_dead_daemons(str(tmp_path))
        assert alive.exists()
        assert owner.exists()
        assert odd.exists()
        assert not dead.exists()
        assert not killed.exists()
        assert not lost.exists()
        assert not (tmp_path / "u.view.1.sock").exists()
    remove_dead_daemons(str(tmp_path / "absent"))


@root_only
def test_a_directory_behind_a_link_that_somebody_else_made(tmp_path: Path) -> None:
    """As anybody could put one at /tmp/affs-1000, to have our files elsewhere."""
    (tmp_path / "ours").mkdir(mode=0o700)
    (tmp_path / "link").symlink_to(tmp_path / "ours")
    with SocketFile.open(str(tmp_path / "link" / "c.sock")):
        pass
    os.chown(tmp_path / "link", 65534, 65534, follow_symlinks=False)
    assert code_of(str(tmp_path / "link" / "c.sock")) == "control.directory"
    assert os.listdir(tmp_path / "ours") == []
