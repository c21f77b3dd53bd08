"""Defects that the crash simulator found, each with its smallest case (docs/reliability.md)."""

import random
from dataclasses import replace

import pytest
from volume_harness import Harness

from affs_fuse.core.constants import BLOCK_SIZE, INTENT_SMALL
from affs_fuse.errors import AffsError, Category
from affs_fuse.volume import layout, verbs
from affs_fuse.volume.opening import OpenOptions
from affs_fuse.volume.reclaim import next_job
from affs_fuse.volume.space import no_space
from affs_fuse.volume.volume import Volume


def reopened(harness: Harness) -> Volume:
    options = OpenOptions(
        device=harness.device, clock=harness.clock, entropy=random.Random(1).randbytes
    )
    return Volume.open("", replace(options))


def test_a_record_in_the_second_ring_only_is_gone_on_from() -> None:
    """Power went between the two writes of a record. The commit is there, and so are the next."""
    harness = Harness()
    harness.write(0, 0, 2, 50)
    harness.commit()
    newest = harness.volume.durable_seq
    offset = layout.ring_offset(0, newest)
    image = bytes(harness.device.content[offset : offset + BLOCK_SIZE])
    harness.device.content[offset : offset + BLOCK_SIZE] = bytes(BLOCK_SIZE)
    volume = reopened(harness)
    assert volume.durable_seq == newest
    assert bytes(harness.device.content[offset : offset + BLOCK_SIZE]) == image
    volume.commit()
    assert not volume.read_only
    assert reopened(harness).durable_seq == newest + 1


def test_an_interrupted_reclaim_leaves_no_hidden_state_for_ever() -> None:
    """A crash between the commit that keeps the working state for a job, and the job's end."""
    harness = Harness()
    harness.write(0, 0, 2, 50)
    harness.keep()
    harness.delete(0)
    job = next_job(harness.volume)
    assert job is not None
    request = job.prepare()
    assert request is not None
    harness.volume.commit(None, request)
    volume = reopened(harness)
    assert len(volume.states) == 2
    verbs.reclaim_all(volume)
    assert len(volume.states) == 0
    assert volume.working.ancestor == 0


def test_a_rollback_keeps_what_only_a_deleted_state_holds() -> None:
    """The working state equals its ancestor, but that one is deleted: undo must find a copy."""
    harness = Harness()
    harness.write(0, 0, 1, 50)
    harness.keep()
    harness.write(0, 0, 1, 60)
    harness.keep()
    harness.delete(1)
    content = dict(harness.content)
    harness.rollback(0, discard=False)
    verbs.reclaim_all(harness.volume)
    target = verbs.rollback_target(harness.volume, None, undo=True)
    verbs.rollback(harness.volume, target)
    harness.content = content
    harness.kept = {
        number: kept for number, kept in harness.kept.items() if harness.volume.states.get(number)
    }
    harness.check()


def test_a_host_that_refuses_room_half_way_leaks_nothing() -> None:
    """The second segment of one allocation cannot be set aside: the first blocks come back."""
    harness = Harness()
    harness.write(0, 0, 1, 50)
    harness.commit()
    space = harness.volume.space
    before = space.used_blocks, {number: bytes(one.bits) for number, one in space.segments.items()}

    def refuse(place: int) -> None:
        raise AffsError("device.io", Category.IO, "the host cannot")

    space._prepare = refuse
    with pytest.raises(AffsError):
        space.allocate_data(INTENT_SMALL, 2 * harness.volume.geometry.segment_blocks, 9)
    after = {number: bytes(one.bits) for number, one in space.segments.items()}
    assert (space.used_blocks, after) == before


def test_commits_that_ripen_blocks_carry_what_is_buffered_above() -> None:
    """A file's size must not become durable before its bytes, whoever asks for the commit."""
    harness = Harness()
    for block in range(3):
        harness.write(0, 0, 1, 50 + 2 * block)
        harness.commit()
    assert harness.volume.space.held_blocks
    before = harness.volume.commit_count
    flushed: list[int] = []
    harness.volume.buffers_are_flushed_by(lambda: flushed.append(harness.volume.generation))

    def full() -> None:
        raise no_space("anything")

    with pytest.raises(AffsError):
        harness.volume.run(full)
    assert len(flushed) == harness.volume.commit_count - before > 0


def test_undo_does_not_return_to_a_deleted_state() -> None:
    """What undo leads to is deleted, and waits for its blocks: it may have lost some already."""
    harness = Harness()
    harness.write(0, 0, 1, 50)
    harness.keep()
    harness.write(0, 0, 1, 60)
    harness.rollback(0, discard=False)
    volume = harness.volume
    verbs.delete(volume, verbs.rollback_target(volume, None, undo=True))
    for one in (volume, None):
        with pytest.raises(AffsError) as caught:
            verbs.rollback_target(one or reopened(harness), None, undo=True)
        assert caught.value.code == "state.nothing_to_undo"
        volume.commit()
