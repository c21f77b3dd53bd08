"""Lies that take more than one field: loops, shared blocks, names that cannot be, states that
descend from themselves. Each has a name and is told on a fresh image; and seeded ones, which chance
puts together from single fields and whole items.
"""

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

from affs_fuse.core.codec import (
    Commit,
    Entry,
    Extent,
    Inode,
    Name,
    NodeHeader,
    Pointer,
    Segment,
    State,
    Xattr,
)
from affs_fuse.core.constants import (
    ENTRY_SIZE,
    ITEM_BITMAP,
    ITEM_DENTRY,
    ITEM_EXTENT,
    ITEM_INLINE,
    ITEM_INODE,
    ITEM_ORPHAN,
    ITEM_PARENT,
    ITEM_SEGMENT,
    ITEM_STATE,
    ITEM_STATE_POINTER,
    ITEM_SYMLINK,
    ITEM_XATTR,
    NODE_HEADER_SIZE,
    NODE_SIZE,
    SLOT_SIZE,
    TREE_CHECKPOINT,
    TREE_NAMESPACE,
    TREE_SPACE,
)
from affs_fuse.core.tree import Item
from affs_tools.crashsim.lies import Lie, lies
from affs_tools.crashsim.surgeon import Surgeon

__all__ = ["Recipe", "dropped", "edit", "newest", "recipes", "seeded", "with_payload"]

INODES_HIT = 8

Edit = Callable[[list[Item]], list[Item]]


@dataclass(frozen=True, slots=True)
class Recipe:
    """name: of the lie. found: the check must find it. tell: puts it into the surgeon's image."""

    name: str
    tell: Callable[[Surgeon], None]
    found: bool = True


# ---- where ----


def _leaves(surgeon: Surgeon, tree: int) -> list[int]:
    return [
        index
        for index, target in enumerate(surgeon.nodes)
        if target.pointer.tree == tree and not target.pointer.level
    ]


def newest(surgeon: Surgeon) -> list[int]:
    """The working state's leaves: below the record's root."""
    record = Commit.unpack(surgeon.image.content, surgeon.record_offsets[0])
    wanted, found = {record.namespace_root.address}, []
    for _ in range(3):
        for index, target in enumerate(surgeon.nodes):
            if target.pointer.tree != TREE_NAMESPACE or target.pointer.address not in wanted:
                continue
            if not target.pointer.level:
                found.append(index)
                continue
            image = surgeon.node(index)
            for number in range(NodeHeader.unpack(image).item_count):
                entry = Entry.unpack(image, NODE_HEADER_SIZE + number * ENTRY_SIZE)
                wanted.add(entry.child.address)
    return sorted(set(found))


def edit(surgeon: Surgeon, nodes: list[int], change: Callable[[Item], Item | None],
          kind: int, count: int = 1) -> None:  # fmt: skip
    """The first `count` items of a kind become what `change` makes of them; None: they go."""
    for index in nodes:
        items: list[Item] = []
        hit = 0
        for item in surgeon.items(index):
            if item[1] == kind and count > 0:
                count, hit = count - 1, 1
                changed = change(item)
                if changed is not None:
                    items.append(changed)
            else:
                items.append(item)
        if hit:
            surgeon.put_items(index, items)


def with_payload(item: Item, payload: bytes) -> Item:
    return (*item[:3], payload)


# ---- the namespace ----


def _inode(name: str, found: bool = True, which: str = "", **fields: object) -> Recipe:
    """The first inodes of the wanted type, with other fields."""
    types = {"d": 4, "f": 8, "l": 10}

    def tell(surgeon: Surgeon) -> None:
        hit: list[int] = []

        def change(item: Item) -> Item:
            inode = Inode.unpack(item[3])
            if len(hit) == INODES_HIT or (which and inode.mode >> 12 != types[which]):
                return item
            hit.append(item[0])
            return with_payload(item, inode._replace(**fields).pack())  # type: ignore[arg-type]

        edit(surgeon, newest(surgeon), change, ITEM_INODE, 1000)

    return Recipe(f"inode/{name}", tell, found)


