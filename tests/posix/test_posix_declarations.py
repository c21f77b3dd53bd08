"""Declarations of directories: kept in parts, versioned with the namespace, gone with theirs."""

import errno

import pytest
from posix_harness import ALICE, BOB, ROOT, Bench
from test_posix_names import failing

from affs_fuse.auv import encode_canonical
from affs_fuse.core.constants import ITEM_COLLECTION, OBJECT_COLLECTIONS
from affs_fuse.errors import AffsError
from affs_fuse.posix.batches import Changed, Create, Declare, StepError
from affs_fuse.posix.declarations import DECLARATION_MAX, Declaration, listed, packed, read

SMALL: Declaration = {"schema": {"fields": {"a": "Int"}}}
LARGE: Declaration = {"schema": {}, "notes": "n" * 50_000}


def declare(bench: Bench, path: str, value: Declaration | None, credentials=ROOT) -> list[Changed]:
    parts = tuple(part.encode() for part in path.split("/") if part)
    files, data = bench.namespace.files, packed(value) if value is not None else b""
    seen = bench.run(files.look_at_directory, parts, credentials)
    return bench.run(files.apply, [Declare(parts, data, seen)], credentials)


def got(bench: Bench, number: int) -> Declaration | None:
    return bench.run(lambda: bench.namespace.files.collections.get(number))


def numbers(bench: Bench) -> set[int]:
    return set(bench.run(lambda: bench.namespace.files.collections.numbers))


@pytest.mark.parametrize("value", [SMALL, LARGE, {}], ids=["small", "large", "empty"])
def test_is_there_until_it_is_taken_away(bench: Bench, value: Declaration) -> None:
    number = bench.mkdir("/d").number
    assert got(bench, number) is None
    before = bench.find("/d").inode
    bench.now += 7
    declare(bench, "/d", value)
    assert got(bench, number) == value
    assert got(bench, number) is got(bench, number)
    inode = bench.find("/d").inode
    assert (inode.ctime_ns, inode.mtime_ns) == (bench.now, before.mtime_ns)
    bench.check()
    bench.open()
    assert numbers(bench) == {number}
    assert got(bench, number) == value
    declare(bench, "/d", SMALL)
    assert got(bench, number) == SMALL
    bench.check()
    declare(bench, "/d", None)
    assert (got(bench, number), numbers(bench)) == (None, set())
    bench.check()


def test_goes_with_its_directory(bench: Bench) -> None:
    """By rmdir, by a rename over it, and while somebody has it open."""
    for name in ("/a", "/b", "/c", "/stays"):
        bench.mkdir(name)
        declare(bench, name, LARGE)
    handle = bench.namespace.opendir(bench.find("/c").number, ROOT)
    bench.mkdir("/other")
    bench.namespace.rmdir(1, b"a")
    bench.run(bench.namespace.rename, 1, b"other", 1, b"b")
    bench.namespace.rmdir(1, b"c")
    bench.commit()
    bench.verify()
    bench.namespace.release(handle)
    assert numbers(bench) == {bench.find("/stays").number}
    bench.run(bench.namespace.rename, 1, b"stays", 1, b"moved")
    assert got(bench, bench.find("/moved").number) == LARGE
    bench.check()
    items = bench.volume.working.tree.iterate((0, 0, 0), (1 << 48, 0, 0))
    assert {item[0] for item in items if item[1] == ITEM_COLLECTION} == {
        OBJECT_COLLECTIONS, bench.find("/moved").number,
    }  # fmt: skip


def test_belongs_to_the_state(bench: Bench) -> None:
    number = bench.mkdir("/d").number
    declare(bench, "/d", SMALL)
    kept = bench.publish()
    declare(bench, "/d", LARGE)
    other = bench.mkdir("/e").number
    declare(bench, "/e", SMALL)
    assert numbers(bench) == {number, other}
    bench.rollback(kept)
    assert numbers(bench) == {number}
    assert got(bench, number) == SMALL
    undone = bench.volume.states.listed()[-1]
    tree = bench.volume.open_state(undone)
    assert bench.run(listed, tree) == [number, other]
    assert bench.run(read, tree, number) == LARGE
    tree.close()
    bench.check()


def test_goes_together_with_other_steps_or_not_at_all(bench: Bench) -> None:
    number = bench.mkdir("/d").number
    bench.write("/d/taken", b"1")
    files, seen = bench.namespace.files, bench.run(
        bench.namespace.files.look_at_directory, (b"d",), ROOT
    )
    step = Declare((b"d",), packed(SMALL), seen)
    with pytest.raises(StepError) as caught:
        bench.run(files.apply, [step, Create((b"d", b"taken"), b"2", 0o644)], ROOT)
    assert caught.value.error.errno == errno.EEXIST
    assert got(bench, number) is None
    bench.run(files.apply, [step, Create((b"d", b"new"), b"2", 0o644)], ROOT)
    assert (got(bench, number), bench.read("/d/new")) == (SMALL, b"2")
    with pytest.raises(StepError) as caught:
        bench.run(files.apply, [step], ROOT)
    assert caught.value.changed
    bench.check()


def test_only_the_owner_may(bench: Bench) -> None:
    bench.mkdir("/d", 0o755, ALICE)
    declare(bench, "/d", SMALL, ALICE)
    with pytest.raises(StepError) as caught:
        declare(bench, "/d", LARGE, BOB)
    assert caught.value.error.errno == errno.EPERM
    bench.write("/f", b"")
    with failing(errno.ENOTDIR):
        bench.run(bench.namespace.files.look_at_directory, (b"f",), ROOT)
    assert declare(bench, "/", SMALL)[0].number == 1
    bench.check()


def test_no_larger_than_it_may_be(bench: Bench) -> None:
    spare = DECLARATION_MAX - len(encode_canonical({"n": "x" * 60_000}))
    number = bench.mkdir("/d").number
    largest: Declaration = {"n": "x" * (60_000 + spare)}
    assert len(packed(largest)) == DECLARATION_MAX
    declare(bench, "/d", largest)
    assert got(bench, number) == largest
    with pytest.raises(AffsError) as caught:
        packed({"n": "x" * (60_001 + spare)})
    assert caught.value.code == "collection.too_large"


def test_damage_is_named(bench: Bench) -> None:
    number = bench.mkdir("/d").number
    declare(bench, "/d", SMALL)
    bench.run(bench.volume.working.tree.put, number, ITEM_COLLECTION, 0, b"\x01")
    bench.commit()
    bench.open()
    with pytest.raises(AffsError) as caught:
        got(bench, number)
    assert caught.value.code == "collection.damaged"
    declare(bench, "/d", SMALL)
    assert got(bench, number) == SMALL
    bench.check()


def test_loads_what_it_misses(bench: Bench) -> None:
    """With a cold cache each of the calls is begun again until all nodes are there."""
    for index in range(400):
        bench.mkdir(f"/d{index}")
        if index % 3 == 0:
            declare(bench, f"/d{index}", {"index": index})
    bench.check()
    for index in range(400):
        bench.volume.cache.drop_clean()
        found = got(bench, bench.find(f"/d{index}").number)
        assert found == ({"index": index} if index % 3 == 0 else None)
        if index % 5 == 0:
            bench.volume.cache.drop_clean()
            bench.run(bench.namespace.rmdir, 1, b"d%d" % index)
    assert len(numbers(bench)) == 134 - 27
    bench.check()
