"""Structures from Python: round trips over whole ranges, the bytes themselves, and each refusal."""

import re
import struct
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from affs_fuse.core import abi, codec, constants, errors
from affs_fuse.core.checksum import crc32c

ROOT = Path(__file__).resolve().parents[2]
HEADER = (ROOT / "native" / "include" / "affs_api.h").read_text()
UUID, SALT = b"\xf0" * 16, b"\xf4" * 16

U8, U16, U32 = st.integers(0, 255), st.integers(0, (1 << 16) - 1), st.integers(0, (1 << 32) - 1)
U64 = st.integers(0, (1 << 64) - 1)
I64 = st.integers(-(1 << 63), (1 << 63) - 1)
ID = st.binary(min_size=16, max_size=16)
C_STRATEGIES = {"uint8_t": U8, "uint16_t": U16, "uint32_t": U32, "uint64_t": U64, "int64_t": I64}
NESTED = {
    "affs_pointer": codec.Pointer, "affs_key": codec.Key, "affs_copy": codec.Copy,
    "affs_open_segment": codec.OpenSegment,
}  # fmt: skip
STRUCTURES = {
    "affs_header": codec.Header, **NESTED,
    "affs_node_header": codec.NodeHeader, "affs_slot": codec.Slot, "affs_entry": codec.Entry,
    "affs_superblock": codec.Superblock, "affs_owner": codec.Owner, "affs_commit": codec.Commit,
    "affs_segment_header": codec.SegmentHeader, "affs_inode": codec.Inode,
    "affs_name": codec.Name, "affs_extent": codec.Extent, "affs_xattr": codec.Xattr,
    "affs_segment": codec.Segment, "affs_state": codec.State,
    "affs_state_pointer": codec.StatePointer,
}  # fmt: skip
FRAMED = {"affs_superblock", "affs_owner", "affs_commit", "affs_segment_header"}


def values_of(c_type: str) -> st.SearchStrategy[Any]:
    """All values that a field of this C type can have."""
    base, _, count = c_type.rstrip("]").partition("[")
    if base == "uint8_t" and count:
        return st.binary(min_size=int(count), max_size=int(count))
    one = C_STRATEGIES[base] if base in C_STRATEGIES else tuples_of(NESTED[base], base)
    return st.tuples(*[one] * int(count)) if count else one


def tuples_of(cls: Any, name: str) -> st.SearchStrategy[Any]:
    fields = {
        field.name: values_of(field.c_type)
        for field in abi.fields(name)
        if field.name in cls._fields
    }
    return st.builds(cls, **fields)


def test_every_structure_of_the_header_has_a_tuple() -> None:
    begin, end = HEADER.index("/* ---- structures ---- */"), HEADER.index("/* ---- checksums")
    assert set(re.findall(r"^\} (affs_\w+);", HEADER[begin:end], re.M)) == set(STRUCTURES)


@pytest.mark.parametrize("name", STRUCTURES)
@given(data=st.data())
def test_what_is_packed_is_unpacked(name: str, data: st.DataObject) -> None:
    cls = STRUCTURES[name]
    value = data.draw(tuples_of(cls, name))
    image = value.pack()
    assert len(image) == cls.SIZE == abi.size(name)
    assert cls.unpack(image) == value
    assert cls.unpack(memoryview(b"xyz" + image + b"more"), 3) == value
    assert type(cls.unpack(image)) is cls
    assert cls.unpack(image)._replace().pack() == image


@pytest.mark.parametrize("name", STRUCTURES)
@given(data=st.data())
def test_c_reads_the_same_values(name: str, data: st.DataObject) -> None:
    """The bytes read through the C compiler's idea of the struct."""
    cls = STRUCTURES[name]
    value = data.draw(tuples_of(cls, name))
    for field, seen in abi.read(name, value.pack()).items():
        if field not in cls._fields:
            assert field == "header" or not any(seen if isinstance(seen, bytes) else [seen])
        elif isinstance(getattr(value, field), int | bytes):
            assert seen == getattr(value, field)


@pytest.mark.parametrize("name", STRUCTURES)
def test_short_buffers_are_refused(name: str) -> None:
    cls = STRUCTURES[name]
    with pytest.raises(struct.error):
        cls.unpack(bytes(cls.SIZE - 1))


def test_values_out_of_range_are_refused() -> None:
    with pytest.raises(struct.error):
        codec.OpenSegment(1 << 32, 0).pack()
    with pytest.raises(struct.error):
        codec.Key(-1, 0, 0).pack()
    with pytest.raises(ValueError, match="one open segment"):
        commit()._replace(open_segments=()).pack()
    with pytest.raises(ValueError, match="shorter"):
        codec.seal(bytearray(15), 1, 1)


