"""What the daemon bounds in itself: lines of its log, descriptors that clients may take."""

import logging
import resource

from affs_fuse.control import ControlLimits
from affs_fuse.daemon.descriptors import OWN, control_limits, raise_descriptor_limit
from affs_fuse.daemon.log_limit import BURST, EVERY_S, KINDS_MAX, LogLimit


class Now:
    def __init__(self) -> None:
        self.seconds = 100.0

    def __call__(self) -> float:
        return self.seconds


def record(text: str, level: int = logging.WARNING, **fields: object) -> logging.LogRecord:
    made = logging.LogRecord("affs.x", level, "file", 1, text, (), None)
    if fields:
        made.fields = fields
    return made


def test_the_same_line_again_and_again_is_left_out_and_counted() -> None:
    now = Now()
    limit = LogLimit(now)
    passed = sum(limit(record("%s was refused")) for _ in range(1000))
    assert passed == BURST
    assert limit(record("another thing"))
    now.seconds += EVERY_S
    line = record("%s was refused", uid=7)
    assert limit(line)
    assert line.fields == {"uid": 7, "left_out": 1000 - BURST}  # type: ignore[attr-defined]
    assert not limit(record("%s was refused"))
    now.seconds += EVERY_S * BURST
    assert sum(limit(record("%s was refused")) for _ in range(1000)) == BURST


def test_critical_lines_always_pass() -> None:
    limit = LogLimit(Now())
    assert all(limit(record("the volume is read-only", logging.CRITICAL)) for _ in range(500))


def test_kinds_are_bounded() -> None:
    limit = LogLimit(Now())
    for number in range(10 * KINDS_MAX):
        assert limit(record(f"kind {number}"))
    assert len(limit._kinds) <= KINDS_MAX


def test_clients_never_get_the_last_descriptor() -> None:
    assert control_limits(4096) == ControlLimits()
    assert control_limits(resource.RLIM_INFINITY) == ControlLimits()
    for limit in (256, 512):
        limits = control_limits(limit)
        assert limits.connections_max + limits.root_connections + OWN <= limit
        assert limits.connections_per_uid_max <= limits.connections_max
    assert control_limits(32).connections_max == 4


def test_the_limit_is_raised_as_far_as_it_may_be() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(soft, 256), hard))
        now = raise_descriptor_limit()
        assert now == min(hard, 4096) if hard != resource.RLIM_INFINITY else now == 4096
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
