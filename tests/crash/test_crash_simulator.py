"""The simulator itself: its states are what they should be, ids replay, failures shrink, planted
bugs are found."""

from dataclasses import replace

import pytest

from affs_fuse.device.device import Outcome
from affs_fuse.volume.barrier import Barrier
from affs_fuse.volume.commit import Cut
from affs_fuse.volume.volume import Volume
from affs_tools.crashsim.campaign import replayed, run_mutants
from affs_tools.crashsim.device import Flush, Image, Mark, Recorder, Write
from affs_tools.crashsim.explore import Explorer, Failure, Tally, base_of, record
from affs_tools.crashsim.faults import Fault, FaultyDevice
from affs_tools.crashsim.model import Model, ModelError
from affs_tools.crashsim.mutants import MUTANTS, Mutant, changed_source
from affs_tools.crashsim.native_mutants import (
    NATIVE,
    NATIVE_MUTANTS,
    NativeMutant,
    changed_native,
)
from affs_tools.crashsim.shrink import shrink
from affs_tools.crashsim.states import (
    Depth,
    State,
    epochs_of,
    lying_epochs,
    states_of,
)
from affs_tools.crashsim.workloads import find, pairs, singles

QUICK_MUTANTS = (
    "no-barrier-before-the-record", "one-superblock", "kept-blocks-freed", "replaced-nodes-leak",
    "freed-blocks-used-at-once",
)  # fmt: skip

QUICK_NATIVE = ("c-frames-not-checksummed",)


def epoch_of(count: int, length: int = 4096, first: int = 8 << 20):  # type: ignore[no-untyped-def]
    writes = [Write(first + index * 65536, bytes([index + 1]) * length) for index in range(count)]
    return epochs_of([Mark("cut", 7), *writes, Flush(), Mark("durable", 7)], 6)


def test_epochs_lie_between_barriers_and_promise_what_was_said_by_their_end() -> None:
    epochs = epoch_of(3)
    assert [len(epoch.writes) for epoch in epochs] == [3, 0]
    assert [(epoch.durable, epoch.begun) for epoch in epochs] == [(6, 7), (7, 7)]


def test_up_to_ten_writes_give_all_subsets() -> None:
    epoch = epoch_of(10)[0]
    states = list(states_of(epoch, Depth(None, 0), "seed"))
    assert len({state.present for state in states}) == len(states) == 1 << 10


def test_more_writes_give_prefixes_pairs_and_a_sample() -> None:
    epoch = epoch_of(14)[0]
    present = {state.present for state in states_of(epoch, Depth(None, 0), "seed")}
    everything = frozenset(range(14))
    assert {frozenset(range(end)) for end in range(15)} <= present
    assert {everything - {one, two} for one in range(14) for two in range(14)} <= present
    assert len(present) > 400


@pytest.mark.parametrize(("first", "step"), [(8 << 20, 512), (65536, 8)])
def test_writes_tear_at_sectors_and_records_at_words(first: int, step: int) -> None:
    epoch = epoch_of(1, first=first)[0]
    torn = {state.torn for state in states_of(epoch, Depth(None, None), "seed")} - {None}
    assert torn == {(0, 0, at) for at in range(step, 4096, step)} | {
        (0, at, 4096) for at in range(step, 4096, step)
    }


def test_a_lying_barrier_joins_two_epochs() -> None:
    log = [Write(0, b"1"), Flush(), Write(1, b"2"), Flush(), Mark("durable", 9)]
    (lie,) = lying_epochs(epochs_of(log, 8))
    assert [write.data for write in lie.writes] == [b"1", b"2"]
    assert lie.lied
    assert lie.durable == 8


def test_a_state_is_its_text() -> None:
    for state in (State(3, frozenset({0, 5})), State(12, frozenset(), (2, 512, 1024), True)):
        assert State.parse(str(state)) == state


def test_an_image_forgets_what_is_undone() -> None:
    image = Image(1 << 20)
    image.put(5000, b"before")
    digest = image.digest_of([1])
    mark = image.mark()
    image.put(5003, b"after")
    assert image.digest_of([1]) != digest
    image.revert(mark)
    assert image.content[5000:5010] == b"before".ljust(10, b"\0")
    assert image.digest_of([1]) == digest