def test_a_tuple_that_is_not_the_struct_does_not_import() -> None:
    with pytest.raises(TypeError, match="affs_key"):

        class Wrong(codec.Pointer, c="affs_key"):  # type: ignore[call-arg]
            """Fields of another struct."""


def pointer(tree: int) -> codec.Pointer:
    address = 7 << 32 | 5 if tree == constants.TREE_NAMESPACE else 300
    return codec.Pointer(address, 0, 40, b"\xc5" * 4 + bytes(12), 1, 1, tree)


def superblock() -> codec.Superblock:
    return codec.Superblock(
        update_counter=3, format_uuid=UUID, user_uuid=UUID, backend_uuid=UUID, hash_key=bytes(16),
        salt=SALT, features_compatible=0, features_readonly=0, features_incompatible=0,
        created_ns=-5, device_blocks=262144, place_count=60, segment_count=60,
        segment_count_max=4096, backend_index=0, backend_count=1, block_shift=12, node_shift=14,
        segment_shift=24, ring_shift=6, label_length=4, label=b"demo".ljust(64, b"\0"),
    )  # fmt: skip


def owner() -> codec.Owner:
    return codec.Owner(
        UUID, bytes(16), bytes(16), bytes(16), 4711, 9, 0, 1, b"host".ljust(64, b"\0")
    )


def commit() -> codec.Commit:
    return codec.Commit(
        uuid=UUID, seq=42, parent_seq=41, parent_checksum=7, flags=0, time_ns=1, session=bytes(16),
        backends=1, namespace_root=pointer(1), checkpoint_root=codec.NO_POINTER,
        system_root=codec.NO_POINTER, space_root=pointer(4), next_object=1 << 20, next_state=9,
        ancestor=8, segment_count=60, used_blocks=1000, object_count=12,
    )  # fmt: skip


def segment_header() -> codec.SegmentHeader:
    return codec.SegmentHeader(UUID, SALT, 7, 1, 7, constants.INTENT_SMALL)


GOOD = {
    "superblock": (superblock, codec.verify_superblock),
    "owner": (owner, codec.verify_owner),
    "commit": (commit, lambda image: codec.verify_commit(image, UUID)),
    "segment header": (segment_header, lambda image: codec.verify_segment_header(image, UUID)),
}


def reason(verify: Any, *arguments: Any) -> str:
    with pytest.raises(errors.StructureError) as caught:
        verify(*arguments)
    assert caught.value.category == "corrupt"
    assert caught.value.details["reason"] == caught.value.reason
    return caught.value.reason


@pytest.mark.parametrize("name", GOOD)
def test_a_sealed_structure_verifies(name: str) -> None:
    make, verify = GOOD[name]
    image = make().pack()
    verify(image)
    verify(bytearray(image))
    verify(memoryview(image))
    assert codec.frame_checksum(image) == crc32c(image[:8] + bytes(4) + image[12:])


@pytest.mark.parametrize("name", GOOD)
def test_each_reason_of_a_refusal(name: str) -> None:
    make, verify = GOOD[name]
    image = bytearray(make().pack())
    header = codec.Header.unpack(image)
    assert reason(verify, image[:-1]) == "length"
    assert reason(verify, bytes(4096)) == "magic"
    image[4000] ^= 1
    assert reason(verify, image) == "checksum"
    codec.seal(image, header.magic, header.kind)
    assert reason(verify, image) == "field"
    image[4000] = 0
    image[4] = 2
    image[8:12] = bytes(4)
    image[8:12] = crc32c(image).to_bytes(4, "little")
    assert reason(verify, image) == "version"
    codec.seal(image, header.magic, header.kind)
    verify(image)


def test_another_volume_is_an_identity() -> None:
    image = commit().pack()
    codec.verify_commit(image)
    assert reason(codec.verify_commit, image, bytes(16)) == "identity"
    assert reason(codec.verify_segment_header, segment_header().pack(), bytes(16)) == "identity"
    with pytest.raises(ValueError, match="16 bytes"):
        codec.verify_commit(image, b"short")


def test_items_are_made_and_taken_apart() -> None:
    key = (17, constants.ITEM_DENTRY, 99 << 4)
    payload = codec.pack_name(18, 8, b"name \xff")
    codec.verify_item(constants.TREE_NAMESPACE, key, payload)
    assert codec.unpack_name(payload) == (codec.Name(18, 6, 8), b"name \xff")

    extent = codec.Extent(3 << 32 | 77, 40, 2, 8192, 8192, 0, 5000)
    payload = codec.pack_extent(extent, b"\x01" * 8)
    codec.verify_item(constants.TREE_NAMESPACE, (17, constants.ITEM_EXTENT, 4096), payload)
    assert codec.unpack_extent(payload) == (extent, b"\x01" * 8)
    with pytest.raises(ValueError, match="2 blocks"):
        codec.pack_extent(extent, b"\x01" * 4)

    for storage, length, body in ((0, 3, b"abc"), (1, 5000, payload)):
        xattr = codec.pack_xattr(b"user.a", length, storage, body)
        codec.verify_item(constants.TREE_NAMESPACE, (17, constants.ITEM_XATTR, 16), xattr)
        assert codec.unpack_xattr(xattr) == (codec.Xattr(length, 6, storage), b"user.a", body)

    state = codec.State(pointer(1), 41, 7, -1, bytes(range(16)), 8, 0, 12, 900)
    payload = codec.pack_state(state, b"label", b"me", "größer".encode())
    codec.verify_item(constants.TREE_CHECKPOINT, (8, constants.ITEM_STATE, 0), payload)
    fixed, *texts = codec.unpack_state(payload)
    assert texts == [b"label", b"me", "größer".encode()]
    assert fixed._replace(label_length=0, author_length=0, message_length=0) == state


