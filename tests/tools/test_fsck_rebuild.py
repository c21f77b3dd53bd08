"""fsck.affs --rebuild recovers what leaves and data survive of, and says what does not."""

import contextlib
import errno
import json
import os
import random
from collections.abc import Sequence
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from types import SimpleNamespace

import pytest
from histories import (
    MIB,
    WORKING,
    History,
    copy,
    destroy,
    node_places,
    shapes,
    store,
    survey,
)
from test_second_reader import Shape, fill
from vandal import Vandal

from affs_fuse.auv import encode
from affs_fuse.core.checksum import crc32c
from affs_fuse.core.codec import NodeHeader, seal, verify_node
from affs_fuse.core.constants import (
    BLOCK_SIZE,
    ITEM_DENTRY,
    KIND_NODE,
    MAGIC_NODE,
    NODE_SIZE,
    SUPERBLOCK_OFFSET,
)
from affs_fuse.device.device import Buffer, Outcome, Result
from affs_fuse.device.file import open_device
from affs_fuse.device.memory import MemoryDevice
from affs_fuse.errors import AffsError
from affs_fuse.volume.mkfs import MkfsOptions, make_volume
from affs_fuse.volume.rebuild import Rebuild, RebuildReport
from affs_fuse.volume.rebuild_identity import find_out
from affs_fuse.volume.rebuild_scan import Family, FoundHeader, FoundNode, Scan
from affs_fuse.volume.settings import SettingKind
from affs_fuse.volume.superblock import read_superblock
from affs_fuse.volume.verify import verify_volume
from affs_tools import fsck
from affs_tools.library import Library
from affs_tools.reader.image import Image

PARTS = ("superblocks", "rings", "inner")
GONE = [set(each) for count in range(4) for each in combinations(PARTS, count)]


def rebuild(source: str, target: str) -> RebuildReport:
    """Also: the source is only read, the new volume is clean, and the plan says what comes."""
    before = crc32c(Path(source).read_bytes())
    Path(target).unlink(missing_ok=True)
    Path(target).touch()
    os.truncate(target, 64 * MIB)
    with open_device(source, read_only=True) as device, open_device(target) as new:
        report = Rebuild(device).write(new, MkfsOptions())
        assert Rebuild(device).check().to_auv() == report.to_auv()
    assert crc32c(Path(source).read_bytes()) == before
    with open_device(target, read_only=True) as device:
        assert verify_volume(device, data=True).findings == []
    return report


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    """Two kept states and a working one, with hard links, attributes, holes and odd names."""
    path = str(tmp_path_factory.mktemp("rebuild") / "original.affs")
    make_volume(path, MkfsOptions(size_bytes=64 * MIB, label="precious"))
    with Library(path) as library:
        fill(library)
        for index in range(200):
            library.write(b"dir/f%d" % index, b"%d" % index * 40)
        library.volume.settings.put(SettingKind.RETENTION, 3, {"days": 7})
        library.volume.log.append(encode({"did": "something"}))
        library.checkpoint("one")
        for index in range(0, 200, 3):
            library.unlink(b"dir/f%d" % index)
        library.write(b"dir/below/odd", b"changed" * 1000, 100_000)
        library.publish("two", "as it was shown")
        for index in range(1, 200, 3):
            library.unlink(b"dir/f%d" % index)
        library.rename(b"dir/below", b"moved")
        library.mkdir(b"new")
        library.write(b"new/x", bytes(range(256)) * 400)
    return SimpleNamespace(path=path, shapes=shapes(path), nodes=node_places(path))


def names_of_states(path: str) -> list[tuple[object, ...]]:
    with Image(path, crc=crc32c) as image:
        return [
            (
                state.label, state.message, state.record["id"], state.record["time_ns"],
                state.record["flags"], image.state_pointers()["published"]["state"] == state.number,
            )
            for state in image.states()
        ]


