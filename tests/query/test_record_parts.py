"""Changes of one value, and batches of files on a memory device, against plain Python."""

import copy
import random

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from posix_harness import ALICE, BOB, ROOT
from query_harness import QueryBench

from affs_fuse import auv
from affs_fuse.errors import AffsError
from affs_fuse.posix import batches
from affs_fuse.posix.namespace import Changes
from affs_fuse.query.editing import edited, parse_changes, parse_place

PROFILE = settings(max_examples=120, deadline=None, derandomize=True, database=None)

leaves = st.none() | st.integers(0, 3) | st.sampled_from(["", "a"]) | st.just([1, {"a": 2}])
trees = st.recursive(
    leaves, lambda inner: st.dictionaries(st.sampled_from("abc"), inner, max_size=3), max_leaves=8
)
objects = st.dictionaries(st.sampled_from("abc"), trees, max_size=3)
places = st.lists(st.sampled_from("abc"), min_size=1, max_size=3).map(tuple)

Flat = dict[tuple[str, ...], auv.Value]


def flat(value: auv.Value, place: tuple[str, ...] = ()) -> Flat:
    """Each leaf, and each empty Object, by its place."""
    if not isinstance(value, dict) or not value:
        return {place: value}
    return {k: v for key in value for k, v in flat(value[key], (*place, key)).items()}


def at(value: auv.Value, place: tuple[str, ...]) -> auv.Value:
    for key in place:
        value = value.get(key) if isinstance(value, dict) else None
    return value


def is_free(value: auv.Value, place: tuple[str, ...]) -> bool:
    """Whether nothing but Objects and Null stands on the way."""
    return all(isinstance(at(value, place[:n]), dict | None) for n in range(len(place)))


def change(value: auv.Value, verb: str, place: tuple[str, ...], *operand: auv.Value) -> auv.Value:
    before = copy.deepcopy(value)
    made = edited(value, parse_changes([verb, ".".join(place), *operand]))
    assert auv.equal(value, before), "the old value was changed"
    return made


@PROFILE
@given(objects, places, trees)
def test_set_changes_one_place_alone(value: auv.Value, place: tuple, operand: auv.Value) -> None:
    if not is_free(value, place):
        with pytest.raises(AffsError) as caught:
            change(value, "set", place, operand)
        assert caught.value.code == "record.change"
        return
    others = {
        leaf: member
        for leaf, member in flat(value).items()
        if leaf[: len(place)] != place and leaf != place[: len(leaf)]
    }
    wanted = {**others, **{place + leaf: member for leaf, member in flat(operand).items()}}
    assert flat(change(value, "set", place, operand)) == wanted


@PROFILE
@given(objects, places)
def test_unset_takes_one_place_away(value: auv.Value, place: tuple) -> None:
    assume(is_free(value, place))
    made = change(value, "unset", place)
    parent = at(made, place[:-1])
    assert not isinstance(parent, dict) or place[-1] not in parent
    kept = {leaf: member for leaf, member in flat(value).items() if leaf[: len(place)] != place}
    assert {leaf: m for leaf, m in flat(made).items() if leaf in kept} == kept
    assert set(flat(made)) - set(kept) <= {place[:-1]}
    assert auv.equal(change(made, "unset", place), made)


@PROFILE
@given(objects, objects)
def test_merge_is_as_setting_each_leaf(value: auv.Value, operand: auv.Value) -> None:
    made = edited(value, parse_changes(["merge", "$", operand]))
    for leaf, member in flat(operand).items():
        if member != {}:
            assert auv.equal(at(made, leaf), member)
    for leaf, member in flat(value).items():
        covered = any(leaf[:n] in flat(operand) for n in range(len(leaf) + 1))
        if not covered and not isinstance(at(operand, leaf), dict):
            assert auv.equal(at(made, leaf), member)
    assert auv.equal(edited(made, parse_changes(["merge", "$", operand])), made)


