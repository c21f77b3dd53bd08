"""What the FUSE side has to say in figures: a source of `runtime.metrics.Metrics`."""

import errno
from collections.abc import Callable, Iterable, Iterator

from affs_fuse.fuse.operations import OperationStatistics
from affs_fuse.fuse.spin import SpinStatistics
from affs_fuse.runtime.metrics import Family, counter, gauge, histograms

__all__ = ["fuse_metrics"]


def fuse_metrics(
    operations: Callable[[], OperationStatistics], spin: Callable[[], SpinStatistics]
) -> Callable[[], Iterable[Family]]:
    """Of the kernel's requests."""

    def families() -> Iterator[Family]:
        done = operations()
        waits = spin()
        yield histograms(
            "affs_fuse_seconds", "How long the kernel's requests took in the daemon.",
            done.latencies, "operation",
        )
        refused = {
            errno.errorcode.get(number, str(number)): count
            for number, count in sorted(done.refusals.items())
        }
        yield counter(
            "affs_fuse_errors_total", "Requests that ended in an errno.", refused, "errno"
        )
        yield counter(
            "affs_fuse_failures_total", "Requests that failed in a way that should not happen.",
            done.failures,
        )
        yield counter("affs_read_bytes_total", "Given to programs.", done.read_bytes)
        yield counter("affs_written_bytes_total", "Taken from programs.", done.written_bytes)
        yield gauge("affs_kernel_inodes", "Inodes that the kernel remembers.", done.inodes)
        yield counter(
            "affs_fuse_waits_total", "Waits for a request, by how it was found.",
            {"at_once": waits.at_once, "spun": waits.spun, "slept": waits.slept}, "how",
        )

    return families
