"""The steps of differential.py that work on descriptors which stay open over many steps, by whoever
opened them: files that lost their names, changed owners or became somebody else's meanwhile.
"""

import mmap
import os
import random
import stat
from collections.abc import Callable
from typing import Any

from posix_kit import GROUP, OTHER, OTHER_GROUP, USER, fallocate, linkat_descriptor

__all__ = ["HANDLES", "handle_steps"]

HANDLES = 4
OPEN_FLAGS = [
    os.O_RDONLY, os.O_WRONLY, os.O_RDWR, os.O_RDWR, os.O_RDWR | os.O_APPEND, os.O_RDWR | os.O_CREAT,
    os.O_WRONLY | os.O_CREAT | os.O_EXCL, os.O_RDWR | os.O_TRUNC, os.O_RDONLY | os.O_DIRECTORY,
    os.O_RDONLY | os.O_NOFOLLOW, os.O_PATH, os.O_PATH | os.O_NOFOLLOW, os.O_RDWR | os.O_SYNC,
    os.O_RDONLY | os.O_TRUNC, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW,
    os.O_RDONLY | os.O_CREAT, os.O_RDONLY | os.O_NOATIME, os.O_RDWR | os.O_DIRECTORY,
]  # fmt: skip
ALLOCATION_MODES = [0, 3, 3, 16, 17]
OFFSETS = [0, 1, 100, 4095, 4096, 9000, 20_000]

Handles = dict[int, int]
Action = Callable[[], Any]


def is_file(descriptor: int) -> bool:
    return stat.S_ISREG(os.fstat(descriptor).st_mode)


def hold(handles: Handles, slot: int, path: str, flags: int, mode: int) -> Any:
    """Open it in this slot, closing what was there."""
    drop(handles, slot)
    descriptor = os.open(path, flags | os.O_NONBLOCK, mode)
    handles[slot] = descriptor
    return stat.S_IFMT(os.fstat(descriptor).st_mode)


def drop(handles: Handles, slot: int) -> None:
    if slot in handles:
        os.close(handles.pop(slot))


def read(handles: Handles, slot: int, offset: int) -> Any:
    return os.pread(handles[slot], 5000, offset) if is_file(handles[slot]) else None


def write(handles: Handles, slot: int, offset: int, data: bytes) -> Any:
    return os.pwrite(handles[slot], data, offset) if is_file(handles[slot]) else None


def write_through_mapping(handles: Handles, slot: int, data: bytes) -> Any:
    size = os.fstat(handles[slot]).st_size
    if not is_file(handles[slot]) or size < len(data) or not data:
        return None
    with mmap.mmap(handles[slot], size) as mapped:
        mapped[: len(data)] = data
        mapped.flush()
    return size


def copy(handles: Handles, source: int, target: int, length: int, offset: int) -> Any:
    one, other = handles[source], handles[target]
    if not (is_file(one) and is_file(other)) or one == other:
        return None
    return os.copy_file_range(one, other, length, 0, offset)


def handle_steps(
    rng: random.Random, handles: Handles, path: str, mode: int, size: int, data: bytes
) -> list[tuple[int, str, Action]]:
    """As in differential.step: (weight, words, action)."""
    slot, other = rng.randrange(HANDLES), rng.randrange(HANDLES)
    flags, offset = rng.choice(OPEN_FLAGS), rng.choice(OFFSETS)
    allocation = rng.choice(ALLOCATION_MODES)
    uid, gid = rng.choice([0, USER, OTHER]), rng.choice([-1, 0, GROUP, OTHER_GROUP])
    excl = rng.choice([0, 0, os.O_EXCL])
    if slot not in handles:
        return [
            (12, f"hold {slot} {path} {flags:o} {mode:o}",
             lambda: hold(handles, slot, path, flags, mode)),
            (3, f"tmpfile {slot} {path} {mode:o} {excl:o}",
             lambda: hold(handles, slot, path, os.O_TMPFILE | os.O_RDWR | excl, mode)),
        ]  # fmt: skip
    held = handles[slot]
    steps: list[tuple[int, str, Action]] = [
        (3, f"drop {slot}", lambda: drop(handles, slot)),
        (4, f"pread {slot} {offset}", lambda: read(handles, slot, offset)),
        (6, f"pwrite {slot} {offset}+{len(data)}", lambda: write(handles, slot, offset, data)),
        (3, f"mmap {slot} {len(data)}", lambda: write_through_mapping(handles, slot, data)),
        (4, f"ftruncate {slot} {size}", lambda: os.ftruncate(held, size)),
        (3, f"fchmod {slot} {mode:o}", lambda: os.fchmod(held, mode)),
        (3, f"fchown {slot} {uid} {gid}", lambda: os.fchown(held, uid, gid)),
        (1, f"futimens {slot}", lambda: os.utime(held, ns=(10**18, 10**18 + offset))),
        (1, f"futimens {slot} now", lambda: os.utime(held)),
        (1, f"fsync {slot}", lambda: os.fsync(held)),
        (1, f"listdir {slot}", lambda: sorted(os.listdir(held))),
        (1, f"fsetxattr {slot}", lambda: os.setxattr(held, "user.x", data[:100])),
        (4, f"fallocate {slot} {allocation} {offset}+{1 + size}",
         lambda: fallocate(held, allocation, offset, 1 + size)),
        (3, f"linkat {slot} {path}", lambda: linkat_descriptor(held, path)),
    ]  # fmt: skip
    if other in handles:
        steps.append((3, f"copy {slot} {other} {1 + size} {offset}",
                      lambda: copy(handles, slot, other, 1 + size, offset)))  # fmt: skip
    return steps