def _dentry(
    name: str, text: bytes | None = None, found: bool = True, **fields: int
) -> Recipe:
    """Two directory entries with other fields or another name; object -1: the directory itself."""

    def tell(surgeon: Surgeon) -> None:
        def changed(item: Item) -> Item:
            fixed = Name.unpack(item[3])
            old = item[3][Name.SIZE :]
            now = old if text is None else text
            lies = {key: item[0] if value == -1 else value for key, value in fields.items()}
            if text is not None:
                lies["name_length"] = len(text)
            return with_payload(item, fixed._replace(**lies).pack() + now)

        edit(surgeon, newest(surgeon), changed, ITEM_DENTRY, 2)

    return Recipe(f"dentry/{name}", tell, found)


def dropped(kind: int, name: str, tree: int = TREE_NAMESPACE, count: int = 1) -> Recipe:
    def tell(surgeon: Surgeon) -> None:
        nodes = newest(surgeon) if tree == TREE_NAMESPACE else _leaves(surgeon, tree)
        edit(surgeon, nodes, lambda item: None, kind, count)

    return Recipe(f"gone/{name}.{count}", tell, found=kind != ITEM_INLINE)


def _namespace() -> Iterator[Recipe]:
    for size in (1, 2047, 2049, 4097, 1 << 40, (1 << 63) - 1):
        yield _inode(f"file-size-{size}", found=size == 1, which="f", size=size)
        yield _inode(f"directory-size-{size}", which="d", size=size)
        yield _inode(f"link-size-{size}", found=False, which="l", size=size)
    for links in (0, 1, 3, 1 << 31, (1 << 32) - 1):
        yield _inode(f"nlink-{links}", nlink=links, found=links != 1)
    for kind in range(1, 16):
        yield _inode(f"type-{kind}", mode=kind << 12 | 0o777)
    for parent in (0, 1, 2, 15, 17, 1 << 40, (1 << 48) - 1):
        yield _inode(f"parent-{parent}", found=parent != 1, which="d", parent=parent)
    yield _inode("blocks", which="f", blocks=1 << 50)
    yield _inode("generation", found=False, generation=(1 << 32) - 1)
    yield _inode("change", found=False, change=(1 << 64) - 1)
    for target in (0, 1, 2, 16, 17, 18, 1 << 40, (1 << 48) - 1, 1 << 48, (1 << 64) - 1):
        yield _dentry(f"to-{target}", object=target)
    yield _dentry("to-itself", object=-1)
    for text in (b"", b".", b"..", b"a/b", b"/", b"a\0b", b"x" * 255, b"x" * 256, b"\xff\xfe",
                 b"\x1b[2J", b"<img onerror>", b".affs", b"\n"):  # fmt: skip
        yield _dentry(f"name-{text[:8].hex()}-{len(text)}", text)
    for kind in (0, 1, 4, 10, 15, 255):
        yield _dentry(f"kind-{kind}", kind=kind)
    for length in (0, 1, 300, 65535):
        yield _dentry(f"name-length-{length}", name_length=length)
    kinds = ((ITEM_INODE, "inode"), (ITEM_PARENT, "parent"), (ITEM_DENTRY, "dentry"),
             (ITEM_EXTENT, "extent"), (ITEM_INLINE, "inline"), (ITEM_SYMLINK, "symlink"),
             (ITEM_ORPHAN, "orphan"))  # fmt: skip
    for kind, name in kinds:
        yield dropped(kind, name)
        yield dropped(kind, name, count=1000)
    yield Recipe("loop/two-directories", _loop)
    yield Recipe("leaf/twice-the-same-key", lambda s: _rearranged(s, lambda i: [i[0], *i]))
    yield Recipe("leaf/backwards", lambda s: _rearranged(s, lambda i: i[::-1]))
    yield Recipe("leaf/empty", lambda s: _rearranged(s, lambda i: []))
    yield Recipe("leaf/of-another-state", _swapped_leaves)
    yield Recipe("inner/shared-child", lambda s: _entries(s, lambda e: [e[0]] * len(e)))
    yield Recipe("inner/backwards", lambda s: _entries(s, lambda e: e[::-1]))
    yield Recipe("inner/child-is-itself", _own_child)