def test_arrays_and_other_keys() -> None:
    value = {"a": [1, [2, 3], {"x": 4}], "k k": {"q": 1}}
    for words, wanted in [
        (["set", "a[0]", 9], [9, [2, 3], {"x": 4}]),
        (["set", "a[-1].x", 9], [1, [2, 3], {"x": 9}]),
        (["set", "a[1][1]", 9], [1, [2, 9], {"x": 4}]),
        (["unset", "a[1]"], [1, {"x": 4}]),
        (["unset", "a[7]"], [1, [2, 3], {"x": 4}]),
        (["append", "a[1]", 9], [1, [2, 3, 9], {"x": 4}]),
        (["merge", "a[2]", {"y": 5}], [1, [2, 3], {"x": 4, "y": 5}]),
    ]:
        assert edited(value, parse_changes(words))["a"] == wanted
    assert edited(value, parse_changes(["set", '$["k k"].q', 2]))["k k"] == {"q": 2}
    assert edited(value, parse_changes(["SET", "`k k`.q", 2]))["k k"] == {"q": 2}
    assert edited(None, parse_changes(["append", "a.b", 1])) == {"a": {"b": [1]}}
    assert edited([1], parse_changes(["append", "$", 2])) == [1, 2]
    for words in (["set", "a[3]", 1], ["set", "a.x", 1], ["append", "a[0]", 1], ["merge", "a", {}]):
        with pytest.raises(AffsError):
            edited(value, parse_changes(words))
    for text in (
        "",
        ".",
        "a.",
        "a[",
        "a[x]",
        "a[1",
        "a b",
        "a..b",
        "[0]",
        "$$",
        "a[9223372036854775808]",
    ):
        with pytest.raises(AffsError):
            parse_place(text)


# ---- batches ----


def parts(path: str) -> tuple[bytes, ...]:
    return tuple(part.encode() for part in path.strip("/").split("/"))


def test_random_batches_against_a_dict(bench: QueryBench) -> None:
    """Right steps and wrong ones; after each batch, and after a reopening, every file is as the
    model says, and at the end the volume is checked as fsck.affs does."""
    chance = random.Random(8)
    model: dict[str, bytes] = {}
    sizes = [0, 1, 100, 2048, 2049, 4096, 5000, 70_000]
    bench.directory("/d/e")
    names = [f"/d/{folder}f{n}" for folder in ("", "e/") for n in range(12)]
    refused = 0
    for turn in range(120):
        steps, wanted = [], dict(model)
        used: set[str] = set()
        for _ in range(chance.randrange(1, 9)):
            path, target = chance.choice(names), chance.choice(names)
            data = bytes([chance.randrange(256)]) * chance.choice(sizes)
            if path in used or target in used or path == target:
                continue
            kind = chance.choice(["create", "replace", "remove", "move"])
            if kind == "create":
                steps.append(batches.Create(parts(path), data, 0o644))
                wanted = None if wanted is None or path in wanted else {**wanted, path: data}
                used.add(path)
                continue
            if path not in model:
                continue
            seen, content = bench.run(bench.namespace.files.look_at, parts(path), ROOT)
            assert content == model[path]
            used.add(path)
            if kind == "replace":
                steps.append(batches.Replace(parts(path), data, seen))
                wanted = None if wanted is None else {**wanted, path: data}
            elif kind == "remove":
                steps.append(batches.Remove(parts(path), seen))
                if wanted is not None:
                    del wanted[path]
            else:
                used.add(target)
                steps.append(batches.Move(parts(path), parts(target), seen))
                if wanted is not None:
                    free = target not in wanted
                    wanted = {**wanted, target: wanted[path]} if free else None
                if wanted is not None:
                    del wanted[path]
        if wanted is None:
            refused += 1
            with pytest.raises(batches.StepError):
                bench.run(bench.namespace.files.apply, steps, ROOT)
        else:
            bench.run(bench.namespace.files.apply, steps, ROOT)
            model = wanted
        if turn % 7 == 0:
            bench.checkpoint(f"s{turn}")
        if turn % 10 == 9:
            bench.commit()
            bench.open()
        listed = {"/d/" + n.decode() for n in bench.names("/d")} - {"/d/e"}
        listed |= {"/d/e/" + n.decode() for n in bench.names("/d/e")}
        assert listed == set(model)
        assert {path: bench.read(path) for path in model} == model
    assert 10 < refused < 110
    bench.check()


