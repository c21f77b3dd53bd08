"""fsck.affs --repair puts right what is provable, leaves the rest as it is, and survives a power
loss at each of its writes."""

import contextlib
import json
import os
import random
import stat
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from histories import store
from test_second_reader import Shape, shape
from vandal import Vandal

from affs_fuse.core.checksum import crc32c
from affs_fuse.core.codec import Extent, Inode, Segment
from affs_fuse.core.constants import (
    BLOCK_SIZE,
    INTENT_SMALL,
    ITEM_BITMAP,
    ITEM_COLLECTION,
    ITEM_EXTENT,
    ITEM_INLINE,
    ITEM_INODE,
    ITEM_ORPHAN,
    ITEM_PARENT,
    ITEM_SEGMENT,
    OBJECT_COLLECTIONS,
    OBJECT_ORPHANS,
    OWNER_OFFSET,
    REGION_SECOND_OFFSET,
    RING_OFFSET,
    SUPERBLOCK_OFFSET,
)
from affs_fuse.device.device import Buffer, Result
from affs_fuse.device.file import open_device
from affs_fuse.volume.mkfs import MkfsOptions, make_volume
from affs_fuse.volume.opening import OpenOptions
from affs_fuse.volume.repair import make_plan, repair
from affs_fuse.volume.verify import examine_volume, verify_volume
from affs_tools import fsck
from affs_tools.crashsim.device import Image as UndoImage
from affs_tools.library import Library
from affs_tools.reader.image import Image

MIB = 1 << 20
FILE, DIRECTORY = b"dir/file", b"dir"


@pytest.fixture
def volume(tmp_path: Path) -> str:
    path = str(tmp_path / "volume.affs")
    make_volume(path, MkfsOptions(size_bytes=64 * MIB))
    noise = random.Random(1)
    with Library(path) as library:
        library.mkdir(DIRECTORY)
        library.mkdir(b"dir/sub")
        library.declare(DIRECTORY, {"schema": {}})
        library.write(FILE, noise.randbytes(50_000))
        library.write(b"small", b"inline")
        library.link(b"small", b"dir/second name")
        library.symlink(b"link", b"target")
        library.setxattr(FILE, b"user.large", noise.randbytes(20_000))
        for index in range(20):
            library.write(b"dir/sub/%d" % index, b"%d" % index)
    return path


def shapes(path: str) -> dict[int, Shape]:
    with Image(path, crc=crc32c) as image:
        return {state.number: shape(image, state) for state in [image.working(), *image.states()]}


def digest(path: str) -> int:
    return crc32c(Path(path).read_bytes())


def vandalise(path: str, damage: Callable[[Vandal], object], *, kept: bool = False) -> None:
    library = Library(path)
    damage(Vandal(library))
    library.volume.note_change()
    if kept:
        library.checkpoint("damaged")
    else:
        library.commit()
    library.volume.close()


def flip(path: str, offset: int) -> None:
    with open(path, "r+b") as file:
        file.seek(offset)
        byte = file.read(1)[0]
        file.seek(offset)
        file.write(bytes([byte ^ 0x40]))


# ---- counts, lists and maps, all behind right checksums ----


def nameless(vandal: Vandal) -> None:
    """An inode without a name that is not in the list of orphans."""
    library = vandal.library
    number = library.number(b"small")
    inode = Inode.unpack(vandal.first(b"small", ITEM_INODE)[2])
    fresh = library.volume.new_object()
    identity = inode.object_id[:10] + fresh.to_bytes(6, "big")
    made = inode._replace(nlink=0, object_id=identity)
    vandal.put(fresh, ITEM_INODE, 0, made.pack())
    vandal.put(fresh, ITEM_INLINE, 0, b"inline")
    library.volume.working.object_count += 1
    assert number != fresh


def leak(vandal: Vandal) -> None:
    space = vandal.library.volume.space
    space.allocate_data(INTENT_SMALL, 3, vandal.library.volume.generation)


def give_away(vandal: Vandal) -> None:
    _, _, payload = vandal.first(FILE, ITEM_EXTENT)
    vandal.library.volume.space.free(Extent.unpack(payload).address, 2)


