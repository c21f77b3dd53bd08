"""Metrics: figures with names and labels, and their form as text for Prometheus.

A room that counts something registers a source: a function that gives its families when somebody
asks. Invariants:
- Names, labels and kinds are fixed in the code. Labels have few values and never hold a path, a
  label of a state or anything else that a user chose, but for the volume's own label.
- Asking changes nothing, and never waits.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from affs_fuse.runtime.latency import LATENCY_BOUNDS_S, LatencyStatistics
from affs_fuse.runtime.ports import Plain

__all__ = [
    "Family",
    "MetricKind",
    "Metrics",
    "Sample",
    "counter",
    "gauge",
    "histograms",
    "rows_of",
]


class MetricKind(StrEnum):
    """counter: rises until the daemon ends. gauge: as it is now. histogram: times, in seconds."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


@dataclass(frozen=True, slots=True)
class Sample:
    """value: LatencyStatistics in a histogram, a number in the others."""

    value: float | LatencyStatistics
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Family:
    """One metric under all its labels. help: one line."""

    name: str
    kind: MetricKind
    help: str
    samples: tuple[Sample, ...]


Source = Callable[[], Iterable[Family]]


def counter(name: str, help: str, value: float | Mapping[str, float], label: str = "") -> Family:
    """value: a number, or numbers by the value of `label`."""
    return Family(name, MetricKind.COUNTER, help, _samples(value, label))


def gauge(name: str, help: str, value: float | Mapping[str, float], label: str = "") -> Family:
    """As `counter`."""
    return Family(name, MetricKind.GAUGE, help, _samples(value, label))


def histograms(
    name: str, help: str, by_name: Mapping[str, LatencyStatistics], label: str
) -> Family:
    """One histogram for each value of `label`."""
    samples = tuple(Sample(one, {label: key}) for key, one in by_name.items())
    return Family(name, MetricKind.HISTOGRAM, help, samples)


def _samples(value: float | Mapping[str, float], label: str) -> tuple[Sample, ...]:
    if isinstance(value, Mapping):
        return tuple(Sample(one, {label: key}) for key, one in value.items())
    return (Sample(value),)


class Metrics:
    """common: labels that each sample gets in the text form, the volume's UUID above all: texts of
    several volumes may be read together."""

    def __init__(self, common: Mapping[str, str]) -> None:
        self._common = dict(common)
        self._sources: list[Source] = []

    def register(self, source: Source) -> None:
        """Families of one name come from one source."""
        self._sources.append(source)

    def families(self) -> list[Family]:
        """All of now, in the order of the sources."""
        return [one for source in self._sources for one in source()]

    def to_prometheus(self) -> str:
        """All of now in Prometheus' text form, version 0.0.4, under the common labels."""
        common = self._common
        lines: list[str] = []
        for family in self.families():
            lines.append(f"# HELP {family.name} {_escape(family.help, quotes=False)}")
            lines.append(f"# TYPE {family.name} {family.kind}")
            for sample in family.samples:
                lines += _sample_lines(family.name, {**common, **sample.labels}, sample.value)
        return "".join(line + "\n" for line in lines)


def rows_of(families: Iterable[Family]) -> list[Plain]:
    """A row per sample, for the query `metrics`: name, kind, help, labels, value; of a histogram
    value is the count, with sum_s, max_s, p50_s, p99_s (upper bounds) and buckets (bound in
    seconds, None for the last, and count, not added up) besides."""
    return [
        _row(family, sample) for family in families for sample in family.samples
    ]


def _row(family: Family, sample: Sample) -> Plain:
    row: Plain = {
        "name": family.name,
        "kind": str(family.kind),
        "help": family.help,
        "labels": dict(sample.labels),
    }
    value = sample.value
    if not isinstance(value, LatencyStatistics):
        return {**row, "value": value}
    bounds: list[float | None] = [*LATENCY_BOUNDS_S, None]
    buckets = [list(pair) for pair in zip(bounds, value.buckets, strict=True)]
    return {
        **row,
        "value": value.count,
        "sum_s": value.seconds_total,
        "max_s": value.seconds_max,
        "p50_s": value.quantile_s(0.5),
        "p99_s": value.quantile_s(0.99),
        "buckets": buckets,
    }


def _sample_lines(
    name: str, labels: Mapping[str, str], value: float | LatencyStatistics
) -> list[str]:
    if not isinstance(value, LatencyStatistics):
        return [f"{name}{_labels(labels)} {value!r}"]
    lines, seen = [], 0
    for bound, count in zip([*map(repr, LATENCY_BOUNDS_S), "+Inf"], value.buckets, strict=True):
        seen += count
        lines.append(f"{name}_bucket{_labels({**labels, 'le': bound})} {seen}")
    lines.append(f"{name}_sum{_labels(labels)} {value.seconds_total!r}")
    lines.append(f"{name}_count{_labels(labels)} {value.count}")
    return lines


def _labels(labels: Mapping[str, str]) -> str:
    if not labels:
        return ""
    inside = ",".join(f'{key}="{_escape(value, quotes=True)}"' for key, value in labels.items())
    return "{" + inside + "}"


def _escape(text: str, *, quotes: bool) -> str:
    text = text.replace("\\", "\\\\").replace("\n", "\\n")
    return text.replace('"', '\\"') if quotes else text
