"""The steps of the exercise of one file, drawn from a seed.

They depend on nothing but the seed and the settings, never on what earlier steps did.
"""

import random
from collections.abc import Iterator
from typing import Any

from affs_tools.exercise.steps import Settings, Step

__all__ = ["file_steps"]

PAGE = 4096

DATA_WEIGHTS = {
    "write": 30, "append": 6, "read": 20, "map_write": 14, "map_sync": 2, "map_drop": 4,
    "private": 4, "truncate": 12, "allocate": 2, "punch": 5, "zero": 2, "copy": 6,
    "replace": 1, "reopen": 3, "fsync": 2, "fdatasync": 1, "forget": 4, "drop_caches": 0.3,
    "direct_write": 4, "direct_read": 3, "holes": 4, "verify": 6,
}  # fmt: skip
VERB_WEIGHTS = {
    "commit": 2, "checkpoint": 1.5, "publish": 1, "rollback": 2.5, "undo": 0.8, "view": 1,
    "restart": 0.15, "kill": 0.3,
}  # fmt: skip


def file_steps(settings: Settings) -> Iterator[Step]:
    """Without end."""
    chance = random.Random(f"file {settings.seed}")
    weights: dict[str, float] = dict(DATA_WEIGHTS)
    if settings.verbs:
        weights |= VERB_WEIGHTS
    names, shares = list(weights), list(weights.values())
    number = 0
    while True:
        number += 1
        yield _drawn(chance.choices(names, shares)[0], number, chance, settings.size)


def _drawn(name: str, number: int, chance: random.Random, size: int) -> Step:
    step: dict[str, Any] = {"do": name}
    if name in ("write", "read", "map_write", "private", "allocate", "punch", "zero", "copy",
                "append"):
        step |= {"at": _offset(chance, size), "count": _count(chance, size)}
    if name in ("direct_write", "direct_read"):
        step |= {"at": _offset(chance, size) & -PAGE, "count": chance.randint(1, 8) * PAGE}
    if name in ("write", "append", "map_write", "private", "direct_write"):
        step["stamp"] = number
    if name in ("write", "read", "truncate"):
        step["handle"] = chance.randrange(2)
    if name == "truncate":
        step["size"] = _offset(chance, size)
    elif name in ("allocate", "zero"):
        step["keep_size"] = chance.random() < 0.3
    elif name == "copy":
        step["to"] = _offset(chance, size)
    elif name in ("rollback", "view"):
        step["state"] = chance.randrange(64)
    return step


def _offset(chance: random.Random, size: int) -> int:
    """Anywhere, at the border of a page, or next to one."""
    if chance.random() < 0.1:
        return chance.randrange(2 * PAGE)
    at = chance.randrange(size)
    kind = chance.random()
    if kind < 0.3:
        at &= -PAGE
    elif kind < 0.5:
        at = max(0, (at & -PAGE) + chance.randint(-2, 2))
    return at


def _count(chance: random.Random, size: int) -> int:
    """From one byte to a quarter of the file, small ones as often as large ones."""
    count = int(2 ** chance.uniform(0, (size // 4).bit_length()))
    return (count + PAGE) & -PAGE if chance.random() < 0.2 else count
