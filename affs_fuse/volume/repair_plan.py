"""What a repair is going to do: one plan, made before anything is written (repair.py makes it).

A plan holds only what is provable from what is whole (docs/internals/checking.md, "Repair").
"""

from dataclasses import dataclass, field
from typing import Any

from affs_fuse.core.codec import Inode

__all__ = ["BlockWrite", "Plan", "Repair"]


@dataclass(frozen=True, slots=True)
class Repair:
    """One thing that is put right. code: of the finding that it answers. where: an address, or an
    object. why: what proves it. size_bytes: of the structure that is written anew."""

    code: str
    what: str
    where: str
    why: str
    size_bytes: int

    def to_auv(self) -> dict[str, Any]:
        return {
            "code": self.code,
            "what": self.what,
            "where": self.where,
            "why": self.why,
            "size_bytes": self.size_bytes,
        }

    def __str__(self) -> str:
        return f"{self.what} ({self.where}): {self.why}"


@dataclass(frozen=True, slots=True)
class BlockWrite:
    """One block in place, from a copy that is whole; a barrier follows."""

    offset: int
    image: bytes


@dataclass(slots=True)
class Plan:
    """blocks: written in place, in this order. owner: both owner blocks are written anew.

    The rest is changed by one commit. bits: the right bitmaps, by segment (of system segments: that
    they have none). chunks: keys of bitmap items to take away first. Of the working state: inodes,
    orphans_added, orphans_dropped, listed (whether a number is in the list of collections),
    object_count. state_counts: by number of the kept state. record: a figure of the commit record
    alone is wrong. refusal: why no commit may be made, or "".
    """

    repairs: list[Repair] = field(default_factory=list)
    blocks: list[BlockWrite] = field(default_factory=list)
    owner: bool = False
    bits: dict[int, bytearray] = field(default_factory=dict)
    chunks: list[tuple[int, int]] = field(default_factory=list)
    inodes: dict[int, Inode] = field(default_factory=dict)
    orphans_added: list[int] = field(default_factory=list)
    orphans_dropped: list[int] = field(default_factory=list)
    listed: dict[int, bool] = field(default_factory=dict)
    object_count: int | None = None
    state_counts: dict[int, int] = field(default_factory=dict)
    record: bool = False
    refusal: str = ""

    def add(self, code: str, what: str, where: str, why: str, size_bytes: int) -> None:
        self.repairs.append(Repair(code, what, where, why, size_bytes))

    @property
    def needs_commit(self) -> bool:
        return bool(
            self.bits
            or self.chunks
            or self.inodes
            or self.orphans_added
            or self.orphans_dropped
            or self.listed
            or self.object_count is not None
            or self.state_counts
            or self.record
        )