def _segment_item(vandal: Vandal) -> tuple[int, Segment]:
    """A data segment in partial use."""
    _, _, payload = vandal.first(FILE, ITEM_EXTENT)
    number = Extent.unpack(payload).address >> 32
    item = vandal.library.volume.trees.space.get(number, ITEM_SEGMENT, 0)
    assert item is not None
    return number, Segment.unpack(item)


def wrong_count(vandal: Vandal) -> None:
    number, item = _segment_item(vandal)
    tree = vandal.library.volume.trees.space
    tree.put(number, ITEM_SEGMENT, 0, item._replace(used_blocks=item.used_blocks + 5).pack())


def no_bitmap(vandal: Vandal) -> None:
    number, _ = _segment_item(vandal)
    assert vandal.library.volume.trees.space.delete(number, ITEM_BITMAP, 0)


def stray_bitmap(vandal: Vandal) -> None:
    number, _ = _segment_item(vandal)
    tree = vandal.library.volume.trees.space
    payload = tree.get(number, ITEM_BITMAP, 0)
    assert payload is not None
    tree.put(200, ITEM_BITMAP, 0, payload)


def system_bitmap(vandal: Vandal) -> None:
    """A bitmap where the trees themselves say what is in use."""
    number, _ = _segment_item(vandal)
    tree = vandal.library.volume.trees.space
    payload = tree.get(number, ITEM_BITMAP, 0)
    assert payload is not None
    tree.put(0, ITEM_BITMAP, 0, payload)


def listed_without_declaration(vandal: Vandal) -> None:
    number = vandal.library.number(b"dir/sub")
    vandal.put(OBJECT_COLLECTIONS, ITEM_COLLECTION, number, b"")


def unlisted(vandal: Vandal) -> None:
    vandal.delete(OBJECT_COLLECTIONS, ITEM_COLLECTION, vandal.library.number(DIRECTORY))


def miscounted_objects(vandal: Vandal) -> None:
    vandal.library.volume.working.object_count += 7


PROVABLE: dict[str, Callable[[Vandal], object]] = {
    "links": lambda vandal: vandal.inode(FILE, nlink=2),
    "links of two names": lambda vandal: vandal.inode(b"small", nlink=9),
    "no links though named": lambda vandal: vandal.inode(b"small", nlink=0),
    "links of a directory": lambda vandal: vandal.inode(DIRECTORY, nlink=7),
    "entries": lambda vandal: vandal.inode(DIRECTORY, size=99),
    "entries of the root": lambda vandal: vandal.inode(b"", size=1, nlink=5),
    "blocks": lambda vandal: vandal.inode(FILE, blocks=1),
    "orphan that is not there": lambda v: v.put(OBJECT_ORPHANS, ITEM_ORPHAN, 77, b""),
    "collection that is not there": lambda v: v.put(OBJECT_COLLECTIONS, ITEM_COLLECTION, 77, b""),
    "listed, not declared": listed_without_declaration,
    "declared, not listed": unlisted,
    "nameless": nameless,
    "leaked": leak,
    "given away": give_away,
    "count of a segment": wrong_count,
    "bitmap gone": no_bitmap,
    "bitmap of no segment": stray_bitmap,
    "bitmap of a system segment": system_bitmap,
    "count of objects": miscounted_objects,
}


@pytest.mark.parametrize("damage", PROVABLE.values(), ids=PROVABLE.keys())
def test_provable(volume: str, damage: Callable[[Vandal], object], capsys: object) -> None:
    before = shapes(volume)
    vandalise(volume, damage)
    assert fsck.main([volume]) == fsck.UNCORRECTED
    damaged = digest(volume)
    assert fsck.main(["--repair", "-n", volume]) == 0, "all of it would be repaired"
    assert digest(volume) == damaged, "a plan writes nothing"
    assert fsck.main(["--repair", volume]) == 1
    assert fsck.main(["--data", volume]) == 0
    assert shapes(volume) == before


def everything(vandal: Vandal) -> None:
    """All that goes together: a bitmap that is gone says nothing more."""
    for damage in PROVABLE.values():
        if damage is not no_bitmap:
            damage(vandal)