def _rearranged(surgeon: Surgeon, change: Edit) -> None:
    index = newest(surgeon)[0]
    surgeon.put_items(index, change(surgeon.items(index)))


def _loop(surgeon: Surgeon) -> None:
    """Every directory entry of a directory leads to the directory above it."""
    parents: dict[int, int] = {}
    for index in newest(surgeon):
        for number, kind, _, payload in surgeon.items(index):
            if kind == ITEM_DENTRY and Name.unpack(payload).kind == 4:
                parents[Name.unpack(payload).object] = number

    def change(item: Item) -> Item:
        fixed = Name.unpack(item[3])
        up = fixed._replace(object=parents.get(item[0], 1), kind=4)
        return with_payload(item, up.pack() + item[3][Name.SIZE :])

    edit(surgeon, newest(surgeon), change, ITEM_DENTRY, 1000)


def _swapped_leaves(surgeon: Surgeon) -> None:
    leaves = _leaves(surgeon, TREE_NAMESPACE)
    first, second = surgeon.items(leaves[0]), surgeon.items(leaves[-1])
    surgeon.put_items(leaves[0], second)
    surgeon.put_items(leaves[-1], first)


def _inner(surgeon: Surgeon) -> int:
    return next(i for i, target in enumerate(surgeon.nodes) if target.pointer.level)


def _entries(surgeon: Surgeon, change: Callable[[list[bytes]], list[bytes]]) -> None:
    index = _inner(surgeon)
    image = surgeon.node(index)
    count = NodeHeader.unpack(image).item_count
    end = NODE_HEADER_SIZE + count * ENTRY_SIZE
    old = [bytes(image[at : at + ENTRY_SIZE]) for at in range(NODE_HEADER_SIZE, end, ENTRY_SIZE)]
    image[NODE_HEADER_SIZE:end] = b"".join(change(old))
    surgeon.put_node(index, image)


def _own_child(surgeon: Surgeon) -> None:
    index = _inner(surgeon)
    image = surgeon.node(index)
    at = NODE_HEADER_SIZE + 24
    image[at : at + Pointer.SIZE] = surgeon.nodes[index].pointer.pack()
    surgeon.put_node(index, image)


# ---- data ----


def _extent(name: str, change: Callable[[Item, Extent], Item], found: bool = True) -> Recipe:
    def tell(surgeon: Surgeon) -> None:
        edit(surgeon, newest(surgeon), lambda item: change(item, Extent.unpack(item[3])),
              ITEM_EXTENT, 2)  # fmt: skip

    return Recipe(f"extent/{name}", tell, found)


def _with(**fields: object) -> Callable[[Item, Extent], Item]:
    def change(item: Item, extent: Extent) -> Item:
        changed = extent._replace(**fields)  # type: ignore[arg-type]
        return with_payload(item, changed.pack() + item[3][Extent.SIZE :])

    return change


