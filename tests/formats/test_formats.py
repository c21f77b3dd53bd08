"""Readers and writers of records as text, fed in pieces of any size."""

import csv
import io
import random
from collections.abc import Iterator, Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from affs_fuse import auv
from affs_fuse.errors import AffsError
from affs_fuse.formats import (
    Found,
    Mark,
    Reader,
    Refused,
    file_name,
    make_reader,
    make_writer,
    text_readers,
)
from affs_fuse.formats import reader as reader_module

SIZES = (1, 2, 3, 7, 64, 10_000)


def pieces(data: bytes, size: int) -> Iterator[bytes]:
    for at in range(0, len(data), size):
        yield data[at : at + size]


def read(reader: Reader, data: bytes, size: int = 10_000) -> list[Found | Refused]:
    found: list[Found | Refused] = []
    for piece in pieces(data, size):
        reader.feed(piece)
        while (one := reader.next()) is not None:
            found.append(one)
    reader.finish()
    while (one := reader.next()) is not None:
        found.append(one)
    return found


def values(format: str, text: str | bytes, types: str = "string", delimiter: str = ",") -> list:
    """What a text gives, the same for pieces of all sizes: values, and of what is refused the
    place."""
    data = text.encode() if isinstance(text, str) else text
    outcomes = []
    for size in SIZES:
        found = read(make_reader(format, delimiter, types), data, size)
        outcomes.append(
            [one.value if isinstance(one, Found) else (one.line, one.column) for one in found]
        )
    assert all(repr(one) == repr(outcomes[0]) for one in outcomes)
    return outcomes[0]


def fault(format: str, text: str) -> tuple[str, int, int]:
    places = set()
    for size in SIZES:
        with pytest.raises(AffsError) as caught:
            read(make_reader(format, ",", "string"), text.encode(), size)
        details = caught.value.details
        places.add((caught.value.code, details["line_number"], details["column_number"]))
    assert len(places) == 1
    return places.pop()


def test_json_lines() -> None:
    text = '{"a": 1}\n\n  [1, 2] // a comment\r\n"x"\n{"a" 1}\nnull'
    assert values("jsonl", text) == [{"a": 1}, [1, 2], "x", (5, 6), None]
    assert values("jsonl", "") == []
    assert values("jsonl", "\ufeff1\n2\n") == [1, 2]
    assert values("jsonl", b'"\xff"\n3') == [(1, 2), 3]


def test_a_json_document() -> None:
    assert values("json", '[{"a": "]\\"}"}, [1, [2]], "x" , 3]\n') == [
        {"a": ']"}'}, [1, [2]], "x", 3,
    ]  # fmt: skip
    assert values("json", " [ ] ") == []
    assert values("json", '\ufeff\n{"a": [1]}\n') == [{"a": [1]}]
    assert values("json", "7") == [7]
    assert values("json", '[1, {"a" 2}, 3,, 4 5, {"a":\n1 2}]') == [
        1, (1, 10), 3, (1, 16), (1, 20), (2, 3),
    ]  # fmt: skip
    assert values("json", "[1,]") == [1, (1, 4)]
    assert values("json", "/* [ */ [ // ]\n 'A', hex\"00 ff\", 0x10 /* , */ ] // end") == [
        auv.Char("A"), b"\0\xff", 16,
    ]  # fmt: skip


def test_documents_that_break_off_or_go_on_say_where() -> None:
    assert fault("json", "") == ("import.syntax", 1, 1)
    assert fault("json", "[1, 2") == ("import.syntax", 1, 6)
    assert fault("json", "[1,\n2}") == ("import.syntax", 2, 2)
    assert fault("json", "[1, 2] 3") == ("import.syntax", 1, 8)
    assert fault("json", '[1, "a\n", 2]') == ("import.syntax", 1, 5)
    assert fault("json", '["é", "a\n", 2]') == ("import.syntax", 1, 7)


def test_a_sequence() -> None:
    text = '{"a":\n 1}\n[1]\n\n// nothing\n/* nor\nhere */ 2 /* but\n */\n"}" ]\n\'x\n{"b":1}'
    assert values("ajis", text) == [{"a": 1}, [1], 2, (9, 5), (10, 1), {"b": 1}]
    assert values("ajis", "1 2\n{") == [(1, 3), (2, 2)]
    assert values("ajis", "") == values("ajis", "\ufeff \n // x") == []


def test_csv() -> None:
    text = 'name,age\nAnna,31\r\n"B, ""b""\nx",2\n\nC,\n'
    assert values("csv", text) == [
        {"name": "Anna", "age": "31"}, {"name": 'B, "b"\nx', "age": "2"}, {"name": "C", "age": ""},
    ]  # fmt: skip
    assert values("csv", "\ufeffa;b\n1;2", delimiter=";") == [{"a": "1", "b": "2"}]
    assert values("csv", 'a,b\n1,2,3\n1\n5" disk,x\n"a"b,c\n"ok",z\ny,"open\nq,r\n') == [
        (2, 1), (3, 1), (4, 2), (5, 4), {"a": "ok", "b": "z"}, (7, 3), {"a": "q", "b": "r"},
    ]  # fmt: skip
    assert values("csv", b"a,b\nx,\xff\n1,2\n") == [(2, 3), {"a": "1", "b": "2"}]
    assert values("csv", 'a\n""\n') == [{"a": ""}]


