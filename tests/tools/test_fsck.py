"""fsck.affs finds what is wrong, whatever it is, and finds nothing where nothing is."""

import json
import os
import random
import re
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from vandal import Vandal

from affs_fuse import auv
from affs_fuse.core.codec import Extent, Inode, Name, Segment, pack_name
from affs_fuse.core.constants import (
    BLOCK_SIZE,
    INTENT_SMALL,
    ITEM_COLLECTION,
    ITEM_DENTRY,
    ITEM_EXTENT,
    ITEM_INDEX,
    ITEM_INDEX_KEYS,
    ITEM_INDEX_PENDING,
    ITEM_INLINE,
    ITEM_INODE,
    ITEM_JOB,
    ITEM_OPERATION,
    ITEM_ORPHAN,
    ITEM_PARENT,
    ITEM_POLICY,
    ITEM_SEGMENT,
    ITEM_STATE_POINTER,
    ITEM_VERIFIED,
    ITEM_XATTR,
    NODE_SIZE,
    OBJECT_COLLECTIONS,
    OBJECT_ORPHANS,
    POINTER_PUBLISHED,
    RING_OFFSET,
    SUPERBLOCK_OFFSET,
)
from affs_fuse.device.file import open_device
from affs_fuse.volume.index_check import IndexHead, pack_keys, page_of
from affs_fuse.volume.index_pages import Shape as IndexShape
from affs_fuse.volume.mkfs import MkfsOptions, make_volume
from affs_fuse.volume.verify import Report, Severity, verify_volume
from affs_tools import fsck
from affs_tools.library import Library
from affs_tools.reader.image import Image

MIB = 1 << 20
ROOT = Path(__file__).resolve().parents[2]
FILE, DIRECTORY, SUBDIRECTORY = b"dir/file", b"dir", b"dir/sub"


@pytest.fixture
def volume(tmp_path: Path) -> str:
    """A volume with a few files and no kept state."""
    path = str(tmp_path / "volume.affs")
    make_volume(path, MkfsOptions(size_bytes=64 * MIB))
    with Library(path) as library:
        library.mkdir(DIRECTORY)
        library.mkdir(SUBDIRECTORY)
        library.write(FILE, random.Random(1).randbytes(50_000))
        library.write(b"small", b"inline")
        library.symlink(b"link", b"target")
        library.setxattr(FILE, b"user.large", bytes(20_000))
        for index in range(300):
            library.write(b"dir/sub/%d" % index, b"%d" % index)
    return path


def check(path: str, *, data: bool = False) -> Report:
    with open_device(path, read_only=True) as device:
        return verify_volume(device, data=data)


def codes(report: Report) -> set[str]:
    return {found.code for found in report.findings if found.severity is Severity.ERROR}


# ---- damage with right checksums: what a faulty writer would leave ----


def drop_inode(vandal: Vandal) -> None:
    vandal.delete(vandal.library.number(b"small"), ITEM_INODE, 0)


def drop_entry(vandal: Vandal) -> None:
    number, offset, _ = vandal.first(DIRECTORY, ITEM_DENTRY)
    vandal.delete(number, ITEM_DENTRY, offset)


def drop_link(vandal: Vandal) -> None:
    number, offset, _ = vandal.first(FILE, ITEM_PARENT)
    vandal.delete(number, ITEM_PARENT, offset)


def retarget_entry(vandal: Vandal) -> None:
    """A name that leads to another object than the link back says."""
    number, offset, payload = vandal.first(DIRECTORY, ITEM_DENTRY)
    fixed, name = Name.unpack(payload), payload[Name.SIZE :]
    other = vandal.library.number(b"small")
    vandal.put(number, ITEM_DENTRY, offset, pack_name(other, fixed.kind, name))


def name_twice(vandal: Vandal) -> None:
    number, offset, payload = vandal.first(DIRECTORY, ITEM_DENTRY)
    vandal.put(number, ITEM_DENTRY, offset + 1, payload)