def test_all_at_once(volume: str) -> None:
    before = shapes(volume)
    vandalise(volume, everything)
    flip(volume, SUPERBLOCK_OFFSET + 100)
    flip(volume, REGION_SECOND_OFFSET + OWNER_OFFSET + 20)
    assert fsck.main(["-p", volume]) == 1
    assert fsck.main(["--data", volume]) == 0
    assert shapes(volume) == before
    repaired = digest(volume)
    assert fsck.main(["-p", volume]) == 0
    assert digest(volume) == repaired, "a clean volume is left alone"
    with Library(volume) as library:  # it can be gone on with
        library.write(b"afterwards", b"x" * 100_000)
    assert fsck.main(["--data", volume]) == 0


# ---- header regions ----


def newest_slot(path: str) -> int:
    with Image(path) as image:
        return int(image.commit["seq"]) % 64


HEADERS: dict[str, Callable[[str], list[int]]] = {
    "first superblock": lambda _: [SUPERBLOCK_OFFSET + 100],
    "second superblock": lambda _: [REGION_SECOND_OFFSET + SUPERBLOCK_OFFSET + 2000],
    "owner blocks": lambda _: [OWNER_OFFSET + 20, REGION_SECOND_OFFSET + OWNER_OFFSET + 20],
    "newest in ring 1": lambda path: [RING_OFFSET + newest_slot(path) * BLOCK_SIZE + 50],
    "newest in ring 2": lambda path: [
        REGION_SECOND_OFFSET + RING_OFFSET + newest_slot(path) * BLOCK_SIZE + 50
    ],
    "parent in ring 1": lambda path: [RING_OFFSET + (newest_slot(path) - 1) % 64 * BLOCK_SIZE + 9],
    "header of segment 0": lambda _: [MIB + 60],
}


@pytest.mark.parametrize("damage", HEADERS.values(), ids=HEADERS.keys())
def test_headers(volume: str, damage: Callable[[str], list[int]]) -> None:
    before = shapes(volume)
    for offset in damage(volume):
        flip(volume, offset)
    damaged = digest(volume)
    assert fsck.main(["--repair", "-n", volume]) == 0
    assert digest(volume) == damaged
    assert fsck.main(["--repair", volume]) == 1
    with open_device(volume, read_only=True) as device:
        assert verify_volume(device).findings == []
    assert shapes(volume) == before


def test_a_record_in_one_ring_only(volume: str) -> None:
    with open(volume, "r+b") as file:
        file.seek(REGION_SECOND_OFFSET + RING_OFFSET + newest_slot(volume) * BLOCK_SIZE)
        file.write(bytes(BLOCK_SIZE))
    assert fsck.main(["--repair", volume]) == 1
    with open_device(volume, read_only=True) as device:
        assert verify_volume(device).findings == []


def test_an_interrupted_update_of_the_superblocks(volume: str) -> None:
    with open_device(volume) as device:
        old = device.read(SUPERBLOCK_OFFSET, BLOCK_SIZE)[0]
        superblock = examine_volume(device).superblock
        device.write(SUPERBLOCK_OFFSET, [superblock._replace(update_counter=2).pack()])
    assert old != Path(volume).read_bytes()[SUPERBLOCK_OFFSET:][:BLOCK_SIZE]
    assert fsck.main(["--repair", volume]) == 1
    whole = Path(volume).read_bytes()
    first, second = (
        whole[region + SUPERBLOCK_OFFSET :][:BLOCK_SIZE] for region in (0, REGION_SECOND_OFFSET)
    )
    assert first == second != old


# ---- what is not provable stays, to the byte ----


def drop_link(vandal: Vandal) -> None:
    number, offset, _ = vandal.first(FILE, ITEM_PARENT)
    vandal.delete(number, ITEM_PARENT, offset)


def drop_inode(vandal: Vandal) -> None:
    vandal.delete(vandal.library.number(b"link"), ITEM_INODE, 0)