@pytest.mark.parametrize("gone", GONE, ids=lambda gone: "+".join(sorted(gone)) or "nothing")
def test_gone(original: SimpleNamespace, tmp_path: Path, gone: set[str]) -> None:
    """Content, metadata, attributes, links and kept states come back whole."""
    source, target = str(tmp_path / "damaged"), str(tmp_path / "new")
    copy(original.path, source)
    destroy(source, gone | ({"owners"} if "superblocks" in gone else set()), original.nodes)
    report = rebuild(source, target)
    assert report.whole
    assert shapes(target) == original.shapes
    assert names_of_states(target) == names_of_states(original.path)
    assert bool(report.ambiguous) == ("rings" in gone)
    with Library(target) as library:  # it is a volume like any other
        kept = "rings" not in gone
        setting = library.volume.settings.get(SettingKind.RETENTION, 3)
        assert setting == ({"days": 7} if kept else None)
        assert len(library.volume.log.newest(9)) == kept
        library.write(b"afterwards", b"x" * 50_000)
        library.delete(library.volume.states.resolve("one"))
    with open_device(target, read_only=True) as device:
        assert verify_volume(device, data=True).clean


def without_lost(shape: Shape) -> dict[bytes, tuple[object, ...]]:
    """What has its name; of the root all but the count of its directories."""
    return {
        path: content(entry) if path == b"" else entry
        for path, entry in shape.items()
        if not path.startswith(b"lost+found")
    }


@pytest.mark.parametrize("seed", range(4))
def test_random_histories(seed: int, tmp_path: Path) -> None:
    """Whatever was done before: nothing is missing, and nothing that was deleted is back. Where
    neither record nor bitmaps are there, crumbs of deleted files may turn up as lost things."""
    path, source, target = (str(tmp_path / name) for name in ("original", "damaged", "new"))
    history = History(path, seed)
    expected, nodes = shapes(path), node_places(path)
    chance = random.Random(seed)
    for gone in (chance.choice(GONE[1:]), {*PARTS, "owners", "space"}):
        copy(path, source)
        destroy(source, gone, nodes)
        report = rebuild(source, target)
        found = shapes(target)
        if "rings" in gone and history.last == "rolled back":  # whereto the record alone tells
            assert any("rollback" in line or "descend" in line for line in report.ambiguous)
            found[WORKING] = expected[WORKING]
        assert found.keys() == expected.keys()
        for key, state in expected.items():
            if "rings" in gone or "space" in gone:
                assert without_lost(found[key]) == without_lost(state)
            else:
                assert found[key] == state


# ---- blocks destroyed at random ----


def content(entry: tuple[object, ...]) -> tuple[object, ...]:
    """All but the link count, which tells of other names."""
    return entry[:3] + entry[4:]


def check_bytes(report: RebuildReport, key: str, was: Shape, now: Shape) -> None:
    """No byte is wrong: it is what it was, or zero and told as lost."""
    losses = [
        loss
        for state in report.states
        for loss in state.losses
        if (state.name == WORKING) == (key == WORKING)
    ]
    told = {loss.path for loss in losses if loss.kind == "data"}
    sizeless = {loss.path for loss in losses if loss.kind == "attributes"}
    links = {entry[4]: path for path, entry in was.items() if isinstance(entry[4], bytes)}
    for path, entry in now.items():
        before = was.get(path)
        if before is None or before[4] == entry[4]:
            continue
        old, new = before[4], entry[4]
        assert isinstance(old, bytes)
        assert isinstance(new, bytes)
        assert all(b in (0, a) for a, b in zip(old, new, strict=False))
        if "/" + path.decode("utf-8", "backslashreplace") in sizeless:
            continue
        assert len(old) == len(new)
        others = {links[old], *(each for each in was if was[each][4] == old)}
        assert told & {"/" + each.decode("utf-8", "backslashreplace") for each in others}


