"""How affsctl shows values to people."""

from typing import Any

import pytest

from affs_ctl import render
from affs_ctl.options import parse_options, quote_word


def field(path: str, kind: str = "text", title: str = "", wide: bool = False) -> dict[str, Any]:
    return {"path": path, "title": title or path.upper(), "kind": kind, "wide": wide}


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1.00 KiB"),
        (10 * 1024, "10.0 KiB"),
        (123 * 1024, "123 KiB"),
        (-1536, "-1.50 KiB"),
        (1 << 30, "1.00 GiB"),
        (2**63 - 1, "8.00 EiB"),
    ],
)
def test_sizes(count: int, text: str) -> None:
    assert render.size(count) == text


@pytest.mark.parametrize(
    ("value", "kind", "text"),
    [
        ("ab" * 16, "id", "abababababab"),
        ({"id": "cd" * 16, "label": "x"}, "state", "x (cdcdcdcdcdcd)"),
        ({"id": "cd" * 16, "label": ""}, "state", "cdcdcdcdcdcd"),
        (2048, "growth", "+2.00 KiB"),
        (-5, "growth", "-5 B"),
        (0, "growth", "0 B"),
        (0.25, "duration", "250 ms"),
        (93_784, "duration", "1 d 2:03:04"),
        (True, "flag", "yes"),
        (["a", "b"], "list", "a,b"),
        ([{"kind": "added", "path": "/x", "bytes": 3}], "list", "added /x bytes=3"),
        ({"a": 1, "b c": {"d": [None, "\x1b"]}}, "entry", 'a=1  b c={"d":[null,"\\u001b"]}'),
        (3, "entry", "3"),
        (None, "size", ""),
        ("not a number", "size", "not a number"),
        ("a\x1bb\u202e", "text", "a\\x1bb\\u202e"),
        ("new", "of a kind from the future", "new"),
    ],
)
def test_kinds(value: Any, kind: str, text: str) -> None:
    assert render.text_of(value, kind) == text


def test_times_are_iso_8601(monkeypatch: pytest.MonkeyPatch) -> None:
    text = render.text_of(1_700_000_000_000_000_000, "time")
    assert text.startswith("2023-11-1")
    assert text[10] == "T"
    assert text[-6] in "+-"
    assert render.text_of(10**30, "time") == str(10**30)


def test_a_headline_takes_fields_of_the_result() -> None:
    value = {"seq": 4, "size": 2048, "target": {"id": "ab" * 16, "label": "x"}}
    fields = [field("size", "size")]
    text = render.headline("At {target}, {size} in {seq}.", value, fields)
    assert text == "At x (abababababab), 2.00 KiB in 4."
    assert render.headline("Kept as {}.", value["target"], []) == "Kept as x (abababababab)."


def test_a_document_shows_what_there_is() -> None:
    value = {"a": 1, "b": {"c": "deep"}, "empty": "", "none": None, "many": [{"name": "x"}] * 2}
    fields = [field(name) for name in ("a", "b.c", "empty", "none", "absent", "a.b")]
    lines = render.document(value, [*fields, field("many", "list")])
    assert lines == ["A     1", "B.C   deep", "MANY  x", "      x"]


def test_a_document_leaves_out_what_is_wide_and_nothing() -> None:
    fields = [field(name, "count", wide=True) for name in ("a", "b", "c", "d")]
    assert render.document({"a": 0, "b": 3, "c": False, "d": None}, fields) == ["B  3"]
    assert render.document({"a": 0}, [field("a", "count")]) == ["A  0"]


def test_a_document_without_fields_is_shown_in_full() -> None:
    assert render.document({"a": [1]}, []) == ["{", '  "a": [', "    1", "  ]", "}"]


ROWS = [
    {"id": "ab" * 16, "n": 7, "message": "short", "trace": "t" * 20},
    {"id": "cd" * 16, "n": 1000, "message": "long " * 20, "trace": "u" * 20},
]
FIELDS = [
    field("id", "id"),
    field("n", "count"),
    field("never"),
    field("flag", "flag"),
    field("message"),
    field("trace", wide=True),
]


def test_a_table_into_a_pipe_is_not_cut() -> None:
    title, first, second = render.table(ROWS, FIELDS, None)
    assert title.split() == ["ID", "N", "MESSAGE", "TRACE"]
    assert first.split() == ["abababababab", "7", "short", "t" * 20]
    assert ("long " * 20).strip() in second


@pytest.mark.parametrize("width", [30, 40, 60, 80])
def test_a_table_fits_the_terminal(width: int) -> None:
    lines = render.table(ROWS, FIELDS, width)
    assert max(map(len, lines)) <= width
    assert lines[0].split() == ["ID", "N", "MESSAGE"]
    assert "…" in lines[2]


def test_numbers_stand_on_the_right() -> None:
    lines = render.table([{"n": 1}, {"n": 1000}], [field("n", "count")], 80)
    assert lines == ["   N", "   1", "1000"]


def test_a_row_of_a_stream_shows_the_rest() -> None:
    fields = [field("kind"), field("", "rest"), field("number", "count", wide=True)]
    event = {"kind": "publish", "number": 7, "seq": 4, "state": "ab", "none": None, "deep": {}}
    assert render.row(event, fields) == "publish     seq=4 state=ab"


def test_titles_stand_above_the_rows_of_a_stream() -> None:
    fields = [field("kind"), field("n", "count", "Estimate"), field("w", title="What")]
    lines = [render.titles(fields), render.row({"kind": "a", "n": 7, "w": "x y"}, fields)]
    assert lines == ["KIND        ESTIMATE  WHAT", "a                  7  x y"]
    assert render.titles(fields[:1]) == ""


def test_an_empty_table_has_no_rows() -> None:
    assert len(render.table([], FIELDS, 80)) == 1


def test_options_of_affsctl_may_follow_the_command() -> None:
    options = parse_options(
        ["-V", "vol", "diff", "a", "--json", "--timeout=3", "-q", "--", "--ajis"]
    )
    assert (options.volume, options.format, options.timeout_s) == ("vol", "json", 3.0)
    assert options.words == ["diff", "a", "-q", "--", "--ajis"]
    assert parse_options(["-Vvol", "-q", "x"]).volume == "vol"


@pytest.mark.parametrize(
    ("word", "line"),
    [
        ("a b", "'a b'"),
        ("", "''"),
        ("-m", "-m"),
        ("--message=a b", "--message='a b'"),
        ("-ma b", "-ma' b'"),
        ("it's", "'it'\"'\"'s'"),
    ],
)
def test_quoting(word: str, line: str) -> None:
    assert quote_word(word) == line
