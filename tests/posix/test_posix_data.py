"""File data: inline, extents, holes, overwriting, truncating, appending, large files."""

import errno
import os
import random

import pytest
from posix_harness import ROOT, Bench
from test_posix_names import failing

from affs_fuse.core.codec import Extent
from affs_fuse.core.constants import (
    BLOCK_SIZE,
    EXTENT_BLOCKS_MAX,
    INLINE_MAX,
    ITEM_EXTENT,
    ITEM_INLINE,
    ITEM_ORPHAN,
    OBJECT_ORPHANS,
)
from affs_fuse.errors import AffsError
from affs_fuse.posix import file_data
from affs_fuse.posix.namespace import Changes
from affs_fuse.volume.missing import DataMissing

MIB = 1 << 20


def extents(bench: Bench, number: int) -> list[tuple[int, Extent]]:
    tree = bench.volume.working.tree
    items = bench.run(
        lambda: list(tree.iterate((number, ITEM_EXTENT, 0), (number, ITEM_EXTENT + 1, 0)))
    )
    return [(offset, Extent.unpack(payload)) for _, _, offset, payload in items]


def has_inline(bench: Bench, number: int) -> bool:
    return bench.run(bench.volume.working.tree.get, number, ITEM_INLINE, 0) is not None


def test_a_small_file_lies_in_the_tree(bench: Bench) -> None:
    data = bytes(range(256)) * 8
    number = bench.write("/f", data)
    assert len(data) == INLINE_MAX
    bench.commit()
    assert has_inline(bench, number)
    assert bench.find("/f").inode.blocks == 1, "to tar a file without blocks is a hole"
    assert bench.read("/f") == data
    bench.write("/f", b"!", 100)
    assert bench.read("/f") == data[:100] + b"!" + data[101:]
    bench.commit()
    bench.open()
    assert bench.read("/f", 90, 20) == data[90:100] + b"!" + data[101:110]
    bench.write("/f", b"?", INLINE_MAX)
    bench.commit()
    assert not has_inline(bench, number)
    assert bench.read("/f") == data[:100] + b"!" + data[101:] + b"?"
    bench.change("/f", size=10)
    bench.write("/f", b"x" * 10)
    bench.commit()
    assert has_inline(bench, number), "small again"
    assert bench.read("/f") == b"x" * 10


def test_small_files_that_are_cut_and_grow(bench: Bench) -> None:
    number = bench.write("/f", b"0123456789")
    bench.commit()
    bench.change("/f", size=5)
    bench.change("/f", size=8)
    assert bench.read("/f") == b"01234\0\0\0"
    bench.change("/f", size=5000)
    assert bench.read("/f") == b"01234" + bytes(4995)
    bench.commit()
    assert bench.find("/f").inode.blocks == 1
    assert [(at, e.length) for at, e in extents(bench, number)] == [(0, 5)]
    bench.change("/f", size=0)
    assert bench.find("/f").inode.blocks == 0
    bench.change("/f", size=100)
    assert bench.read("/f") == bytes(100)
    bench.commit()
    assert not has_inline(bench, number)
    bench.write("/f", b"end", 20_000)
    bench.commit()
    assert bench.read("/f") == bytes(20_000) + b"end"


def test_inline_bytes_move_when_something_is_written_far_away(bench: Bench) -> None:
    bench.write("/f", b"start")
    bench.commit()
    bench.write("/f", b"end", 10_000)
    assert bench.find("/f").inode.blocks == 2
    assert bench.read("/f") == b"start" + bytes(9995) + b"end"
    bench.commit()
    assert bench.read("/f") == b"start" + bytes(9995) + b"end"


