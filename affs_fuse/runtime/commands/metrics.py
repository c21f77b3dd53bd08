"""`metrics` and `prometheus`: figures of the daemon, as rows and as text for Prometheus."""

from dataclasses import dataclass

from affs_fuse.auv import Value
from affs_fuse.runtime.command import Command, Context, Example, Kind, NoOptions
from affs_fuse.runtime.metrics import rows_of
from affs_fuse.runtime.parameters import Text, argument
from affs_fuse.runtime.policy import Role
from affs_fuse.runtime.results import Field, FieldKind, Schema, Shape

__all__ = ["METRICS", "PROMETHEUS"]


@dataclass(frozen=True, slots=True)
class Options:
    names: tuple[str, ...] = argument(
        Text(128), "only those whose name holds one of these", repeated=True
    )


async def _rows(context: Context, options: Options) -> Value:
    families = context.observation.metrics.families()
    wanted = [word.lower() for word in options.names]
    return rows_of(
        one for one in families if not wanted or any(word in one.name for word in wanted)
    )


async def _text(context: Context, options: NoOptions) -> Value:
    return {"text": context.observation.metrics.to_prometheus()}


METRICS = Command(
    name="metrics",
    kind=Kind.QUERY,
    role=Role.OBSERVER,
    group="Looking",
    summary="figures: times by operation, bytes, cache, commits, ages, space",
    description=(
        "Counters rise until the daemon ends. Of a histogram the value is how many there were, and "
        "the quantiles are upper bounds; programs find the buckets in the answer. `prometheus` "
        "gives the same as text for Prometheus."
    ),
    options=Options,
    run=_rows,
    result=Schema(
        Shape.TABLE,
        (
            Field("name", "Name"),
            Field("labels", "Labels", FieldKind.PAIRS),
            Field("value", "Value", FieldKind.NUMBER),
            Field("p50_s", "50 %", FieldKind.DURATION),
            Field("p99_s", "99 %", FieldKind.DURATION),
            Field("max_s", "Longest", FieldKind.DURATION),
            Field("help", "Meaning", wide=True),
        ),
    ),
    examples=(
        Example("metrics", "everything"),
        Example("metrics age space", "how old, and how full?"),
        Example("metrics fuse_seconds", "how long do the kernel's requests take?"),
    ),
)

PROMETHEUS = Command(
    name="prometheus",
    kind=Kind.QUERY,
    role=Role.OBSERVER,
    group="Looking",
    summary="the same figures as text for Prometheus",
    description=(
        "The text form 0.0.4. The mount option `metrics` serves the same by HTTP on a loopback "
        "port or a Unix socket, or keeps it in a file for the textfile collector."
    ),
    options=NoOptions,
    run=_text,
    result=Schema(Shape.TEXT),
    examples=(Example("prometheus", "what a scraper would get"),),
)