def test_types_of_columns() -> None:
    text = "s,i\n007,1\n-0,\n1.5,-3\ntrue,x\nnull,99999999999999999999\n1e400,2\n"
    assert repr(values("csv", text, "guess,i=integer")) == repr([
        {"s": "007", "i": 1}, {"s": "-0"}, {"s": 1.5, "i": -3}, (5, 6), (6, 6),
        {"s": "1e400", "i": 2},
    ])  # fmt: skip
    assert values("csv", "a,b,c\n3,true,{}\n,,\n1,yes,[]\n", "ajis,a=number,b=bool") == [
        {"a": 3.0, "b": True, "c": {}}, {}, (4, 3),
    ]  # fmt: skip
    assert values("csv", 'é,b\n"ü\nü",{\n', "ajis,é=string") == [(3, 4)]
    for types in ("strange", "a=b", "a=string,a=ajis", "guess,", "="):
        with pytest.raises(AffsError, match="types"):
            make_reader("csv", ",", types)
    for delimiter in ("", ",,", '"', "\n", "é"):
        with pytest.raises(AffsError) as caught:
            make_reader("csv", delimiter, "")
        assert caught.value.code == "import.delimiter"


def test_a_header_that_names_nothing_is_said() -> None:
    assert fault("csv", "") == ("import.header", 1, 1)
    assert fault("csv", "a,,b\n") == ("import.header", 1, 3)
    assert fault("csv", "a,b,a\n") == ("import.header", 1, 5)
    assert fault("csv", '"a,b\n1,2\n') == ("import.header", 1, 1)
    with pytest.raises(AffsError, match="no column 'x'"):
        read(make_reader("csv", ",", "x=integer"), b"a,b\n1,2\n")


def test_what_is_too_large_is_refused_without_being_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (reader_module, text_readers):
        monkeypatch.setattr(module, "TEXT_BYTES_MAX", 100)
    monkeypatch.setattr("affs_fuse.formats.csv_reader.TEXT_BYTES_MAX", 100)
    long = "x" * 1000
    for format, text, wanted in [
        ("jsonl", f'1\n"{long}"\n2', [1, (2, 1), 2]),
        ("ajis", f'1\n["{long}",\n3]\n2', [1, (2, 1), (3, 2), 2]),
        ("csv", f"a\n1\n{long}\n2\n", [{"a": "1"}, (3, 1), {"a": "2"}]),
        ("csv", f'a\n1\n"{long}\n2\n', [{"a": "1"}, (3, 1), {"a": "2"}]),
    ]:
        for size in (1, 7, 64):
            reader = make_reader(format, ",", "string")
            found = []
            for piece in pieces(text.encode(), size):
                reader.feed(piece)
                while (one := reader.next()) is not None:
                    found.append(one)
                assert len(reader._buffer.data) < 300  # type: ignore[attr-defined]
            reader.finish()
            while (one := reader.next()) is not None:
                found.append(one)
            shown = [one.value if isinstance(one, Found) else (one.line, one.column)
                     for one in found]  # fmt: skip
            assert shown == wanted, (format, size)
    with pytest.raises(AffsError) as caught:
        read(make_reader("json", ",", ""), f'[1, "{long}"]'.encode(), 10)
    assert caught.value.code == "import.too_large"


