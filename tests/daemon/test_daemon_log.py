"""Lines of the log: whole, one an event, and what they carry can be read back."""

import json
import logging
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from affs_fuse.daemon.log import JsonFormatter, LineFormatter, configure_logging
from affs_fuse.runtime.trace import traced


def record(message: str, fields: dict[str, Any] | None = None) -> logging.LogRecord:
    made = logging.LogRecord("affs.test", logging.WARNING, "", 0, message, (), None)
    made.fields = fields or {}
    return made


TEXT = st.text(max_size=20)


@settings(deadline=None)
@given(TEXT, st.dictionaries(st.sampled_from("abc"), TEXT | st.integers() | st.none()))
def test_json_lines_can_be_read_back(message: str, fields: dict[str, Any]) -> None:
    line = JsonFormatter().format(record(message, fields))
    assert len(line.splitlines()) == 1
    entry = json.loads(line)
    assert (entry["level"], entry["logger"], entry["message"]) == ("warning", "affs.test", message)
    assert {key: entry[key] for key in fields} == fields


@settings(deadline=None)
@given(TEXT, TEXT)
def test_text_lines_stay_one(message: str, value: str) -> None:
    line = LineFormatter(with_time=True).format(record(message, {"name": value}))
    assert len(line.splitlines()) == 1


def test_names_of_fields_do_not_hide_what_every_line_has() -> None:
    entry = json.loads(JsonFormatter().format(record("x", {"level": "mine", "odd": {1, 2}})))
    assert (entry["level"], entry["level_"], entry["odd"]) == ("warning", "mine", "{1, 2}")


@pytest.mark.parametrize("json_lines", [True, False])
def test_a_file_gets_trace_and_traceback(tmp_path: Path, json_lines: bool) -> None:
    root = logging.getLogger()
    before, level, raising = root.handlers[:], root.level, logging.raiseExceptions
    path = tmp_path / "log"
    root.handlers = []
    try:
        configure_logging(str(path), volume="v", json_lines=json_lines)
        with traced("t-1"):
            try:
                os.stat(tmp_path / "absent")
            except OSError:
                logging.getLogger("affs.x").exception("no such thing")
        root.handlers[0].close()
    finally:
        root.handlers = before
        root.setLevel(level)
        logging.raiseExceptions = raising
    (line,) = path.read_text().splitlines()
    if json_lines:
        entry = json.loads(line)
        assert (entry["trace"], entry["message"]) == ("t-1", "no such thing")
        assert "FileNotFoundError" in entry["traceback"]
        assert entry["time"][10] == "T"
    else:
        assert "trace=t-1" in line
        assert "FileNotFoundError" in line
