"""Crashes while mkfs.affs works, on an empty device and over an older volume.

Until it is done there is no volume, or still the old one, whole; once its last barrier is through,
the new one opens, empty.
"""

import random
from dataclasses import replace

from affs_fuse.errors import AffsError
from affs_fuse.volume.mkfs import MkfsOptions, format_device
from affs_fuse.volume.superblock import read_superblock_copies
from affs_tools.crashsim.bounds import Violation
from affs_tools.crashsim.check import Verdict, judge_damaged, open_state
from affs_tools.crashsim.device import Flush, Image, Recorder
from affs_tools.crashsim.explore import IMAGE_BYTES, Base, Failure, Tally, apply, base_of
from affs_tools.crashsim.session import Time
from affs_tools.crashsim.states import Depth, Epoch, epochs_of, states_of

__all__ = ["NAMES", "explore_mkfs"]

NAMES = ("mkfs/empty", "mkfs/over")
LABEL = "made new"


def explore_mkfs(name: str, tally: Tally, depth: Depth = Depth(None, 300)) -> None:  # noqa: B008
    """name: one of NAMES."""
    base = base_of("kept") if name == "mkfs/over" else None
    image = base.image if base is not None else Image(IMAGE_BYTES)
    mark = image.mark()
    recorder = Recorder(image)
    format_device(
        recorder, MkfsOptions(label=LABEL), clock=Time().clock(), entropy=random.Random(5).randbytes
    )
    image.revert(mark)
    assert isinstance(recorder.log[-1], Flush), "mkfs ends with a barrier"
    tally.workloads += 1
    epochs = epochs_of(recorder.log, base.durable if base is not None else 0)
    for epoch in epochs:
        done = epoch.index == len(epochs) - 1
        for state in states_of(epoch, depth, name):
            inner = image.mark()
            apply(image, epoch, state)
            digest = hash((name, epoch.index, state))
            tally.digests.add(digest)
            tally.states += 1
            try:
                verdict = _judge(image, base, epoch, done=done)
                tally.outcomes[f"mkfs: {verdict.outcome}"] += 1
            except Violation as error:
                tally.failures.append(Failure(f"{name}@{state}", str(error)))
            image.revert(inner)
        for write in epoch.writes:
            image.put(write.offset, write.data)
    image.revert(mark)


def _judge(image: Image, base: Base | None, epoch: Epoch, *, done: bool) -> Verdict:
    try:
        volume = open_state(Recorder(image))
    except AffsError as error:
        if done:
            raise Violation(f"the new volume cannot be opened: {error.message}") from error
        return Verdict(0, "no volume")
    if volume.label == LABEL:
        names = volume.working.object_count
        if volume.durable_seq != 1 or names != 1 or volume.read_only:
            raise Violation(f"the new volume shows {names} objects at commit {volume.durable_seq}")
        if done and any(copy.superblock is None for copy in read_superblock_copies(image)):
            raise Violation("a superblock is missing")
        return Verdict(1, "new volume")
    if base is None or done:
        raise Violation("a volume opens that was never made")
    damaged = replace(epoch, lied=True)
    verdict = judge_damaged(image, base.expected, damaged.durable, damaged.begun, thorough=False)
    return Verdict(verdict.seq, f"old volume {verdict.outcome}")