_scalars = (
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.text(max_size=8)
    | st.floats(allow_nan=False, allow_infinity=False)
)  # fmt: skip
_json = st.recursive(
    _scalars,
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
_any = _json | st.binary(max_size=5) | st.characters(exclude_categories=["Cs"]).map(auv.Char)
_any = _any | st.lists(_any, max_size=3)


def written(format: str, rows: Sequence[auv.Value], types: str = "string") -> bytes:
    writer = make_writer(format, ",", (), types)
    return b"".join([*(writer.add(row) for row in rows), writer.end()])


def back(format: str, data: bytes, size: int, types: str = "string") -> list:
    found = read(make_reader(format, ",", types), data, size)
    assert all(isinstance(one, Found) for one in found), found
    return [one.value for one in found if isinstance(one, Found)]


def same(left: list, right: list) -> bool:
    return auv.equal(left, right) and auv.format_compact(left) == auv.format_compact(right)


@settings(max_examples=300, deadline=None)
@given(st.lists(_json, max_size=5), st.integers(1, 40), st.sampled_from(["json", "jsonl"]))
def test_json_comes_back(rows: list, size: int, format: str) -> None:
    data = written(format, rows)
    assert same(back(format, data, size), rows)
    assert written(format, back(format, data, size)) == data


@settings(max_examples=300, deadline=None)
@given(st.lists(_any, max_size=5), st.integers(1, 40))
def test_ajis_comes_back(rows: list, size: int) -> None:
    assert same(back("ajis", written("ajis", rows), size), rows)


_names = st.lists(st.text(min_size=1, max_size=5), min_size=1, max_size=4, unique=True)


@settings(max_examples=300, deadline=None)
@given(_names, st.data(), st.integers(1, 40))
def test_csv_comes_back(names: list[str], data: st.DataObject, size: int) -> None:
    row = st.fixed_dictionaries(dict.fromkeys(names, st.text(max_size=6)))
    rows = data.draw(st.lists(row, max_size=4))
    text = written("csv", rows)
    assert back("csv", text, size) == rows if rows else not text
    assert list(csv.DictReader(io.StringIO(text.decode(), newline=""))) == rows
    typed = data.draw(st.lists(st.fixed_dictionaries(dict.fromkeys(names, _any)), max_size=4))
    if typed:
        assert auv.equal(back("csv", written("csv", typed, "ajis"), size, "ajis"), typed)


@settings(max_examples=200, deadline=None)
@given(
    st.sampled_from(["json", "jsonl", "ajis", "csv"]),
    st.lists(st.sampled_from(
        ['{"a": 1}', "[", "]", "{", "}", ",", "\n", '"', "'", "x", "é", "/*", "*/", "//", " ", "1"]
    ), max_size=20),
    st.integers(0, 2**32),
)  # fmt: skip
def test_any_text_gives_the_same_in_any_pieces_and_goes_on_from_every_mark(
    format: str, parts: list[str], seed: int
) -> None:
    """From each mark on, a new reader that skips what lies before it gives the rest."""
    data = ("a,b\n" * (format == "csv") + "".join(parts)).encode()
    whole, marks, error = _outcome(make_reader(format, ",", "string"), data, len(data) or 1)
    chance = random.Random(seed)
    assert _outcome(make_reader(format, ",", "string"), data, chance.randint(1, 9))[::2] == (
        whole, error,
    )  # fmt: skip
    for index, mark in enumerate(marks):
        reader = make_reader(format, ",", "string")
        reader.go_on(mark)
        size = chance.randint(1, 9)
        assert _outcome(reader, data, size)[::2] == (whole[index + 1 :], error)


def _outcome(
    reader: Reader, data: bytes, size: int
) -> tuple[list[Found | Refused], list[Mark], object]:
    found: list[Found | Refused] = []
    marks: list[Mark] = []

    def drain() -> None:
        while (one := reader.next()) is not None:
            found.append(one)
            marks.append(reader.mark)

    try:
        for piece in pieces(data, size):
            reader.feed(piece)
            drain()
        reader.finish()
        drain()
    except AffsError as error:
        return found, marks, (error.code, error.message)
    return found, marks, None


def test_what_csv_cannot_hold_is_refused_with_its_row() -> None:
    writer = make_writer("csv", ",", (), "string")
    assert writer.add({"a": None, "b": 1.0}) == b"a,b\n,1.0\n"
    for row in ({"a": [1]}, {"a": b"1"}, {"a": auv.Char("x")}, {"c": 1}, [1]):
        with pytest.raises(AffsError) as caught:
            writer.add(row)
        assert caught.value.code == "export.row"
    assert caught.value.details == {"row": 6}
    named = make_writer("csv", ";", ("b", "a"), "string")
    assert named.add({"a": "x;y"}) + named.end() == b'b;a\n;"x;y"\n'
    assert make_writer("csv", ",", ("b", "a"), "string").end() == b"b,a\n"


def test_file_names() -> None:
    for value, name in [
        ("anna", "anna"), ("a/b", "a%2Fb"), ("a\0", "a%00"), ("100%", "100%25"), (".", "%2E"),
        ("..", "%2E."), ("...", "..."), (7, "7"), (1.5, "1.5"), (True, "true"),
        (auv.Char("/"), "%2F"), ("", None), (None, None), ([1], None), ({}, None), (b"x", None),
    ]:  # fmt: skip
        assert file_name(value) == name


@settings(max_examples=500, deadline=None)
@given(
    st.text(alphabet="%/.~2F0é\0x", min_size=1, max_size=20).map(lambda text: text * 20)
    | st.text(alphabet="%/.2EF0", min_size=1, max_size=4),
    st.text(alphabet="%/.2EF0", min_size=1, max_size=4),
)
def test_names_are_names_and_differ(one: str, other: str) -> None:
    name = file_name(one)
    assert name is not None
    assert 0 < len(name.encode()) <= 255
    assert not set(name) & {"/", "\0"}
    assert name not in (".", "..")
    assert (file_name(other) == name) == (one == other)
