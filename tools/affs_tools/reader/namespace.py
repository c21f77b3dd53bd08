"""One state of an image as a tree of files: names, contents, and a copy of it all.

The reader descends by directory entries from the root and reads nothing else, so what it finds is
what a mount of that state would show. Data blocks are checked against their checksums.
"""

import contextlib
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from affs_tools.reader.checksum import name_hash
from affs_tools.reader.collections import Collections
from affs_tools.reader.image import BLOCK, Image, Item, State
from affs_tools.reader.structures import EXTENT, INODE, NAME, XATTR, Damage, Record

__all__ = ["Entry", "Namespace", "extract"]

ROOT = 1
INODE_TYPE, PARENT_TYPE, XATTR_TYPE, SYMLINK_TYPE, INLINE_TYPE, EXTENT_TYPE, DENTRY_TYPE = range(
    1, 8
)


@dataclass(frozen=True, slots=True)
class Entry:
    """A name and what it means. path: from the root, without a leading slash; b"" is the root."""

    path: bytes
    object: int
    inode: Record

    @property
    def kind(self) -> int:
        """S_IFREG, S_IFDIR..."""
        return stat.S_IFMT(self.inode["mode"])


class Namespace:
    """A state of an image. Errors of all methods: Damage."""

    def __init__(self, image: Image, state: State) -> None:
        self.image = image
        self.root = state.root

    def entries(self) -> Iterator[Entry]:
        """Every name of the state, directories before what they hold, by name."""
        pending = [Entry(b"", ROOT, self.inode(ROOT))]
        seen: set[int] = set()
        while pending:
            entry = pending.pop()
            yield entry
            if entry.kind != stat.S_IFDIR:
                continue
            if entry.object in seen:
                raise Damage(f"directory {entry.path!r} is reached twice")
            seen.add(entry.object)
            names = sorted(self.directory(entry.object).items(), reverse=True)
            for name, child in names:
                path = entry.path + b"/" + name if entry.path else name
                pending.append(Entry(path, child, self.inode(child)))

    def inode(self, number: int) -> Record:
        for item in self.image.items(
            self.root, (number, INODE_TYPE, 0), (number, INODE_TYPE, 1)
        ):
            return INODE.decode(item.payload)
        raise Damage(f"object {number} has no inode item")

    def directory(self, number: int) -> dict[bytes, int]:
        """Names of a directory and the objects that they mean; each name's hash is checked."""
        names: dict[bytes, int] = {}
        for item in self._items(number, DENTRY_TYPE):
            entry = NAME.decode(item.payload)
            name = item.payload[NAME.size :]
            if len(name) != entry["name_length"] or name in names:
                raise Damage(f"directory {number}: entry {name!r} is damaged or there twice")
            if item.offset >> 4 != name_hash(self.image.superblock["hash_key"], 0, name):
                raise Damage(f"directory {number}: {name!r} lies under another name's hash")
            names[name] = entry["object"]
        return names

    def parents(self, number: int) -> list[tuple[int, bytes]]:
        """The parent links of an object: directory and name."""
        return [
            (NAME.decode(item.payload)["object"], item.payload[NAME.size :])
            for item in self._items(number, PARENT_TYPE)
        ]

    def target(self, number: int) -> bytes:
        """Of a symbolic link."""
        for item in self._items(number, SYMLINK_TYPE):
            return item.payload
        raise Damage(f"symbolic link {number} has no target")

    def xattrs(self, number: int) -> dict[bytes, bytes]:
        values = {}
        for item in self._items(number, XATTR_TYPE):
            record = XATTR.decode(item.payload)
            begin = XATTR.size + record["name_length"]
            name = item.payload[XATTR.size : begin]
            if record["storage"] == 0:
                values[name] = item.payload[begin:]
            else:
                values[name] = self._extent(item.payload[begin:], f"attribute {name!r}")
            if len(values[name]) != record["value_length"]:
                raise Damage(f"object {number}: attribute {name!r} has another length")
        return values

    @property
    def collections(self) -> Collections:
        """The declarations and indexes of its directories."""
        return Collections(self._items)

    def pieces(self, number: int, size: int) -> Iterator[tuple[int, bytes]]:
        """Offset and bytes of what a file holds, up to its size; what lies between them is zero."""
        end = 0
        for item in self.image.items(self.root, (number, INLINE_TYPE, 0), (number, DENTRY_TYPE, 0)):
            if item.type == INLINE_TYPE:
                data = item.payload
            else:
                data = self._extent(item.payload, f"object {number} at byte {item.offset}")
            if item.offset < end:
                raise Damage(f"object {number}: data at byte {item.offset} lies over other data")
            end = item.offset + len(data)
            if item.offset < size:
                yield item.offset, data[: size - item.offset]

    def data(self, number: int) -> bytes:
        """All bytes of a file; for tests and small files."""
        size = int(self.inode(number)["size"])
        whole = bytearray(size)
        for offset, piece in self.pieces(number, size):
            whole[offset : offset + len(piece)] = piece
        return bytes(whole)

    def _items(self, number: int, kind: int) -> Iterator[Item]:
        return self.image.items(self.root, (number, kind, 0), (number, kind + 1, 0))

    def _extent(self, payload: bytes, what: str) -> bytes:
        """The bytes that an extent stands for; every stored block is checked."""
        extent = EXTENT.decode(payload)
        if extent["compression"] or extent["checksum_kind"] != 1 or extent["checksum_shift"] != 12:
            raise Damage(f"{what}: a kind of extent that format version 1 does not know")
        sums = payload[EXTENT.size :]
        if len(sums) != 4 * extent["blocks"]:
            raise Damage(f"{what}: {len(sums)} bytes of checksums for {extent['blocks']} blocks")
        stored = self.image.read(self.image.locate(extent["address"]), extent["blocks"] * BLOCK)
        for index in range(extent["blocks"]):
            block = stored[index * BLOCK : (index + 1) * BLOCK]
            expected = int.from_bytes(sums[index * 4 : index * 4 + 4], "little")
            if self.image.crc(block) != expected:
                segment, first = extent["address"] >> 32, extent["address"] & 0xFFFFFFFF
                raise Damage(f"{what}: block {segment}:{first + index} fails its checksum")
        begin = extent["offset_within"]
        if begin + extent["length"] > len(stored):
            raise Damage(f"{what}: the extent is shorter than its length says")
        return stored[begin : begin + extent["length"]]


