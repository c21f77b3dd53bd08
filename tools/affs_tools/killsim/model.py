"""What a writer does to its directory, and what the directory then is.

Each operation is one system call, which is carried out whole or not at all; only of a write the
first bytes alone may be there, since the kernel may hand it over in pieces.
"""

import errno
import os
import random
from pathlib import Path
from typing import TypeAlias

__all__ = [
    "CHANGING", "Files", "Operation", "applied", "choose", "is_part", "perform", "read_files",
]

Files: TypeAlias = dict[str, tuple[bytes, bytes]]
"""Name -> (content, value of user.mark); the content of a symbolic link begins with LINK."""

Operation: TypeAlias = list[str | int]
"""A word and its arguments, as JSON has them."""

LINK = b"link to "
MARK = "user.mark"
CHANGING = frozenset({"create", "write", "truncate", "rename", "unlink", "symlink", "mark"})
"""Words of operations that change something; the others (fsync, dirsync) make it last."""

NAMES = 12
WRITE_MAX = 20_000


def choose(chance: random.Random, files: Files, number: int) -> Operation:
    """Something that can be done now. number: of the operation, which its bytes tell."""
    regular = sorted(name for name, (content, _) in files.items() if not content.startswith(LINK))
    roll = chance.random()
    if not regular or (roll < 0.14 and len(files) < NAMES):
        return ["create", f"f{number}"]
    name = chance.choice(regular)
    size = len(files[name][0])
    if roll < 0.45:
        return ["write", name, chance.choice([0, size, chance.randrange(size + 1)]),
                1 + chance.randrange(chance.choice([40, 3000, WRITE_MAX])), number]
    if roll < 0.52:
        return ["truncate", name, chance.choice([0, size // 2, size + 100])]
    if roll < 0.62:
        return ["rename", name, chance.choice([chance.choice(regular), f"r{number}"])]
    if roll < 0.68:
        return ["mark", name, number]
    if roll < 0.76 or len(files) >= NAMES:
        return ["unlink", chance.choice(sorted(files))]
    if roll < 0.79:
        return ["symlink", f"l{number}"]
    return ["fsync", name] if roll < 0.93 else ["dirsync"]


def pattern(number: int, size: int) -> bytes:
    """Bytes that no other operation writes."""
    return (b"%012d" % number * (size // 12 + 1))[:size]


def applied(files: Files, operation: Operation) -> Files:
    """The directory after it."""
    word, *arguments = operation
    if word not in CHANGING:
        return files
    after = dict(files)
    name = str(arguments[0])
    content, mark = after.get(name, (b"", b""))
    if word == "create":
        after[name] = b"", b""
    elif word == "write":
        offset, size, number = (int(value) for value in arguments[1:])
        data = content.ljust(offset, b"\0")
        after[name] = data[:offset] + pattern(number, size) + data[offset + size :], mark
    elif word == "truncate":
        size = int(arguments[1])
        after[name] = content[:size].ljust(size, b"\0"), mark
    elif word == "rename":
        if name != arguments[1]:
            after[str(arguments[1])] = after.pop(name)
    elif word == "unlink":
        del after[name]
    elif word == "symlink":
        after[name] = LINK + name.encode(), b""
    elif word == "mark":
        after[name] = content, b"%d" % int(arguments[1])
    return after


def is_part(before: Files, operation: Operation, found: Files) -> bool:
    """Whether found is what the directory shows when only the first bytes of a write are there."""
    if not operation or operation[0] != "write":
        return False
    name, offset = str(operation[1]), int(operation[2])
    whole = applied(before, operation)
    if found.keys() != whole.keys() or any(
        found[other] != whole[other] for other in whole if other != name
    ):
        return False
    content, mark = found[name]
    old, new = before[name][0], whole[name][0]
    end = _alike(content, new)
    return mark == whole[name][1] and end >= offset and content[end:] == old[end:]


def _alike(one: bytes, other: bytes) -> int:
    """How many bytes they have in common at the beginning."""
    for at, (a, b) in enumerate(zip(one, other, strict=False)):
        if a != b:
            return at
    return min(len(one), len(other))


def perform(root: str, operation: Operation) -> None:
    """The same on the mount. OSError when the mount has gone."""
    word, *arguments = operation
    path = os.path.join(root, str(arguments[0])) if arguments else root
    if word == "create":
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644))
    elif word == "truncate":
        os.truncate(path, int(arguments[1]))
    elif word == "rename":
        os.rename(path, os.path.join(root, str(arguments[1])))
    elif word == "unlink":
        os.unlink(path)
    elif word == "symlink":
        os.symlink(os.fsdecode(LINK) + str(arguments[0]), path)
    elif word == "mark":
        os.setxattr(path, MARK, b"%d" % int(arguments[1]))
    else:
        flags = os.O_RDONLY | os.O_DIRECTORY if word == "dirsync" else os.O_RDWR
        descriptor = os.open(path, flags)
        try:
            if word == "write":
                offset, size, number = (int(value) for value in arguments[1:])
                done = os.pwrite(descriptor, pattern(number, size), offset)
                if done < size:  # the mount died between two pieces
                    raise OSError(errno.ENOTCONN, f"{done} of {size} bytes written")
            else:
                os.fsync(descriptor)
        finally:
            os.close(descriptor)


def read_files(directory: Path) -> Files:
    """The directory as it is."""
    found: Files = {}
    with os.scandir(directory) as entries:
        listed = sorted(entries, key=lambda entry: entry.name)
    for entry in listed:
        if entry.is_symlink():
            found[entry.name] = os.readlink(entry.path).encode(), b""
            continue
        mark = b""
        if MARK in os.listxattr(entry.path):
            mark = os.getxattr(entry.path, MARK)
        found[entry.name] = Path(entry.path).read_bytes(), mark
    return found