@pytest.mark.parametrize("seed", range(3))
def test_destroyed_blocks(seed: int, tmp_path: Path) -> None:
    """What needs none of the destroyed blocks comes back; leaves and data only, and inner nodes."""
    path, source, target = (str(tmp_path / name) for name in ("original", "damaged", "new"))
    History(path, 100 + seed)
    expected, nodes, needs = shapes(path), node_places(path), survey(path)
    data = sorted(
        {at for paths in needs.values() for needed in paths.values() for at in needed} - set(nodes)
    )
    chance = random.Random(seed)
    for inner in (False, True):
        choice = [at for at, (level, _) in sorted(nodes.items()) if inner or not level]
        hit = set(chance.sample(choice, min(len(choice), chance.choice([1, 2, 8]))))
        hit |= set(chance.sample(data, min(len(data), chance.choice([0, 1, 5]))))
        copy(path, source)
        with open(source, "r+b") as file:
            for offset in hit:
                file.seek(offset)
                file.write(chance.randbytes(BLOCK_SIZE))
        report = rebuild(source, target)
        found = shapes(target)
        for key, paths in needs.items():
            if key not in found:
                assert report.lost_states or any("table" in line for line in report.ambiguous)
                continue
            for name, needed in paths.items():
                if not needed & hit:
                    assert content(found[key][name]) == content(expected[key][name])
            if not any(nodes.get(at, (0, 0))[0] for at in hit):
                here = {name for name in found[key] if not name.startswith(b"lost+found")}
                assert here <= set(expected[key]), "deleted names are back"
                check_bytes(report, key, expected[key], found[key])
        if found != expected:
            assert not report.whole or report.ambiguous


def test_a_file_that_lost_blocks_says_which(original: SimpleNamespace, tmp_path: Path) -> None:
    source, target = str(tmp_path / "damaged"), str(tmp_path / "new")
    copy(original.path, source)
    with Image(source, crc=crc32c) as image:
        item = max(
            (each for each in image.items(image.commit["namespace_root"]) if each.type == 6),
            key=lambda each: len(each.payload),
        )
        at = image.locate(int.from_bytes(item.payload[:8], "little"))
    with open(source, "r+b") as file:
        for block in (3, 4, 9):
            file.seek(at + block * BLOCK_SIZE)
            file.write(b"?" * BLOCK_SIZE)
    report = rebuild(source, target)
    lost = [
        (loss.path, loss.offset - item.offset, loss.length)
        for loss in report.states[-1].losses
    ]
    assert lost == [
        ("/moved/odd", 3 * BLOCK_SIZE, 2 * BLOCK_SIZE), ("/moved/odd", 9 * BLOCK_SIZE, BLOCK_SIZE)
    ]
    old, new = original.shapes[WORKING][b"moved/odd"][4], shapes(target)[WORKING][b"moved/odd"][4]
    assert isinstance(old, bytes)
    assert isinstance(new, bytes)
    start = item.offset + 3 * BLOCK_SIZE
    assert new[:start] == old[:start]
    assert new[start : start + 2 * BLOCK_SIZE] == bytes(2 * BLOCK_SIZE)


# ---- data that looks like a volume ----


def test_images_inside_of_files_are_not_taken_in(tmp_path: Path) -> None:
    """A file that holds another volume with more nodes than this one; one that holds this very
    volume, salt and all; one with many nodes under the right UUID and another salt."""
    other, path, target = (str(tmp_path / name) for name in ("other", "volume", "new"))
    make_volume(other, MkfsOptions(size_bytes=64 * MIB))
    with Library(other) as library:
        for index in range(800):
            library.write(b"decoy %d" % index, b"decoy")
    make_volume(path, MkfsOptions(size_bytes=64 * MIB))
    with Library(path) as library:
        for index in range(50):
            library.write(b"file %d" % index, b"%d" % index * 100)
        library.commit()
        library.write(b"other", Path(other).read_bytes()[: 8 * MIB])
        library.write(b"itself", Path(path).read_bytes()[: 6 * MIB])
        library.write(b"forged", bytes(200 * NODE_SIZE))
    with Image(path, crc=crc32c) as image:
        uuid = image.superblock["format_uuid"]
    forge(path, min(node_places(path)))
    expected, nodes = shapes(path), node_places(path)
    for gone in ({"superblocks", "owners", "rings"}, {*PARTS, "owners"}):
        destroy(path, gone, nodes)
        report = rebuild(path, target)
        assert report.format_uuid == uuid.hex()
        assert shapes(target) == expected
        assert report.nodes_misplaced > 0