def test_bad_items_are_refused() -> None:
    tree, key = constants.TREE_NAMESPACE, (17, constants.ITEM_DENTRY, 99 << 4)
    assert reason(codec.verify_item, tree, key, codec.pack_name(18, 8, b"a/b")) == "field"
    assert reason(codec.verify_item, tree, key, codec.pack_name(18, 8, b"..")) == "field"
    assert reason(codec.verify_item, tree, key, codec.pack_name(18, 8, b"a")[:-1]) == "length"
    assert reason(codec.verify_item, tree, (17, constants.ITEM_DENTRY, 15), b"") == "field"
    codec.verify_item(tree, (2, constants.ITEM_ORPHAN, 17), b"")


def leaf(items: list[tuple[tuple[int, int, int], bytes]]) -> tuple[bytes, codec.Pointer]:
    """A sealed leaf of the system tree, and the pointer to it."""
    slots, payloads, start = b"", b"", constants.NODE_SIZE
    for (number, kind, offset), payload in items:
        start -= len(payload)
        slots += codec.Slot(number, offset, kind, 0, start, len(payload)).pack()
        payloads = payload + payloads
    header = codec.NodeHeader(
        UUID, SALT, 300, 0, 40, constants.TREE_SYSTEM, 0, len(items), start, len(payloads)
    )
    gap = bytes(start - codec.NodeHeader.SIZE - len(slots))
    image = bytearray(header.pack() + slots + gap + payloads)
    codec.seal(image, constants.MAGIC_NODE, constants.KIND_NODE)
    sums = codec.frame_checksum(image).to_bytes(4, "little")
    return bytes(image), codec.Pointer(300, 0, 40, sums + bytes(12), 1, 0, constants.TREE_SYSTEM)


def test_a_node_against_its_pointer() -> None:
    kind = constants.ITEM_OPERATION
    image, child = leaf([((1, kind, 1), b"one"), ((1, kind, 2), b"two")])
    codec.verify_node(image, UUID, SALT, child.pack())
    codec.verify_node(memoryview(image), UUID, SALT)
    later = child._replace(birth=41).pack()
    assert reason(codec.verify_node, image, UUID, SALT, later) == "identity"
    assert reason(codec.verify_node, image, UUID, UUID, child.pack()) == "identity"
    assert reason(codec.verify_node, image, SALT, SALT, child.pack()) == "identity"
    assert reason(codec.verify_node, image[:-1], UUID, SALT) == "length"
    swapped, _ = leaf([((1, kind, 2), b"two"), ((1, kind, 1), b"one")])
    assert reason(codec.verify_node, swapped, UUID, SALT) == "field"


def test_outcomes_pass_and_errors_raise() -> None:
    for outcome in (constants.OK, constants.R_NOT_FOUND, constants.R_MISSING, constants.R_MORE):
        assert errors.check(outcome, "x") == outcome
    with pytest.raises(MemoryError):
        errors.check(constants.E_NOMEM, "x")
    for code in (constants.E_INVALID, constants.E_READONLY):
        with pytest.raises(ValueError, match="refused"):
            errors.check(code, "x")
    with pytest.raises(errors.StructureError, match="node: its checksum"):
        errors.check(constants.E_CHECKSUM, "node")


def test_every_define_is_a_constant() -> None:
    declared = re.findall(r"^#define AFFS_(\w+) (-?\w+)", HEADER, re.M)
    assert len(declared) > 100
    for name, value in declared:
        assert getattr(constants, name) == int(value, 0)


def test_the_stub_has_all_that_the_module_has() -> None:
    stub = (ROOT / "affs_fuse" / "_core.pyi").read_text()
    functions = set(re.findall(r"^    def (affs_\w+)\(", stub, re.M))
    numbers = set(re.findall(r"^    (AFFS_\w+): Final\[int\]", stub, re.M))
    module = abi.names()
    assert {name for name in module if name.startswith("affs_")} == functions
    assert {name for name in module if name.startswith("AFFS_")} == numbers