def test_a_file_that_changed_since_it_was_seen_is_left_alone(bench: QueryBench) -> None:
    bench.put("/a", 1)
    bench.put("/b", 2)
    for meanwhile in ("write", "chmod", "rename", "replace"):
        path = (b"a",)
        seen, _ = bench.run(bench.namespace.files.look_at, path, ROOT)
        if meanwhile == "write":
            bench.write("/a", b"x")
        elif meanwhile == "chmod":
            bench.run(bench.namespace.setattr, seen.number, Changes(mode=0o600), ROOT)
        elif meanwhile == "rename":
            bench.rename("/a", "/c")
        else:
            bench.put("/x", 3)
            bench.rename("/x", "/a")
        for step in (
            batches.Replace(path, b"new", seen), batches.Remove(path, seen),
            batches.Move(path, (b"z",), seen),
        ):  # fmt: skip
            with pytest.raises(batches.StepError) as caught:
                bench.run(bench.namespace.files.apply, [step], ROOT)
            assert caught.value.changed
        if meanwhile == "rename":
            bench.rename("/c", "/a")


def test_who_may_not_through_the_mount_may_not_by_a_batch(bench: QueryBench) -> None:
    folder = bench.directory("/d")
    bench.load("/d/a", "1", ALICE)
    seen, _ = bench.run(bench.namespace.files.look_at, parts("/d/a"), ROOT)
    steps = {
        "create": batches.Create(parts("/d/n"), b"1", 0o644),
        "replace": batches.Replace(parts("/d/a"), b"2", seen),
        "remove": batches.Remove(parts("/d/a"), seen),
        "move": batches.Move(parts("/d/a"), parts("/d/z"), seen),
    }

    def refused(who) -> set[str]:
        found = set()
        for name, step in steps.items():
            with pytest.raises(batches.StepError) as caught:
                bench.run(bench.namespace.files.apply, [step, wrong], who)
            if caught.value.index == 0:
                assert isinstance(caught.value.error, PermissionError)
                found.add(name)
        return found

    bench.directory("/open")
    bench.run(bench.namespace.setattr, bench.directory("/open"), Changes(mode=0o777), ROOT)
    bench.put("/open/there", 1)
    wrong = batches.Create(parts("/open/there"), b"", 0o644)  # so that nothing happens in the end
    assert refused(ROOT) == set()
    assert refused(ALICE) == {"create", "remove", "move"}
    bench.run(bench.namespace.setattr, folder, Changes(mode=0o777), ROOT)
    assert refused(ALICE) == set()
    assert refused(BOB) == {"replace"}
    bench.run(bench.namespace.setattr, folder, Changes(mode=0o1777), ROOT)
    assert refused(BOB) == {"replace", "remove", "move"}
    assert refused(ALICE) == set()
    bench.run(bench.namespace.setattr, folder, Changes(mode=0o700), ROOT)
    assert refused(ALICE) == set(steps)


def test_no_room_leaves_nothing_behind() -> None:
    bench = QueryBench(size_bytes=64 << 20)
    bench.directory("/d")
    steps = [batches.Create(parts(f"/d/{n}"), b"x" * (1 << 20), 0o644) for n in range(100)]
    with pytest.raises(AffsError) as caught:
        bench.run(bench.namespace.files.apply, steps, ROOT)
    assert caught.value.code == "volume.no_space"
    assert bench.names("/d") == []
    bench.run(bench.namespace.files.apply, steps[:20], ROOT)
    assert len(bench.names("/d")) == 20
    bench.check()


def test_a_large_batch_on_a_cold_volume() -> None:
    bench = QueryBench(size_bytes=256 << 20, cache_bytes=1 << 20)
    for index in range(600):
        bench.load(f"/d/{index}", "x" * 1500)
    bench.commit()
    bench.open()
    looked = [
        bench.run(bench.namespace.files.look_at, parts(f"/d/{n}"), ROOT)[0] for n in range(400)
    ]
    bench.open()
    steps: list[batches.Step] = []
    for n, seen in enumerate(looked):
        path = parts(f"/d/{n}")
        step = [
            batches.Remove(path, seen), batches.Move(path, parts(f"/d/m{n}"), seen),
            batches.Replace(path, b"y" * (n * 20), seen),
        ][n % 3]  # fmt: skip
        steps.append(step)
    steps += [batches.Create(parts(f"/d/c{n}"), b"z" * 1000, 0o644) for n in range(100)]
    with bench.namespace.files.keeping_nodes():
        for step in steps:
            bench.run(bench.namespace.files.check, step, ROOT)
        attempts = []

        def apply() -> None:
            attempts.append(1)
            bench.namespace.files.apply(steps, ROOT)

        bench.run(apply)
    assert len(attempts) <= 2  # all but the place of new objects was there
    assert len(bench.names("/d")) == 600 - 134 + 100
    bench.check()