def extent_twice(vandal: Vandal) -> None:
    """The same blocks at two places of a file."""
    number, offset, payload = vandal.first(FILE, ITEM_EXTENT)
    size = Extent.unpack(payload).blocks * BLOCK_SIZE
    vandal.put(number, ITEM_EXTENT, offset + size, payload)


def extent_elsewhere(vandal: Vandal) -> None:
    number, offset, payload = vandal.first(FILE, ITEM_EXTENT)
    extent = Extent.unpack(payload)._replace(address=(999 << 32) | 1)
    vandal.put(number, ITEM_EXTENT, offset, extent.pack() + payload[Extent.SIZE :])


def extent_from_the_future(vandal: Vandal) -> None:
    number, offset, payload = vandal.first(FILE, ITEM_EXTENT)
    extent = Extent.unpack(payload)._replace(birth=1 << 40)
    vandal.put(number, ITEM_EXTENT, offset, extent.pack() + payload[Extent.SIZE :])


def inline_over_extent(vandal: Vandal) -> None:
    vandal.put(vandal.library.number(FILE), ITEM_INLINE, 0, b"over it")


def setting_without_a_value(vandal: Vandal) -> None:
    vandal.library.volume.trees.system.put(4, ITEM_POLICY, 1, b"\xc1")


def cursor_without_a_value(vandal: Vandal) -> None:
    vandal.library.volume.trees.system.put(1, ITEM_JOB, 0, b"\xc1")


def verification_without_a_value(vandal: Vandal) -> None:
    vandal.library.volume.trees.system.put(3, ITEM_VERIFIED, 1, b"\xc1")


def operation_without_a_value(vandal: Vandal) -> None:
    vandal.library.volume.trees.system.put(1, ITEM_OPERATION, 9, b"\x01\x02")


def directory_cycle(vandal: Vandal) -> None:
    """dir/sub becomes the parent of dir, consistently but for reachability."""
    library = vandal.library
    directory, sub = library.number(DIRECTORY), library.number(SUBDIRECTORY)
    vandal.inode(DIRECTORY, parent=sub)
    root, at = 1, 0
    while True:
        item = library.call(vandal.tree.seek, root, ITEM_DENTRY, at)
        assert item is not None
        assert item[:2] == (root, ITEM_DENTRY)
        if Name.unpack(item[3]).object == directory:
            break
        at = item[2] + 1
    vandal.delete(root, ITEM_DENTRY, item[2])
    vandal.put(sub, ITEM_DENTRY, item[2], item[3])
    number, offset, payload = vandal.first_of(directory, ITEM_PARENT)
    fixed, name = Name.unpack(payload), payload[Name.SIZE :]
    vandal.put(number, ITEM_PARENT, offset, pack_name(sub, fixed.kind, name))


def object_from_nowhere(vandal: Vandal) -> None:
    number = (1 << 47) + 5
    inode = Inode.unpack(vandal.first(b"small", ITEM_INODE)[2])
    identity = inode.object_id[:10] + number.to_bytes(6, "big")
    vandal.put(number, ITEM_INODE, 0, inode._replace(object_id=identity).pack())


def orphan_of_nothing(vandal: Vandal) -> None:
    vandal.inode(b"small", nlink=0)


def space_leak(vandal: Vandal) -> None:
    vandal.library.volume.space.allocate_data(INTENT_SMALL, 3, vandal.library.volume.generation)


def space_given_away(vandal: Vandal) -> None:
    _, _, payload = vandal.first(FILE, ITEM_EXTENT)
    vandal.library.volume.space.free(Extent.unpack(payload).address, 1)


def published_nowhere(vandal: Vandal) -> None:
    tree = vandal.library.volume.trees.checkpoint
    tree.put(POINTER_PUBLISHED, ITEM_STATE_POINTER, 0, (77).to_bytes(8, "little") + bytes(8))


