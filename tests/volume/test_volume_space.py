"""Running out of space: the error comes before the change, and what must always work does."""

import errno
from itertools import pairwise
from random import Random

import pytest
from faulty_device import FaultyDevice
from volume_harness import Harness

from affs_fuse.clock import Clock
from affs_fuse.core.constants import INTENT_LARGE, INTENT_METADATA, INTENT_SMALL
from affs_fuse.device.memory import MemoryDevice
from affs_fuse.errors import AffsError
from affs_fuse.volume import verbs
from affs_fuse.volume.half_done import Contradiction
from affs_fuse.volume.layout import Geometry, choose_segment_shift
from affs_fuse.volume.mkfs import MkfsOptions, format_device
from affs_fuse.volume.opening import OpenOptions
from affs_fuse.volume.space import Space
from affs_fuse.volume.volume import Volume

FILE_BLOCKS = 64


def fill(harness: Harness, first: int = 0) -> int:
    """Write files from number `first` on until there is no space; how many went in."""
    count = 0
    while True:
        try:
            harness.write(first + count, 0, FILE_BLOCKS, 1 + count % 255)
        except AffsError as error:
            if error.code != "volume.no_space":
                raise
            return count
        count += 1


def test_a_full_volume_can_be_emptied_and_filled_again() -> None:
    harness = Harness(cache_bytes=32 << 20)
    first = fill(harness)
    assert first > 200
    harness.commit()
    harness.check()
    for file in range(0, first, 2):
        for block in range(FILE_BLOCKS):
            harness.remove(file, block)
    harness.commit()
    second = fill(harness, first)
    assert second >= first // 2 - 2
    harness.commit()
    harness.check()


def test_verbs_work_on_a_full_volume_whose_blocks_are_all_kept() -> None:
    harness = Harness(cache_bytes=32 << 20)
    harness.write(0, 0, 4, 9)
    harness.keep()
    fill(harness)
    harness.keep()
    full = harness.volume.states.resolve("@")
    for file in range(1, 9):  # removing frees nothing now, but must work
        harness.remove(file, 0)
    harness.commit()
    harness.rollback(0, discard=False)
    assert harness.content == {(0, block): bytes([9]) for block in range(4)}
    harness.check()
    before = harness.volume.space.room().data_blocks
    for state in harness.volume.states.listed()[1:]:
        verbs.delete(harness.volume, state)
    harness.commit()
    harness.reclaim()
    for _ in range(3):
        harness.commit()
    assert harness.volume.states.get(full.number) is None
    assert harness.volume.space.room().data_blocks > before + 10_000
    harness.check()


def test_metadata_runs_out_cleanly_and_removing_still_works() -> None:
    harness = Harness(cache_bytes=32 << 20)
    fill(harness)  # leaves the segments that are kept for metadata

    def make_for_ever() -> None:
        for made in range(0, 1_000_000, 500):
            harness.make_inodes(made, 500)
            harness.commit()

    with pytest.raises(AffsError) as caught:
        make_for_ever()
    assert caught.value.code == "volume.no_space"
    harness.commit()
    harness.volume.run(harness._remove, 1, 0)
    harness.commit()


def test_the_hosts_lack_of_space_stops_a_write_and_not_a_commit() -> None:
    harness = Harness(cache_bytes=32 << 20)
    device = FaultyDevice(harness.device)
    volume = Volume.open(
        "", OpenOptions(device=device, clock=harness.clock, entropy=harness.random.randbytes)
    )
    harness.volume = volume
    device.fail_allocations = errno.ENOSPC
    with pytest.raises(AffsError) as caught:
        fill(harness)
    assert caught.value.code == "device.no_space"
    device.fail_allocations = 0
    volume.commit()
    assert not volume.read_only


def test_an_allocation_is_all_or_nothing() -> None:
    space = Space(Geometry(20, (64 << 20) >> 12), 62, lambda place: None)
    room = space.room().data_blocks
    with pytest.raises(AffsError):
        space.allocate_data(INTENT_LARGE, room + 1, 1)
    assert space.used_blocks == 0
    runs = space.allocate_data(INTENT_LARGE, room, 1)
    assert sum(run[2] for run in runs) == room
    assert space.room().data_blocks == 0
    assert space.allocate_nodes(INTENT_METADATA, 100, 1)


def test_freeing_twice_is_refused() -> None:
    space = Space(Geometry(20, (64 << 20) >> 12), 62, lambda place: None)
    (segment, first, count) = space.allocate_data(INTENT_SMALL, 8, 1)[0]
    space.free(segment << 32 | first, count)
    with pytest.raises(Contradiction, match="given back"):
        space.free(segment << 32 | first, count)


@pytest.mark.parametrize(
    ("size", "segment"),
    [(64 << 20, 1 << 20), (256 << 20, 4 << 20), (1 << 30, 16 << 20), (64 << 40, 256 << 20)],
)
def test_segment_sizes(size: int, segment: int) -> None:
    assert 1 << choose_segment_shift(size, size) == segment


def test_places_tile_the_device_and_leave_the_header_regions() -> None:
    for shift in (18, 20, 24, 25, 26, 30):
        geometry = Geometry(shift, (3 << 30) >> 12)
        ends = [(0, 1 << 20), (33 << 20, 34 << 20)]
        for place in range(geometry.place_count):
            start = geometry.place_offset(place)
            ends.append((start, start + geometry.segment_size))
            assert geometry.place_of_block(start >> 12) == place
            assert geometry.place_of_block((start + geometry.segment_size - 1) >> 12) == place
        ends.sort()
        assert all(a[1] <= b[0] for a, b in pairwise(ends))
        assert ends[-1][1] <= 3 << 30


def test_mkfs_is_a_function_of_clock_and_entropy() -> None:
    images = []
    for _ in range(2):
        device = MemoryDevice(64 << 20)
        format_device(
            device,
            MkfsOptions(label="same"),
            clock=Clock(lambda: 10**18, lambda: 0.0),
            entropy=Random(7).randbytes,
        )
        images.append(bytes(device.content))
    assert images[0] == images[1]


@pytest.mark.parametrize(
    ("options", "code"),
    [
        (MkfsOptions(size_bytes=1 << 20), "volume.too_small"),
        (MkfsOptions(segment_size_bytes=3 << 20), "volume.segment_size"),
        (MkfsOptions(label="x" * 65), "volume.label"),
    ],
)
def test_mkfs_refuses_what_cannot_be(options: MkfsOptions, code: str) -> None:
    device = MemoryDevice(64 << 20)
    with pytest.raises(AffsError) as caught:
        format_device(device, options)
    assert caught.value.code == code
    assert not any(device.content)


def test_places_prepared_in_advance_are_used_first() -> None:
    prepared_late: list[int] = []
    space = Space(Geometry(20, (64 << 20) >> 12), 62, prepared_late.append)
    for _ in range(4):
        place = space.place_to_prepare()
        assert place is not None
        space.note_prepared(place)
    assert space.place_to_prepare() is None
    for _ in range(4):
        assert space.new_segment(INTENT_SMALL, 1) is not None
    assert prepared_late == []
    assert {segment.place for segment in space.segments.values()} == {0, 1, 2, 3}
    assert space.new_segment(INTENT_SMALL, 1) is not None
    assert prepared_late == [4]
