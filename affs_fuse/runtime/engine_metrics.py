"""What engine, volume and runtime have to say in figures (docs/observability.md has the list).

Invariant: asking reads counters and tables in memory, nothing else; it never waits.
"""

import os
import resource
import sys
from collections.abc import Callable, Iterable, Iterator

from affs_fuse.auv import AuvError, decode
from affs_fuse.posix.namespace import Namespace
from affs_fuse.runtime.describe import space_dict
from affs_fuse.runtime.engine import Engine
from affs_fuse.runtime.events import EventBus
from affs_fuse.runtime.hooks import Hooks
from affs_fuse.runtime.metrics import Family, MetricKind, Sample, counter, gauge, histograms
from affs_fuse.runtime.session import SessionStatistics
from affs_fuse.runtime.slow import SlowLog
from affs_fuse.runtime.statistics import RequestStatistics
from affs_fuse.volume.volume import Volume

__all__ = ["VolumeMetrics", "process_metrics", "request_metrics", "runtime_metrics"]

SPACE_CLASSES = ("total", "used", "free", "available", "live", "kept", "reclaimable", "reserved")

OPERATIONS_SEARCHED_MAX = 1000
"""Entries of the operation log, newest first, among which the last publication is looked for."""

PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


class VolumeMetrics:
    """Of one mounted volume. version: of the software."""

    def __init__(
        self, volume: Volume, namespace: Namespace, engine: Engine, version: str
    ) -> None:
        self._volume = volume
        self._namespace = namespace
        self._engine = engine
        self._version = version
        self._started = volume.clock.monotonic()
        self._operation_seen = 0
        self._published_ns = 0

    def families(self) -> Iterator[Family]:
        """Everything; a source of `Metrics`."""
        yield self._build_info()
        yield gauge("affs_up", "1 while the mount is served, 0 when it has ended.", 1)
        volume = self._volume
        seconds = volume.clock.monotonic() - self._started
        yield gauge("affs_uptime_seconds", "Since this daemon has the volume.", seconds)
        yield gauge("affs_read_only", "1 when nothing can be written.", int(volume.read_only))
        yield from self._ages()
        yield from self._verification()
        yield from self._space()
        yield from self._commits()
        yield from self._memory()

    def _build_info(self) -> Family:
        python = ".".join(map(str, sys.version_info[:3]))
        labels = {"version": self._version, "python": python, "label": self._volume.label}
        help = "What serves which volume; always 1."
        return Family("affs_build_info", MetricKind.GAUGE, help, (Sample(1, labels),))

    def _ages(self) -> Iterator[Family]:
        volume = self._volume
        now_ns = volume.clock.now_ns()
        if volume.durable_time_ns:
            age = max(0, now_ns - volume.durable_time_ns) / 1e9
            yield gauge("affs_last_commit_age_seconds", "Since the newest durable commit.", age)
        unsaved = int(self._namespace.dirty_bytes > 0 or volume.dirty)
        yield gauge("affs_dirty", "1 while there are changes that no commit holds yet.", unsaved)
        published_ns = self._publish_time_ns()
        if published_ns:
            age = max(0, now_ns - published_ns) / 1e9
            yield gauge("affs_last_publish_age_seconds", "Since the last publication.", age)

    def _verification(self) -> Iterator[Family]:
        """Of what `verify` has read back."""
        found = self._engine.verification.verified.summary()
        if found["oldest_ns"] is not None:
            age = max(0, self._volume.clock.now_ns() - found["oldest_ns"]) / 1e9
            yield gauge(
                "affs_oldest_verification_age_seconds",
                "Since the segment whose verification is the longest ago was verified.", age,
            )
        yield gauge(
            "affs_unverified_segments", "Segments in use that were never verified.", found["never"]
        )
        yield gauge("affs_known_damage", "Damaged places that are known.", found["damage"])

    def _publish_time_ns(self) -> int:
        """Of the newest `publish` in the operation log; where that reaches no further back, of the
        published state; 0 when nothing is published. Entries are looked at once."""
        published = self._volume.states.published
        if published is None:
            return 0
        newest = self._volume.log.newest(1)
        if newest and newest[0][0] > self._operation_seen:
            new = min(newest[0][0] - self._operation_seen, OPERATIONS_SEARCHED_MAX)
            self._operation_seen = newest[0][0]
            times = map(_publication_ns, self._volume.log.newest(new))
            self._published_ns = next(filter(None, times), self._published_ns)
        return self._published_ns or published.time_ns

    def _space(self) -> Iterator[Family]:
        space = space_dict(self._volume)
        known = {one: space[one] for one in SPACE_CLASSES if space[one] is not None}
        yield gauge(
            "affs_space_bytes",
            "Space by class; live and kept only where they can be told apart. reclaimable: freed,"
            " and usable after the next commits.",
            known, "class",
        )
        yield gauge("affs_objects", "Files, directories and the like.", space["objects"])
        states = self._volume.states
        listed = len(states.listed())
        yield gauge("affs_kept_states", "States that are kept.", listed)
        doomed = sum(not state.listed for state in states.all())
        yield gauge(
            "affs_reclaim_backlog_states", "Deleted or internal states, not reclaimed yet.", doomed
        )

    def _commits(self) -> Iterator[Family]:
        engine = self._engine.statistics()
        commits = engine.committer
        yield counter("affs_commits_total", "Commits made.", commits.commits)
        yield gauge("affs_commits_waiting", "Callers that wait for one now.", commits.waiting)
        yield histograms(
            "affs_commit_stage_seconds", "How long the stages of commits took.",
            commits.stages, "stage",
        )
        yield counter(
            "affs_device_written_bytes_total",
            "Written to the device: by commits, and as data ahead of them.",
            {"commit": commits.bytes, "ahead": engine.writeback.written_bytes}, "by",
        )
        yield counter(
            "affs_worker_calls_total", "Waits for the device, by what for.",
            {"load": engine.workers.loads, "write": engine.workers.writes,
             "commit": engine.workers.commits},
            "kind",
        )
        backlog = engine.writeback.backlog_bytes
        yield gauge("affs_dirty_bytes", "Written, and not on the device yet.", backlog)
        yield counter(
            "affs_throttled_writes_total", "Writes that waited for memory.",
            engine.writeback.throttled,
        )
        yield counter(
            "affs_operations_total", "Operations of the namespace.", engine.operations
        )

    def _memory(self) -> Iterator[Family]:
        numbers = self._volume.statistics()
        yield counter(
            "affs_node_cache_lookups_total", "Tree nodes asked for, by whether memory had them.",
            {"hit": numbers.cache_hits, "miss": numbers.cache_misses}, "outcome",
        )
        yield gauge("affs_node_cache_nodes", "Tree nodes in memory.", numbers.cached_nodes)
        files = self._namespace.statistics()
        yield gauge("affs_open_files", "Open files.", files.handles)
        yield gauge(
            "affs_unnamed_objects", "Removed, but still open or not cleaned up yet.", files.orphans
        )


