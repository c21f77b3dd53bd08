"""Without memory: an operation has changed nothing, or the volume writes nothing any more."""

from collections.abc import Iterator

import pytest
from volume_harness import Harness

from affs_fuse.core import bitmap, memory
from affs_fuse.core.tree import Diff, Tree
from affs_fuse.errors import AffsError
from affs_fuse.posix.namespace import Credentials, Namespace
from affs_fuse.volume import commit as commit_module
from affs_fuse.volume import data as data_module
from affs_fuse.volume import reclaim as reclaim_module
from affs_fuse.volume import verbs
from affs_fuse.volume import volume as volume_module


@pytest.fixture(autouse=True)
def _memory_is_back() -> Iterator[None]:
    yield
    memory.let_allocations_succeed()


def refuse(*_: object, **__: object) -> None:
    raise MemoryError("planted")


def must_be_read_only(harness: Harness, words: str) -> None:
    assert words in harness.volume.read_only_reason
    with pytest.raises(AffsError) as caught:
        harness.volume.commit()
    assert caught.value.code == "volume.read_only"
    before = harness.committed
    harness.open()
    harness.content = dict(before)
    harness.check()


def test_half_a_change_is_never_committed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory goes after the first of an operation's changes: found by making every core call fail
    in turn."""
    harness = Harness()
    harness.write(0, 0, 2, 50)
    harness.commit()
    put, puts = Tree.put, []

    def second_fails(tree: Tree, *arguments: object) -> bool:
        puts.append(arguments)
        if len(puts) == 2:
            refuse()
        return put(tree, *arguments)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(Tree, "put", second_fails)
        with pytest.raises(MemoryError):
            harness.volume.run(harness._write, 0, 0, 2, 52)
    must_be_read_only(harness, "half done")


def test_what_has_no_memory_to_begin_with_changes_nothing() -> None:
    harness = Harness()
    harness.write(0, 0, 2, 50)
    harness.commit()
    harness.open()
    memory.fail_allocation(0, for_ever=True)
    with pytest.raises(MemoryError):
        harness.volume.run(harness._write, 0, 0, 2, 52)
    memory.let_allocations_succeed()
    assert not harness.volume.read_only
    harness.write(0, 0, 2, 54)
    harness.commit()
    harness.check()


def test_data_that_a_worker_could_not_write_is_not_taken_for_written(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A commit waits for a batch that a worker began; the batch must say how it ended."""
    harness = Harness()
    harness.write(0, 0, 2, 50)
    harness.commit()
    harness.volume.run(harness._write, 0, 0, 2, 60)
    batch = harness.volume.take_batch()
    assert batch is not None
    with monkeypatch.context() as patch:
        patch.setattr(data_module, "write_merged", refuse)
        batch.execute()
    with pytest.raises(AffsError, match="planted"):
        harness.volume.commit()
    must_be_read_only(harness, "planted")


@pytest.mark.parametrize(
    ("module", "name"), [(commit_module, "_record"), (commit_module, "frame_checksum")]
)
def test_a_cut_that_ends_half_way_ends_the_writing(
    monkeypatch: pytest.MonkeyPatch, module: object, name: str
) -> None:
    """Its data is nobody's then: the next commit would wait for it for ever."""
    harness = Harness()
    harness.write(0, 0, 2, 50)
    harness.commit()
    harness.write(0, 0, 2, 60)
    with monkeypatch.context() as patch:
        patch.setattr(module, name, refuse)
        with pytest.raises(MemoryError):
            harness.volume.commit()
    must_be_read_only(harness, "half made")


def test_a_rollback_that_cannot_begin_has_not_begun(monkeypatch: pytest.MonkeyPatch) -> None:
    harness = Harness()
    harness.write(0, 0, 2, 50)
    harness.keep()
    harness.write(0, 0, 2, 60)
    working = harness.volume.working
    with monkeypatch.context() as patch:
        patch.setattr(volume_module, "Tree", refuse)
        with pytest.raises(MemoryError):
            verbs.rollback(harness.volume, harness.volume.states.listed()[0])
    assert harness.volume.working is working
    harness.rollback(0, discard=False)
    harness.check()


def test_a_durable_commit_that_cannot_be_completed_says_so(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    harness = Harness()
    harness.write(0, 0, 2, 50)
    with monkeypatch.context() as patch:
        patch.setattr(type(harness.volume.space), "ripen", refuse)
        with pytest.raises(MemoryError):
            harness.volume.commit()
    harness.committed = dict(harness.content)
    must_be_read_only(harness, "is durable, but")


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("name", ["find", "set_range"])
def test_a_place_that_was_taken_in_part_is_not_gone_on_with(
    monkeypatch: pytest.MonkeyPatch, name: str, when: str
) -> None:
    """Writing ahead of the cut: memory goes at each step of taking places in turn. Found as
    fault/large@before230.NOMEM.once (a place twice) and @before233 (blocks that leaked)."""
    function = getattr(bitmap, name)
    calls: list[object] = []
    failing = 0

    def short(*arguments: object) -> object:
        calls.append(arguments)
        if len(calls) == failing and when == "before":
            refuse()
        result = function(*arguments)
        if len(calls) == failing:
            refuse()
        return result

    while failing == 0 or len(calls) >= failing:
        harness = Harness()
        namespace = Namespace(harness.volume)
        handle, _ = harness.volume.run(namespace.create, 1, b"f", 0o644, 2, Credentials(0, 0))
        harness.volume.run(namespace.write, handle, 0, bytes(1 << 20) + b"x" * 5000)
        calls.clear()
        failing += 1
        with monkeypatch.context() as patch:
            patch.setattr(bitmap, name, short)
            try:
                harness.volume.run(namespace.take_off, 1 << 22, 64)
            except MemoryError:
                assert "half done" in harness.volume.read_only_reason
            else:
                assert len(calls) < failing
    assert failing > 3, "it takes places one after the other"


@pytest.mark.parametrize("lost", [0, 1, 2])
def test_a_reclaim_that_lost_a_difference_compares_anew(
    monkeypatch: pytest.MonkeyPatch, lost: int
) -> None:
    """The core had moved on, and what it found could not be handed over: `lost` is which. Found as
    fault/reclaim@after273.NOMEM.once (blocks that leaked)."""
    harness = Harness()
    harness.write(0, 0, 2, 50)
    harness.keep()
    harness.write(0, 0, 2, 52)
    harness.write(1, 0, 1, 53)
    harness.keep()
    harness.delete(0)
    job = reclaim_module.next_job(harness.volume)
    assert job is not None
    job.begin(None)
    take, taken = Diff.__next__, []

    def short(diff: Diff) -> object:
        event = take(diff)
        taken.append(event)
        if len(taken) == lost + 1:
            refuse()
        return event

    with monkeypatch.context() as patch:
        patch.setattr(Diff, "__next__", short)
        with pytest.raises(MemoryError):
            harness.volume.run(job.step)
    while not harness.volume.run(job.step):
        pass
    harness.volume.run(job.apply)
    harness.commit()
    harness.check()