def wrong_place(vandal: Vandal) -> None:
    """Two segments at one place."""
    tree = vandal.library.volume.trees.space
    payload = tree.get(1, ITEM_SEGMENT, 0)
    assert payload is not None
    segment = Segment.unpack(payload)
    first, second = segment.copies
    other = segment._replace(copies=(first._replace(place=0), second))
    tree.put(1, ITEM_SEGMENT, 0, other.pack())


def declared(vandal: Vandal, path: bytes, payload: bytes, part: int = 0) -> None:
    number = vandal.library.number(path)
    vandal.put(number, ITEM_COLLECTION, part, payload)
    vandal.put(OBJECT_COLLECTIONS, ITEM_COLLECTION, number, b"")


def listed_without_declaration(vandal: Vandal) -> None:
    number = vandal.library.number(DIRECTORY)
    vandal.put(OBJECT_COLLECTIONS, ITEM_COLLECTION, number, b"")


def declared_and_not_listed(vandal: Vandal) -> None:
    vandal.put(vandal.library.number(DIRECTORY), ITEM_COLLECTION, 0, b"\x80")


def indexed(vandal: Vandal, page: bytes, entries: int = 1) -> None:
    """An index with the one entry `x`, and this as its page."""
    number, file = vandal.library.number(DIRECTORY), vandal.library.number(FILE)
    shape = IndexShape(1, 2, entries)
    vandal.put(number, ITEM_INDEX, page_of(1, 0), IndexHead("a", shape, None).pack())
    vandal.put(number, ITEM_INDEX, page_of(1, 1), page)
    vandal.put(number, ITEM_INDEX_KEYS, file, pack_keys({1: b"x"}))


def page_with(vandal: Vandal, key: bytes) -> bytes:
    entry = key + vandal.library.number(FILE).to_bytes(6, "big")
    return b"\0\0\1\0" + len(entry).to_bytes(2, "little") + entry


