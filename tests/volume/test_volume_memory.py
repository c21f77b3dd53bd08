"""Without memory: an operation has changed nothing, or the volume writes nothing any more."""

from collections.abc import Iterator

import pytest
from volume_harness import Harness

from affs_fuse.core import memory
from affs_fuse.core.tree import Tree
from affs_fuse.errors import AffsError
from affs_fuse.volume import commit as commit_module
from affs_fuse.volume import data as data_module
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
