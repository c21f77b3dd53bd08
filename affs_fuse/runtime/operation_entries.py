"""Entries of the operation log as values: what `operations` and `record_operation` of the engine
do.

Invariants: an entry is one item of the system tree, so what is too large for that is left out, the
longest parts first (an entry without its effect says `too_large`, and cannot be undone). The log
keeps within the volume's rules (retention.py) with every entry that it takes.
"""

import logging

from affs_fuse.auv import AuvError, decode, encode
from affs_fuse.core.constants import ITEM_MAX
from affs_fuse.errors import AffsError, Category
from affs_fuse.runtime.ports import Plain
from affs_fuse.runtime.retention import DAY_NS, Rules
from affs_fuse.volume.volume import Volume

__all__ = ["append_entry", "newest_entries"]

_log = logging.getLogger("affs.engine")

LINE_CHARACTERS_KEPT = 256
"""Of the line of an entry that is too large."""


def newest_entries(volume: Volume, limit: int, before: int | None = None) -> list[Plain]:
    """At most `limit`, below number `before`, in ascending order of their numbers."""
    found = []
    for number, payload in reversed(volume.log.newest(limit, before)):
        entry = _decoded(number, payload)
        if entry is not None:
            found.append({**entry, "number": number})
    return found


def _decoded(number: int, payload: bytes) -> Plain | None:
    try:
        entry = decode(payload)
    except AuvError as error:
        _log.warning("entry %d of the operation log cannot be read: %s", number, error)
        return None
    return entry if isinstance(entry, dict) else None


def append_entry(
    volume: Volume, entry: Plain, beside: bytes = b"", *, seq: int | None = None
) -> int:
    """Its number. beside: what an undo needs and the entry has no room for. seq: of the commit that
    it is in, where that is the one of the change. invalid: engine.operation_too_long; denied:
    volume.read_only."""
    kept = {**entry, "seq": volume.durable_seq if seq is None else seq}
    payload = encode(kept)
    if len(payload) > ITEM_MAX:
        line = str(kept.get("line", ""))[:LINE_CHARACTERS_KEPT]
        kept = {**kept, "line": line, "result": {}}
        payload = encode(kept)
    if len(payload) > ITEM_MAX and kept.get("before"):
        payload = encode({**kept, "before": {}, "after": {}, "too_large": True})
    if len(payload) > ITEM_MAX:
        raise AffsError(
            "engine.operation_too_long", Category.INVALID,
            f"an operation log entry of {len(payload)} bytes",
        )
    number = volume.append_operation(payload, beside)
    _trim(volume)
    return number


def _trim(volume: Volume) -> None:
    rules = Rules.of(volume.settings)
    oldest_ns = volume.clock.now_ns() - rules.log_days * DAY_NS

    def is_old(payload: bytes) -> bool:
        if not rules.log_days:
            return False
        entry = _decoded(0, payload)
        return entry is None or entry.get("time_ns", 0) < oldest_ns

    volume.log.trim(max(1, rules.log_entries), is_old)