def _publication_ns(operation: tuple[int, bytes]) -> int:
    """When it published something; 0 for an entry that did not."""
    try:
        entry = decode(operation[1])
    except AuvError:
        return 0  # the query `log` says so
    if isinstance(entry, dict) and entry.get("command") == "publish" and entry.get("ok"):
        time_ns = entry.get("time_ns")
        return time_ns if isinstance(time_ns, int) else 0
    return 0


def request_metrics(requests: Callable[[], RequestStatistics]) -> Callable[[], Iterable[Family]]:
    """Of commands."""

    def families() -> Iterator[Family]:
        found = requests()
        yield gauge("affs_requests_running", "Requests in work.", found.running)
        yield counter("affs_requests_repeated_total", "Answered by their key.", found.repeated)
        yield counter(
            "affs_requests_failed_total", "Requests that failed, by category.",
            dict(found.failed), "category",
        )
        yield histograms(
            "affs_command_seconds", "How long commands took; the client's time to read streams"
            " included.",
            {name: one.latency for name, one in found.commands.items()}, "command",
        )

    return families


def runtime_metrics(
    sessions: Callable[[], SessionStatistics], events: EventBus, slow: SlowLog, hooks: Hooks
) -> Callable[[], Iterable[Family]]:
    """Of sessions, events, hooks and what was slow."""

    def families() -> Iterator[Family]:
        told = events.statistics()
        yield gauge("affs_sessions", "Open sessions.", sessions().open)
        yield counter("affs_sessions_total", "Sessions opened.", sessions().opened)
        yield counter("affs_events_total", "Events published.", told.published)
        yield counter("affs_events_lost_total", "Events dropped for slow readers.", told.lost)
        yield gauge("affs_event_subscribers", "Readers of events.", told.subscribers)
        yield counter(
            "affs_slow_operations_total", "Longer than the mount option `slow`.",
            slow.statistics().slow,
        )
        ran = hooks.statistics()
        yield counter(
            "affs_hooks_total", "Events for hooks, by what became of them.",
            {"done": ran.done, "failed": ran.failed, "refused": ran.refused,
             "left_out": ran.left_out},
            "outcome",
        )

    return families


def process_metrics() -> Iterator[Family]:
    """Of the daemon's process."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    seconds = usage.ru_utime + usage.ru_stime
    yield counter("affs_process_cpu_seconds_total", "Processor time of the daemon.", seconds)
    with open("/proc/self/statm", "rb") as file:
        resident = int(file.read().split()[1]) * PAGE_BYTES
    yield gauge("affs_process_resident_bytes", "Memory of the daemon.", resident)
    yield gauge(
        "affs_process_open_fds", "File descriptors of the daemon.", len(os.listdir("/proc/self/fd"))
    )
