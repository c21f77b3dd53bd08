"""docs/specs/DiskLayout.md against the C core: every layout table, every number that has a name."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from affs_fuse.core import abi, checksum, codec, constants

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "specs" / "DiskLayout.md").read_text()
HEADER = (ROOT / "native" / "include" / "affs_api.h").read_text()

C_TYPES = {
    "u8": "uint8_t", "u16": "uint16_t", "u32": "uint32_t", "u64": "uint64_t", "i64": "int64_t",
}  # fmt: skip


class Row(NamedTuple):
    offset: int
    size: int
    type: str
    field: str


class Table(NamedTuple):
    structure: str
    size: int
    rows: list[Row]


def tables() -> Iterator[Table]:
    """The layout tables of the page, each with the structure that is named above it."""
    for match in re.finditer(r"^C structure `(\w+)`, (\d+) bytes:\n\n((?:\|.*\n)+)", PAGE, re.M):
        rows = []
        for line in match[3].splitlines()[2:]:
            offset, size, kind, field, _ = (cell.strip() for cell in line.strip("|").split("|", 4))
            rows.append(Row(int(offset), int(size), kind, field))
        yield Table(match[1], int(match[2]), rows)


TABLES = list(tables())


def rows_of(heading: str, table: int = 0) -> list[list[str]]:
    """Cells of the first (or another) table below a heading."""
    section = PAGE.split(f"\n{heading}\n", 1)[1]
    body = re.findall(r"(?:^\|.*\n)+", section, re.M)[table].replace(r"\|", "/").splitlines()[2:]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in body]


def c_type(kind: str) -> str:
    base, bracket, count = kind.partition("[")
    return C_TYPES.get(base, base) + bracket + count


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.structure)
def test_a_layout_table_is_the_c_structure(table: Table) -> None:
    assert table.size == abi.size(table.structure)
    written = [abi.Field(row.field, row.offset, row.size, c_type(row.type)) for row in table.rows]
    assert written == abi.fields(table.structure)


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.structure)
def test_the_rows_leave_no_gap(table: Table) -> None:
    end = 0
    for row in table.rows:
        assert row.offset == end
        end += row.size
    assert end == table.size


def test_every_structure_of_the_disk_has_a_table() -> None:
    on_disk = HEADER[HEADER.index("/* ---- structures ---- */") : HEADER.index("/* ---- checksums")]
    declared = re.findall(r"^\} (affs_\w+);", on_disk, re.M)
    assert {table.structure for table in TABLES} == set(declared)
    assert len(TABLES) == len(declared)


def test_the_sections_that_the_c_header_names_exist() -> None:
    headings = set(re.findall(r"^#+ (.+)$", PAGE, re.M))
    named = set(re.findall(r'DiskLayout "([^"]+)"', HEADER))
    named |= set(re.findall(r'DiskLayout, "([^"]+)"', HEADER))
    assert len(named) > 12
    assert named <= headings


def test_the_sections_that_the_core_names_exist() -> None:
    headings = set(re.findall(r"^#+ (.+)$", PAGE, re.M))
    named: set[str] = set()
    for path in [*ROOT.glob("affs_fuse/core/*.py"), *ROOT.glob("native/src/*.[ch]")]:
        text = re.sub(r"\n\s*(?:\*|#)?\s*", " ", path.read_text())
        for match in re.finditer(r'DiskLayout(?:\.md)?,? ("[^"]+"(?:(?:,| and) "[^"]+")*)', text):
            named |= set(re.findall(r'"([^"]+)"', match[1]))
    assert len(named) > 3
    assert named <= headings


def test_links_within_the_page_lead_somewhere() -> None:
    headings = {
        heading.lower().replace(" ", "-") for heading in re.findall(r"^#+ (.+)$", PAGE, re.M)
    }
    targets = re.findall(r"\]\(#([^)]+)\)", PAGE)
    assert targets
    assert set(targets) <= headings


def test_magics_and_kinds() -> None:
    names = {
        "Superblock": "SUPERBLOCK", "Commit record": "COMMIT", "Owner block": "OWNER",
        "Segment header": "SEGMENT", "Node": "NODE",
    }  # fmt: skip
    rows = rows_of("## Header", table=1)
    assert {row[0] for row in rows} == set(names)
    for name, letters, magic, kind, length in rows:
        constant = names[name]
        assert int(magic, 16) == getattr(constants, f"MAGIC_{constant}")
        assert letters.strip("`").encode() == int(magic, 16).to_bytes(4, "little")
        assert int(kind) == getattr(constants, f"KIND_{constant}")
        size = constants.NODE_SIZE if constant == "NODE" else constants.BLOCK_SIZE
        assert int(length) == size


def test_trees() -> None:
    for number, name, *_ in rows_of("## Trees"):
        assert int(number) == getattr(constants, f"TREE_{name.upper()}")


def test_intents() -> None:
    rows = rows_of("### Intents")
    assert len(rows) == constants.INTENT_APPEND + 1
    for number, name, *_ in rows:
        assert int(number) == getattr(constants, f"INTENT_{name.upper()}")


def test_item_types() -> None:
    rows = rows_of("## Item types")
    declared = set(re.findall(r"^#define AFFS_ITEM_(?!MAX)(\w+)", HEADER, re.M))
    assert {row[1] for row in rows} == declared
    for number, name, *_ in rows:
        assert int(number) == getattr(constants, f"ITEM_{name}")


def test_geometry() -> None:
    rows = rows_of("## Geometry")
    assert [row[0] for row in rows] == ["0", "1 MiB", "33 MiB", "34 MiB"]
    assert constants.REGION_SIZE == 1 << 20
    assert constants.REGION_SECOND_OFFSET == 33 << 20
    region = PAGE.split("A header region, in bytes")[1]
    offsets = [int(cell) for cell in re.findall(r"^\| (\d+) \|", region, re.M)[:4]]
    assert offsets == [
        0, constants.SUPERBLOCK_OFFSET, constants.OWNER_OFFSET, constants.RING_OFFSET,
    ]  # fmt: skip
    assert constants.RING_OFFSET + constants.RING_SLOTS * 4096 <= constants.REGION_SIZE


@pytest.mark.parametrize(
    ("sentence", "value"),
    [
        ("at least 64 MiB", constants.VOLUME_SIZE_MIN >> 20),
        ("ring has 2^6 slots", constants.RING_SLOTS.bit_length() - 1),
        ("payload of 0 to 4352 bytes", constants.ITEM_MAX),
        ("1 to 226 entries", (constants.NODE_SIZE - 96) // constants.ENTRY_SIZE),
        ("the first 96 bytes of a node", constants.NODE_HEADER_SIZE),
        ("stored blocks, 1 to 1024", constants.EXTENT_BLOCKS_MAX),
        ("payload, 1 to 2048 bytes", constants.INLINE_MAX),
        ("target: 1 to 4095 bytes", constants.SYMLINK_MAX),
        ("a chunk has 2048 bytes", constants.BITMAP_CHUNK_SIZE),
        ("bytes of the value, 0 to 65536", constants.XATTR_VALUE_MAX),
        ("of the label, 0 to 64", constants.LABEL_MAX),
        ("16 to 30: a segment", constants.SEGMENT_SHIFT_MAX),
        ("of the node, 0 to 15", constants.LEVELS_MAX - 1),
    ],
)
def test_a_limit_in_a_sentence(sentence: str, value: int) -> None:
    assert sentence.lower() in " ".join(PAGE.split()).lower()
    assert str(value) in re.findall(r"\d+", sentence)


def test_state_flags_and_pointers() -> None:
    flags = re.search(r"Flags: 1 automatic .*, 2 hidden .*, 4 doomed .*\n?.*, 8 published", PAGE)
    assert flags is not None
    assert (
        constants.STATE_AUTOMATIC, constants.STATE_HIDDEN,
        constants.STATE_DOOMED, constants.STATE_PUBLISHED,
    ) == (1, 2, 4, 8)  # fmt: skip
    assert "1 the published state, 2 the state that an undo" in PAGE
    assert (constants.POINTER_PUBLISHED, constants.POINTER_UNDO, constants.POINTER_REDO) == (
        1,
        2,
        3,
    )


def test_published_checksums() -> None:
    known = {
        b"123456789": "0xE3069283", bytes(32): "0x8A9136AA",
        b"\xff" * 32: "0x62A8AB43", bytes(range(32)): "0x46DD794E",
    }  # fmt: skip
    for data, value in known.items():
        assert value in PAGE
        assert checksum.crc32c(data) == int(value, 16)


def test_published_name_hashes() -> None:
    key = bytes(range(16))
    for length, value in (
        (0, 0x726FDB47DD0E0E31),
        (1, 0x74F839C593DC67FD),
        (15, 0xA129CA6149BE45E5),
    ):
        assert f"0x{value:016X}" in PAGE
        assert checksum.name_hash(key, 0, bytes(range(length))) == value >> 5


def test_the_checksum_of_a_header_is_as_described() -> None:
    image = codec.SegmentHeader(bytes(16), bytes(16), 1, 2, 3, 4).pack()
    blanked = image[:8] + bytes(4) + image[12:]
    assert codec.Header.unpack(image).checksum == checksum.crc32c(blanked)
