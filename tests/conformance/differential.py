"""Random calls made on two filesystems at once; whatever a program can see must be the same.

Each step is one system call on one path of a small tree, as root or as one of two users, from a
seeded generator. After it, the outcomes (value or errno), the attributes of every name and which
times moved are compared. Sizes and blocks of directories are each filesystem's own. With handles
there are also steps on descriptors that stay open; access times are left out then, because reading
what the kernel has in memory moves them on ext4 alone (docs/limits.md, POSIX).
"""

import os
import random
import stat
import struct
import time
from collections.abc import Callable
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from differential_handles import handle_steps
from posix_kit import (
    GROUP,
    OTHER,
    OTHER_GROUP,
    RENAME_EXCHANGE,
    RENAME_NOREPLACE,
    TICK_S,
    USER,
    renameat2,
)

NAMES = [
    "a", "b", "c", "d", "d/a", "d/b", "d/e", "d/e/a", "f", "f/a", "f/b", "l", "d/l",
]  # fmt: skip
ODD = ["", ".", "d/.", "d/..", "a/", "d/", "missing/a", "a/x", "n" * 256, "d/" + "n" * 255]
MODES = [0o644, 0o600, 0o666, 0o755, 0o777, 0o000, 0o4755, 0o2755, 0o6777, 0o1777, 0o2777, 0o2666]
SIZES = [0, 1, 100, 4096, 5000, 12_288]
USERS = [
    (0, 0, []), (0, 0, []), (USER, GROUP, []), (USER, GROUP, [OTHER_GROUP]), (OTHER, GROUP, []),
]  # fmt: skip
FLAGS = [
    os.O_RDONLY, os.O_WRONLY, os.O_RDWR, os.O_WRONLY | os.O_CREAT, os.O_RDWR | os.O_CREAT,
    os.O_WRONLY | os.O_TRUNC, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, os.O_RDONLY | os.O_DIRECTORY,
    os.O_WRONLY | os.O_CREAT | os.O_EXCL, os.O_RDONLY | os.O_NOFOLLOW,
    os.O_WRONLY | os.O_APPEND,
]  # fmt: skip
ATTRIBUTES = ["user.x", "user.y", "trusted.x", "security.x", "nothing", "user."]
ACL_ACCESS, ACL_DEFAULT = "system.posix_acl_access", "system.posix_acl_default"

Action = Callable[[], Any]


@contextmanager
def acting_as(uid: int, gid: int, groups: list[int]) -> Any:
    os.setgroups(groups)
    os.setegid(gid)
    os.seteuid(uid)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(0)
        os.setgroups([])


def some_acl(rng: random.Random) -> bytes:
    """A valid value: owner, one user, group, one group, mask, others."""
    entries = [
        (0x01, rng.randrange(8), 0xFFFFFFFF),
        (0x02, rng.randrange(8), rng.choice([USER, OTHER])),
        (0x04, rng.randrange(8), 0xFFFFFFFF),
        (0x08, rng.randrange(8), rng.choice([GROUP, OTHER_GROUP])),
        (0x10, rng.randrange(8), 0xFFFFFFFF),
        (0x20, rng.randrange(8), 0xFFFFFFFF),
    ]
    if rng.random() < 0.3:
        entries = [entries[0], entries[2], entries[5]]
    return struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *entry) for entry in entries)


def use_file(path: str, flags: int, mode: int, offset: int, data: bytes) -> Any:
    descriptor = os.open(path, flags | os.O_NONBLOCK, mode)
    try:
        kind = stat.S_IFMT(os.fstat(descriptor).st_mode)
        if kind == stat.S_IFDIR:
            return sorted(os.listdir(descriptor))
        if kind != stat.S_IFREG:
            return kind
        if flags & os.O_ACCMODE == os.O_RDONLY:
            if flags & os.O_CREAT:
                return b""  # of what is new, atime moves or not, as the clock happens to step
            return os.pread(descriptor, 100, 0)
        return os.pwrite(descriptor, data, offset)
    finally:
        os.close(descriptor)


