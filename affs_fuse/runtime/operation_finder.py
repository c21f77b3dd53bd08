"""Which entries of the operation log tell of a change of a file (docs/specs/Provenance.md).

A change is in a commit, and an entry says which commits its command had: the one that was durable
when it began, and the one that was when it had ended. Entries of the same user and command that
cover the commit are candidates; one that names the object is the one. Read lazily, newest first,
and never more than the log keeps.
"""

from typing import Any

import trio

from affs_fuse.runtime.ports import EnginePort, Plain

__all__ = ["OperationFinder"]

PART = 200
SHOWN_MAX = 3
_KEYS = ("number", "time_ns", "user", "command", "line", "trace", "session")


class OperationFinder:
    """For one invocation: what has been read of the log is kept."""

    def __init__(self, engine: EnginePort) -> None:
        self._engine = engine
        self._entries: list[Plain] = []
        self._before: int | None = None
        self._whole = False

    async def find(self, commit: int, uid: int, command: str, object_id: str) -> list[Plain]:
        """At most SHOWN_MAX, newest first; none where the log does not reach back."""
        await self._read_back_to(commit)
        found = [
            entry
            for entry in self._entries
            if entry.get("command") == command
            and entry.get("uid") == uid
            and _first(entry) < commit <= entry.get("seq", 0)
        ]
        named = [entry for entry in found if _names(entry, object_id)]
        chosen = named or found
        return [{key: entry.get(key) for key in _KEYS} for entry in chosen[:SHOWN_MAX]]

    async def _read_back_to(self, commit: int) -> None:
        while not self._whole and (not self._entries or self._entries[-1].get("seq", 0) >= commit):
            part = await self._engine.operations(PART, self._before)
            self._entries += reversed(part)
            self._whole = len(part) < PART
            if part:
                self._before = part[0]["number"]
            await trio.lowlevel.checkpoint()


def _first(entry: Plain) -> int:
    """The commit that was durable when the command began."""
    begun: Any = entry.get("begun_seq", entry.get("seq", 0))
    return int(begun)


def _names(entry: Plain, object_id: str) -> bool:
    result = entry.get("result")
    return isinstance(result, dict) and result.get("id") == object_id