def test_one_seed_gives_the_same_log_and_the_same_figures() -> None:
    workload = find("one/append")
    base = base_of(workload.base)
    assert record(base, workload.steps).log == record(base, workload.steps).log
    tallies = []
    for _ in range(2):
        tally = Tally()
        Explorer(tally).explore(replace(workload, depth=Depth(8, 4)))
        tallies.append((tally.states, tally.digests, tally.outcomes))
    assert tallies[0] == tallies[1]


def test_the_model_refuses_what_posix_refuses() -> None:
    model = Model()
    model.mkdir("/a")
    model.create("/a/f")
    for refused in (
        lambda: model.rmdir("/a"),
        lambda: model.mkdir("/a"),
        lambda: model.unlink("/a"),
        lambda: model.rename("/a", "/a/b"),
        lambda: model.link("/a", "/b"),
        lambda: model.write("/a", 0, b"x"),
        lambda: model.removexattr("/a", b"user.x"),
    ):
        before = model.snapshot()
        with pytest.raises(ModelError):
            refused()
        assert model.snapshot() == before


def test_a_failed_flush_has_thrown_away_what_was_written() -> None:
    device = FaultyDevice(Image(1 << 20), Fault.parse("flush0.EIO.once"))
    device.write(4096, [b"lost"])
    assert device.flush().outcome is Outcome.PERMANENT
    assert device.read(4096, 4)[0] == bytes(4)
    assert device.flush().ok


def test_every_pair_of_operations_is_there() -> None:
    count = len(list(singles())) // 3
    assert len(list(pairs())) == 2 * (count * count - 1)


def test_a_violation_replays_and_shrinks(monkeypatch: pytest.MonkeyPatch) -> None:
    """An engine without a barrier before the record loses whole nodes: found, again and small."""
    original = Cut.write

    def hasty(cut: Cut) -> None:
        flush, Barrier.flush = Barrier.flush, lambda barrier: None  # type: ignore[method-assign]
        try:
            original(cut)
        finally:
            Barrier.flush = flush  # type: ignore[method-assign]
        cut.barrier.flush()

    monkeypatch.setattr(Cut, "write", hasty)
    workload = find("two/create+append")
    tally = Tally()
    Explorer(tally, first_only=True).explore(workload)
    (failure,) = tally.failures
    again = replayed(failure.replay)
    assert isinstance(again, Failure)
    shorter = shrink(again)
    assert len(shorter.steps) < len(workload.steps)


def test_a_fault_that_is_not_handled_shrinks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Volume, "fail", lambda *_: None)
    failure = replayed("fault/write@flush2.EIO.once")
    assert failure is not None
    shorter = shrink(failure)
    assert 0 < len(shorter.steps) < len(failure.steps)
    assert "flush" in shorter.replay


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_every_planted_bug_fits_the_source(mutant: Mutant) -> None:
    *_, text = changed_source(mutant)
    compile(text, mutant.name, "exec")


@pytest.mark.parametrize("mutant", NATIVE_MUTANTS, ids=lambda mutant: mutant.name)
def test_every_planted_bug_of_the_core_fits_the_source(mutant: NativeMutant) -> None:
    assert changed_native(mutant) != (NATIVE / "src" / mutant.where).read_text()


@pytest.mark.slow
def test_planted_bugs_of_the_core_are_found() -> None:
    chosen = [mutant for mutant in NATIVE_MUTANTS if mutant.name in QUICK_NATIVE]
    assert len(chosen) == len(QUICK_NATIVE)
    alive = [name for name, caught, _ in run_mutants(chosen, 1) if not caught]
    assert not alive


@pytest.mark.slow
def test_planted_bugs_are_found() -> None:
    chosen = [mutant for mutant in MUTANTS if mutant.name in QUICK_MUTANTS]
    assert len(chosen) == len(QUICK_MUTANTS)
    alive = [name for name, caught, _ in run_mutants(chosen, 1) if not caught]
    assert not alive


def test_a_recorder_logs_what_it_does() -> None:
    recorder = Recorder(Image(1 << 20))
    recorder.write(0, [b"ab", b"c"])
    recorder.flush()
    assert recorder.log == [Write(0, b"abc"), Flush()]
    assert not recorder.write(1 << 20, [b"x"]).ok
    assert len(recorder.log) == 2