def step(rng: random.Random, handles: dict[int, int] | None) -> tuple[str, Action]:
    """What is done, in words, and how, relative to the working directory."""
    path = rng.choice(ODD) if rng.random() < 0.06 else rng.choice(NAMES)
    other = rng.choice(ODD) if rng.random() < 0.06 else rng.choice(NAMES)
    mode = rng.choice(MODES)
    name = rng.choice(ATTRIBUTES)
    uid, gid = rng.choice([-1, 0, USER, OTHER]), rng.choice([-1, 0, GROUP, OTHER_GROUP])
    if uid == gid == -1:
        uid = 0  # test_chown_of_nothing has the case
    size, flags = rng.choice(SIZES), rng.choice(FLAGS)
    length = rng.randrange(1, 20_000)  # to the same size, filesystems differ about mtime
    data = rng.randbytes(rng.choice([0, 1, 100, 5000]))
    kind = rng.choice([stat.S_IFIFO, stat.S_IFSOCK, stat.S_IFREG, stat.S_IFCHR])
    device = os.makedev(1, 3) if kind == stat.S_IFCHR else 0
    when = rng.randrange(10**18, 11 * 10**17)
    target = rng.choice(["a", "d", "b", "../a", "/nowhere/a", "l", "e"])
    rename_flags = rng.choice([RENAME_NOREPLACE, RENAME_EXCHANGE])
    acl_name, acl = rng.choice([ACL_ACCESS, ACL_DEFAULT]), some_acl(rng)
    xattr_flags = rng.choice([0, 0, os.XATTR_CREATE, os.XATTR_REPLACE])
    choices: list[tuple[int, str, Action]] = [
        (8, f"open {path} {flags:o} {mode:o} {size}+{len(data)}",
         lambda: use_file(path, flags, mode, size, data)),
        (5, f"mkdir {path} {mode:o}", lambda: os.mkdir(path, mode)),
        (2, f"mknod {path} {kind | mode:o}", lambda: os.mknod(path, kind | mode, device)),
        (2, f"symlink {target} {path}", lambda: os.symlink(target, path)),
        (3, f"link {path} {other}", lambda: os.link(path, other, follow_symlinks=False)),
        (3, f"unlink {path}", lambda: os.unlink(path)),
        (2, f"rmdir {path}", lambda: os.rmdir(path)),
        (4, f"rename {path} {other}", lambda: os.rename(path, other)),
        (2, f"rename {path} {other} {rename_flags}",
         lambda: renameat2(path, other, rename_flags)),
        (6, f"chmod {path} {mode:o}", lambda: os.chmod(path, mode)),
        (6, f"chown {path} {uid} {gid}", lambda: os.lchown(path, uid, gid)),
        (3, f"truncate {path} {length}", lambda: os.truncate(path, length)),
        (2, f"utime {path} {when}", lambda: os.utime(path, ns=(when, when))),
        (1, f"utime {path} now", lambda: os.utime(path)),
        (2, f"setxattr {path} {name} {xattr_flags}",
         lambda: os.setxattr(path, name, data[:200], xattr_flags, follow_symlinks=False)),
        (1, f"getxattr {path} {name}", lambda: os.getxattr(path, name, follow_symlinks=False)),
        (1, f"removexattr {path} {name}",
         lambda: os.removexattr(path, name, follow_symlinks=False)),
        (2, f"setacl {path} {acl_name} {acl.hex()}", lambda: os.setxattr(path, acl_name, acl)),
        (1, f"removeacl {path} {acl_name}", lambda: os.removexattr(path, acl_name)),
        (1, f"list {path}", lambda: sorted(os.listdir(path))),
        (1, f"readlink {path}", lambda: os.readlink(path)),
        (1, f"access {path}", lambda: os.access(path, mode & 7, effective_ids=True)),
    ]  # fmt: skip
    if handles is not None:
        choices += handle_steps(rng, handles, path, mode, length - 1, data)
    weights = [weight for weight, _, _ in choices]
    _, words, action = rng.choices(choices, weights)[0]
    return words, action