VANDALISM: list[tuple[str, Callable[[Vandal], object]]] = [
    ("verify.links", lambda vandal: vandal.inode(FILE, nlink=2)),
    ("verify.links", lambda vandal: vandal.inode(DIRECTORY, nlink=7)),
    ("verify.entries", lambda vandal: vandal.inode(DIRECTORY, size=99)),
    ("verify.blocks", lambda vandal: vandal.inode(FILE, blocks=1)),
    ("verify.size", lambda vandal: vandal.inode(b"small", size=1)),
    ("verify.size", lambda vandal: vandal.inode(b"link", size=99)),
    ("verify.extent_beyond", lambda vandal: vandal.inode(FILE, size=10)),
    ("verify.kind", lambda vandal: vandal.inode(FILE, mode=stat.S_IFLNK | 0o777)),
    ("verify.kind", lambda vandal: vandal.inode(b"link", mode=stat.S_IFREG | 0o644)),
    ("verify.parent", lambda vandal: vandal.inode(SUBDIRECTORY, parent=1)),
    ("verify.parent", lambda vandal: vandal.inode(b"", parent=16)),
    ("verify.link_kind", lambda vandal: vandal.inode(b"small", mode=stat.S_IFIFO | 0o644)),
    ("verify.orphan", orphan_of_nothing),
    ("verify.no_inode", drop_inode),
    ("verify.object_count", drop_inode),
    ("verify.entry_link", drop_entry),
    ("verify.entry_link", drop_link),
    ("verify.entry_link", retarget_entry),
    ("verify.name_twice", name_twice),
    ("verify.name_hash", lambda vandal: vandal.move(DIRECTORY, ITEM_DENTRY, 1 << 40)),
    ("verify.name_hash", lambda vandal: vandal.move(FILE, ITEM_PARENT, 1 << 40)),
    ("verify.name_hash", lambda vandal: vandal.move(FILE, ITEM_XATTR, 1 << 40)),
    ("verify.block_twice", extent_twice),
    ("verify.segment", extent_elsewhere),
    ("verify.birth", extent_from_the_future),
    ("verify.extent_overlap", inline_over_extent),
    ("verify.unreachable", directory_cycle),
    ("verify.system_value", setting_without_a_value),
    ("verify.system_value", operation_without_a_value),
    ("verify.system_value", cursor_without_a_value),
    ("verify.system_value", verification_without_a_value),
    ("verify.object_number", object_from_nowhere),
    ("verify.orphan", lambda vandal: vandal.put(OBJECT_ORPHANS, ITEM_ORPHAN, 77, b"")),
    ("verify.collection", lambda vandal: vandal.put(OBJECT_COLLECTIONS, ITEM_COLLECTION, 77, b"")),
    ("verify.index", lambda vandal: indexed(vandal, page_with(vandal, b"y"))),
    ("verify.index", lambda vandal: indexed(vandal, page_with(vandal, b"x"), 2)),
    ("verify.index", lambda vandal: indexed(vandal, b"\0\0\0\0", 0)),
    (
        "verify.index",
        lambda vandal: vandal.put(
            vandal.library.number(DIRECTORY), ITEM_INDEX, page_of(1, 0), b"\x80"
        ),
    ),
    (
        "verify.index",
        lambda vandal: vandal.put(
            vandal.library.number(DIRECTORY), ITEM_INDEX, page_of(1, 7), b"\0\0\0\0"
        ),
    ),
    (
        "verify.index",
        lambda vandal: vandal.put(
            vandal.library.number(DIRECTORY), ITEM_INDEX_KEYS, 77, pack_keys({1: b"x"})
        ),
    ),
    (
        "verify.index",
        lambda vandal: vandal.put(vandal.library.number(FILE), ITEM_INDEX_PENDING, 77, b""),
    ),
    ("verify.collection", listed_without_declaration),
    ("verify.collection", declared_and_not_listed),
    ("verify.collection", lambda vandal: declared(vandal, FILE, b"\x80")),
    ("verify.collection", lambda vandal: declared(vandal, DIRECTORY, b"\x01")),
    ("verify.collection", lambda vandal: declared(vandal, DIRECTORY, b"\x80", part=1)),
    ("verify.leaked", space_leak),
    ("verify.not_recorded", space_given_away),
    ("verify.state_pointer", published_nowhere),
    ("verify.segment", wrong_place),
]


@pytest.mark.parametrize("kept", [False, True], ids=["whole", "difference"])
@pytest.mark.parametrize(("code", "damage"), VANDALISM)
def test_finds(volume: str, code: str, damage: Callable[[Vandal], object], kept: bool) -> None:
    """kept: the state before is kept, so the check meets the damage in a comparison."""
    library = Library(volume)
    if kept:
        library.checkpoint("before")
    damage(Vandal(library))
    library.volume.note_change()
    library.commit()
    library.abandon()
    report = check(volume)
    assert code in codes(report)
    assert not report.clean
    if kept:
        found = [finding for finding in report.findings if finding.code == code]
        assert {finding.state for finding in found} <= {"", "working"}


def test_a_healthy_volume_is_clean(volume: str) -> None:
    with Library(volume) as library:
        library.checkpoint("one")
        library.write(FILE, b"changed" * 1000, 4000)
        library.rename(SUBDIRECTORY, b"moved")
        library.publish("two")
        for index in range(0, 300, 3):
            library.unlink(b"moved/%d" % index)
        library.checkpoint("three")
        library.rollback(library.volume.states.resolve("one"))
        library.truncate(FILE, 5000)
        library.delete(library.volume.states.resolve("three"))
    report = check(volume, data=True)
    assert [finding for finding in report.findings if finding.severity != Severity.NOTE] == []
    assert report.states == 3
    assert report.data_blocks_checked > 10