def forge(path: str, template: int) -> None:
    """Fill the file "forged" with nodes that verify, under the volume's UUID and a made-up salt;
    they claim places where data of that file lay a moment ago."""
    image = Path(path).read_bytes()[template : template + NODE_SIZE]
    with Library(path) as library:
        number = library.number(b"forged")
        with Image(path, crc=crc32c) as eyes:
            places = [
                (each.offset, eyes.locate(int.from_bytes(each.payload[:8], "little")))
                for each in eyes.items(eyes.commit["namespace_root"])
                if (each.object, each.type) == (number, 6)
            ]
        for offset, at in places:
            made = bytearray(image)
            made[32:48] = b"forged salt 0123"
            made[48:56] = (at // BLOCK_SIZE).to_bytes(8, "little")
            seal(made, MAGIC_NODE, KIND_NODE)
            verify_node(made, NodeHeader.unpack(made).uuid, b"forged salt 0123")
            library.write(b"forged", bytes(made) * 60, offset)


def test_two_volumes_that_nothing_tells_apart() -> None:
    def family(letter: bytes, count: int) -> tuple[tuple[bytes, bytes], Family]:
        node = FoundNode(0, 0, 1, 1, 0, 1, (1, 1, 0), (1, 1, 0), 0)
        headers = [FoundHeader(MIB * (1 + place), place, place, 2) for place in range(1, count + 1)]
        return (letter * 16, b"salt" * 4), Family([node], headers)

    scan = Scan(64 * MIB, [], [], [], dict([family(b"a", 5), family(b"b", 4)]))
    with pytest.raises(AffsError) as error:
        find_out(scan, "image")
    assert error.value.code == "rebuild.ambiguous"
    assert find_out(scan, "image", b"b" * 16).identity[0] == b"b" * 16
    scan.families.update([family(b"a", 20)])
    assert find_out(scan, "image").identity[0] == b"a" * 16
    with pytest.raises(AffsError) as error:
        find_out(Scan(64 * MIB, [], [], []), "image")
    assert error.value.code == "rebuild.nothing"


# ---- failing devices ----


class FailingDevice(MemoryDevice):
    """unreadable: byte ranges (offset, length). writes_left: then every write fails."""

    unreadable: Sequence[tuple[int, int]] = ()
    writes_left = 1 << 30

    def read(self, offset: int, length: int) -> tuple[bytes, Result]:
        for start, size in self.unreadable:
            if offset < start + size and start < offset + length:
                return b"", Result(Outcome.PERMANENT, 0, errno.EIO)
        return super().read(offset, length)

    def write(self, offset: int, buffers: Sequence[Buffer]) -> Result:
        if self.writes_left <= 0:
            return Result(Outcome.PERMANENT, 0, errno.EIO)
        self.writes_left -= 1
        return super().write(offset, buffers)


def test_blocks_that_cannot_be_read(original: SimpleNamespace) -> None:
    """They are passed over, one by one; what does not need them is there."""
    device = FailingDevice(content=bytearray(Path(original.path).read_bytes()))
    leaf = min(at for at, known in original.nodes.items() if known == (0, 1))
    device.unreadable = [(leaf, BLOCK_SIZE), (SUPERBLOCK_OFFSET, BLOCK_SIZE), (40 * MIB, 8192)]
    report = Rebuild(device).check()
    assert report.unreadable_blocks == 4
    assert sum(state.leaves_lost for state in report.states) > 0
    assert all(state.objects > 20 for state in report.states)


def test_an_interrupted_rebuild_leaves_nothing_that_opens(original: SimpleNamespace) -> None:
    source = MemoryDevice(content=bytearray(Path(original.path).read_bytes()))
    for writes in (0, 1, 2, 5, 10, 20):
        target = FailingDevice(64 * MIB)
        target.writes_left = writes
        with pytest.raises(AffsError) as failure:
            Rebuild(source).write(target, MkfsOptions())
        assert failure.value.code == "device.io"
        with pytest.raises(AffsError) as error:
            read_superblock(target)
        assert error.value.code == "volume.not_affs"


# ---- any input ----


@pytest.mark.parametrize("seed", range(6))
def test_garbage(original: SimpleNamespace, tmp_path: Path, seed: int) -> None:
    """Torn, cut, shuffled images: something is recovered or there is one clear error."""
    chance = random.Random(seed)
    content_ = bytearray(Path(original.path).read_bytes())
    for _ in range(chance.choice([5, 200, 3000])):
        at = chance.randrange(8 * MIB)
        content_[at] ^= 1 << chance.randrange(8)
    if seed % 3 == 0:  # swap two pieces
        a, b = (MIB + chance.randrange(64) * NODE_SIZE * 4 for _ in range(2))
        first, second = content_[a : a + 65536], content_[b : b + 65536]
        content_[a : a + 65536], content_[b : b + 65536] = second, first
    if seed % 2:
        del content_[chance.randrange(20 * MIB) :]
    source, target = str(tmp_path / "damaged"), str(tmp_path / "new")
    store(source, content_)
    with contextlib.suppress(AffsError):  # one clear error, of which any other kind is none
        rebuild(source, target)


# ---- the program ----


def test_the_program(
    original: SimpleNamespace, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source, target = str(tmp_path / "damaged"), str(tmp_path / "new")
    copy(original.path, source)
    destroy(source, {"superblocks", "owners", "rings"}, original.nodes)
    assert fsck.main(["--rebuild", source, "-n", "--into", target]) == 0
    assert "3 states would be recovered" in capsys.readouterr().out
    assert not Path(target).exists()
    assert fsck.main(["--rebuild", source, "--into", target, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["report"]["whole"]
    assert told["check"]["clean"]
    assert [state["name"] for state in told["report"]["states"]] == ["one", "two", "working"]
    assert fsck.main([target]) == 0
    assert shapes(target) == original.shapes
    capsys.readouterr()
    for arguments, word in (
        (["--rebuild", source, "--into", source], "is the source itself"),
        (["--rebuild", source, "--into", target], "holds an AfFS volume"),
        (["--rebuild", source, "--into", str(tmp_path)], "neither a regular file"),
        (["--rebuild", str(tmp_path / "none"), "-n"], "No such file"),
        (["--rebuild", "/etc/hostname", "-n"], "no structure of any AfFS volume"),
        (["--rebuild", source, "--force", "--into", target, "--size", "1M"], "at least 64 MiB"),
    ):
        assert fsck.main(arguments) in (fsck.OPERATIONAL, fsck.UNCORRECTED)
        assert word in capsys.readouterr().err
    assert fsck.main(["--rebuild", source, "--force", "--into", target, "-q"]) == 0
    for arguments in (
        ["--rebuild", source], ["--into", target, source], ["--rebuild", "-a", source, "-n"],
        ["--rebuild", "--repair", source, "-n"], ["--force", source],
    ):  # fmt: skip
        with pytest.raises(SystemExit) as usage:
            fsck.main(arguments)
        assert usage.value.code == fsck.USAGE


def test_a_rebuild_that_fails_leaves_nothing(
    original: SimpleNamespace, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """No room: the file that was made goes again."""
    path, target = str(tmp_path / "full"), str(tmp_path / "new")
    make_volume(path, MkfsOptions(size_bytes=80 * MIB))
    with Library(path) as library:
        for index in range(14):
            library.write(b"%d" % index, random.Random(index).randbytes(5 * MIB))
            library.commit()
    arguments = ["--rebuild", path, "--into", target, "--size", "64M"]
    assert fsck.main(arguments) == fsck.OPERATIONAL
    assert "no room" in capsys.readouterr().err
    assert not Path(target).exists()
    assert original.shapes


def test_what_lost_its_name_is_found(original: SimpleNamespace, tmp_path: Path) -> None:
    """The leaf that begins the tree is gone: the root directory's inode and entries."""
    source, target = str(tmp_path / "damaged"), str(tmp_path / "new")
    copy(original.path, source)
    with Image(source, crc=crc32c) as image:
        leaf = next(
            image.node_offset(pointer)
            for pointer, header, _ in image.nodes(image.commit["namespace_root"])
            if header["level"] == 0
        )
    with open(source, "r+b") as file:
        file.seek(leaf)
        file.write(bytes(NODE_SIZE))
    report = rebuild(source, target)
    working = report.states[-1]
    assert not working.whole
    assert working.leaves_lost == 1
    assert working.counts["restored"] > 0
    found = shapes(target)
    assert found.keys() == original.shapes.keys()
    survivors = {
        entry[4] for entry in original.shapes[WORKING].values() if isinstance(entry[4], bytes)
    } & {entry[4] for entry in found[WORKING].values() if isinstance(entry[4], bytes)}
    assert len(survivors) > 50


def test_what_a_faulty_writer_left_is_not_thrown_away(tmp_path: Path) -> None:
    """A file that its directory does not know, in a tree that is whole: it is there, it stays."""
    path, target = str(tmp_path / "volume"), str(tmp_path / "new")
    make_volume(path, MkfsOptions(size_bytes=64 * MIB))
    library = Library(path)
    library.mkdir(b"dir")
    library.write(b"dir/file", b"precious" * 2000)
    number, vandal = library.number(b"dir/file"), Vandal(library)
    directory, offset, _ = vandal.first(b"dir", ITEM_DENTRY)
    vandal.delete(directory, ITEM_DENTRY, offset)
    vandal.inode(b"dir", size=0)
    library.commit()
    library.volume.close()
    report = rebuild(path, target)
    assert report.states[-1].counts == {"stale": 1, "unnamed": 1}
    with Library(target) as library:
        assert library.read(b"lost+found/#%d" % number) == b"precious" * 2000


def test_two_states_with_one_label(tmp_path: Path) -> None:
    """A table that contradicts itself does not make a volume that does."""
    path, target = str(tmp_path / "volume"), str(tmp_path / "new")
    make_volume(path, MkfsOptions(size_bytes=64 * MIB))
    library = Library(path)
    first = library.checkpoint("same")
    library.write(b"file", b"content")
    second = library.checkpoint("other")
    library.write(b"file", b"changed")
    third = library.checkpoint("third")
    library.volume.states.put(replace(second, label="same"))
    library.volume.states.put(replace(third, id=first.id))
    library.commit()
    library.volume.close()
    report = rebuild(path, target)
    assert any("two states are labelled same" in line or "has its id" in line
               for line in report.ambiguous + report.lost_states)
    with Library(target) as made:
        assert [state.label for state in made.volume.states.listed()] == ["same", "third"]


@pytest.mark.slow
def test_real_size(tmp_path: Path) -> None:
    """Python's own library, with everything gone but leaves and data."""
    library_folder = Path(os.__file__).parent
    path, target = str(tmp_path / "volume"), str(tmp_path / "new")
    make_volume(path, MkfsOptions(size_bytes=256 * MIB))
    files: dict[bytes, bytes] = {}
    with Library(path) as library:
        for folder, names, contents in os.walk(library_folder):
            names[:] = [name for name in names if name not in ("site-packages", "test", "config")]
            where = os.fsencode(Path(folder).relative_to(library_folder))
            where = b"" if where == b"." else where + b"/"
            for name in names:
                library.mkdir(where + os.fsencode(name))
            for name in contents:
                inside = where + os.fsencode(name)
                files[inside] = (Path(folder) / name).read_bytes()
                library.write(inside, files[inside])
    assert len(files) > 500
    destroy(path, {*PARTS, "owners"}, node_places(path))
    assert fsck.main(["--rebuild", path, "--into", target, "-q"]) == 0
    with Library(target) as library:
        for name, data in files.items():
            assert library.read(name) == data
    assert Path(target).stat().st_size == 256 * MIB
    assert Path(target).read_bytes()[SUPERBLOCK_OFFSET:][:4] == b"AFSB"
