"""States and figures of a volume as the plain values that commands answer with
(runtime/ports.py)."""

from typing import Any

from affs_fuse.core.constants import (
    BLOCK_SIZE,
    POINTER_UNDO,
    STATE_AUTOMATIC,
    STATE_DOOMED,
    STATE_HIDDEN,
)
from affs_fuse.volume.states import KeptState
from affs_fuse.volume.volume import Volume

__all__ = ["space_dict", "state_dict", "uuid_text"]

_FLAG_WORDS = (
    (STATE_AUTOMATIC, "automatic"),
    (STATE_HIDDEN, "hidden"),
    (STATE_DOOMED, "doomed"),
)


def uuid_text(uuid: bytes) -> str:
    """Lower case, with hyphens. uuid: 16 bytes."""
    digits = uuid.hex()
    return "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))


def state_dict(volume: Volume, state: KeptState) -> dict[str, Any]:
    """A kept state."""
    published = volume.states.published
    undo = volume.states.pointer(POINTER_UNDO)
    parent = volume.states.get(state.parent)
    return {
        "id": state.hex_id,
        "number": state.number,
        "seq": state.seq,
        "label": state.label,
        "author": state.author,
        "message": state.message,
        "time_ns": state.time_ns,
        "parent": parent.hex_id if parent is not None else None,
        "published": published is not None and published.number == state.number,
        "undo": undo is not None and undo.number == state.number,
        "pins": state.pins,
        "flags": [word for flag, word in _FLAG_WORDS if state.flags & flag],
        "objects": state.object_count,
        "bytes": state.used_blocks * BLOCK_SIZE,
        "reclaim_ns": state.reclaim_ns or None,
    }


def space_dict(volume: Volume, kept_bytes: int | None = None) -> dict[str, Any]:
    """Where the space is, in bytes. kept_bytes: what kept states alone hold, where it is known."""
    if not len(volume.states):
        kept_bytes = 0
    figures = volume.statfs()
    numbers = volume.statistics()
    used = numbers.used_blocks * BLOCK_SIZE
    return {
        "total": figures.blocks_total * BLOCK_SIZE,
        "used": used,
        "free": figures.blocks_free * BLOCK_SIZE,
        "available": figures.blocks_available * BLOCK_SIZE,
        "live": max(0, used - kept_bytes) if kept_bytes is not None else None,
        "kept": kept_bytes,
        "reclaimable": numbers.held_blocks * BLOCK_SIZE,
        "reserved": numbers.reserved_blocks * BLOCK_SIZE,
        "objects": volume.working.object_count,
        "objects_free": figures.objects_free,
    }
