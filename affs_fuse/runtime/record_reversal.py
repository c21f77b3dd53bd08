"""What an undo of a change of records needs: traces, kept beside an entry of the operation log
(docs/specs/Records.md, "Undo"; DiskLayout.md, "System tree").

A trace is an Object that says what one operation did, and has what it took away:
- `did`: create, update, move, erase (the last name went), unlink (another name is left), link
- `path`: a Binary, as it was afterwards (erase, unlink: before); of move also `from`
- `id`: of the object, a Binary; not of erase
- `version`: of create and update, what the record was left as
- `before`: of update and erase, the content, a Binary
- `inode`, `attributes`: of erase; an inode item, and Binaries of an offset (8 bytes, big-endian)
  and an attribute item each. Without `inode` the file cannot be brought back as it was.
"""

from collections.abc import Sequence
from typing import Any

from affs_fuse.auv import AuvError, Value, decode, encode
from affs_fuse.core.codec import Inode
from affs_fuse.errors import AffsError, Category
from affs_fuse.posix.restoring import Kept
from affs_fuse.query.paths import path_named
from affs_fuse.runtime.record_operations import Operation

__all__ = ["Trace", "kept_fields", "operations_of", "pack_traces", "size_of", "unpack_traces"]

Trace = dict[str, Any]

TRACE_BYTES = 256
"""Of a trace beside contents and attributes, in an estimate."""


def size_of(contents: Sequence[bytes], keeps: Sequence[Kept | None]) -> int:
    """About how many bytes the traces of so many operations take."""
    attributes = [payload for kept in keeps if kept is not None for _, payload in kept.attributes]
    return sum(map(len, contents)) + sum(map(len, attributes)) + TRACE_BYTES * len(contents)


def pack_traces(traces: Sequence[Trace]) -> bytes:
    return encode([*traces])


def unpack_traces(data: bytes | None) -> list[Trace] | None:
    """None where there are none, or they are damaged."""
    try:
        value: Value = decode(data) if data is not None else None
    except AuvError:
        return None
    return value if isinstance(value, list) else None


def kept_fields(kept: Kept | None) -> Trace:
    if kept is None:
        return {}
    attributes = [offset.to_bytes(8, "big") + payload for offset, payload in kept.attributes]
    return {"inode": kept.inode.pack(), "attributes": attributes}


def operations_of(traces: Sequence[Trace]) -> list[Operation]:
    """Those that take it back. conflict: undo.impossible"""
    return [_operation(trace) for trace in traces]


def _operation(trace: Trace) -> Operation:
    did, path = trace["did"], path_named(trace["path"])
    if did == "create":
        return Operation("erase", path, object_id=trace["id"], if_version=trace["version"])
    if did == "update":
        return Operation(
            "rewrite", trace["id"].hex(), content=trace["before"], if_version=trace["version"]
        )
    if did == "move":
        return Operation("move", path, target=path_named(trace["from"]), object_id=trace["id"])
    if did == "unlink":
        return Operation("link", path, object_id=trace["id"])
    if did == "link":
        return Operation("erase", path, object_id=trace["id"])
    if "inode" not in trace:
        raise AffsError(
            "undo.impossible", Category.CONFLICT,
            f"{path} had extended attributes that are too large to be kept for an undo",
            hint="a rollback, or the kept states that have it, bring it back",
            details={"path": path},
        )  # fmt: skip
    attributes = tuple((int.from_bytes(one[:8], "big"), one[8:]) for one in trace["attributes"])
    kept = Kept(Inode.unpack(trace["inode"]), attributes)
    return Operation("restore", path, content=trace["before"], kept=kept)