def _data() -> Iterator[Recipe]:
    for segment, block in ((0, 1), (0, 4), (1, 0), (1, 4), (2, 0), (2, 1), (3, 1), (40, 8),
                           ((1 << 22) - 1, 1), (1, 255), (1, (1 << 18) - 1)):  # fmt: skip
        yield _extent(f"at-{segment}.{block}", _with(address=segment << 32 | block))
    for birth in (0, 1, 1 << 20, (1 << 64) - 1):
        yield _extent(f"birth-{birth}", _with(birth=birth), found=birth != 1)
    for length in (0, 1, 4096, 4097, 1 << 22, (1 << 32) - 1):
        yield _extent(f"length-{length}", _with(length=length))
    for blocks in (0, 1, 2, 1024, 1025, (1 << 32) - 1):
        yield _extent(f"blocks-{blocks}", _with(blocks=blocks))
    for offset in (1, 4096, 8192, 1 << 40, (1 << 63) - 4096, (1 << 64) - 4096):
        yield Recipe(f"extent/offset-{offset}", partial(_moved_extents, offset=offset))
    yield _extent("checksums", _wrong_sums)
    yield Recipe("extent/of-another-file", _shared_blocks)
    yield Recipe("extent/overlapping", _overlapping)
    for length in (0, 1, 65536, (1 << 32) - 1):
        yield _xattr(f"value-length-{length}", value_length=length)
    for length in (0, 1, 255, 256, 65535):
        yield _xattr(f"name-length-{length}", name_length=length)
    for storage in (0, 1, 2, 255):
        yield _xattr(f"storage-{storage}", storage=storage)


def _xattr(name: str, **fields: int) -> Recipe:
    def tell(surgeon: Surgeon) -> None:
        def change(item: Item) -> Item:
            changed = Xattr.unpack(item[3])._replace(**fields)
            return with_payload(item, changed.pack() + item[3][Xattr.SIZE :])

        edit(surgeon, newest(surgeon), change, ITEM_XATTR, 2)

    return Recipe(f"xattr/{name}", tell, found=False)


def _wrong_sums(item: Item, extent: Extent) -> Item:
    return with_payload(item, item[3][: Extent.SIZE] + b"\xff" * (4 * extent.blocks))


def _moved_extents(surgeon: Surgeon, offset: int) -> None:
    edit(surgeon, newest(surgeon), lambda item: (item[0], ITEM_EXTENT, offset, item[3]),
          ITEM_EXTENT, 2)  # fmt: skip


def _shared_blocks(surgeon: Surgeon) -> None:
    """All extents refer to the blocks of the first."""
    first: list[bytes] = []

    def change(item: Item) -> Item:
        first.append(item[3])
        return with_payload(item, first[0])

    edit(surgeon, newest(surgeon), change, ITEM_EXTENT, 100)


def _overlapping(surgeon: Surgeon) -> None:
    """A second extent of each file begins inside its first."""
    for index in newest(surgeon):
        items: list[Item] = []
        for item in surgeon.items(index):
            items.append(item)
            if item[1] == ITEM_EXTENT and Extent.unpack(item[3]).blocks > 1:
                items.append((item[0], ITEM_EXTENT, item[2] + 4096, item[3]))
        surgeon.put_items(index, items)


# ---- states, space, records ----


def _state(name: str, found: bool = True, count: int = 1, **fields: object) -> Recipe:
    def tell(surgeon: Surgeon) -> None:
        def change(item: Item) -> Item:
            changed = State.unpack(item[3])._replace(**fields)  # type: ignore[arg-type]
            return with_payload(item, changed.pack() + item[3][State.SIZE :])

        edit(surgeon, _leaves(surgeon, TREE_CHECKPOINT), change, ITEM_STATE, count)

    return Recipe(f"state/{name}", tell, found)


