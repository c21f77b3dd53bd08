"""The shell's history: kept across sessions, for its owner alone, searched with filters."""

import os
from pathlib import Path

import pytest

from affs_ctl import history as history_module
from affs_ctl.history import History, history_path
from affs_fuse.clock import Clock


def clock() -> Clock:
    ticks = iter(range(1, 1_000_000))
    return Clock(now_ns=lambda: next(ticks), monotonic=lambda: 0.0)


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "state" / "affs" / "history")


def filled(path: str) -> History:
    history = History(path, clock())
    history.add("status", session="aa11", volume="v1", status=0)
    history.add("Show nothing", session="aa11", volume="v1", status=16)
    history.add(" checkpoint -m secret", session="aa11", volume="v1", status=0)
    history.add("show 'ü\n'", session="bb22", volume="v2", status=0)
    history.add("show 'ü\n'", session="bb22", volume="v2", status=0)
    return history


def test_it_is_there_for_the_next_session_and_for_its_owner_alone(path: str) -> None:
    old = os.umask(0)
    try:
        first = filled(path)
    finally:
        os.umask(old)
    assert os.stat(path).st_mode & 0o777 == 0o600
    assert os.stat(os.path.dirname(path)).st_mode & 0o777 == 0o700
    assert "secret" not in Path(path).read_text()
    second = History(path, clock())
    assert second.lines() == first.lines() == ["show 'ü\n'", "Show nothing", "status"]
    assert second.search() == first.search()


def test_search_and_filters(path: str) -> None:
    history = filled(path)

    def lines(text: str = "", **filters: object) -> list[str]:
        return [entry.line for entry in history.search(text, **filters)]  # type: ignore[arg-type]

    assert lines("SHOW", succeeded=False) == ["Show nothing"]
    assert lines("show", succeeded=True) == ["show 'ü\n'"] * 2
    assert lines(session="aa") == ["status", "Show nothing"]
    assert lines(volume="v2", limit=1) == ["show 'ü\n'"]
    assert lines("nowhere") == lines(limit=0) == []


def test_what_cannot_be_read_or_written_is_no_failure(path: str, tmp_path: Path) -> None:
    filled(path)
    with open(path, "ab") as file:
        file.write(b'{"time_ns":1}\n\xff\n[]\n{"half')
    assert History(path, clock()).lines()[0] == "show 'ü\n'"
    blocked = tmp_path / "file"
    blocked.write_text("")
    history = History(str(blocked / "affs" / "history"), clock())
    history.add("status", session="", volume="", status=0)
    assert history.lines() == ["status"]


def test_the_older_half_goes_when_it_is_too_long(
    path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(history_module, "HISTORY_BYTES_MAX", 2000)
    history = History(path, clock())
    for number in range(100):
        history.add(f"line {number}", session="s", volume="v", status=0)
    assert os.stat(path).st_size > 2000
    kept = History(path, clock()).lines()
    assert (kept[0], kept[-1], len(kept)) == ("line 99", "line 50", 50)
    assert len(Path(path).read_text().splitlines()) == 50
    assert os.stat(path).st_mode & 0o777 == 0o600
    assert os.listdir(os.path.dirname(path)) == ["history"]


def test_where_it_is() -> None:
    assert history_path({"XDG_STATE_HOME": "/s", "HOME": "/h"}) == "/s/affs/history"
    assert history_path({"HOME": "/h"}) == "/h/.local/state/affs/history"
    assert history_path({"XDG_STATE_HOME": "relative"}) == history_path({}) == ""