def test_unlinked_and_truncated_leftovers_are_no_errors(volume: str) -> None:
    """What a crash leaves of a file that was unlinked while open."""
    library = Library(volume)
    number = library.number(FILE)
    library.call(library.namespace.open, number, os.O_RDWR, library.credentials)
    library.unlink(FILE)
    library.commit()
    library.abandon()
    assert check(volume, data=True).clean


# ---- flipped bytes ----


def flip(path: str, offset: int) -> None:
    with open(path, "r+b") as file:
        file.seek(offset)
        byte = file.read(1)[0]
        file.seek(offset)
        file.write(bytes([byte ^ 0x40]))


def node_offsets(path: str) -> list[int]:
    """Where the nodes of all trees of the newest commit and of all kept states lie."""
    with Image(path) as image:
        roots = [image.commit[f"{name}_root"] for name in ("checkpoint", "system", "space")]
        roots += [state.root for state in [*image.states(), image.working()]]
        return sorted(
            {image.node_offset(found[0]) for root in roots for found in image.nodes(root)}
        )


def test_a_flipped_byte_in_any_node_is_found(volume: str) -> None:
    with Library(volume) as library:
        library.checkpoint("kept")
        library.unlink(b"dir/sub/7")
    noise = random.Random(5)
    offsets = node_offsets(volume)
    assert len(offsets) > 10
    for offset in offsets:
        at = offset + noise.randrange(NODE_SIZE)
        flip(volume, at)
        report = check(volume)
        assert "verify.node" in codes(report), f"byte {at}"
        flip(volume, at)
    assert check(volume).clean


def test_a_damaged_leaf_is_named_by_what_lay_in_it(tmp_path: Path) -> None:
    """In each state by its own names, and of no file that lies elsewhere."""
    path = str(tmp_path / "v")
    make_volume(path, MkfsOptions(size_bytes=64 << 20))
    with Library(path) as library:
        library.mkdir(b"dir")
        for number in range(300):
            library.write(b"dir/f%03d" % number, b"%d" % number * 100)
        library.checkpoint("kept")
        library.rename(b"dir/f150", b"dir/moved")
        places = {}
        leaf, names = 0, set()
        for number in range(300):
            name = b"dir/moved" if number == 150 else b"dir/f%03d" % number
            places[library.number(name)] = name.decode()
    with Image(path) as image:
        for pointer, header, node in image.nodes(image.commit["namespace_root"]):
            held = {item.object for item in image.leaf(header, node)} if not header["level"] else ()
            if max(places) - 150 in held:
                leaf = image.node_offset(pointer)
                names = {f"/{places[number]}" for number in held if number in places}
                break
    flip(path, leaf + 9000)
    found = [one for one in check(path).findings if one.code == "verify.node"]
    (working,) = [one for one in found if one.state == "working"]
    assert working.path in names
    told = set(re.findall(r"/dir/\w+", working.message))
    assert told <= names
    assert len(told) == min(8, len(names))
    for one in found:
        assert "/dir/moved" not in one.message or one.state == "working"


def test_a_flipped_byte_in_any_data_block_is_found(volume: str) -> None:
    with Image(volume) as image:
        extents = [
            Extent.unpack(item.payload)
            for item in image.items(image.commit["namespace_root"])
            if item.type == ITEM_EXTENT
        ]
        blocks = [
            image.locate(extent.address) + index * BLOCK_SIZE
            for extent in extents
            for index in range(extent.blocks)
        ]
    assert len(blocks) > 10
    for offset in blocks:
        flip(volume, offset + 4095)
        assert check(volume).clean
        report = check(volume, data=True)
        assert codes(report) == {"verify.data"}
        assert [finding.path for finding in report.findings] == ["/dir/file"]
        flip(volume, offset + 4095)


