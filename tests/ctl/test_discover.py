"""Finding a socket: every way to name a volume, and what is not believed."""

import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from affs_ctl.discover import Target, announcements, find, runtime_directories
from affs_fuse.errors import AffsError, Category
from affs_fuse.protocol import Announcement

UUIDS = [f"00000000-0000-4000-8000-00000000000{digit}" for digit in range(4)]


class World:
    """Announcements in a folder, and a made-up mount table over real folders."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.run = root / "run"
        self.run.mkdir()
        self.lines = ["1 0 8:1 / / rw - ext4 /dev/sda1 rw"]
        self.known: list[Announcement] = []

    def mount(self, name: str, label: str = "", *, announce: bool = True) -> Announcement:
        number = len(self.known)
        folder = self.root / name
        folder.mkdir(parents=True)
        volume = self.root / f"{number}.affs"
        volume.write_bytes(b"")
        uuid = UUIDS[number]
        socket = str(self.run / f"{uuid}.sock")
        known = Announcement(uuid, label, socket, str(folder), str(volume), 1000 + number)
        self.known.append(known)
        self.line(str(folder), f"0:{50 + number}", "fuse.affs")
        if announce:
            (self.run / f"{uuid}.json").write_bytes(known.to_json())
        return known

    def view(self, of: Announcement) -> Announcement:
        """A mount that shows what is published on a volume that is mounted already."""
        number = len(self.known)
        folder = self.root / f"view{number}"
        folder.mkdir()
        socket = str(self.run / f"{of.uuid}.view.{number}.sock")
        known = replace(of, socket=socket, mountpoint=str(folder), pid=number, view="published")
        self.known.append(known)
        self.line(str(folder), f"0:{50 + number}", "fuse.affs")
        # Its name comes before the owner's, whatever the order of a directory.
        (self.run / f"0.view.{number}.json").write_bytes(known.to_json())
        return known

    def line(self, point: str, device: str, kind: str) -> None:
        escaped = point.replace("\\", "\\134").replace(" ", "\\040").replace("\n", "\\012")
        self.lines.append(f"2 1 {device} / {escaped} rw,nosuid shared:1 - {kind} name rw")

    def find(self, volume: str | None = None, **environment: str) -> Target:
        return find(
            volume,
            environment=environment,
            directories=[str(self.run), str(self.root / "absent")],
            mounts=lambda: "\n".join(self.lines) + "\n",
        )


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


WAYS: list[Callable[[Announcement], str]] = [
    lambda known: known.mountpoint,
    lambda known: known.mountpoint + "/",
    lambda known: known.mountpoint + "/below/that is not there",
    lambda known: known.volume,
    lambda known: known.uuid,
    lambda known: known.uuid.upper(),
    lambda known: f"UUID={known.uuid}",
    lambda known: known.label,
    lambda known: f"LABEL={known.label}",
]


@pytest.mark.parametrize("way", range(len(WAYS)))
def test_every_way_to_name_a_volume(world: World, way: int) -> None:
    for known in (world.mount("first mount\n", "one"), world.mount("first mount\n/inner", "two")):
        assert world.find(WAYS[way](known)) == Target(known.socket, known)


def test_symbolic_links_are_followed(world: World) -> None:
    known = world.mount("mnt")
    (world.root / "link").symlink_to(known.mountpoint)
    (world.root / "file").symlink_to(known.volume)
    assert world.find(str(world.root / "link")).announcement == known
    assert world.find(str(world.root / "file")).announcement == known


def test_the_default(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    one, two = world.mount("one", "1"), world.mount("two", "2")
    monkeypatch.chdir(one.mountpoint)
    assert world.find().announcement == one
    assert world.find(AFFS_VOLUME="2").announcement == two
    assert world.find(AFFS_VOLUME="").announcement == one
    assert world.find(AFFS_SOCKET="/a", AFFS_VOLUME="2") == Target("/a")
    assert world.find("1", AFFS_SOCKET="/a", AFFS_VOLUME="2").announcement == one
    assert world.find(".", AFFS_SOCKET="/a").announcement == one
    assert world.find("../two").announcement == two


def test_another_filesystem_inside_the_mount_is_not_ours(world: World) -> None:
    known = world.mount("mnt", "a")
    inner = Path(known.mountpoint) / "tmp"
    inner.mkdir()
    world.line(str(inner), "0:99", "tmpfs")
    with pytest.raises(AffsError, match="is no mounted volume and on none") as caught:
        world.find(str(inner))
    assert (caught.value.code, caught.value.category) == ("client.no_volume", Category.NOT_FOUND)
    assert caught.value.hint == f"mounted are: {known.mountpoint} (a)"


def test_a_bind_mount_leads_to_its_volume(world: World) -> None:
    known = world.mount("mnt")
    other = world.root / "bind"
    other.mkdir()
    world.line(str(other), "0:50", "fuse.affs")
    assert world.find(str(other)).announcement == known


def test_a_mount_without_a_daemon_says_so(world: World) -> None:
    known = world.mount("mnt", announce=False)
    with pytest.raises(AffsError) as caught:
        world.find(known.mountpoint)
    assert caught.value.code == "client.no_daemon"
    assert "umount" in caught.value.hint


def test_a_volume_is_its_own_daemons_before_it_is_that_of_a_view(world: World) -> None:
    owner = world.mount("one", "work")
    view = world.view(owner)
    for name in ("work", owner.uuid, f"UUID={owner.uuid}", owner.volume, owner.mountpoint):
        assert world.find(name).announcement == owner, name
    assert world.find(view.mountpoint).announcement == view
    world.lines = [line for line in world.lines if owner.mountpoint not in line]
    (world.run / f"{owner.uuid}.json").unlink()
    for name in ("work", owner.uuid, owner.volume):
        assert world.find(name).announcement == view, name


def test_a_label_that_two_volumes_have(world: World) -> None:
    one, two = world.mount("one", "same"), world.mount("two", "same")
    with pytest.raises(AffsError) as caught:
        world.find("same")
    assert (caught.value.code, caught.value.category) == ("client.ambiguous", Category.CONFLICT)
    assert one.mountpoint in caught.value.hint
    # What a killed daemon left behind does not count against the one that lives.
    world.lines = [line for line in world.lines if "/two" not in line]
    assert world.find("same").announcement == one
    assert world.find(two.uuid).announcement == two


@pytest.mark.parametrize(
    "name", ["nobody", UUIDS[3], "LABEL=nobody", "/nowhere/at/all", "UUID=one"]
)
def test_nothing_is_called_that(world: World, name: str) -> None:
    world.mount("mnt", "one")
    with pytest.raises(AffsError) as caught:
        world.find(name)
    assert caught.value.code == "client.no_volume"


def test_the_current_directory_is_on_none(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(world.root)
    with pytest.raises(AffsError, match="the current directory is on no AfFS volume") as caught:
        world.find()
    assert caught.value.hint == "no AfFS volume is mounted"


def test_paths_that_are_no_utf8(world: World) -> None:
    known = world.mount(os.fsdecode(b"m\xff\xfe"))
    assert announcements([str(world.run)]) == [known]
    text = (world.run / f"{known.uuid}.json").read_bytes()
    assert b"mountpoint_b64" in text
    assert world.find(known.mountpoint).announcement == known


def _announcement(**changes: object) -> bytes:
    fields = {"affs": 1, "uuid": "u", "label": "", "socket": "/s", "mountpoint": "/m"}
    return json.dumps({**fields, "volume": "/v", "pid": 1, **changes}).encode()


@pytest.mark.parametrize(
    "content",
    [
        b"", b"{", b"[]", b"{}", b'{"affs": 1}', b"\xff", b"[" * 100_000, b" " * 100_000,
        _announcement(affs="1"), _announcement(socket="relative"), _announcement(socket="/a\0"),
        _announcement(pid="1"), _announcement(socket_b64="?"), _announcement(label=None),
    ],
)  # fmt: skip
def test_what_is_no_announcement_is_passed_over(world: World, content: bytes) -> None:
    assert Announcement.parse(_announcement()).mountpoint == "/m"
    known = world.mount("mnt")
    (world.run / "a.json").write_bytes(content)
    assert announcements([str(world.run)]) == [known]
    with pytest.raises(AffsError) as caught:
        Announcement.parse(content)
    assert caught.value.code == "protocol.announcement"


def test_only_regular_files_of_trusted_owners_are_believed(world: World) -> None:
    known = world.mount("mnt")
    path = world.run / f"{known.uuid}.json"
    (world.run / "link.json").symlink_to(path)
    os.mkfifo(world.run / "pipe.json")
    (world.run / "folder.json").mkdir()
    (world.run / "other.txt").write_bytes(known.to_json())
    assert announcements([str(world.run)]) == [known]
    if os.geteuid() == 0:
        os.chown(path, 12345, 0)
        assert announcements([str(world.run)]) == []


def test_where_announcements_are_looked_for() -> None:
    assert runtime_directories({"XDG_RUNTIME_DIR": "/x"}, 0) == ["/run/affs"]
    assert runtime_directories({"XDG_RUNTIME_DIR": "/x"}, 5) == ["/x/affs", "/run/affs"]
    assert runtime_directories({}, 5) == ["/run/user/5/affs", "/tmp/affs-5", "/run/affs"]
