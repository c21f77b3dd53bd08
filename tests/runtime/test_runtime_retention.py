"""Rules of retention against a plain restatement of them, and what they never choose."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from runtime_engine import running

from affs_fuse.runtime.retention import DAY_NS, Rules, expired
from affs_fuse.runtime.upkeep import Upkeep
from affs_fuse.volume.moments import MomentError, parse_moment, parse_span

HOUR_NS = DAY_NS // 24
NOW_NS = 20_000 * DAY_NS

counts = st.sampled_from([0, 0, 1, 2, 5])
rules = st.builds(
    Rules, keep_last=counts, keep_hourly=counts, keep_daily=counts, keep_weekly=counts,
    keep_monthly=counts, keep_yearly=counts, expire_labelled=st.booleans(),
    automatic_last=counts, automatic_days=st.sampled_from([0, 3]),
)  # fmt: skip
state_parts = st.tuples(
    st.integers(0, 900 * 24), st.booleans(), st.sampled_from(["", "", "x"]),
    st.sampled_from([0, 0, 0, 1]), st.sampled_from([False] * 4 + [True]),
    st.sampled_from([False] * 9 + [True]),
)  # fmt: skip


def states_of(parts: list[tuple[Any, ...]]) -> list[dict[str, Any]]:
    made = []
    for index, part in enumerate(sorted(parts, key=lambda part: -part[0])):
        age_hours, automatic, label, pins, published, undo = part
        made.append({
            "id": f"{index:032x}", "time_ns": NOW_NS - age_hours * HOUR_NS, "label": label,
            "flags": ["automatic"] if automatic else [], "pins": pins, "published": published,
            "undo": undo,
        })  # fmt: skip
    return made


def day_of(state: dict[str, Any]) -> datetime:
    return datetime.fromtimestamp(0, UTC) + timedelta(seconds=state["time_ns"] // 10**9)


def is_kept(state: dict[str, Any], states: list[dict[str, Any]], chosen: Rules) -> bool:
    """Said for one state alone, by counting those that stand before it."""
    if state["published"] or state["pins"] or state["undo"]:
        return True
    later = states[states.index(state) + 1 :]
    if state["flags"]:
        newer = sum(bool(other["flags"]) for other in later)
        young = NOW_NS - state["time_ns"] <= chosen.automatic_days * DAY_NS
        return newer < chosen.automatic_last or young
    later = [other for other in later if not other["flags"]]
    if not chosen.keeps or (state["label"] and not chosen.expire_labelled):
        return True
    if len(later) < chosen.keep_last:
        return True
    spans = (
        (chosen.keep_hourly, lambda day: (day.date(), day.hour)),
        (chosen.keep_daily, lambda day: day.date()),
        (chosen.keep_weekly, lambda day: tuple(day.isocalendar())[:2]),
        (chosen.keep_monthly, lambda day: (day.year, day.month)),
        (chosen.keep_yearly, lambda day: day.year),
    )
    for count, span in spans:
        others = {span(day_of(other)) for other in later}
        if span(day_of(state)) not in others and len(others) < count:
            return True
    return False


@settings(max_examples=400, derandomize=True, deadline=None)
@given(st.lists(state_parts, max_size=30), rules)
def test_what_goes_is_what_no_rule_keeps(parts: list[tuple[Any, ...]], chosen: Rules) -> None:
    states = states_of(parts)
    gone = expired(states, chosen, NOW_NS)
    assert gone == [state for state in states if not is_kept(state, states, chosen)]
    left = [state for state in states if state not in gone]
    assert expired(left, chosen, NOW_NS) == []  # letting go once is enough


def test_by_default_only_what_rollbacks_put_aside_goes() -> None:
    parts = [(hours, automatic, "", 0, False, False)
             for hours in (1, 24 * 30, 24 * 800) for automatic in (False, True)]  # fmt: skip
    parts += [(24 * 9 + n, True, "", 0, False, False) for n in range(9)]
    gone = expired(states_of(parts), Rules(), NOW_NS)
    assert [NOW_NS - state["time_ns"] for state in gone] == [800 * DAY_NS, 30 * DAY_NS]


def test_rules_of_a_later_version_are_read_as_far_as_they_are_known() -> None:
    value = {**Rules(keep_daily=3).to_value(), "keep_full_moons": 4}
    assert Rules.from_value(value) == Rules(keep_daily=3)
    odd = {"keep_last": "all", "keep_hourly": -1, "grace_s": True, "log_entries": 2**62}
    for value in (odd, None, [], "rules"):
        assert Rules.from_value(value) == Rules()  # type: ignore[arg-type]


# ---- the daemon applies them ----


async def test_the_daemon_lets_go_of_what_is_due(caplog: pytest.LogCaptureFixture) -> None:
    async with running() as runtime:
        desk = runtime.desk()
        upkeep = Upkeep(runtime.dispatcher, runtime.engine, runtime.clock)
        await upkeep.once()
        assert await desk.ok("log") == []
        for number in range(50):
            runtime.pass_time(60)
            await runtime.write("file", b"%d" % number)
            await desk.ok("checkpoint")
        await desk.ok("pin @~20")
        await desk.ok("set-retention --keep-last 3")
        await upkeep.once()
        states = await desk.ok("checkpoints")
        assert len(states) == 4
        log = await desk.ok("log --user affs")
        assert [(entry["command"], entry["ok"]) for entry in log] == [("expire", True)] * 2
        await upkeep.once()
        assert len(await desk.ok("log --user affs")) == 2
        await desk.ok("undo 2")
        assert len(await desk.ok("checkpoints")) == 50
        assert [one for one in await desk.ok("who") if one["user"] == "affs"] == []
        runtime.volume.fail("for this test")
        await upkeep.once()
    assert not [record for record in caplog.records if record.name == "affs.runtime"]


@pytest.mark.parametrize("name", ["minimal", "school-lab"])
async def test_no_personality_keeps_the_daemon_from_it(name: str) -> None:
    """Both leave `expire` out, for those who ask."""
    async with running() as runtime:
        desk = runtime.desk()
        for number in range(5):
            await runtime.write("file", b"%d" % number)
            await desk.ok("checkpoint")
        await desk.ok("set-retention --keep-last 3")
        await desk.ok(f"use-personality {name}")
        runtime.pass_time(60)
        await Upkeep(runtime.dispatcher, runtime.engine, runtime.clock).once()
        assert len(await desk.ok("checkpoints")) == 3


# ---- times as people write them ----


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90s", 90), (" 15 min ", 900), ("2h", 7200), ("7D", 604_800), ("4 weeks", 2_419_200),
     ("1y", 31_536_000), ("0s", 0), ("3 months", 7_776_000), ("1 seconds", 1)],
)  # fmt: skip
def test_spans(text: str, seconds: int) -> None:
    assert parse_span(text) == seconds
    assert parse_moment(f"{text} ago", NOW_NS) == NOW_NS - seconds * 10**9


@pytest.mark.parametrize(
    "text", ["", "h", "2", "-2h", "2x", "1.5h", "2h3m", "9" * 13 + "s", "1001y", "٣h", "2hss"]
)
def test_what_is_no_span(text: str) -> None:
    with pytest.raises(MomentError):
        parse_span(text)


def test_moments() -> None:
    assert parse_moment("now", NOW_NS) == NOW_NS
    assert parse_moment("1970-01-02", 0) == DAY_NS
    assert parse_moment("1970-01-02T01:00", 0) == DAY_NS + HOUR_NS
    assert parse_moment("1970-01-02 01:00:00.5+01:00", 0) == DAY_NS + 5 * 10**8
    assert parse_moment("1970-01-01T00:00Z", 0) == 0
    assert parse_moment("1969-12-31T23:59:59", 0) == -(10**9)
    for text in ("", "ago", "yesterday", "2026-13-01", "2026-11-28T25:00", "20:00", "2h ago ago"):
        with pytest.raises(MomentError):
            parse_moment(text, NOW_NS)
