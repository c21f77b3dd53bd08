"""A tree under several processes, and the same steps one after the other on a plain directory.

The steps are drawn so that their order between processes does not matter, which makes the outcome
determined: each process has a subtree of its own (`wK`), and names of its own (`pK...`) in a folder
that all of them change at once (`common`). Every step's answer (its errno, or what it read) is
compared, and the whole trees after each batch and after the volume was reopened.
"""

import ctypes
import errno
import multiprocessing
import os
import random
import shutil
import stat
import tempfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from affs_tools.exercise.ground import Ground, drop_caches
from affs_tools.exercise.steps import DifferenceError, Settings, Step, stamped
from affs_tools.parent import end_with_parent

__all__ = ["TreeRun", "describe", "perform", "tree_steps"]

BATCH = 1500
"""Steps between two comparisons of the whole trees."""
FILE_BYTES_MAX = 1 << 17
EXCHANGE, NO_REPLACE = 2, 1
WEIGHTS = {
    "create": 14, "mkdir": 7, "rename": 10, "exchange": 2, "noreplace": 2, "link": 5,
    "unlink": 7, "rmdir": 3, "symlink": 4, "chmod": 4, "truncate": 5, "write": 14, "setxattr": 4,
    "removexattr": 2, "read": 8, "list": 4, "stat": 5, "fsync": 0.5,
}  # fmt: skip

_fork = multiprocessing.get_context("fork")
_libc = ctypes.CDLL(None, use_errno=True)


def tree_steps(settings: Settings) -> Iterator[Step]:
    """Without end. `by`: the process; "sync" steps are the run's own."""
    chance = random.Random(f"tree {settings.seed}")
    names, shares = list(WEIGHTS), list(WEIGHTS.values())
    number = 0
    while True:
        number += 1
        if number % BATCH == 0:
            yield {"do": "sync", "verb": chance.choice(("commit", "rollback", "restart"))}
            continue
        by = chance.randrange(settings.processes)
        step: dict[str, Any] = {"do": chance.choices(names, shares)[0], "by": by}
        step |= {"path": _path(chance, by), "to": _path(chance, by), "stamp": number}
        step |= {"at": chance.randrange(FILE_BYTES_MAX // 2), "mode": chance.randrange(0o10000)}
        step["count"] = int(2 ** chance.uniform(0, 15))
        yield step


def _path(chance: random.Random, by: int) -> str:
    """Up to four names deep; few names, so that they meet."""
    top = f"common/p{by}" if chance.random() < 0.3 else f"w{by}/p{by}"
    parts = [f"{top}{chance.choice('abcdefgh')}"]
    while len(parts) < 4 and chance.random() < 0.45:
        parts.append(f"p{by}{chance.choice('abcdefgh')}")
    return "/".join(parts)


def perform(root: str, step: Step) -> str:
    """One step below root; its answer, the same on every correct filesystem."""
    try:
        return _perform(root, step)
    except OSError as error:
        return errno.errorcode[error.errno or 0]


def _perform(root: str, step: Step) -> str:
    path, to = f"{root}/{step['path']}", f"{root}/{step['to']}"
    match step["do"]:
        case "create":
            flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY
            os.close(os.open(path, flags, step["mode"] & 0o777))
        case "mkdir":
            os.mkdir(path, step["mode"] & 0o777)
        case "rename":
            os.rename(path, to)
        case "exchange":
            _renameat2(path, to, EXCHANGE)
        case "noreplace":
            _renameat2(path, to, NO_REPLACE)
        case "link":
            os.link(path, to, follow_symlinks=False)
        case "unlink":
            os.unlink(path)
        case "rmdir":
            os.rmdir(path)
        case "symlink":
            os.symlink(step["to"].rpartition("/")[2], path)
        case "chmod":
            os.chmod(path, step["mode"])
        case "truncate":
            os.truncate(path, step["at"])
        case _:
            return _perform_data(path, step)
    return "done"


def _perform_data(path: str, step: Step) -> str:
    name = f"user.{step['at'] % 4}"
    match step["do"]:
        case "write":
            with open(path, "r+b", buffering=0) as file:
                return str(os.pwrite(file.fileno(), stamped(step["stamp"], step["count"]),
                                     step["at"]))
        case "fsync":
            with open(path, "rb") as file:
                os.fsync(file.fileno())
        case "setxattr":
            os.setxattr(path, name, stamped(step["stamp"], step["count"] % 512))
        case "removexattr":
            os.removexattr(path, name)
        case "read":
            return f"{zlib.crc32(Path(path).read_bytes()):08x}"
        case "list":
            return " ".join(sorted(os.listdir(path)))
        case "stat":
            return _look(path)
        case other:
            raise ValueError(other)
    return "done"


def _look(path: str) -> str:
    found = os.lstat(path)
    size = 0 if stat.S_ISDIR(found.st_mode) else found.st_size
    return f"{found.st_mode:o} {found.st_uid}:{found.st_gid} {found.st_nlink} {size}"


def _renameat2(old: str, new: str, flags: int) -> None:
    here = -100  # AT_FDCWD
    if _libc.renameat2(here, os.fsencode(old), here, os.fsencode(new), flags):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), new)


