"""An object as it will be in the new volume: its items, freed of what cannot be.

The rules inside one object (docs/specs/DiskLayout.md, "Namespace tree") hold for what comes out of
here, whatever was found: counts follow what is there, data neither overlaps nor lies beyond the
size, and only a regular file has any.
"""

import stat
from collections.abc import Iterable
from dataclasses import dataclass, field
from hashlib import blake2b

from affs_fuse.core.codec import Extent, Inode, Xattr, unpack_xattr
from affs_fuse.core.constants import (
    BLOCK_SHIFT,
    BLOCK_SIZE,
    ITEM_COLLECTION,
    ITEM_EXTENT,
    ITEM_INLINE,
    ITEM_INODE,
    ITEM_SYMLINK,
    ITEM_XATTR,
    OBJECT_ROOT,
)
from affs_fuse.volume.rebuild_names import KIND_DIRECTORY, KIND_REGULAR, Names, Place
from affs_fuse.volume.verify_nodes import Item
from affs_fuse.volume.verify_object import declaration_of

__all__ = ["Piece", "Spec", "make_spec"]

MODE_WITHOUT_INODE = 0o600


@dataclass(frozen=True, slots=True)
class Piece:
    """File data at an offset, as the source has it. sums: 4 bytes for each block."""

    offset: int
    extent: Extent
    sums: bytes


@dataclass(slots=True)
class Spec:
    """The inode's blocks are filled in when data is placed. children: name, number, file type.
    declaration: of a collection, b"" for none. declaration_lost: there was one, not whole."""

    number: int
    inode: Inode
    names: list[Place]
    children: list[tuple[bytes, int, int]]
    target: bytes = b""
    inline: bytes = b""
    xattrs: list[tuple[bytes, Xattr, bytes]] = field(default_factory=list)
    pieces: list[Piece] = field(default_factory=list)
    declaration: bytes = b""
    declaration_lost: bool = False
    blocks_told: int = 0
    """What the inode said that there is; more than the pieces have is lost."""

    def signature(self) -> bytes:
        """Equal for two states exactly when the object is the same in both (but for a chance)."""
        parts = (
            self.inode.pack(),
            sorted(self.names),
            self.children,
            self.target,
            self.inline,
            self.declaration,
            [(name, body) for name, _, body in self.xattrs],
            [(piece.offset, piece.extent, piece.sums) for piece in self.pieces],
        )
        return blake2b(repr(parts).encode(), digest_size=16).digest()


def make_spec(number: int, items: Iterable[Item], names: Names, object_id: bytes) -> Spec:
    """object_id: for an object whose inode is gone."""
    thing = names.things[number]
    inode: Inode | None = None
    spec = Spec(number, _default_inode(number, thing.kind, object_id), sorted(thing.names), [])
    if thing.kind == KIND_DIRECTORY:
        spec.children = sorted(
            (name, child, names.things[child].kind)
            for name, child in names.children.get(number, {}).items()
        )
    parts: list[tuple[int, bytes]] = []
    for (_, kind, offset), payload in items:
        if kind == ITEM_INODE:
            inode = Inode.unpack(payload)
        elif kind == ITEM_XATTR:
            fixed, name, body = unpack_xattr(payload)
            if all(name != known for known, _, _ in spec.xattrs):
                spec.xattrs.append((name, fixed, body))
        elif kind == ITEM_SYMLINK:
            spec.target = payload
        elif kind == ITEM_INLINE:
            spec.inline = payload
        elif kind == ITEM_COLLECTION and thing.kind == KIND_DIRECTORY:
            parts.append((offset, payload))
        elif kind == ITEM_EXTENT:
            spec.pieces.append(
                Piece(offset, Extent.unpack(payload), payload[Extent.SIZE :])
            )
    if parts:
        spec.declaration = declaration_of(parts) or b""
        spec.declaration_lost = not spec.declaration
    spec.blocks_told = inode.blocks if inode is not None else 0
    _settle(spec, inode, thing.kind, thing.data_end)
    return spec


def _settle(spec: Spec, inode: Inode | None, kind: int, data_end: int) -> None:
    made = inode if inode is not None else spec.inode
    size, parent, nlink = made.size, 0, len(spec.names)
    if kind == KIND_DIRECTORY:
        size = len(spec.children)
        nlink = 2 + sum(each == KIND_DIRECTORY for _, _, each in spec.children)
        parent = spec.names[0][0] if spec.number != OBJECT_ROOT else OBJECT_ROOT
    elif stat.S_ISLNK(kind << 12):
        size = len(spec.target)
    elif kind == KIND_REGULAR and inode is None:
        size = data_end
    if kind != KIND_REGULAR:
        spec.pieces, spec.inline = [], b""
    spec.inline = spec.inline[:size] if not spec.pieces else b""
    spec.pieces = _fitting(spec.pieces, size)
    spec.inode = made._replace(
        size=size, parent=parent, nlink=nlink, blocks=0,
        created_commit=0, changed_commit=0,  # commits of another volume
    )  # fmt: skip


def _fitting(pieces: list[Piece], size: int) -> list[Piece]:
    """Neither over other data nor beyond the size."""
    kept: list[Piece] = []
    end = 0
    for piece in pieces:
        length = min(piece.extent.length, size - piece.offset)
        if piece.offset < end or length <= 0:
            continue
        blocks = -(-length // BLOCK_SIZE)
        extent = piece.extent._replace(
            blocks=blocks,
            length=length,
            stored_length=blocks << BLOCK_SHIFT,
            logical_length=blocks << BLOCK_SHIFT,
        )
        kept.append(Piece(piece.offset, extent, piece.sums[: 4 * blocks]))
        end = piece.offset + (blocks << BLOCK_SHIFT)
    return kept


def _default_inode(number: int, kind: int, object_id: bytes) -> Inode:
    """Of an object whose inode is gone: nobody but root may look at it."""
    execute = 0o100 if kind == KIND_DIRECTORY else 0
    return Inode(
        size=0,
        blocks=0,
        atime_ns=0,
        mtime_ns=0,
        ctime_ns=0,
        btime_ns=0,
        mode=kind << 12 | MODE_WITHOUT_INODE | execute,
        uid=0,
        gid=0,
        nlink=0,
        rdev=0,
        flags=0,
        generation=1,
        object_id=object_id,
        change=0,
        parent=0,
    )
