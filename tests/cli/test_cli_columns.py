"""Room on a terminal: wide and combining characters, tables that fit."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from wcwidth import wcswidth

from affs_ctl import columns, render

TEXT = st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cs", "Cn", "Co", "Cf")))


@pytest.mark.parametrize(
    ("text", "width"),
    [("abc", 3), ("日本語", 6), ("e\u0301", 1), ("한글", 4), ("a\u200bb", 2), ("", 0), ("😀", 2)],
)
def test_widths(text: str, width: int) -> None:
    assert columns.width_of(text) == width


@settings(deadline=None)
@given(TEXT, st.integers(1, 20))
def test_what_is_cut_fits(text: str, width: int) -> None:
    kept = columns.cut(text, width)
    assert columns.width_of(kept) <= width
    assert kept == text or (kept.endswith("…") and text.startswith(kept[:-1]))
    assert columns.width_of(columns.pad(kept, width)) == width


@settings(deadline=None)
@given(st.text("abzäßÅ日本語한글😀─é", max_size=20))
def test_widths_as_terminals_take_them(text: str) -> None:
    assert columns.width_of(text) == wcswidth(text)


@pytest.mark.parametrize("width", [20, 41, 60, 80])
def test_a_table_of_wide_names_fits_and_stands_straight(width: int) -> None:
    fields: list[dict[str, Any]] = [
        {"path": "name", "title": "Name", "kind": "text", "wide": False},
        {"path": "bytes", "title": "Size", "kind": "size", "wide": False},
    ]
    rows = [
        {"name": "日本語のとても長い名前" * 3, "bytes": 1 << 20},
        {"name": "plain", "bytes": 5},
        {"name": "e\u0301" * 30, "bytes": 77},
    ]
    lines = render.table(rows, fields, width)
    assert {columns.width_of(line) for line in lines} <= {columns.width_of(lines[0])}
    assert columns.width_of(lines[0]) <= width


@pytest.mark.parametrize(
    ("value", "kind", "text"),
    [
        (0.000023, "duration", "23 µs"),
        (0.0015, "duration", "1.5 ms"),
        (2e-9, "duration", "2 ns"),
        (0, "duration", "0 s"),
        (0.306606123, "number", "0.306606"),
        (264241152, "number", "264241152"),
        ({"class": "used", "x": 1}, "pairs", "class=used x=1"),
        ("odd", "pairs", "odd"),
    ],
)
def test_kinds_of_figures(value: Any, kind: str, text: str) -> None:
    assert render.text_of(value, kind) == text
