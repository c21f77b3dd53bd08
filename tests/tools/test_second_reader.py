"""The second reader finds in an image exactly what was put into it, state by state."""

import os
import random
import re
import stat
import struct
from pathlib import Path

import google_crc32c
import pytest

from affs_fuse.core.checksum import name_hash as core_name_hash
from affs_fuse.posix.attributes import Changes
from affs_fuse.volume.mkfs import MkfsOptions, make_volume
from affs_tools.library import Library
from affs_tools.reader import checksum, structures
from affs_tools.reader.image import Image, State
from affs_tools.reader.namespace import Namespace, extract
from affs_tools.reader.structures import Damage

MIB = 1 << 20


@pytest.fixture
def volume(tmp_path: Path) -> str:
    path = str(tmp_path / "volume.affs")
    make_volume(path, MkfsOptions(size_bytes=64 * MIB, label="second reader"))
    return path


Shape = dict[bytes, tuple[object, ...]]


def shape(image: Image, state: State) -> Shape:
    """What a state shows, for comparison: type, mode, owner, links, and what it holds."""
    namespace = Namespace(image, state)
    found: Shape = {}
    for entry in namespace.entries():
        inode = entry.inode
        holds: object = None
        if entry.kind == stat.S_IFREG:
            holds = namespace.data(entry.object)
        elif entry.kind == stat.S_IFLNK:
            holds = namespace.target(entry.object)
        elif entry.kind in (stat.S_IFCHR, stat.S_IFBLK):
            holds = inode["rdev"]
        attributes = tuple(sorted(namespace.xattrs(entry.object).items()))
        declaration = namespace.collections.declaration(entry.object)
        assert (declaration is not None) == (entry.object in namespace.collections.directories())
        found[entry.path] = (
            inode["mode"], inode["uid"], inode["gid"], inode["nlink"], holds, attributes,
            declaration,
        )
    return found


def fill(library: Library, attribute_bytes: int = 40_000) -> None:
    """One of everything."""
    noise = random.Random(1)
    library.mkdir(b"dir", 0o750)
    library.mkdir(b"dir/below")
    library.write(b"dir/empty", b"")
    library.write(b"dir/inline", b"a few bytes")
    library.write(b"dir/below/one block", noise.randbytes(4096))
    library.write(b"dir/below/odd", noise.randbytes(5 * MIB + 17))
    library.write(b"sparse", b"begin")
    library.write(b"sparse", b"end", 10 * MIB)
    library.link(b"dir/inline", b"hard link")
    library.symlink(b"link", b"dir/below/odd")
    library.mknod(b"fifo", stat.S_IFIFO | 0o640)
    library.mknod(b"device", stat.S_IFCHR | 0o600, os.makedev(1, 3))
    library.write(b"\xff\xfe not utf-8", b"name")
    library.write(b"n" * 255, b"long")
    library.setxattr(b"dir", b"user.small", b"value")
    library.declare(b"dir", {"schema": {"closed": True}, "notes": "x" * 9000})
    library.declare(b"dir/below", {"schema": {}})
    library.setxattr(b"hard link", b"user.large", noise.randbytes(attribute_bytes))
    library.change(b"dir/inline", Changes(uid=1000, gid=100))
    library.change(b"dir/inline", Changes(mode=0o4711))


EXPECTED_KINDS = {
    b"": stat.S_IFDIR, b"dir": stat.S_IFDIR, b"link": stat.S_IFLNK, b"fifo": stat.S_IFIFO,
    b"device": stat.S_IFCHR, b"sparse": stat.S_IFREG,
}


def test_reads_what_was_written(volume: str) -> None:
    with Library(volume) as library:
        fill(library)
        expected = {path: library.read(path) for path in (b"dir/below/odd", b"hard link")}
    with Image(volume) as image:
        found = shape(image, image.working())
        assert image.superblock["label"].rstrip(b"\0") == b"second reader"
    for path, kind in EXPECTED_KINDS.items():
        mode = found[path][0]
        assert isinstance(mode, int)
        assert stat.S_IFMT(mode) == kind
    assert found[b"dir/below/odd"][4] == expected[b"dir/below/odd"]
    assert found[b"hard link"][:4] == (stat.S_IFREG | 0o4711, 1000, 100, 2)
    assert found[b"hard link"][4] == b"a few bytes" == expected[b"hard link"]
    sparse = found[b"sparse"][4]
    assert sparse == b"begin" + bytes(10 * MIB - 5) + b"end"
    assert found[b"link"][4] == b"dir/below/odd"
    assert found[b"device"][4] == os.makedev(1, 3)
    assert found[b"\xff\xfe not utf-8"][4] == b"name"
    assert found[b"dir"][5] == ((b"user.small", b"value"),)
    assert found[b"dir"][6] == {"schema": {"closed": True}, "notes": "x" * 9000}
    assert found[b"dir/below"][6] == {"schema": {}}
    attributes = dict(found[b"hard link"][5])  # type: ignore[call-overload]
    assert len(attributes[b"user.large"]) == 40_000


