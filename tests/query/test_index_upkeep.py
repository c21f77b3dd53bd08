"""Indexes under random edits: whatever happens to the files of a directory, its indexes say what
the files say, in every commit, in every kept state, and after a crash."""

import os
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from posix_harness import ROOT
from query_harness import QueryBench

from affs_fuse.core.constants import ITEM_INDEX, ITEM_INDEX_KEYS, ITEM_INDEX_PENDING
from affs_fuse.errors import AffsError
from affs_fuse.posix.batches import Create, Move, Remove, Replace
from affs_fuse.posix.indexes import read_head
from affs_fuse.posix.renaming import RENAME_EXCHANGE
from affs_fuse.query.index_values import keys_of_content
from affs_tools import fsck
from affs_tools.library import Library
from affs_tools.reader.image import Image
from affs_tools.reader.namespace import Namespace

SETTINGS = settings(
    max_examples=60, deadline=None, derandomize=True, database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)  # fmt: skip

CONTENTS = [
    b'{"age": 31, "name": "Anna"}', b'{"age": 7}', b"{}", b"[1, 2]", b'{"age": "x"}', b"",
    b'{"name": ', b'{"age": 31, "name": "' + b"n" * 3000 + b'"}', b'{"name": "\\u0000b"}',
]  # fmt: skip
NAMES = ["a", "b", "c", "d", "sub/e"]
INDEXES = [("age", "age"), ("low", "lower(name)"), ("all", "$")]


@pytest.fixture
def bench() -> QueryBench:
    return QueryBench()


def prepared(bench: QueryBench) -> QueryBench:
    bench.directory("/d/sub")
    bench.directory("/other")
    for name, expression in INDEXES[:2]:
        bench.add_index("/d", name, expression)
    return bench


class Edits:
    """Random edits of the files of /d, /d/sub and /other; what cannot be done is not done."""

    def __init__(self, bench: QueryBench) -> None:
        self.bench = bench

    def write(self, path: str, content: bytes, offset: int) -> None:
        self.bench.write(path, content or b"\n", offset)

    def truncate(self, path: str, content: bytes, offset: int) -> None:
        self.bench.change(path, size=offset)

    def punch(self, path: str, content: bytes, offset: int) -> None:
        handle = self.bench.open_file(path)
        self.bench.run(self.bench.namespace.zero, handle, offset, offset + 10)
        self.bench.run(self.bench.namespace.punch_step, handle, 0, 4096)
        self.bench.namespace.release(handle)

    def fill(self, path: str, content: bytes, offset: int) -> None:
        handle = self.bench.open_file(path)
        self.bench.run(self.bench.namespace.fill_step, handle, 0, 5000)
        self.bench.namespace.release(handle)

    def replace(self, path: str, content: bytes, offset: int) -> None:
        self.bench.write("/other/new", content or b" ")
        self.bench.rename("/other/new", path)

    def cut_open(self, path: str, content: bytes, offset: int) -> None:
        self.bench.write(path, content or b"7", flags=os.O_TRUNC)

    def unlink(self, path: str, content: bytes, offset: int) -> None:
        self.bench.unlink(path)

    def leave(self, path: str, content: bytes, offset: int) -> None:
        self.bench.rename(path, "/other/" + NAMES[offset % 4])

    def come(self, path: str, content: bytes, offset: int) -> None:
        self.bench.rename("/other/" + NAMES[offset % 4], path)

    def exchange(self, path: str, content: bytes, offset: int) -> None:
        self.bench.rename(path, "/other/" + NAMES[offset % 4], RENAME_EXCHANGE)

    def rename(self, path: str, content: bytes, offset: int) -> None:
        self.bench.rename(path, "/d/" + NAMES[offset % 4])

    def link(self, path: str, content: bytes, offset: int) -> None:
        parent, name = self.bench.place("/d/" + NAMES[offset % 4])
        self.bench.run(self.bench.namespace.link, self.bench.find(path).number, parent, name)

    def nameless(self, path: str, content: bytes, offset: int) -> None:
        """O_TMPFILE, written, then linked."""
        namespace = self.bench.namespace
        parent, name = self.bench.place(path)
        handle, made = self.bench.run(namespace.create_nameless, parent, 0o644, os.O_RDWR, ROOT)
        self.bench.run(namespace.write, handle, 0, content or b"8")
        self.bench.run(namespace.link, made.number, parent, name)
        namespace.release(handle)

    def batch(self, path: str, content: bytes, offset: int) -> None:
        files = self.bench.namespace.files
        parts = tuple(path.strip("/").encode().split(b"/"))
        try:
            seen, _ = self.bench.run(files.look_at, parts, ROOT)
        except FileNotFoundError:
            step = Create(parts, content, 0o644)
        else:
            target = (b"d", NAMES[offset % 4].encode())
            step = [Replace(parts, content, seen), Remove(parts, seen), Move(parts, target, seen)][
                offset % 3
            ]
        self.bench.run(files.apply, [step], ROOT)

    def mkdir(self, path: str, content: bytes, offset: int) -> None:
        self.bench.mkdir(path)

    def rmdir(self, path: str, content: bytes, offset: int) -> None:
        self.bench.run(self.bench.namespace.rmdir, *self.bench.place(path))

    def index(self, path: str, content: bytes, offset: int) -> None:
        name, expression = INDEXES[offset % 3]
        self.bench.add_index("/d", name, expression)

    def drop(self, path: str, content: bytes, offset: int) -> None:
        self.bench.drop_index("/d", INDEXES[offset % 3][0])