def _states() -> Iterator[Recipe]:
    for parent in (1, 2, 3, 4, 5, 99, 1 << 40, (1 << 64) - 1):
        yield _state(f"parent-{parent}", found=parent not in (1, 2), parent=parent)
        yield _state(f"all-parents-{parent}", count=9, parent=parent)
    for seq in (0, 1, 1 << 40, (1 << 64) - 1):
        yield _state(f"seq-{seq}", seq=seq)
    for flags in (0, 1, 2, 4, 8, 15, 16, (1 << 32) - 1):
        yield _state(f"flags-{flags}", found=False, count=9, flags=flags)
    yield _state("pins", found=False, count=9, pins=(1 << 32) - 1)
    yield _state("one-id", found=False, count=9, id=bytes(16))
    yield _state("times", found=False, count=9, time_ns=(1 << 63) - 1)
    yield _state("objects", object_count=1 << 60)
    yield Recipe("state/cycle", _state_cycle)
    yield Recipe("state/roots-exchanged", _state_roots)
    for text in (b"\xff\xfe\xfd", b"a/b", b"\x1b]0;x", b"", b"one" * 80, b"published", b"\0"):
        name = f"state/label-{text[:6].hex()}-{len(text)}"
        yield Recipe(name, partial(_labels, text=text), found=text == b"\xff\xfe\xfd")
    for target in (0, 1, 99, (1 << 64) - 1):
        yield Recipe(f"state/pointers-to-{target}", partial(_pointers, target=target), False)
    yield dropped(ITEM_STATE, "state", TREE_CHECKPOINT)
    yield dropped(ITEM_STATE, "state", TREE_CHECKPOINT, 100)
    yield dropped(ITEM_SEGMENT, "segment", TREE_SPACE)
    yield dropped(ITEM_SEGMENT, "segment", TREE_SPACE, 100)
    yield dropped(ITEM_BITMAP, "bitmap", TREE_SPACE)
    for value in (0x00, 0xFF, 0x55):
        yield Recipe(f"space/bitmaps-{value:02x}", partial(_bitmaps, value=value))
    for intent in range(9):
        yield _segment(f"intent-{intent}", intent=intent)
    for used in (0, 1, 255, 256, (1 << 32) - 1):
        yield _segment(f"used-{used}", used_blocks=used)
    for copies in (0, 2, 3, 255):
        yield _segment(f"copies-{copies}", copy_count=copies)
    for birth in (0, 1 << 40, (1 << 64) - 1):
        yield _segment(f"birth-{birth}", birth=birth)


def _state_cycle(surgeon: Surgeon) -> None:
    numbers = [item[0] for leaf in _leaves(surgeon, TREE_CHECKPOINT)
               for item in surgeon.items(leaf) if item[1] == ITEM_STATE]  # fmt: skip
    following = dict(zip(numbers, [*numbers[1:], numbers[0]], strict=True))

    def change(item: Item) -> Item:
        state = State.unpack(item[3])._replace(parent=following[item[0]])
        return with_payload(item, state.pack() + item[3][State.SIZE :])

    edit(surgeon, _leaves(surgeon, TREE_CHECKPOINT), change, ITEM_STATE, 100)


def _state_roots(surgeon: Surgeon) -> None:
    """The kept states change contents with each other, without their births."""
    roots = [State.unpack(item[3]).root for leaf in _leaves(surgeon, TREE_CHECKPOINT)
             for item in surgeon.items(leaf) if item[1] == ITEM_STATE]  # fmt: skip

    def change(item: Item) -> Item:
        state = State.unpack(item[3])._replace(root=roots.pop())
        return with_payload(item, state.pack() + item[3][State.SIZE :])

    edit(surgeon, _leaves(surgeon, TREE_CHECKPOINT), change, ITEM_STATE, 100)


def _labels(surgeon: Surgeon, text: bytes) -> None:
    def change(item: Item) -> Item:
        state = State.unpack(item[3])
        rest = item[3][State.SIZE + state.label_length :]
        return with_payload(item, state._replace(label_length=len(text)).pack() + text + rest)

    edit(surgeon, _leaves(surgeon, TREE_CHECKPOINT), change, ITEM_STATE, 100)


def _pointers(surgeon: Surgeon, target: int) -> None:
    edit(surgeon, _leaves(surgeon, TREE_CHECKPOINT),
          lambda item: with_payload(item, target.to_bytes(8, "little") + item[3][8:]),
          ITEM_STATE_POINTER, 9)  # fmt: skip


def _bitmaps(surgeon: Surgeon, value: int) -> None:
    edit(surgeon, _leaves(surgeon, TREE_SPACE),
         lambda item: with_payload(item, bytes([value]) * len(item[3])),
         ITEM_BITMAP, 100)  # fmt: skip


