"""Who changes things: a table of users with their programs or commands, and who acts just now.

docs/specs/DiskLayout.md, "System tree". An inode says by a number of this table who changed it
last. The table belongs to the volume, so a number means the same in every state, and a rollback
takes nothing from it. Invariants: a number is never given to somebody else; the table is bounded,
and a program beyond its bound is told by its user alone.

`acting` is about what the running task does, until its end: whoever lets something change says for
whom. (A context variable, since an operation may begin again after others have run.)
"""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from typing import Any, NamedTuple

from affs_fuse.auv import AuvError, decode, encode_canonical
from affs_fuse.core.constants import ITEM_AUTHOR
from affs_fuse.core.tree import Tree

__all__ = [
    "COMMAND", "NOBODY", "OBJECT_AUTHORS", "PROCESS", "Author", "Authors", "acting",
    "acting_number",
]  # fmt: skip

OBJECT_AUTHORS = 1
NOBODY = 0
"""The number of whoever is not known."""

PROCESS, COMMAND = "process", "command"

AUTHORS_MAX = 16_384
OF_USER_MAX = 1024
"""A user may give a process any name, so the names of one user fill no more than this."""

UNNAMED_MAX = 1024
"""Users beyond whose programs are not told apart."""


class Author(NamedTuple):
    """kind: PROCESS or COMMAND. name: of the program, or of the command; "" if that is not
    known."""

    uid: int
    kind: str
    name: str


_acting: ContextVar[int] = ContextVar("affs_acting", default=NOBODY)


@contextmanager
def acting(number: int) -> Iterator[None]:
    """What changes inside is changed by this author."""
    token = _acting.set(number)
    try:
        yield
    finally:
        _acting.reset(token)


acting_number = _acting.get
"""The author of what changes now."""


class Authors:
    """system: the system tree, every node of which is in memory. Loop thread only."""

    def __init__(self, system: Tree) -> None:
        self._system = system
        self._numbers: dict[Author, int] | None = None
        self._by_number: dict[int, Author] = {}
        self._of_user: Counter[int] = Counter()
        self._newest = NOBODY

    def number(self, author: Author) -> int:
        """His number, a new one if need be; it is durable with the next commit, as what he changes
        is. The caller has made sure that the volume takes changes."""
        numbers = self._load()
        number = numbers.get(author)
        if number is not None:
            return number
        named = len(numbers) < AUTHORS_MAX and self._of_user[author.uid] < OF_USER_MAX
        if author.name and not named:
            return self.number(author._replace(name=""))
        if len(numbers) >= AUTHORS_MAX + UNNAMED_MAX:
            return NOBODY
        self._newest = number = self._newest + 1
        payload = encode_canonical(author._asdict())
        self._system.put(OBJECT_AUTHORS, ITEM_AUTHOR, number, payload)
        self._note(number, author)
        return number

    def find(self, author: Author) -> int | None:
        """His number, if he has one."""
        return self._load().get(author)

    def get(self, number: int) -> Author | None:
        """None: not known."""
        self._load()
        return self._by_number.get(number)

    def _load(self) -> dict[Author, int]:
        if self._numbers is None:
            self._numbers = {}
            first, end = (OBJECT_AUTHORS, ITEM_AUTHOR, 0), (OBJECT_AUTHORS, ITEM_AUTHOR + 1, 0)
            for _, _, number, payload in self._system.iterate(first, end):
                self._newest = number
                with suppress(AuvError, KeyError, TypeError):  # a damaged one says nothing
                    value: Any = decode(payload)
                    self._note(number, Author(value["uid"], value["kind"], value["name"]))
        return self._numbers

    def _note(self, number: int, author: Author) -> None:
        assert self._numbers is not None
        self._numbers[author] = number
        self._by_number[number] = author
        self._of_user[author.uid] += 1
