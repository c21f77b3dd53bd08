"""What a dry run of an import remembers of the batches before: as if they had been carried out.

Memory is bounded: beyond KEYS_MAX unique keys, two records of the input with one key are seen by
the import alone.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from affs_fuse.runtime.admission import Member, key_taken

__all__ = ["Rehearsal"]

KEYS_MAX = 100_000

Key = tuple[int, int, bytes]
"""Number of the directory, index of the unique key, and the key."""


@dataclass(slots=True)
class Rehearsal:
    """touched: objects that would be others by now, so what they were counts no more. holders: by
    which path a key would be taken. keys: of a path."""

    touched: set[int] = field(default_factory=set)
    holders: dict[Key, str] = field(default_factory=dict)
    keys: dict[str, list[Key]] = field(default_factory=dict)

    def admit(self, members: Sequence[Member], touched: set[int]) -> None:
        """One batch more. Errors: record.schema for a key that is taken."""
        for member in members:
            for index, key in enumerate(member.keys):
                holder = self.holders.get((member.number, index, key)) if key is not None else None
                if holder is not None and holder != member.path:
                    raise key_taken(member, index, holder)
        if len(self.touched) < KEYS_MAX:
            self.touched |= touched
        for member in members:
            for former in self.keys.pop(member.path, []):
                self.holders.pop(former, None)
            if len(self.holders) < KEYS_MAX:
                found = [
                    (member.number, index, key)
                    for index, key in enumerate(member.keys) if key is not None
                ]  # fmt: skip
                self.holders.update(dict.fromkeys(found, member.path))
                if found:
                    self.keys[member.path] = found
