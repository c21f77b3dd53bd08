"""Settings: values in the system tree that survive rollbacks and crashes, against a plain dict."""

import random
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from volume_harness import Harness

from affs_fuse.auv import encode_canonical, equal
from affs_fuse.core.constants import ITEM_MAX, ITEM_OPERATION, ITEM_POLICY
from affs_fuse.errors import AffsError, Category
from affs_fuse.volume import settings as volume_settings
from affs_fuse.volume import verbs
from affs_fuse.volume.mkfs import MkfsOptions, make_volume
from affs_fuse.volume.settings import SettingKind
from affs_tools import dump
from affs_tools.library import Library
from affs_tools.reader.structures import Damage
from affs_tools.reader.values import read_value

kinds = st.sampled_from([*SettingKind])
numbers = st.one_of(st.integers(0, 3), st.just(2**64 - 1))
values = st.one_of(st.booleans(), st.integers(-5, 5), st.text(max_size=60), st.binary(max_size=999))
step = st.one_of(
    st.tuples(st.just("put"), kinds, numbers, values),
    st.tuples(st.just("delete"), kinds, numbers),
    st.tuples(st.just("commit")),
    st.tuples(st.just("crash")),
    st.tuples(st.just("rollback")),
    st.tuples(st.just("log"), st.binary(min_size=1, max_size=9)),
)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.lists(step, max_size=40))
def test_settings_are_those_of_the_last_commit_whatever_was_rolled_back(steps: list) -> None:
    harness = Harness()
    harness.keep()
    model: dict[tuple[int, int], object] = {}
    durable: dict[tuple[int, int], object] = {}
    for name, *arguments in steps:
        table = harness.volume.settings
        if name == "put":
            table.put(*arguments)
            model[arguments[0], arguments[1]] = arguments[2]
        elif name == "delete":
            assert table.delete(*arguments) == (tuple(arguments) in model)
            model.pop(tuple(arguments), None)
        elif name == "log":
            harness.volume.append_operation(encode_canonical(arguments[0]))
        elif name == "crash":
            harness.open()
            model = dict(durable)
        else:
            if name == "rollback":
                target = harness.volume.states.listed()[0]
                verbs.rollback(harness.volume, target)
            else:
                harness.volume.commit()
            durable = dict(model)
        table = harness.volume.settings
        for kind in SettingKind:
            wanted = {number: value for (one, number), value in model.items() if one == kind}
            assert dict(table.items(kind)) == wanted
            assert table.numbers(kind) == sorted(wanted)
            for number in (0, 1, 2**64 - 1):
                assert table.get(kind, number) == wanted.get(number)


def test_numbers_are_given_above_those_in_use() -> None:
    table = Harness().volume.settings
    assert table.next_number(SettingKind.HOOKS) == 1
    table.put(SettingKind.TOKENS, 40, "of the kind behind")
    table.put(SettingKind.PACKAGES, 30, "of the kind before")
    assert table.next_number(SettingKind.HOOKS) == 1
    table.put(SettingKind.HOOKS, 7, True)
    assert table.next_number(SettingKind.HOOKS) == 8


def refused(code: str, category: Category, *arguments: object) -> None:
    table = Harness().volume.settings
    with pytest.raises(AffsError) as caught:
        table.put(SettingKind.ROLES, 1, *arguments)  # type: ignore[arg-type]
    assert (caught.value.code, caught.value.category) == (code, category)
    assert table.items(SettingKind.ROLES) == []


def test_what_cannot_be_read_back_is_refused() -> None:
    refused("setting.value", Category.INVALID, None)
    refused("setting.value", Category.INVALID, {1, 2})
    refused("setting.too_long", Category.INVALID, bytes(ITEM_MAX - 2))
    table = Harness().volume.settings
    table.put(SettingKind.ROLES, 1, bytes(ITEM_MAX - 3))
    assert table.get(SettingKind.ROLES, 1) == bytes(ITEM_MAX - 3)


def test_a_kind_has_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(volume_settings, "SETTINGS_MAX", 3)
    table = Harness().volume.settings
    for number in (5, 6, 7):
        table.put(SettingKind.TOKENS, number, number)
    with pytest.raises(AffsError, match="3 settings of the kind tokens") as caught:
        table.put(SettingKind.TOKENS, 8, 8)
    assert caught.value.code == "setting.too_many"
    table.put(SettingKind.TOKENS, 5, "replaced")
    table.put(SettingKind.HOOKS, 8, "another kind")


def test_a_damaged_setting_is_told_and_can_be_replaced() -> None:
    volume = Harness().volume
    volume.trees.system.put(SettingKind.HOOKS, ITEM_POLICY, 3, b"\xc1")
    with pytest.raises(AffsError, match="setting 3 of the kind hooks is no value") as caught:
        volume.settings.items(SettingKind.HOOKS)
    assert (caught.value.code, caught.value.category) == ("setting.damaged", Category.CORRUPT)
    volume.settings.put(SettingKind.HOOKS, 3, "whole")
    assert volume.settings.items(SettingKind.HOOKS) == [(3, "whole")]


# ---- the second reader ----


@settings(max_examples=300, derandomize=True)
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats() | st.text()
        | st.binary(),
        lambda inner: st.lists(inner, max_size=20) | st.dictionaries(st.text(), inner, max_size=20),
        max_leaves=40,
    )
)
def test_the_second_reader_reads_every_value(value: object) -> None:
    assert equal(read_value(encode_canonical(value)), value)  # type: ignore[arg-type]


def test_the_second_reader_takes_no_nonsense() -> None:
    noise = random.Random(3)
    image = encode_canonical({"a": [1, "two", b"three", 4.0, None, {"deep": [True] * 20}]})
    outcomes = set()
    for _ in range(3000):
        data = bytearray(image)
        for _ in range(noise.randrange(1, 4)):
            data[noise.randrange(len(data))] = noise.randrange(256)
        try:
            read_value(bytes(data[: noise.randrange(len(data) + 1)]))
        except Damage:
            outcomes.add("refused")
        else:
            outcomes.add("read")
    assert outcomes == {"refused", "read"}


def test_dump_shows_settings_and_log(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = str(tmp_path / "volume.affs")
    make_volume(path, MkfsOptions(size_bytes=64 << 20))
    library = Library(path)
    library.volume.settings.put(SettingKind.ROLES, 2, {"user": "ann\x1b[2J", "role": "admin"})
    library.volume.settings.put(SettingKind.TOKENS, 1, {"hash": b"\x01\xff", "until": float("inf")})
    library.volume.trees.system.put(9, ITEM_POLICY, 1, encode_canonical("of a kind to come"))
    library.volume.append_operation(encode_canonical({"command": "commit"}))
    library.volume.trees.system.put(1, ITEM_OPERATION, 7, b"\xc1")
    library.close()
    assert dump.main([path, "settings"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        'roles 2: {"role":"admin","user":"ann\\u001b[2J"}',
        'tokens 1: {"hash":hex"01FF","until":inf}',
        '9 1: "of a kind to come"',
    ]
    assert dump.main([path, "log"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        '1: {"command":"commit"}', "7: DAMAGED: no value: byte 0xc1 begins none",
    ]
    assert dump.main([path, "--json", "settings"]) == 0
    assert '"name": "tokens 1"' in capsys.readouterr().out
    assert dump.main([path, "tree", "system"]) == 0
    assert 'policy, 0x2) {"role":"admin"' in capsys.readouterr().out
