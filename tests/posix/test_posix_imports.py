"""Where an unfinished import stands: an item that changes and goes back with the files."""

import pytest
from posix_harness import ALICE, ROOT, Bench

from affs_fuse.auv import encode
from affs_fuse.core.constants import ITEM_IMPORT, OBJECT_IMPORTS
from affs_fuse.posix import batches
from affs_fuse.posix.imports import Cursor
from affs_fuse.posix.namespace import Changes
from affs_fuse.volume.verify import verify_volume

CREATE = batches.Create((b"d", b"a"), b"1", 0o644)


@pytest.fixture
def bench() -> Bench:
    made = Bench()
    made.run(made.namespace.mkdir, 1, b"d", 0o755, ROOT)
    return made


def directory(bench: Bench) -> int:
    return bench.run(bench.namespace.lookup, 1, b"d").number


def put(bench: Bench, steps: list[batches.Step], value: object, path: bytes = b"d") -> None:
    payload = b"" if value is None else encode(value)
    cursor = Cursor((path,), directory(bench), payload)
    bench.run(bench.namespace.files.apply, steps, ROOT, cursor)


def cursor_of(bench: Bench) -> bytes | None:
    return bench.run(bench.namespace.files.cursor_of, directory(bench))


def test_it_changes_with_the_files_or_not_at_all(bench: Bench) -> None:
    put(bench, [CREATE], {"offset": 1})
    assert cursor_of(bench) == encode({"offset": 1})
    with pytest.raises(batches.StepError):
        put(bench, [CREATE], {"offset": 2})
    assert cursor_of(bench) == encode({"offset": 1})
    bench.run(bench.namespace.rename, 1, b"d", 1, b"e", 0)
    bench.run(bench.namespace.mkdir, 1, b"d", 0o755, ROOT)
    moved = Cursor((b"d",), bench.run(bench.namespace.lookup, 1, b"e").number, encode({}))
    with pytest.raises(batches.StepError) as caught:
        bench.run(bench.namespace.files.apply, [CREATE], ROOT, moved)
    assert caught.value.index == 1
    assert bench.run(bench.namespace.files.cursors, ROOT) == [(b"/e", encode({"offset": 1}))]
    bench.check()


def test_it_belongs_to_the_state(bench: Bench) -> None:
    put(bench, [CREATE], {"offset": 1})
    kept = bench.checkpoint("kept")
    put(bench, [], None)
    assert cursor_of(bench) is None
    bench.rollback(kept)
    assert cursor_of(bench) == encode({"offset": 1})
    bench.open()
    assert cursor_of(bench) == encode({"offset": 1})
    bench.check()


def test_of_a_directory_that_is_gone_it_says_nothing(bench: Bench) -> None:
    put(bench, [], {"offset": 0})
    bench.run(bench.namespace.rmdir, 1, b"d")
    bench.finish_removals()
    assert bench.run(bench.namespace.files.cursors, ROOT) == []
    bench.check()


def test_out_of_reach_it_is_not_shown(bench: Bench) -> None:
    bench.run(bench.namespace.mkdir, directory(bench), b"in", 0o755, ROOT)
    number = bench.run(bench.namespace.lookup, directory(bench), b"in").number
    cursor = Cursor((b"d", b"in"), number, encode({}))
    bench.run(bench.namespace.files.apply, [], ROOT, cursor)
    files = bench.namespace.files
    assert bench.run(files.cursors, ALICE) == [(b"/d/in", encode({}))]
    bench.run(bench.namespace.setattr, directory(bench), Changes(mode=0o700), ROOT)
    assert bench.run(files.cursors, ALICE) == []
    with pytest.raises(OSError, match="Permission"):
        bench.run(files.writable, (b"d", b"in"), ALICE)


@pytest.mark.parametrize("payload", [b"\xc1", b"\x01", b"\x80\x80"])
def test_fsck_finds_one_that_cannot_be_read(bench: Bench, payload: bytes) -> None:
    tree = bench.volume.working.tree
    bench.run(tree.touch, OBJECT_IMPORTS, ITEM_IMPORT, directory(bench))
    bench.volume.begin_change()
    bench.run(tree.put, OBJECT_IMPORTS, ITEM_IMPORT, directory(bench), payload)
    bench.commit()
    codes = [finding.code for finding in verify_volume(bench.device).findings]
    assert "verify.import" in codes
    put(bench, [], None)
    bench.check()