def test_every_kept_state_stays_as_it_was(volume: str) -> None:
    """Overwriting, cutting, renaming, deleting and rolling back leave kept states alone."""
    noise = random.Random(2)
    shapes: dict[str, Shape] = {}

    def keep(library: Library, label: str) -> None:
        library.checkpoint(label)
        with Image(volume) as image:
            shapes[label] = shape(image, image.working())

    with Library(volume) as library:
        fill(library)
        keep(library, "first")
        library.write(b"dir/below/odd", noise.randbytes(300_000), 123_456)
        library.truncate(b"sparse", 7)
        library.rename(b"dir/inline", b"moved")
        keep(library, "second")
        library.unlink(b"dir/below/odd")
        library.declare(b"dir", {"schema": {"closed": False}})
        library.declare(b"dir/below", None)
        library.setxattr(b"dir", b"user.small", b"another value")
        keep(library, "third")
        library.rollback(library.volume.states.resolve("first"))
        library.write(b"after the rollback", noise.randbytes(70_000))
        keep(library, "fourth")
        library.delete(library.volume.states.resolve("second"))
    with Image(volume) as image:
        labels = {state.label for state in image.states() if state.label}
        assert labels == {"first", "third", "fourth"}
        for label in labels:
            assert shape(image, image.find_state(label)) == shapes[label], label
    assert len({repr(found) for found in shapes.values()}) == 4


@pytest.mark.skipif(os.geteuid() != 0, reason="owners and device nodes need root")
def test_extract_makes_a_faithful_copy(volume: str, tmp_path: Path) -> None:
    with Library(volume) as library:
        fill(library, attribute_bytes=1000)  # more than ext4 takes would not come back
        library.publish()
        library.unlink(b"dir/below/odd")
    copy = tmp_path / "copy"
    with Image(volume) as image:
        assert extract(image, image.find_state("published"), copy) == []
    assert (copy / "dir/below/odd").stat().st_size == 5 * MIB + 17
    assert (copy / "dir/inline").stat().st_ino == (copy / "hard link").stat().st_ino
    status = (copy / "dir/inline").stat()
    assert (stat.S_IMODE(status.st_mode), status.st_uid, status.st_gid) == (0o4711, 1000, 100)
    assert os.readlink(copy / "link") == "dir/below/odd"
    assert stat.S_ISFIFO((copy / "fifo").stat().st_mode)
    assert (copy / "device").stat().st_rdev == os.makedev(1, 3)
    assert (copy / "sparse").stat().st_blocks * 512 < MIB
    assert os.path.exists(os.fsencode(copy) + b"/\xff\xfe not utf-8")


def test_damaged_data_is_told(volume: str) -> None:
    with Library(volume) as library:
        library.write(b"file", b"x" * 8192)
    content = Path(volume).read_bytes()
    at = content.index(b"x" * 8192)
    with open(volume, "r+b") as file:
        file.seek(at + 5000)
        file.write(b"y")
    with Image(volume) as image:
        namespace = Namespace(image, image.working())
        with pytest.raises(Damage, match="fails its checksum"):
            namespace.data(dict(namespace.directory(1))[b"file"])


def test_a_file_that_is_no_volume_is_told(tmp_path: Path) -> None:
    path = tmp_path / "nothing"
    path.write_bytes(bytes(MIB))
    with pytest.raises(Damage, match="no good superblock"):
        Image(path)


def test_a_volume_of_the_future_and_a_short_one_are_told(volume: str) -> None:
    content = bytearray(Path(volume).read_bytes())
    Path(volume).write_bytes(content[:-4096])
    with pytest.raises(Damage, match="shorter than its superblock"):
        Image(volume)
    for region in (0, 33 * MIB):
        block = content[region + 4096 : region + 8192]
        at = 16 + 8 + 5 * 16 + 16
        block[at : at + 8] = b"\x01" + bytes(7)
        block[8:12] = bytes(4)
        block[8:12] = checksum.crc32c(bytes(block)).to_bytes(4, "little")
        content[region + 4096 : region + 8192] = block
    Path(volume).write_bytes(content)
    with pytest.raises(Damage, match="features that this reader does not know"):
        Image(volume)


def test_structures_are_those_of_the_page() -> None:
    """Every table of DiskLayout: its size, each row's offset and name."""
    page = (Path(__file__).resolve().parents[2] / "docs/specs/DiskLayout.md").read_text()
    tables = re.findall(r"^C structure `affs_(\w+)`, (\d+) bytes:\n\n((?:\|.*\n)+)", page, re.M)
    assert len(tables) == len(structures.ALL)
    for name, size, table in tables:
        structure = structures.ALL[name]
        assert structure.size == int(size), name
        offsets, at = {}, 0
        for field, code in structure.fields:
            offsets[at] = field
            at += code.size if isinstance(code, structures.Structure) else struct.calcsize(code)
        for row in table.splitlines()[2:]:
            offset, _, _, field = (cell.strip() for cell in row.strip("|").split("|")[:4])
            assert offsets[int(offset)].startswith(field.rstrip("s")), f"{name}.{field}"


def test_checksum_vectors() -> None:
    """RFC 3720, B.4, and the usual check value."""
    assert checksum.crc32c(b"123456789") == 0xE3069283
    assert checksum.crc32c(bytes(32)) == 0x8A9136AA
    assert checksum.crc32c(b"\xff" * 32) == 0x62A8AB43
    assert checksum.crc32c(bytes(range(32))) == 0x46DD794E
    data = random.Random(3).randbytes(5000)
    for length in (0, 1, 7, 8, 9, 4095, 4096, 5000):
        assert checksum.crc32c(data[:length]) == google_crc32c.value(data[:length])


def test_name_hash_vectors() -> None:
    """SipHash-2-4 of the reference implementation's vectors, and the core's agreement."""
    key = bytes(range(16))
    expected = struct.unpack("<Q", bytes.fromhex("e545be4961ca29a1"))[0] >> 5
    assert checksum.name_hash(key, 0, bytes(range(15))) == expected
    noise = random.Random(4)
    for length in (1, 7, 8, 9, 63, 255):
        key, name = noise.randbytes(16), noise.randbytes(length)
        for prefix in (0, 1, 1 << 47):
            found = checksum.name_hash(key, prefix, name)
            assert found == core_name_hash(key, prefix, name)
