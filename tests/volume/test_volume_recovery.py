"""Opening: the choice of a commit, what falling back costs, and when nothing may be written."""

import errno
from dataclasses import replace

import pytest
from faulty_device import FaultyDevice
from volume_harness import Harness

from affs_fuse.core.constants import BLOCK_SIZE
from affs_fuse.device.memory import MemoryDevice
from affs_fuse.errors import AffsError
from affs_fuse.volume import layout
from affs_fuse.volume.opening import OpenOptions
from affs_fuse.volume.owner import Host
from affs_fuse.volume.ring import read_ring
from affs_fuse.volume.volume import Volume


def written(commits: int = 5) -> Harness:
    harness = Harness()
    for number in range(commits):
        harness.write(0, number, 2, 100 + number)
        harness.commit()
    return harness


def options(harness: Harness) -> OpenOptions:
    return OpenOptions(device=harness.device, clock=harness.clock, entropy=harness.random.randbytes)


def flip(harness: Harness, offset: int) -> None:
    harness.device.content[offset] ^= 0x55


def test_the_same_bytes_give_the_same_choice_and_report() -> None:
    harness = written()
    image = bytes(harness.device.content)
    reports = []
    for _ in range(3):
        device = MemoryDevice(content=bytearray(image))
        volume = Volume.open("", replace(options(harness), device=device, read_only=True))
        reports.append(volume.report)
        assert bytes(device.content) == image, "reading wrote"
    assert reports[0] == reports[1] == reports[2]
    assert reports[0].seq == harness.volume.durable_seq
    assert reports[0].notes == []


def test_a_torn_newest_record_falls_back_by_itself() -> None:
    harness = written()
    newest = harness.volume.durable_seq
    for region in range(2):
        flip(harness, layout.ring_offset(region, newest) + 200)
    volume = Volume.open("", options(harness))
    assert volume.durable_seq == newest - 1
    assert not volume.read_only
    assert any("checksum" in note for note in volume.report.notes)


def test_one_bad_copy_of_a_record_costs_nothing() -> None:
    harness = written()
    flip(harness, layout.ring_offset(0, harness.volume.durable_seq) + 200)
    volume = Volume.open("", options(harness))
    assert volume.durable_seq == harness.volume.durable_seq
    assert not volume.read_only


def newest_root_offset(harness: Harness) -> int:
    root = harness.volume.working.tree.root
    assert root is not None
    segment = harness.volume.space.segments[layout.segment_of(root.address)]
    start = harness.volume.geometry.place_offset(segment.place)
    return start + layout.block_of(root.address) * BLOCK_SIZE


def test_a_damaged_root_opens_the_previous_commit_for_reading_only() -> None:
    harness = written()
    newest = harness.volume.durable_seq
    flip(harness, newest_root_offset(harness) + 50)
    image = bytes(harness.device.content)
    volume = Volume.open("", options(harness))
    assert volume.durable_seq == newest - 1
    assert "recover=previous" in volume.read_only_reason
    assert bytes(harness.device.content) == image
    with pytest.raises(AffsError) as caught:
        volume.commit()
    assert (caught.value.code, caught.value.errno) == ("volume.read_only", errno.EROFS)


def test_recover_previous_buries_the_dead_commit() -> None:
    harness = written()
    newest = harness.volume.durable_seq
    offset = newest_root_offset(harness)
    flip(harness, offset + 50)
    volume = Volume.open("", replace(options(harness), recover_previous=True))
    assert not volume.read_only
    assert volume.durable_seq == newest + 1
    flip(harness, offset + 50)  # the damage heals: the dead commit must not come back
    seqs = [
        record.seq for record in read_ring(harness.device, volume.superblock.format_uuid).records
    ]
    assert newest not in seqs
    again = Volume.open("", options(harness))
    assert again.durable_seq == newest + 1


