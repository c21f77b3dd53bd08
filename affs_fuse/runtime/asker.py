"""Whose query it is."""

from dataclasses import dataclass

from affs_fuse.runtime.policy import Identity, Role

__all__ = ["Asker"]


@dataclass(frozen=True, slots=True)
class Asker:
    """role: for this invocation. directory: what paths with a dot in front begin at. memory_bytes:
    what the query may keep."""

    identity: Identity
    role: Role
    directory: str
    memory_bytes: int
