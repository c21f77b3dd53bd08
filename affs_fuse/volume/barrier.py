"""The one function through which all barriers go; its first failure is for ever.

Linux reports a failed writeback once and then drops the pages, so a flush that succeeds after one
that failed proves nothing: whoever meets a failed barrier must stop writing (semantics.md, promise
2).
"""

from affs_fuse.device.device import Device, Result, device_error
from affs_fuse.errors import AffsError, Category

__all__ = ["Barrier"]


class Barrier:
    """Flushes one device and remembers the first failure."""

    def __init__(self, device: Device) -> None:
        self._device = device
        self._failure: Result | None = None
        self.count = 0

    @property
    def failed(self) -> bool:
        return self._failure is not None

    def flush(self) -> None:
        """All writes that returned before are durable. Errors: device.io, and
        volume.barrier_failed ever after.
        """
        if self._failure is not None:
            raise AffsError(
                "volume.barrier_failed",
                Category.IO,
                f"an earlier flush of {self._device.identity.path} failed; nothing written since is"
                " known to be durable",
                hint="unmount, look at the host's kernel log, run fsck.affs and mount again",
            )
        self.count += 1
        result = self._device.flush()
        if not result.ok:
            self._failure = result
            raise device_error("flushing", self._device.identity, 0, result)