def test_an_unreadable_slot_must_not_cost_acknowledged_data() -> None:
    harness = written()
    device = FaultyDevice(harness.device)
    for region in range(2):
        device.unreadable.append(
            (layout.ring_offset(region, harness.volume.durable_seq), BLOCK_SIZE)
        )
    volume = Volume.open("", replace(options(harness), device=device))
    assert volume.read_only
    assert "cannot be read" in volume.read_only_reason


def test_two_different_records_with_one_seq_are_refused() -> None:
    harness = written()
    record = read_ring(harness.device, harness.volume.superblock.format_uuid).records[0]
    other = record._replace(session=bytes(16)).pack()
    offset = layout.ring_offset(1, record.seq)
    harness.device.content[offset : offset + BLOCK_SIZE] = other
    with pytest.raises(AffsError) as caught:
        Volume.open("", options(harness))
    assert caught.value.code == "volume.ring_conflict"


@pytest.mark.parametrize("region", [0, 1])
def test_one_superblock_is_enough(region: int) -> None:
    harness = written()
    flip(harness, layout.superblock_offset(region) + 70)
    Volume.open("", options(harness))


def test_without_superblocks_it_says_so() -> None:
    harness = written()
    for region in range(2):
        flip(harness, layout.superblock_offset(region) + 70)
    with pytest.raises(AffsError) as caught:
        Volume.open("", options(harness))
    assert caught.value.code == "volume.superblock_damaged"


def test_what_is_no_volume_is_named_so() -> None:
    with pytest.raises(AffsError) as caught:
        Volume.open("", OpenOptions(device=MemoryDevice(64 << 20)))
    assert caught.value.code == "volume.not_affs"


def test_a_truncated_volume_is_refused() -> None:
    harness = written()
    del harness.device.content[60 << 20 :]
    with pytest.raises(AffsError) as caught:
        Volume.open("", options(harness))
    assert caught.value.code == "volume.truncated"


def test_another_machine_that_did_not_close_is_waited_for() -> None:
    harness = written()
    waits: list[float] = []
    other = Host(b"other machine id", b"other boot id   ", 7, "elsewhere")
    Volume.open("", replace(options(harness), host=other, takeover=True))
    Volume.open("", replace(options(harness), sleep=waits.append))
    assert sum(waits) >= 10.0


def test_another_machine_that_lives_is_named() -> None:
    harness = written()
    other = Host(b"other machine id", b"other boot id   ", 7, "elsewhere")
    alive = Volume.open("", replace(options(harness), host=other, takeover=True))
    with pytest.raises(AffsError) as caught:
        Volume.open("", replace(options(harness), sleep=lambda _: alive.heartbeat()))
    assert caught.value.code == "volume.busy"
    assert caught.value.details == {"host": "elsewhere", "pid": 7}


def test_a_second_owner_is_noticed_before_the_next_record() -> None:
    harness = written()
    intruder = Volume.open("", options(harness))
    for _ in range(64):
        intruder.commit()
    with pytest.raises(AffsError) as caught:
        harness.volume.commit()
    assert caught.value.code == "volume.ownership_lost"
    assert harness.volume.read_only


def test_a_failed_flush_is_for_ever() -> None:
    harness = written()
    device = FaultyDevice(harness.device)
    volume = Volume.open("", replace(options(harness), device=device))
    device.fail_flushes = errno.EIO
    with pytest.raises(AffsError):
        volume.commit()
    device.fail_flushes = 0
    assert volume.read_only
    with pytest.raises(AffsError) as caught:
        volume.commit()
    assert caught.value.code == "volume.read_only"
    records = read_ring(harness.device, volume.superblock.format_uuid).records
    assert records[0].seq == harness.volume.durable_seq, "a record was written"


def test_a_failed_write_makes_it_read_only_with_no_record() -> None:
    harness = written()
    device = FaultyDevice(harness.device)
    volume = Volume.open("", replace(options(harness), device=device))
    device.fail_writes = errno.EIO
    with pytest.raises(AffsError):
        volume.commit()
    device.fail_writes = 0
    assert volume.read_only
    harness.reopen(clean=False)
    harness.check()