def outcome(action: Action) -> Any:
    try:
        return action()
    except OSError as error:
        return OSError, error.errno


def look(handles: dict[int, int] | None) -> dict[str, Any]:
    """Everything about every name and handle, with times apart."""
    found: dict[str, Any] = {}
    for name in [".", *NAMES]:
        try:
            about = os.lstat(name)
        except OSError as error:
            found[name] = error.errno
            continue
        attributes = {
            attribute: os.getxattr(name, attribute, follow_symlinks=False)
            for attribute in os.listxattr(name, follow_symlinks=False)
        }
        found[name] = seen(about, handles is None, sorted(attributes.items()))
    for slot, descriptor in (handles or {}).items():
        found[f"handle {slot}"] = seen(os.fstat(descriptor), False)
    return found


def seen(about: os.stat_result, atime: bool, attributes: object = ()) -> tuple[Any, Any]:
    """(what must be equal, what must move alike)."""
    size = None if stat.S_ISDIR(about.st_mode) else about.st_size
    values = (
        oct(about.st_mode), about.st_uid, about.st_gid, about.st_nlink, size, about.st_rdev,
        attributes,
    )  # fmt: skip
    accessed = about.st_atime_ns if atime else 0
    return values, (about.st_ino, accessed, about.st_mtime_ns, about.st_ctime_ns)


def difference(before: dict[str, Any], after: dict[str, Any]) -> dict[str, Any]:
    """Attributes as they are, and which times moved where the name still has the same object."""
    told: dict[str, Any] = {}
    for name, new in after.items():
        old = before.get(name)
        if isinstance(new, int):
            told[name] = new
            continue
        letters = "new"
        if isinstance(old, tuple) and old[1][0] == new[1][0]:
            pairs = zip("amc", old[1][1:], new[1][1:], strict=True)
            letters = "".join(letter for letter, was, now in pairs if was != now)
        told[name] = (new[0], letters)
    return told


def compare(places: list[Path], seed: int, steps: int, *, with_handles: bool = False) -> None:
    """Raises AssertionError at the first difference, with the seed and the last steps.

    The work is done in a folder of each place, because some links lead out of where they lie.
    """
    places = [place / "in" for place in places]
    for place in places:
        place.mkdir()
        place.chmod(0o777)
    handles: list[dict[int, int] | None] = [{} if with_handles else None for _ in places]
    try:
        run(places, seed, steps, handles)
    finally:
        for held in handles:
            for descriptor in (held or {}).values():
                os.close(descriptor)


def run(
    places: list[Path], seed: int, steps: int, handles: list[dict[int, int] | None]
) -> None:
    rng = random.Random(seed)
    history: list[str] = []
    states = []
    for place in places:
        os.chdir(place)
        states.append(look(None))
    for number in range(steps):
        user = rng.choice(USERS)
        choice = rng.getrandbits(64)
        time.sleep(TICK_S)
        answers = []
        for index, place in enumerate(places):
            os.chdir(place)
            words, action = step(random.Random(choice), handles[index])
            with acting_as(*user):
                answer = outcome(action)
            after = look(handles[index])
            answers.append((answer, difference(states[index], after)))
            states[index] = after
        history.append(f"{user}: {words} -> {answers[0][0]!r:.80}")
        if answers[0] != answers[1]:
            recent = "\n".join(history[-12:])
            raise AssertionError(f"seed {seed}, step {number}:\n{recent}\n{told(answers)}")


def told(answers: list[Any]) -> str:
    """Only what differs."""
    lines = [f"answers {answers[0][0]!r:.200} and {answers[1][0]!r:.200}"]
    for name in answers[0][1]:
        one, two = answers[0][1][name], answers[1][1].get(name)
        if one != two:
            lines.append(f"{name}: {one!r}\n   and {two!r}")
    return "\n".join(lines)