def nameless_with_links(vandal: Vandal) -> None:
    """A count that says one name, and no name anywhere: the name may be what was lost."""
    nameless(vandal)
    library = vandal.library
    number = library.volume.new_object() - 1
    payload = library.call(vandal.tree.get, number, ITEM_INODE, 0)
    assert payload is not None
    vandal.put(number, ITEM_INODE, 0, Inode.unpack(payload)._replace(nlink=1).pack())


def contested_orphan(vandal: Vandal) -> None:
    vandal.inode(FILE, nlink=0)
    vandal.put(OBJECT_ORPHANS, ITEM_ORPHAN, vandal.library.number(FILE), b"")


UNPROVABLE: dict[str, Callable[[Vandal], object]] = {
    "target": lambda vandal: vandal.inode(b"link", size=99),
    "size": lambda vandal: vandal.inode(FILE, size=10),
    "kind": lambda vandal: vandal.inode(FILE, mode=stat.S_IFLNK | 0o777),
    "parent": lambda vandal: vandal.inode(b"dir/sub", parent=1),
    "one side of a name": drop_link,
    "inode gone": drop_inode,
    "a count without a name": nameless_with_links,
    "two against two": contested_orphan,
}


@pytest.mark.parametrize("damage", UNPROVABLE.values(), ids=UNPROVABLE.keys())
def test_unprovable(
    volume: str, damage: Callable[[Vandal], object], capsys: pytest.CaptureFixture[str]
) -> None:
    library = Library(volume)
    damage(Vandal(library))
    library.volume.working.object_count -= damage is drop_inode
    library.volume.note_change()
    library.commit()
    library.volume.close()
    damaged = digest(volume)
    capsys.readouterr()
    assert fsck.main(["--repair", volume]) == fsck.UNCORRECTED
    assert "left: error" in capsys.readouterr().out
    assert digest(volume) == damaged


def test_what_the_device_destroyed_stays(volume: str) -> None:
    """A node, a data block, both superblocks, both copies of a record."""
    with Image(volume) as image:
        root = image.node_offset(image.commit["namespace_root"])
        space = image.node_offset(image.commit["space_root"])
        extents = [
            Extent.unpack(item.payload)
            for item in image.items(image.commit["namespace_root"])
            if item.type == ITEM_EXTENT
        ]
        data = image.locate(extents[0].address)
    slot = RING_OFFSET + newest_slot(volume) * BLOCK_SIZE + 60
    for offsets, options in (
        ([root + 500], []),
        ([space + 500], []),
        ([data + 7], ["--data"]),
        ([SUPERBLOCK_OFFSET + 99, REGION_SECOND_OFFSET + SUPERBLOCK_OFFSET + 99], []),
    ):
        for offset in offsets:
            flip(volume, offset)
        damaged = digest(volume)
        assert fsck.main(["--repair", *options, volume]) == fsck.UNCORRECTED
        assert digest(volume) == damaged
        for offset in offsets:
            flip(volume, offset)
    for region in (0, REGION_SECOND_OFFSET):
        flip(volume, region + slot)
    damaged = digest(volume)
    assert fsck.main(["--repair", volume]) == 0, "the record before it rules, as at opening"
    assert digest(volume) == damaged


def test_with_a_lost_node_nothing_is_given_free(volume: str) -> None:
    """Blocks that are reached are marked; those that nothing seems to reach are not given away."""
    with Library(volume) as library:
        for index in range(150):
            library.write(b"dir/sub/%d" % index, b"%d" % index)
    vandalise(volume, lambda vandal: (give_away(vandal), leak(vandal)))
    with Library(volume) as library:
        library.checkpoint("kept")
        for index in range(150):
            library.unlink(b"dir/sub/%d" % index)
    with Image(volume) as image:
        kept = image.states()[0]
        here = {
            image.node_offset(found[0])
            for found in image.nodes(image.commit["namespace_root"])
        }
        leaf = next(
            image.node_offset(pointer)
            for pointer, header, _ in image.nodes(kept.root)
            if header["level"] == 0 and image.node_offset(pointer) not in here
        )
    flip(volume, leaf + 300)
    assert fsck.main(["--repair", volume]) == 1 | fsck.UNCORRECTED
    with open_device(volume, read_only=True) as device:
        codes = {found.code for found in verify_volume(device).findings}
    assert "verify.not_recorded" not in codes
    assert "verify.node" in codes


