"""What the C core's return values mean in Python.

Outcomes (not found, missing, exists, end, more) are values and pass through; a structure that does
not verify is a `StructureError`, an expected failure; a broken contract between Python and C is a
ValueError, which nobody catches.
"""

from affs_fuse.core import constants
from affs_fuse.errors import AffsError, Category

__all__ = ["StructureError", "check"]


class StructureError(AffsError):
    """Bytes from a device are not the structure that they should be (DiskLayout.md, "Verifying").

    reason: "magic", "version", "checksum", "identity", "field", "length" or "range".
    what: the structure's name.
    """

    def __init__(self, reason: str, what: str) -> None:
        super().__init__(
            "volume.structure",
            Category.CORRUPT,
            f"{what}: {_SENTENCES[reason]}",
            details={"reason": reason, "structure": what},
        )
        self.reason = reason
        self.what = what


_SENTENCES = {
    "magic": "there is no such structure (wrong magic)",
    "version": "it is of a version that this program does not know",
    "checksum": "its checksum does not match its bytes",
    "identity": "it belongs to another volume, place or commit",
    "field": "a field has a value that cannot be",
    "length": "its length is wrong",
    "range": "its keys lie outside the range that the node above it gives it",
}

_REASONS = {
    constants.E_MAGIC: "magic",
    constants.E_VERSION: "version",
    constants.E_CHECKSUM: "checksum",
    constants.E_IDENTITY: "identity",
    constants.E_FIELD: "field",
    constants.E_LENGTH: "length",
    constants.E_RANGE: "range",
}


def check(result: int, what: str) -> int:
    """Pass an outcome (>= 0) on; raise what an error code stands for.

    Raises StructureError, MemoryError (nothing was changed), or ValueError (the caller broke the
    contract: a bad argument, or a change to what was opened for reading).
    """
    if result >= 0:
        return result
    if result == constants.E_NOMEM:
        raise MemoryError(what)
    reason = _REASONS.get(result)
    if reason is None:
        raise ValueError(f"{what}: the core refused (code {result})")
    raise StructureError(reason, what)