def test_header_regions(volume: str) -> None:
    flip(volume, SUPERBLOCK_OFFSET + 100)
    assert codes(check(volume)) == {"verify.superblock"}
    flip(volume, SUPERBLOCK_OFFSET + 100)
    with Image(volume) as image:
        slot = image.commit["seq"] % 64
    flip(volume, RING_OFFSET + slot * BLOCK_SIZE + 50)
    report = check(volume)
    assert report.clean
    assert {finding.code for finding in report.findings} >= {
        "verify.ring_slot", "verify.rings_differ",
    }


# ---- the program ----


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "affs_tools.fsck", *arguments],
        capture_output=True, text=True, check=False,
    )


def test_exit_statuses(volume: str, tmp_path: Path) -> None:
    done = run(volume, "--data")
    assert (done.returncode, done.stderr) == (0, "")
    assert "clean" in done.stdout
    flip(volume, node_offsets(volume)[-1] + 1000)
    done = run(volume)
    assert done.returncode == fsck.UNCORRECTED
    assert " ERROR" in done.stdout
    empty = tmp_path / "empty"
    empty.write_bytes(bytes(MIB))
    done = run(str(empty))
    assert done.returncode == fsck.OPERATIONAL
    assert "holds no AfFS volume" in done.stderr
    assert run(str(tmp_path / "nothing")).returncode == fsck.OPERATIONAL
    assert run("--no-such-option", volume).returncode == fsck.USAGE


def test_refuses_a_volume_in_use(
    volume: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(fsck, "LOCK_WAIT_S", 0.3)
    library = Library(volume)
    try:
        assert fsck.main([volume]) == fsck.OPERATIONAL
        assert f"process {os.getpid()} has it open" in capsys.readouterr().err
        assert fsck.main(["-n", volume]) == 0
    finally:
        library.abandon()
    assert fsck.main([volume]) == 0


def test_machine_readable(volume: str) -> None:
    flip(volume, node_offsets(volume)[-1] + 1000)
    report = json.loads(run("--json", volume).stdout)
    assert report["clean"] is False
    assert report["findings"][0]["code"].startswith("verify.")
    assert auv.parse(run("--ajis", volume).stdout) == report


def test_progress_goes_where_it_was_asked_for(volume: str) -> None:
    read_end, write_end = os.pipe()
    with os.fdopen(read_end) as progress:
        subprocess.run(
            [sys.executable, "-m", "affs_tools.fsck", f"-C{write_end}", volume],
            pass_fds=[write_end], check=True, capture_output=True,
        )
        os.close(write_end)
        lines = progress.read().splitlines()
    assert all(re.fullmatch(r"\d+ \d+ \d+ ", line) for line in lines)


def test_every_finding_is_documented() -> None:
    told = set()
    for path in (ROOT / "affs_fuse/volume").glob("verify*.py"):
        told |= set(re.findall(r'"(verify\.[a-z_]+)"', path.read_text()))
    page = (ROOT / "docs/internals/checking.md").read_text()
    assert told == set(re.findall(r"^\| `(verify\.[a-z_]+)` ", page, re.MULTILINE))


def test_names_from_an_image_cannot_move_the_cursor(
    volume: str, capsys: pytest.CaptureFixture[str]
) -> None:
    library = Library(volume)
    library.write(b"evil\x1b[2J\nname", b"x")
    Vandal(library).inode(b"evil\x1b[2J\nname", nlink=3)
    library.commit()
    library.abandon()
    assert fsck.main([volume]) == fsck.UNCORRECTED
    out = capsys.readouterr().out
    assert "\x1b" not in out
    assert "evil" in out


def test_states_are_checked_by_their_difference(volume: str) -> None:
    """Ten states with one change each read few nodes more than one state does."""

    def nodes() -> int:
        return check(volume).nodes

    alone = nodes()
    with Library(volume) as library:
        for index in range(10):
            library.write(b"small", b"%d" % index)
            library.checkpoint(f"state {index}")
    assert nodes() < alone + 10 * 6
    assert check(volume).items < 11 * 1000

