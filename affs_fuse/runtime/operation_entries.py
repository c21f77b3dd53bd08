"""Entries of the operation log as values: what `operations` and `record_operation` of the engine
do.

Invariant: an entry is one item of the system tree, so what is too large for that is left out, the
longest parts first.
"""

import logging

from affs_fuse.auv import AuvError, decode, encode
from affs_fuse.core.constants import ITEM_MAX
from affs_fuse.errors import AffsError, Category
from affs_fuse.runtime.ports import Plain
from affs_fuse.volume.volume import Volume

__all__ = ["append_entry", "newest_entries"]

_log = logging.getLogger("affs.engine")

LINE_CHARACTERS_KEPT = 256
"""Of the line of an entry that is too large."""


def newest_entries(volume: Volume, limit: int) -> list[Plain]:
    """At most `limit`, in ascending order of their numbers."""
    found = []
    for number, payload in reversed(volume.operations(limit)):
        try:
            entry = decode(payload)
        except AuvError as error:
            _log.warning("entry %d of the operation log cannot be read: %s", number, error)
            continue
        if isinstance(entry, dict):
            found.append({**entry, "number": number})
    return found


def append_entry(volume: Volume, entry: Plain) -> None:
    """invalid: engine.operation_too_long; denied: volume.read_only."""
    kept = {**entry, "seq": volume.durable_seq}
    payload = encode(kept)
    if len(payload) > ITEM_MAX:
        line = str(kept.get("line", ""))[:LINE_CHARACTERS_KEPT]
        payload = encode({**kept, "line": line, "result": {}})
    if len(payload) > ITEM_MAX:
        raise AffsError(
            "engine.operation_too_long", Category.INVALID,
            f"an operation log entry of {len(payload)} bytes",
        )
    volume.append_operation(payload)