def describe(root: Path) -> dict[str, str]:
    """All that the exercise determines of a tree: path to attributes, content, names of a file."""
    tree: dict[str, str] = {}
    first: dict[int, str] = {}
    for folder, folders, files in os.walk(root):
        folders.sort()
        for name in sorted(folders + files):
            path = os.path.join(folder, name)
            short = os.path.relpath(path, root)
            found = os.lstat(path)
            said = _look(path)
            if stat.S_ISLNK(found.st_mode):
                said += f" -> {os.readlink(path)}"
            elif stat.S_ISREG(found.st_mode):
                said += f" {zlib.crc32(Path(path).read_bytes()):08x}"
            if not stat.S_ISDIR(found.st_mode) and found.st_nlink > 1:
                said += f" = {first.setdefault(found.st_ino, short)}"
            if not stat.S_ISLNK(found.st_mode):
                for attribute in sorted(os.listxattr(path)):
                    if attribute.startswith("user."):
                        said += f" {attribute}={zlib.crc32(os.getxattr(path, attribute)):08x}"
            tree[short] = said
    return tree


class TreeRun:
    """Collects a batch of steps, then does it in both places and compares."""

    def __init__(self, ground: Ground, settings: Settings) -> None:
        self._ground = ground
        self._processes = settings.processes
        self._waiting: list[Step] = []
        self._plain = Path(tempfile.mkdtemp(prefix="exercise-plain-", dir=_memory()))
        self._published: dict[str, str] = {}
        for root in (self._plain, ground.directory):
            for name in ("common", *(f"w{index}" for index in range(self._processes))):
                (root / name).mkdir()

    def do(self, step: Step) -> None:
        if step["do"] != "sync":
            self._waiting.append(step)
            return
        self._do_waiting()
        if self._ground.verbs:
            self._verb(step["verb"])

    def finish(self) -> None:
        self._do_waiting()
        if self._ground.verbs:
            self._ground.reopen()
            self._compare("after reopening")
        shutil.rmtree(self._plain)

    def _verb(self, verb: str) -> None:
        if verb == "restart":
            self._ground.reopen()
        elif verb == "commit" or not self._published:
            self._ground.command("publish")
            self._published = describe(self._plain)
        else:
            self._ground.command("rollback")
            self._differ(self._published, "after the rollback")
            self._ground.command("rollback", undo=True)
        drop_caches()
        self._compare(f"after {verb}")

    def _do_waiting(self) -> None:
        steps, self._waiting = self._waiting, []
        children, lines = [], []
        for by in range(self._processes):
            mine = [step for step in steps if step["by"] == by]
            receiver, sender = _fork.Pipe(duplex=False)
            arguments = (str(self._ground.directory), mine, sender)
            child = _fork.Process(target=_work, args=arguments)
            child.start()
            sender.close()
            children.append(child)
            lines.append((mine, receiver))
        expected = {id(step): perform(str(self._plain), step) for step in steps}
        for by, (mine, receiver) in enumerate(lines):
            answers = receiver.recv()
            children[by].join()
            for step, answer in zip(mine, answers, strict=True):
                if answer != expected[id(step)]:
                    raise DifferenceError(
                        f"{dict(step)} gave {answer}, expected {expected[id(step)]}"
                    )
        self._compare("after a batch")

    def _compare(self, when: str) -> None:
        self._differ(describe(self._plain), when)

    def _differ(self, expected: dict[str, str], when: str) -> None:
        found = describe(self._ground.directory)
        odd = [
            f"{path}: {found.get(path)}, expected {expected.get(path)}"
            for path in sorted({*found, *expected})
            if found.get(path) != expected.get(path)
        ]
        if odd:
            raise DifferenceError(f"{when} {len(odd)} paths differ:\n" + "\n".join(odd[:10]))


def _work(root: str, steps: list[Step], sender: Any) -> None:
    """A process: its steps in their order."""
    end_with_parent()
    sender.send([perform(root, step) for step in steps])
    sender.close()


def _memory() -> str | None:
    return "/dev/shm" if os.path.isdir("/dev/shm") else None
