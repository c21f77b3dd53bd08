"""What commands can ask about the daemon itself; one for each daemon, made where it is put
together."""

from dataclasses import dataclass, field

from affs_fuse.clock import Clock
from affs_fuse.runtime.hooks import Hooks
from affs_fuse.runtime.metrics import Metrics
from affs_fuse.runtime.slow import SlowLog

__all__ = ["Observation"]


@dataclass(frozen=True, slots=True, eq=False)
class Observation:
    """metrics: everything that counts something has registered there. slow: what took long. hooks:
    None where there is no volume to have them."""

    slow: SlowLog
    metrics: Metrics = field(default_factory=lambda: Metrics({}))
    hooks: Hooks | None = None

    @classmethod
    def of_nothing(cls, clock: Clock) -> "Observation":
        """For a runtime without a volume."""
        return cls(SlowLog(clock, 0.0))