def test_holes_and_block_counts(bench: Bench) -> None:
    number = bench.write("/f", b"a" * BLOCK_SIZE, 10 * BLOCK_SIZE)
    bench.write("/f", b"b" * BLOCK_SIZE, 20 * BLOCK_SIZE)
    assert bench.find("/f").inode.blocks == 2
    bench.commit()
    assert bench.find("/f").inode.blocks == 2
    assert [offset // BLOCK_SIZE for offset, _ in extents(bench, number)] == [10, 20]
    expected = bytes(10 * BLOCK_SIZE) + b"a" * BLOCK_SIZE + bytes(9 * BLOCK_SIZE)
    assert bench.read("/f") == expected + b"b" * BLOCK_SIZE


def test_overwriting_the_middle_of_an_extent(bench: Bench) -> None:
    number = bench.write("/f", b"a" * (16 * BLOCK_SIZE))
    bench.commit()
    ((_, before),) = extents(bench, number)
    bench.write("/f", b"b" * (2 * BLOCK_SIZE), 4 * BLOCK_SIZE)
    assert bench.find("/f").inode.blocks == 16
    assert [(at // BLOCK_SIZE, e.address - before.address, e.blocks, e.birth == before.birth)
            for at, e in extents(bench, number)] == [(0, 0, 4, True), (6, 6, 10, True)]  # fmt: skip
    bench.commit()
    assert len(extents(bench, number)) == 3
    expected = bytearray(b"a" * (16 * BLOCK_SIZE))
    expected[4 * BLOCK_SIZE : 6 * BLOCK_SIZE] = b"b" * (2 * BLOCK_SIZE)
    assert bench.read("/f") == expected
    bench.open()
    assert bench.read("/f") == expected
    bench.write("/f", b"c" * (16 * BLOCK_SIZE))
    bench.commit()
    assert len(extents(bench, number)) == 1


def test_part_of_a_block_needs_the_old_block_first(bench: Bench) -> None:
    old = random.Random(1).randbytes(3 * BLOCK_SIZE)
    bench.write("/f", old)
    bench.commit()
    while (batch := bench.volume.take_batch()) is not None:
        batch.execute()
        bench.volume.end_batch(batch)
    handle = bench.open_file("/f")
    before = bench.volume.working.tree.root
    with pytest.raises(DataMissing) as missing:
        bench.namespace.write(handle, BLOCK_SIZE - 10, b"n" * (BLOCK_SIZE + 20))
    assert [read.blocks for read in missing.value.reads] == [1, 1]
    assert bench.volume.working.tree.root == before
    assert bench.volume.statistics().reserved_blocks == 0
    missing.value.deliver(bench.volume.read(missing.value.reads))
    bench.namespace.write(handle, BLOCK_SIZE - 10, b"n" * (BLOCK_SIZE + 20))
    assert bench.volume.statistics().reserved_blocks == 3
    expected = bytearray(old)
    expected[BLOCK_SIZE - 10 : 2 * BLOCK_SIZE + 10] = b"n" * (BLOCK_SIZE + 20)
    assert bench.namespace.read(handle, 0, 1 << 20) == expected
    bench.namespace.release(handle)
    bench.commit()
    assert bench.read("/f") == expected


def test_what_needs_no_old_block(bench: Bench) -> None:
    """Whole blocks, whole remainders of the file, and what follows the data."""
    bench.write("/f", b"o" * (2 * BLOCK_SIZE + 100))
    bench.commit()
    handle = bench.open_file("/f")
    write = bench.namespace.write
    assert write(handle, BLOCK_SIZE, b"n" * BLOCK_SIZE) == BLOCK_SIZE
    assert write(handle, 2 * BLOCK_SIZE, b"n" * 100) == 100
    assert write(handle, 2 * BLOCK_SIZE + 100, b"m" * 50) == 50
    assert write(handle, 9 * BLOCK_SIZE + 7, b"far") == 3
    bench.namespace.release(handle)
    expected = b"o" * BLOCK_SIZE + b"n" * (BLOCK_SIZE + 100) + b"m" * 50
    assert bench.read("/f") == expected.ljust(9 * BLOCK_SIZE + 7, b"\0") + b"far"


def test_appending_after_a_commit_needs_no_read(bench: Bench) -> None:
    handle = bench.open_file("/log", os.O_RDWR | os.O_CREAT | os.O_APPEND)
    expected = b""
    for index in range(60):
        line = b"line %d\n" % index * 20
        bench.namespace.write(handle, len(expected), line)
        expected += line
        bench.commit()
    bench.namespace.release(handle)
    assert bench.read("/log") == expected


def test_appends_go_to_the_end_that_the_volume_knows(bench: Bench) -> None:
    bench.write("/log", b"0123456789")
    first = bench.open_file("/log", os.O_WRONLY | os.O_APPEND)
    second = bench.open_file("/log", os.O_WRONLY | os.O_APPEND)
    bench.namespace.write(first, 10, b"a")
    bench.namespace.write(second, 11, b"b")
    bench.namespace.write(first, 12, b"c")
    assert bench.read("/log") == b"0123456789abc"
    bench.namespace.handle_of(first).object.size_told = 500
    bench.namespace.write(first, 500, b"d")
    assert bench.read("/log") == b"0123456789abcd"
    for handle in (first, second):
        bench.namespace.release(handle)


def test_other_offsets_of_an_append_handle_are_meant(bench: Bench) -> None:
    """fcntl can take O_APPEND away from an open descriptor."""
    bench.write("/f", b"0123456789")
    handle = bench.open_file("/f", os.O_WRONLY | os.O_APPEND)
    bench.namespace.write(handle, 0, b"X")
    bench.namespace.write(handle, 12, b"Y")
    assert bench.read("/f") == b"X123456789\0\0Y"
    bench.namespace.release(handle)


def test_mapped_pages_written_through_an_append_handle_stay_in_place(bench: Bench) -> None:
    bench.write("/f", b"a" * (2 * BLOCK_SIZE + 10))
    handle = bench.open_file("/f", os.O_RDWR | os.O_APPEND)
    bench.run(bench.namespace.write, handle, BLOCK_SIZE, b"m" * BLOCK_SIZE)
    bench.run(bench.namespace.write, handle, 2 * BLOCK_SIZE, b"e" * 10)
    assert bench.read("/f") == b"a" * BLOCK_SIZE + b"m" * BLOCK_SIZE + b"e" * 10
    bench.run(bench.namespace.write, handle, 2 * BLOCK_SIZE + 10, b"z" * BLOCK_SIZE)
    assert bench.read("/f").endswith(b"e" * 10 + b"z" * BLOCK_SIZE)
    bench.namespace.release(handle)


def test_large_extents(bench: Bench) -> None:
    data = random.Random(2).randbytes(9 * MIB + 12_345)
    handle = bench.open_file("/f", os.O_RDWR | os.O_CREAT)
    number = bench.find("/f").number
    for offset in range(0, len(data), MIB):
        bench.run(bench.namespace.write, handle, offset, data[offset : offset + MIB])
    assert bench.namespace.dirty_bytes >= len(data)
    bench.write_ahead(4 * MIB)
    assert bench.namespace.dirty_bytes <= 6 * MIB
    assert bench.run(bench.namespace.read, handle, 0, len(data)) == data
    bench.commit()
    assert all(extent.blocks <= EXTENT_BLOCKS_MAX for _, extent in extents(bench, number))
    for offset, size in ((0, len(data)), (5, 10), (4 * MIB - 5, 10), (9 * MIB, MIB), (0, 0)):
        found = bench.run(bench.namespace.read, handle, offset, size)
        assert found == data[offset : offset + size]
    bench.namespace.release(handle)


def test_a_page_is_read_without_its_extent(bench: Bench) -> None:
    data = random.Random(3).randbytes(MIB)
    bench.write("/f", data)
    bench.commit()
    handle = bench.open_file("/f", os.O_RDONLY | os.O_NOATIME)
    with pytest.raises(DataMissing) as missing:
        bench.namespace.read(handle, 77 * BLOCK_SIZE + 5, 100)
    assert [read.blocks for read in missing.value.reads] == [1]
    bench.namespace.release(handle)


def test_a_damaged_block_is_an_error_for_its_range_alone(bench: Bench) -> None:
    data = random.Random(4).randbytes(64 * BLOCK_SIZE)
    number = bench.write("/f", data)
    bench.commit()
    ((_, extent),) = extents(bench, number)
    offset = bench.volume._data.offset_of(extent.address + 20)
    bench.device.content[offset + 99] ^= 1
    assert bench.read("/f", 0, 20 * BLOCK_SIZE) == data[: 20 * BLOCK_SIZE]
    assert bench.read("/f", 21 * BLOCK_SIZE) == data[21 * BLOCK_SIZE :]
    with pytest.raises(AffsError) as caught:
        bench.read("/f", 20 * BLOCK_SIZE + 7, 1)
    assert caught.value.errno == errno.EIO
    bench.device.content[offset + 99] ^= 1


def test_truncating_to_every_kind_of_size(bench: Bench) -> None:
    data = random.Random(5).randbytes(10 * BLOCK_SIZE + 100)
    for size in (10 * BLOCK_SIZE + 99, 10 * BLOCK_SIZE, 9 * BLOCK_SIZE + 1, 5 * BLOCK_SIZE, 1, 0):
        for committed in (False, True):
            bench.write("/f", data)
            if committed:
                bench.commit()
            bench.change("/f", size=size)
            bench.change("/f", size=size + 5000)
            assert bench.read("/f") == data[:size] + bytes(5000)
            bench.commit()
            assert bench.read("/f") == data[:size] + bytes(5000)
            assert bench.find("/f").inode.blocks == -(-size // BLOCK_SIZE)
            bench.write("/f", b"t", size + 4000)
            assert bench.read("/f") == data[:size] + bytes(4000) + b"t" + bytes(999)
            bench.unlink("/f")


def fragmented(bench: Bench, count: int) -> int:
    """A file of `count` extents of one block with holes between them."""
    number = bench.write("/big", b"")
    handle = bench.open_file("/big")
    for index in range(count):
        bench.run(bench.namespace.write, handle, 2 * index * BLOCK_SIZE, b"%8d" % index * 512)
    bench.namespace.release(handle)
    bench.commit()
    assert len(extents(bench, number)) == count
    return number


def test_large_truncations_go_on_in_steps(bench: Bench) -> None:
    count = 3 * file_data.TRUNCATE_ITEMS_MAX
    number = fragmented(bench, count)
    tree = bench.volume.working.tree
    bench.change("/big", size=0)
    left = count - file_data.TRUNCATE_ITEMS_MAX
    assert len(extents(bench, number)) == left == bench.find("/big").inode.blocks
    assert bench.run(tree.get, OBJECT_ORPHANS, ITEM_ORPHAN, number) is not None
    assert bench.namespace.removals_pending
    bench.commit()
    bench.verify()
    bench.open()
    assert bench.namespace.removals_pending, "a crash in between is no harm"
    bench.change("/big", size=4 * count * BLOCK_SIZE)
    assert bench.read("/big") == bytes(4 * count * BLOCK_SIZE)
    bench.finish_removals()
    assert bench.find("/big").inode.blocks == 0
    assert bench.run(bench.volume.working.tree.get, OBJECT_ORPHANS, ITEM_ORPHAN, number) is None
    assert bench.find("/big").inode.nlink == 1


@pytest.mark.parametrize("known", [True, False])
def test_writing_over_what_a_truncation_left(bench: Bench, known: bool) -> None:
    """known: False is a mount that has not read the list of orphans yet."""
    count = 2 * file_data.TRUNCATE_ITEMS_MAX
    number = fragmented(bench, count)
    bench.change("/big", size=10)
    if not known:
        bench.namespace._context.data.tails = None
    far = 2 * count * BLOCK_SIZE
    handle = bench.open_file("/big")
    bench.run(bench.namespace.write, handle, 3, b"x" * (5 * BLOCK_SIZE))
    bench.run(bench.namespace.write, handle, far - 2 * BLOCK_SIZE + 5, b"y")
    bench.namespace.release(handle)
    expected = b"   " + b"x" * (5 * BLOCK_SIZE)
    expected = expected.ljust(far - 2 * BLOCK_SIZE + 5, b"\0") + b"y"
    assert bench.read("/big") == expected
    bench.commit()
    assert bench.read("/big") == expected
    bench.run(bench.namespace.load_orphans)
    bench.finish_removals()
    bench.change("/big", size=far)
    assert bench.read("/big") == expected.ljust(far, b"\0")
    assert len(extents(bench, number)) == 2


def test_space_comes_back(bench: Bench) -> None:
    bench.commit()
    before = bench.used_blocks()
    bench.write("/f", b"a" * (2 * MIB))
    assert bench.namespace.statfs().blocks_free < (64 << 20) // BLOCK_SIZE
    bench.commit()
    assert bench.used_blocks() >= before + 512
    bench.change("/f", size=MIB)
    bench.commit()
    bench.unlink("/f")
    bench.commit()
    assert bench.used_blocks() == before


def test_buffered_data_that_is_not_wanted_any_more_gives_its_room_back(bench: Bench) -> None:
    handle = bench.open_file("/f", os.O_RDWR | os.O_CREAT)
    bench.namespace.write(handle, 0, b"a" * MIB)
    assert bench.volume.statistics().reserved_blocks == 256
    bench.namespace.setattr(bench.find("/f").number, Changes(size=10 * BLOCK_SIZE + 1), ROOT)
    assert bench.volume.statistics().reserved_blocks == 11
    bench.unlink("/f")
    bench.namespace.release(handle)
    assert bench.volume.statistics().reserved_blocks == 0
    assert bench.namespace.dirty_bytes == 0


def test_a_full_volume_refuses_before_it_takes(bench: Bench) -> None:
    handle = bench.open_file("/f", os.O_RDWR | os.O_CREAT)
    offset = 0
    refused = 0
    while not refused:
        try:
            bench.namespace.write(handle, offset, bytes([offset >> 20 & 255]) * MIB)
            offset += MIB
        except AffsError as error:
            refused = error.errno
    assert refused == errno.ENOSPC
    assert offset > 20 * MIB
    assert bench.find("/f").inode.size == offset
    bench.commit()
    assert bench.read("/f", offset - 5) == bytes([offset - 1 >> 20 & 255]) * 5
    bench.namespace.release(handle)
    bench.unlink("/f")
    bench.commit()


def test_handles_that_cannot(bench: Bench) -> None:
    number = bench.write("/f", b"x")
    space = bench.namespace
    reader, writer = space.open(number, os.O_RDONLY, ROOT), space.open(number, os.O_WRONLY, ROOT)
    with failing(errno.EBADF):
        space.write(reader, 0, b"y")
    with failing(errno.EBADF):
        space.read(writer, 0, 1)
    assert space.inodes_open_for_writing() == [number]
    assert space.handle_count(number) == 2
    for handle in (reader, writer):
        space.release(handle)
    assert space.inodes_open_for_writing() == []
    with failing(errno.EBADF):
        space.release(reader)
    with failing(errno.EISDIR):
        space.open(1, os.O_RDONLY, ROOT)
