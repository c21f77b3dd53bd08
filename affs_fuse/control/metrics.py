"""What the control socket has to say in figures: a source of `runtime.metrics.Metrics`."""

from collections.abc import Callable, Iterable, Iterator

from affs_fuse.control.server import ControlServer
from affs_fuse.runtime.metrics import Family, counter, gauge

__all__ = ["control_metrics"]


def control_metrics(server: ControlServer) -> Callable[[], Iterable[Family]]:
    """Of connections."""

    def families() -> Iterator[Family]:
        found = server.statistics()
        yield gauge("affs_connections", "Open control connections.", found.connections)
        yield counter(
            "affs_connections_refused_total", "Refused for want of a place.", found.refused
        )
        yield gauge(
            "affs_connections_pending_bytes", "Of unfinished frames.", found.pending_bytes
        )

    return families