KINDS = [name for name in vars(Edits) if not name.startswith("_")]
edits = st.lists(
    st.tuples(
        st.sampled_from(KINDS), st.sampled_from(NAMES), st.sampled_from(CONTENTS),
        st.integers(0, 9), st.integers(0, 3),
    ),
    min_size=1, max_size=40,
)  # fmt: skip


def play(bench: QueryBench, steps, after) -> None:
    for kind, name, content, offset, turns in steps:
        with suppress(OSError, LookupError):  # what cannot be done is not done
            getattr(Edits(bench), kind)(f"/d/{name}", content, offset)
            after()
        for _ in range(turns):
            bench.index_step()


@SETTINGS
@given(edits)
def test_an_index_says_what_the_files_say(steps) -> None:
    bench = prepared(QueryBench())
    states = []

    def after() -> None:
        if bench.random.random() < 0.2:
            states.append(bench.checkpoint(f"s{len(states)}").label)

    play(bench, steps, after)
    bench.check()
    bench.audit("/d")
    bench.settle_indexes()
    bench.check()
    assert bench.audit("/d") == []
    assert list(bench.items("/d", ITEM_INDEX_PENDING)) == []
    for label in states:
        bench.audit("/d", label)


@SETTINGS
@given(edits, edits)
def test_a_crash_or_a_rollback_finds_them_in_agreement(steps, others) -> None:
    bench = prepared(QueryBench())
    play(bench, steps, lambda: None)
    kept = bench.checkpoint("kept")
    play(bench, others, lambda: None)
    bench.open()
    bench.audit("/d")
    play(bench, others, lambda: None)
    bench.rollback(kept)
    bench.audit("/d")
    bench.settle_indexes()
    bench.check()
    assert bench.audit("/d") == []


def test_building_goes_on_where_it_was(bench: QueryBench) -> None:
    for number in range(700):
        bench.put(f"/d/{number}", {"age": number % 50})
    bench.add_index("/d", "age", "age")
    work = bench.namespace.files.index_work(keys_of_content)
    bench.run(work.step, lambda: True)
    bench.commit()
    entries = bench.index_head("/d", "age").shape.entries
    assert 0 < entries < 700
    assert work.building == (entries, 700)
    while bench.run(work.step, lambda: True) is not None:
        assert 0 < work.building[0] <= work.building[1] == 700
    assert work.building is None
    bench.open()
    assert bench.index_head("/d", "age").shape.entries == entries
    assert not bench.index_head("/d", "age").usable
    bench.settle_indexes()
    assert bench.index_head("/d", "age").usable
    assert bench.index_head("/d", "age").shape.entries == 700
    assert bench.audit("/d") == []
    bench.check()


def test_nothing_is_left_of_a_dropped_index(bench: QueryBench) -> None:
    for number in range(700):
        bench.put(f"/d/{number}", {"age": number % 50})
    bench.add_index("/d", "age", "age")
    bench.add_index("/d", "all", "$")
    bench.settle_indexes()
    bench.drop_index("/d", "all")
    for _ in range(3):
        bench.index_step()
        bench.check()
    bench.settle_indexes()
    assert bench.audit("/d") == []
    bench.drop_index("/d", "age")
    bench.settle_indexes()
    for kind in (ITEM_INDEX, ITEM_INDEX_KEYS, ITEM_INDEX_PENDING):
        assert list(bench.items("/d", kind)) == []
    bench.check()
    bench.add_index("/d", "age", "age")  # under another id than before
    bench.settle_indexes()
    assert bench.audit("/d") == []