def _segment(name: str, **fields: int) -> Recipe:
    def tell(surgeon: Surgeon) -> None:
        def change(item: Item) -> Item:
            changed = Segment.unpack(item[3])._replace(**fields)  # type: ignore[arg-type]
            return with_payload(item, changed.pack())

        edit(surgeon, _leaves(surgeon, TREE_SPACE), change, ITEM_SEGMENT, 2)

    return Recipe(f"space/{name}", tell, found=False)


def _records() -> Iterator[Recipe]:
    for seq in (1, 2, 1000, 1 << 40, (1 << 63) - 1, (1 << 64) - 2, (1 << 64) - 1):
        yield Recipe(f"record/seq-{seq}", partial(Surgeon.move_record, seq=seq), False)
    yield Recipe("record/roots-exchanged", _roots, False)
    yield Recipe("record/namespace-is-an-older-one", _old_root, False)


def _roots(surgeon: Surgeon) -> None:
    block = surgeon.image.content
    at = surgeon.record_offsets[0]
    second, third = block[at + 136 : at + 184], block[at + 184 : at + 232]
    surgeon.change_record(136, bytes(third + second))


def _old_root(surgeon: Surgeon) -> None:
    """The working state is a kept one's content, whatever the ancestor says."""
    for leaf in _leaves(surgeon, TREE_CHECKPOINT):
        for item in surgeon.items(leaf):
            if item[1] == ITEM_STATE:
                surgeon.change_record(88, State.unpack(item[3]).root.pack())
                return


def recipes() -> list[Recipe]:
    """Those of files, states, space and records; record_recipes.py has more."""
    return [*_namespace(), *_data(), *_states(), *_records()]


# ---- by chance ----


def seeded(surgeon: Surgeon, seed: int, known: list[Lie] | None = None) -> None:
    """One to five lies that chance has chosen: fields, items that go, come twice, change payloads,
    bytes anywhere in a node. known: lies(surgeon) of a fresh image."""
    chance = random.Random(seed)
    fields = known if known is not None else list(lies(surgeon))
    for _ in range(chance.randint(1, 5)):
        kind = chance.random()
        index = chance.randrange(len(surgeon.nodes))
        if kind < 0.5:
            chance.choice(fields).tell(surgeon)
        elif kind < 0.7 and not surgeon.nodes[index].pointer.level:
            surgeon.put_items(index, _shuffled(surgeon.items(index), chance))
        else:
            _scratch(surgeon, index, chance)


def _shuffled(items: list[Item], chance: random.Random) -> list[Item]:
    changed = list(items)
    for _ in range(chance.randint(1, 4)):
        if not changed:
            break
        at, other = chance.randrange(len(changed)), chance.randrange(len(changed))
        choice = chance.randrange(4)
        if choice == 0:
            del changed[at]
        elif choice == 1:
            changed[at] = with_payload(changed[at], changed[other][3])
        elif choice == 2:
            _, kind, offset, payload = changed[at]
            changed[at] = changed[other][0], kind, offset, payload
        else:
            changed.insert(at, changed[other])
    return sorted(changed, key=lambda item: item[:3]) if chance.random() < 0.8 else changed


def _scratch(surgeon: Surgeon, index: int, chance: random.Random) -> None:
    image = surgeon.node(index)
    header = NodeHeader.unpack(image)
    slots = NODE_HEADER_SIZE + header.item_count * (ENTRY_SIZE if header.level else SLOT_SIZE)
    for _ in range(chance.randint(1, 8)):
        if chance.random() < 0.5 or header.level or header.data_start >= NODE_SIZE:
            at = chance.randrange(48, max(49, min(slots, NODE_SIZE)))
        else:
            at = chance.randrange(header.data_start, NODE_SIZE)
        image[at] = chance.choice((0, 1, 255, 128, image[at] ^ 1, chance.randrange(256)))
    surgeon.put_node(index, image)
