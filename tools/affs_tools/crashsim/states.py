"""Which states a log of writes and barriers may leave on a device.

An epoch is what lies between two barriers. At power loss all epochs before the current one are on
the device whole, and of the current one any subset of its writes, any of them torn. What must be
there is judged at the epoch's end, since every subset is possible at that time and most is
promised then.
"""

import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import combinations, pairwise
from typing import TypeVar

from affs_fuse.core.constants import BLOCK_SIZE, REGION_SECOND_OFFSET, REGION_SIZE
from affs_tools.crashsim.device import Event, Flush, Mark, Write

__all__ = ["Depth", "Epoch", "State", "epochs_of", "lying_epochs", "states_of"]

SECTOR = 512
WORD = 8
T = TypeVar("T")
SUBSETS_EXHAUSTIVE_MAX = 10
SAMPLED_SUBSETS = 256


@dataclass(frozen=True, slots=True)
class Epoch:
    """writes: between two barriers. before: of all epochs before it, how many writes there are.
    durable: the last commit that was called durable by the epoch's end. begun: all that were begun.
    lied: the barrier before it did nothing, and the writes of two epochs are in flight together.
    """

    index: int
    writes: tuple[Write, ...]
    durable: int
    begun: int
    lied: bool = False


@dataclass(frozen=True, slots=True)
class Depth:
    """How much of an epoch is explored. subsets, tears: at most so many of each, the simplest
    always and of the rest a seeded sample; None: all."""

    subsets: int | None = None
    tears: int | None = None


@dataclass(frozen=True, slots=True)
class State:
    """present: indexes of the writes that are on the device. torn: (index, first byte, last byte):
    of this write, not in `present`, only these bytes are."""

    epoch: int
    present: frozenset[int]
    torn: tuple[int, int, int] | None = None
    lied: bool = False

    def __str__(self) -> str:
        mask = sum(1 << index for index in self.present)
        torn = "" if self.torn is None else "/t{}.{}.{}".format(*self.torn)
        return f"{'l' if self.lied else 'e'}{self.epoch}/{mask:x}{torn}"

    @classmethod
    def parse(cls, text: str) -> "State":
        """What str() gave. Errors: ValueError."""
        epoch, mask_text, *rest = text.split("/")
        mask = int(mask_text, 16)
        present = frozenset(index for index in range(mask.bit_length()) if mask >> index & 1)
        torn = None
        if rest:
            index, first, last = (int(part) for part in rest[0][1:].split("."))
            torn = index, first, last
        return cls(int(epoch[1:]), present, torn, epoch[0] == "l")


@dataclass(slots=True)
class _Gathered:
    writes: list[Write] = field(default_factory=list)
    durable: int = 0
    begun: int = 0


def epochs_of(log: list[Event], durable: int) -> list[Epoch]:
    """durable: the commit that was durable when the log began."""
    epochs: list[Epoch] = []
    now = _Gathered([], durable, durable)
    for event in log:
        if isinstance(event, Write):
            now.writes.append(event)
        elif isinstance(event, Mark):
            now.begun = max(now.begun, event.seq)
            if event.kind == "durable":
                now.durable = event.seq
        elif isinstance(event, Flush):
            epochs.append(Epoch(len(epochs), tuple(now.writes), now.durable, now.begun))
            now = _Gathered([], now.durable, now.begun)
    epochs.append(Epoch(len(epochs), tuple(now.writes), now.durable, now.begun))
    return epochs


def lying_epochs(epochs: list[Epoch]) -> list[Epoch]:
    """Each pair of neighbours as one epoch: the barrier between them lied."""
    return [
        Epoch(first.index, first.writes + second.writes, second.durable, second.begun, True)
        for first, second in pairwise(epochs)
        if first.writes and second.writes
    ]


def states_of(epoch: Epoch, depth: Depth, seed: str) -> Iterator[State]:
    """Every state once, the simplest first. Deterministic."""
    chance = random.Random(f"{seed}/{epoch.index}/{epoch.lied}")
    count = len(epoch.writes)
    for present in _limited(list(_subsets(count, chance)), 2 * count + 2, depth.subsets, chance):
        yield State(epoch.index, present, None, epoch.lied)
    tears = [tear for index, write in enumerate(epoch.writes) for tear in _tears(index, write)]
    for torn in _limited(tears, 0, depth.tears, chance):
        index = torn[0]
        others = frozenset(range(count)) - {index}
        contexts = {others, frozenset(range(index)), frozenset()}
        for present in sorted(contexts, key=sorted):
            yield State(epoch.index, present, torn, epoch.lied)


def _limited(found: list[T], always: int, limit: int | None, chance: random.Random) -> list[T]:
    """The first `always`, and chance's choice of the others, `limit` together."""
    if limit is None or len(found) <= limit:
        return found
    first = found[: min(always, limit)]
    return first + chance.sample(found[len(first) :], limit - len(first))


def _subsets(count: int, chance: random.Random) -> Iterator[frozenset[int]]:
    """None, all, one missing, one only; then all others, or, of many writes, prefixes, pairs and a
    sample."""
    everything = frozenset(range(count))
    seen: set[frozenset[int]] = set()

    def fresh(*given: frozenset[int]) -> Iterator[frozenset[int]]:
        for subset in given:
            if subset not in seen:
                seen.add(subset)
                yield subset

    yield from fresh(frozenset(), everything)
    for index in range(count):
        yield from fresh(everything - {index}, frozenset({index}))
    if count <= SUBSETS_EXHAUSTIVE_MAX:
        for mask in range(1 << count):
            yield from fresh(frozenset(index for index in range(count) if mask >> index & 1))
        return
    for index in range(count):
        yield from fresh(frozenset(range(index)))
    for pair in combinations(range(count), 2):
        yield from fresh(everything - set(pair), frozenset(pair))
    for _ in range(SAMPLED_SUBSETS):
        yield from fresh(frozenset(i for i in range(count) if chance.random() < 0.5))


def _tears(index: int, write: Write) -> Iterator[tuple[int, int, int]]:
    """The ranges of bytes that may be all that is left of a write: what lies before or behind a
    boundary, and in longer writes all blocks before or behind one alone and single blocks."""
    length = len(write.data)
    step = WORD if _is_header(write.offset) else SECTOR
    for at in range(step, length, step):
        yield index, 0, at
        yield index, at, length
    if length > BLOCK_SIZE:
        for at in range(0, length, BLOCK_SIZE):
            yield index, at, at + BLOCK_SIZE


def _is_header(offset: int) -> bool:
    """Superblocks, owner blocks and commit records."""
    return offset < REGION_SIZE or REGION_SECOND_OFFSET <= offset < (
        REGION_SECOND_OFFSET + REGION_SIZE
    )
