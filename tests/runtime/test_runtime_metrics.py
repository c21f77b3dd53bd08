"""Figures: histograms, their text form as an independent parser reads it, the slow log."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families
from runtime_fake import Desk, FakeRuntime

from affs_fuse.clock import Clock
from affs_fuse.runtime.latency import LATENCY_BOUNDS_S, Histogram, Latencies
from affs_fuse.runtime.metrics import Family, MetricKind, Metrics, Sample, counter, gauge
from affs_fuse.runtime.metrics import histograms as histogram_family
from affs_fuse.runtime.observation import Observation
from affs_fuse.runtime.slow import KEPT_MAX, LINES_PER_PERIOD, SlowLog

SECONDS = st.floats(min_value=0, max_value=100, allow_nan=False)


@settings(deadline=None)
@given(st.lists(SECONDS, min_size=1, max_size=50))
def test_a_histogram_counts_every_time_once(times: list[float]) -> None:
    histogram = Histogram()
    for seconds in times:
        histogram.add(seconds)
    found = histogram.statistics()
    assert found.count == sum(found.buckets) == len(times)
    assert found.seconds_max == max(times)
    assert math.isclose(found.seconds_total, math.fsum(times), abs_tol=1e-9)
    for bound, below in zip(LATENCY_BOUNDS_S, _running(found.buckets), strict=False):
        assert below == sum(seconds <= bound for seconds in times)


def _running(buckets: tuple[int, ...]) -> list[int]:
    return [sum(buckets[: end + 1]) for end in range(len(buckets))]


@settings(deadline=None)
@given(st.lists(SECONDS, min_size=1, max_size=50), st.sampled_from([0.5, 0.9, 0.99, 1.0]))
def test_a_quantile_is_an_upper_bound_from_its_bucket(times: list[float], share: float) -> None:
    histogram = Histogram()
    for seconds in times:
        histogram.add(seconds)
    true = sorted(times)[max(0, math.ceil(share * len(times)) - 1)]
    given_bound = histogram.statistics().quantile_s(share)
    assert given_bound >= true
    lower = max((bound for bound in LATENCY_BOUNDS_S if bound < true), default=0.0)
    assert given_bound <= min(
        (bound for bound in LATENCY_BOUNDS_S if bound >= true), default=max(times)
    )
    assert given_bound >= lower


def test_nothing_has_no_quantile() -> None:
    assert Histogram().statistics().quantile_s(0.99) == 0.0


def test_what_is_slow_is_told_by_its_name() -> None:
    told: list[tuple[str, float]] = []
    latencies = Latencies(0.5, lambda name, seconds: told.append((name, seconds)))
    for seconds in (0.1, 0.5, 2.0):
        latencies.note("read", seconds)
    assert told == [("read", 0.5), ("read", 2.0)]
    off = Latencies(0.0, lambda name, seconds: told.append((name, seconds)))
    off.note("read", 1e9)
    assert len(told) == 2


NASTY = 'a "label"\\ with\nlines and ünïcode'


def made_metrics() -> Metrics:
    latencies = Latencies()
    for seconds in (0.00002, 0.3, 77.0):
        latencies.note("read", seconds)
    latencies.note("write", 0.001)
    metrics = Metrics({"volume": "v-1"})
    metrics.register(
        lambda: [
            gauge("affs_up", "1 while it is\nthere \\ \"quoted\".", 1),
            counter("affs_things_total", "Things.", {"a": 1, "b": 2.5}, "kind"),
            Family("affs_build_info", MetricKind.GAUGE, "x", (Sample(1, {"label": NASTY}),)),
        ]
    )
    metrics.register(
        lambda: [
            histogram_family("affs_fuse_seconds", "Times.", latencies.statistics(), "operation")
        ]
    )
    return metrics


def test_an_independent_parser_reads_the_text_form() -> None:
    families = {
        one.name: one for one in text_string_to_metric_families(made_metrics().to_prometheus())
    }
    assert families["affs_up"].documentation == "1 while it is\nthere \\ \"quoted\"."
    things = {s.labels["kind"]: s.value for s in families["affs_things"].samples}
    assert things == {"a": 1.0, "b": 2.5}
    (info,) = families["affs_build_info"].samples
    assert info.labels == {"volume": "v-1", "label": NASTY}
    times = families["affs_fuse_seconds"]
    assert times.type == "histogram"
    reads = [s for s in times.samples if s.labels["operation"] == "read"]
    buckets = [s for s in reads if s.name.endswith("_bucket")]
    assert [float(s.labels["le"]) for s in buckets] == [*LATENCY_BOUNDS_S, math.inf]
    assert [s.value for s in buckets] == sorted(s.value for s in buckets)
    assert buckets[-1].value == 3
    by_name = {s.name: s.value for s in reads if not s.name.endswith("_bucket")}
    assert by_name == {
        "affs_fuse_seconds_sum": pytest.approx(77.30002), "affs_fuse_seconds_count": 3
    }


class Hands:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.now = 0.0

    def clock(self) -> Clock:
        return Clock(now_ns=lambda: int(self.now * 1e9), monotonic=lambda: self.now)


def test_the_slow_log_keeps_the_newest_and_does_not_flood(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("INFO", "affs.slow")
    hands = Hands()
    slow = SlowLog(hands.clock(), 1.0)
    for number in range(KEPT_MAX + 10):
        slow.request(f"op{number}", 2.0)
    assert [entry["name"] for entry in slow.newest(2)] == ["op264", "op265"]
    assert len(slow.newest(KEPT_MAX)) == KEPT_MAX
    assert len(caplog.records) == LINES_PER_PERIOD
    assert slow.statistics().unlogged == KEPT_MAX + 10 - LINES_PER_PERIOD
    hands.now = 11.0
    slow.request("later", 3.0)
    assert caplog.records[-1].getMessage() == "slow: fuse later took 3.000 s"


class SlowRuntime(FakeRuntime):
    """Each look at its monotonic clock costs a second."""

    def make_clock(self) -> Clock:
        self.seconds = 0.0

        def monotonic() -> float:
            self.seconds += 1.0
            return self.seconds

        return Clock(now_ns=self.time.now_ns, monotonic=monotonic)


async def test_slow_commands_are_found_with_their_trace() -> None:
    desk = Desk(SlowRuntime(Observation(SlowLog(Clock(), 0.5))))
    await desk.ok("checkpoint -l x", trace="t-1")
    await desk.error("show nothing", trace="t-2")
    desk.runtime.events.publish("commit", seq=1)
    cursor = desk.runtime.events.cursor.replace("-1", "-0")
    await desk.ok(f"watch --count 1 --after {cursor}", trace="t-3")
    found = [(one["name"], one["trace"], one["user"]) for one in await desk.ok("slow")]
    assert found == [("checkpoint", "t-1", "ann"), ("show", "t-2", "ann")]


async def test_the_commands_give_rows_and_text() -> None:
    desk = Desk(FakeRuntime(Observation(SlowLog(Clock(), 0.0), made_metrics())))
    rows = await desk.ok("metrics FUSE up")
    assert [(row["name"], row["labels"], row["value"]) for row in rows] == [
        ("affs_up", {}, 1),
        ("affs_fuse_seconds", {"operation": "read"}, 3),
        ("affs_fuse_seconds", {"operation": "write"}, 1),
    ]
    assert rows[1]["max_s"] == 77.0
    assert sum(count for _, count in rows[1]["buckets"]) == 3
    assert (await desk.ok("prometheus"))["text"] == made_metrics().to_prometheus()