def extract(image: Image, state: State, directory: Path) -> list[str]:
    """Copy a state into a directory, which is made and must not exist; as cp -a would.

    Owners, device nodes and attributes outside user.* need the right to set them: what could not be
    done is returned, one line each. Errors: Damage, OSError of the destination.
    """
    namespace = Namespace(image, state)
    left_out: list[str] = []
    places: dict[int, bytes] = {}
    directories: list[Entry] = []
    top = os.fsencode(directory)
    os.mkdir(top)
    for entry in namespace.entries():
        place = os.path.join(top, entry.path) if entry.path else top
        if entry.kind == stat.S_IFDIR:
            if entry.path:
                os.mkdir(place)
            directories.append(entry)
        elif entry.object in places:
            os.link(places[entry.object], place, follow_symlinks=False)
            continue
        else:
            places[entry.object] = place
            _make(namespace, entry, place, left_out)
        if entry.kind != stat.S_IFDIR:
            _dress(namespace, entry, place, left_out)
    for entry in reversed(directories):
        _dress(namespace, entry, os.path.join(top, entry.path) if entry.path else top, left_out)
    return left_out


def _make(namespace: Namespace, entry: Entry, place: bytes, left_out: list[str]) -> None:
    if entry.kind == stat.S_IFREG:
        size = int(entry.inode["size"])
        with open(place, "xb") as file:
            for offset, piece in namespace.pieces(entry.object, size):
                file.seek(offset)
                file.write(piece)
            file.truncate(size)
    elif entry.kind == stat.S_IFLNK:
        os.symlink(namespace.target(entry.object), place)
    else:
        try:
            os.mknod(place, entry.inode["mode"], entry.inode["rdev"])
        except PermissionError as error:
            left_out.append(f"{os.fsdecode(entry.path)!r}: {error.strerror}")


def _dress(namespace: Namespace, entry: Entry, place: bytes, left_out: list[str]) -> None:
    """Owner, attributes, mode, times; in this order, since each undoes a part of the next."""
    inode = entry.inode
    if not os.path.lexists(place):
        return
    try:
        os.chown(place, inode["uid"], inode["gid"], follow_symlinks=False)
    except PermissionError as error:
        left_out.append(f"{os.fsdecode(entry.path)!r}: owner: {error.strerror}")
    for name, value in namespace.xattrs(entry.object).items():
        try:
            os.setxattr(place, name, value, follow_symlinks=False)
        except OSError as error:
            left_out.append(f"{os.fsdecode(entry.path)!r}: {name!r}: {error.strerror}")
    if entry.kind != stat.S_IFLNK:
        os.chmod(place, stat.S_IMODE(inode["mode"]))
    with contextlib.suppress(NotImplementedError):  # no times of links on some systems
        os.utime(place, ns=(inode["atime_ns"], inode["mtime_ns"]), follow_symlinks=False)