def test_what_is_left_of_a_dropped_index_is_not_held_against_files(bench: QueryBench) -> None:
    """record-meet/unindex-work+reclaim+record-move: a file goes, and nothing has to be noted for
    an index that is going too."""
    for number in range(5):
        bench.put(f"/d/{number}", {"age": number})
    bench.directory("/e")
    bench.add_index("/d", "age", "age")
    bench.settle_indexes()
    bench.drop_index("/d", "age")
    bench.rename("/d/3", "/e/3")
    assert bench.items("/d", ITEM_INDEX_KEYS)
    assert bench.audit("/d") == []
    bench.add_index("/d", "age", "age")
    bench.rename("/d/4", "/e/4")
    bench.settle_indexes()
    assert bench.audit("/d") == []


def test_an_indexed_directory_can_be_removed(bench: QueryBench) -> None:
    numbers = [bench.put(f"/d/{number}", {"age": number}) for number in range(300)]
    bench.add_index("/d", "age", "age")
    bench.settle_indexes()
    for number in range(len(numbers)):
        bench.unlink(f"/d/{number}")
    bench.run(bench.namespace.rmdir, *bench.place("/d"))
    bench.settle_indexes()
    bench.check()


def test_the_second_reader_finds_the_same_entries(bench: QueryBench, tmp_path: Path) -> None:
    """Written from DiskLayout alone; the keys are AUV's order (test_posix_index_pages)."""
    numbers = [bench.put(f"/d/{number}", {"age": number % 90}) for number in range(500)]
    bench.put("/other/x", {})
    bench.add_index("/d", "age", "age")
    bench.settle_indexes()
    late = bench.put("/d/late", {"age": 3})
    bench.commit()
    path = tmp_path / "volume"
    path.write_bytes(bench.device.content)
    directory = bench.find("/d").number
    with Image(str(path)) as image:
        found = Namespace(image, image.working()).collections
        entries = found.index(directory, 1)
        assert entries == sorted(entries)
        assert [number for _, number in entries] == sorted(
            numbers, key=lambda number: ((number - numbers[0]) % 90, number)
        )
        keys = found.keys(directory)
        assert sorted((key, number) for number, row in keys.items() for key in row.values()) == (
            entries
        )
        assert found.pending(directory) == [late]


def large(bench: QueryBench, path: str) -> None:
    bench.write(path, b'{"name": "' + b"n" * 9000 + b'"}')


def punch(bench: QueryBench) -> None:
    handle = bench.open_file("/d/big")
    bench.run(bench.namespace.punch_step, handle, 4096, 8192)
    bench.namespace.release(handle)


def replaced(bench: QueryBench) -> None:
    files = bench.namespace.files
    seen, _ = bench.run(files.look_at, (b"d", b"a"), ROOT)
    bench.run(files.apply, [Replace((b"d", b"a"), b"[]", seen)], ROOT)


def moved(bench: QueryBench) -> None:
    files = bench.namespace.files
    seen, _ = bench.run(files.look_at, (b"d", b"a"), ROOT)
    bench.run(files.apply, [Move((b"d", b"a"), (b"e", b"new"), seen)], ROOT)


CHANGES = {
    "write": (lambda bench: bench.write("/d/a", b"7"), {"d": "a", "e": ""}),
    "write to both": (lambda bench: bench.write("/d/both", b"7"), {"d": "both", "e": "both"}),
    "truncate": (lambda bench: bench.change("/d/a", size=3), {"d": "a", "e": ""}),
    "grow": (lambda bench: bench.change("/d/a", size=300), {"d": "a", "e": ""}),
    "punch": (punch, {"d": "big", "e": ""}),
    "create": (lambda bench: bench.namespace.release(
        bench.open_file("/d/new", os.O_RDWR | os.O_CREAT)), {"d": "new", "e": ""}),
    "link": (lambda bench: bench.run(
        bench.namespace.link, bench.find("/d/a").number, *bench.place("/e/new")),
        {"d": "", "e": "a"}),
    "unlink": (lambda bench: bench.unlink("/d/a"), {"d": "a", "e": ""}),
    "rename": (lambda bench: bench.rename("/d/a", "/d/new"), {"d": "", "e": ""}),
    "rename over": (lambda bench: bench.rename("/d/a", "/d/big"), {"d": "big", "e": ""}),
    "rename away": (lambda bench: bench.rename("/d/a", "/e/new"), {"d": "a", "e": "a"}),
    "exchange": (lambda bench: bench.rename("/d/a", "/e/c", RENAME_EXCHANGE),
                 {"d": "a c", "e": "a c"}),
    "replace by command": (replaced, {"d": "a", "e": ""}),
    "move by command": (moved, {"d": "a", "e": "a"}),
    "mkdir": (lambda bench: bench.mkdir("/d/new"), {"d": "", "e": ""}),
    "chmod": (lambda bench: bench.change("/d/a", mode=0o600), {"d": "", "e": ""}),
}  # fmt: skip