def test_kept_states_stay_as_they_are(volume: str, capsys: pytest.CaptureFixture[str]) -> None:
    """The same damage in a kept state and in the working state: one is repaired, one is named."""
    vandalise(volume, lambda vandal: vandal.inode(DIRECTORY, nlink=7), kept=True)
    before = shapes(volume)
    assert fsck.main(["--repair", volume]) == 1 | fsck.UNCORRECTED
    assert "kept states are never changed" in capsys.readouterr().out
    after = shapes(volume)
    kept = next(number for number in after if number)
    assert after[kept] == before[kept]
    assert after[0][b"dir"][3] == 3
    with Library(volume) as library:
        library.delete(library.volume.states.resolve("damaged"))
    assert fsck.main(["--data", volume]) == 0


# ---- power lost ----


class PowerLost(Exception):
    pass


class DyingDevice(UndoImage):
    """Loses power at the n-th write; a part of that one gets through."""

    left = 1 << 30
    part = 0

    def write(self, offset: int, buffers: Sequence[Buffer]) -> Result:
        if self.left <= 0:
            data = b"".join(buffers)
            if self.part:
                self.put(offset, data[: self.part])
            raise PowerLost
        self.left -= 1
        return super().write(offset, buffers)


def test_power_lost_at_each_write(volume: str) -> None:
    """The volume is before or after the commit, and repairing again finishes the work."""
    before = shapes(volume)
    vandalise(volume, everything)
    for offset in (SUPERBLOCK_OFFSET + 100, OWNER_OFFSET + 20, MIB + 60):
        flip(volume, offset)
    flip(volume, RING_OFFSET + newest_slot(volume) * BLOCK_SIZE + 50)
    device = DyingDevice(64 * MIB)
    device.content[:] = Path(volume).read_bytes()
    options = OpenOptions(sleep=lambda _: None)
    finished, count = False, 0
    while not finished:
        for part in (0, 512, 2048):
            mark = device.mark()
            device.left, device.part = count, part
            with contextlib.suppress(PowerLost):  # which is what is tried out
                repair(device, make_plan(device, examine_volume(device)), options)
                finished = True
            device.left = 1 << 30
            found = examine_volume(device)
            plan = make_plan(device, found)
            if plan.repairs:
                repair(device, plan, options)
            codes = {found.code for found in verify_volume(device, data=True).findings}
            assert codes <= {"verify.not_closed"}, f"after {count} writes and {part} bytes"
            if part == 512 or finished:
                store(volume, device.content)
                assert shapes(volume) == before
            device.revert(mark)
        count += 1
    assert count > 8


# ---- the program ----


def test_a_volume_in_use_is_refused(
    volume: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(fsck, "LOCK_WAIT_S", 0.2)
    flip(volume, SUPERBLOCK_OFFSET + 100)
    library = Library(volume)
    try:
        for arguments in (["--repair"], ["--repair", "-n"], ["-p"]):
            assert fsck.main([*arguments, volume]) == fsck.OPERATIONAL
            assert f"process {os.getpid()} has it open" in capsys.readouterr().err
    finally:
        library.abandon()


def test_words_and_documents(volume: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as usage:
        fsck.main(["-p", "-n", volume])
    assert usage.value.code == fsck.USAGE
    vandalise(volume, leak)
    capsys.readouterr()
    assert fsck.main(["--repair", "--json", "-n", volume]) == 0
    plan = json.loads(capsys.readouterr().out)
    assert plan["dry_run"]
    assert {each["code"] for each in plan["repairs"]} == {"verify.leaked"}
    assert plan["written_bytes"] > BLOCK_SIZE
    assert plan["before"]["clean"] is False
    assert plan["after"]["clean"] is True
    assert fsck.main(["--repair", volume]) == 1
    text = capsys.readouterr().out
    assert "repaired: 3 blocks of segment" in text
    assert "nothing reaches them" in text
