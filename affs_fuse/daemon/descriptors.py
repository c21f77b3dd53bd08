"""How many descriptors the daemon may have, and what of them goes to clients.

A shell's `ulimit -n` is inherited by whoever it starts. Invariant: clients cannot take the last
descriptor, whatever the limit is: the daemon needs some for itself (who asks, hooks, its log).
"""

import resource
from contextlib import suppress

from affs_fuse.control import ControlLimits

__all__ = ["control_limits", "raise_descriptor_limit"]

WANTED = 4096
OWN = 96
"""Kept for the daemon itself."""

CLIENTS_MIN = 4


def raise_descriptor_limit() -> int:
    """Take what the hard limit gives; the limit then."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = WANTED if hard == resource.RLIM_INFINITY else min(hard, WANTED)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with suppress(OSError, ValueError):  # then it stays as it is
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]


def control_limits(limit: int | None = None) -> ControlLimits:
    """Places for clients under such a limit, by default the one that can be had; root's own come on
    top."""
    descriptors = raise_descriptor_limit() if limit is None else limit
    usual = ControlLimits()
    if descriptors == resource.RLIM_INFINITY:
        return usual
    room = max(CLIENTS_MIN, descriptors - OWN - usual.root_connections)
    if room >= usual.connections_max:
        return usual
    return ControlLimits(connections_max=room, connections_per_uid_max=max(2, room // 2))