@pytest.mark.parametrize("what", CHANGES)
def test_what_changes_is_pending(bench: QueryBench, what: str) -> None:
    change, wanted = CHANGES[what]
    bench.put("/d/a", {"name": "a"})
    bench.put("/e/c", {"name": "c"})
    bench.put("/d/both", {})
    large(bench, "/d/big")
    bench.run(bench.namespace.link, bench.find("/d/both").number, *bench.place("/e/both"))
    for path in ("/d", "/e"):
        bench.add_index(path, "name", "name")
    bench.settle_indexes()
    numbers = {name: bench.find(path).number for name, path in (
        ("a", "/d/a"), ("c", "/e/c"), ("both", "/d/both"), ("big", "/d/big"))}  # fmt: skip
    change(bench)
    if "new" in wanted["d"]:
        numbers["new"] = bench.find("/d/new").number
    for path, names in wanted.items():
        found = {number for number, _ in bench.items(f"/{path}", ITEM_INDEX_PENDING)}
        assert found == {numbers[name] for name in names.split()}
    bench.settle_indexes()
    assert bench.audit("/d") == []
    assert bench.audit("/e") == []
    bench.check()


def test_fsck_with_data_holds_indexes_against_records(bench: QueryBench, tmp_path: Path) -> None:
    numbers = [bench.put(f"/d/{number}", {"age": number}) for number in range(30)]
    bench.add_index("/d", "age", "age")
    bench.settle_indexes()
    bench.commit()
    path = tmp_path / "volume"
    path.write_bytes(bench.device.content)
    assert fsck.main([str(path), "--data", "-q"]) == 0
    pending = bench.find("/d").number, ITEM_INDEX_PENDING, numbers[7]
    bench.put("/d/7", {"age": 99})
    assert bench.run(bench.volume.working.tree.delete, *pending)
    bench.commit()
    path.write_bytes(bench.device.content)
    assert fsck.main([str(path), "-q"]) == 0
    assert fsck.main([str(path), "--data", "-q"]) == 4


def test_a_rebuilt_volume_builds_its_indexes_anew(bench: QueryBench, tmp_path: Path) -> None:
    for number in range(50):
        bench.put(f"/d/{number}", {"age": number})
    bench.add_index("/d", "age", "age")
    bench.settle_indexes()
    bench.checkpoint("kept")
    bench.put("/d/7", {"age": 99})
    bench.commit()
    old, new = tmp_path / "old", tmp_path / "new"
    old.write_bytes(bench.device.content)
    assert fsck.main([str(old), "--rebuild", "--into", str(new), "-q"]) in (0, 1)
    assert fsck.main([str(new), "--data", "-q"]) == 0
    with Library(str(new)) as library:
        work = library.namespace.files.index_work(keys_of_content)
        while library.call(work.step, lambda: True) is not None:
            pass
        number = library.number(b"d")
        head = library.call(read_head, library.volume.working.tree, number, 1)
        assert head.usable
        assert head.shape.entries == 50
    assert fsck.main([str(new), "--data", "-q"]) == 0


def test_a_full_volume_keeps_removing(bench: QueryBench) -> None:
    """Marking what goes takes no room that unlink does not have; what waits is taken in later."""
    bench.directory("/d")
    bench.add_index("/d", "t", "t")
    count = 0
    text = b'{"t": "' + b"x" * 1900 + b'"}'
    with suppress(OSError, AffsError):
        for count in range(40_000):
            bench.load(f"/d/{count}", text)
            if count % 500 == 0:
                bench.settle_indexes()
                bench.commit()
    assert 1000 < count < 39_000
    with suppress(OSError, AffsError):
        bench.settle_indexes()
    for number in range(count):
        bench.unlink(f"/d/{number}")
        if number % 200 == 0:  # as the daemon does when there is no room
            bench.finish_removals()
            bench.commit()
    bench.finish_removals()
    bench.commit()
    bench.settle_indexes()
    bench.check()
    assert bench.audit("/d") == []
