"""What is done before the power goes: bounded exhaustive sequences, and longer stories.

A workload is data (session.Step), so it can be replayed by name and shortened. Bases are what is on
the volume before it begins.
"""

import random
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

from affs_tools.crashsim import record_stories
from affs_tools.crashsim.session import TIME_NS, Step
from affs_tools.crashsim.states import Depth

__all__ = [
    "BASES",
    "MEETINGS",
    "OPERATIONS",
    "PLACES",
    "Workload",
    "find",
    "meetings",
    "pairs",
    "records",
    "singles",
    "stories",
    "triples",
]


@dataclass(frozen=True, slots=True)
class Workload:
    """depth: of honest epochs; lies: of pairs of epochs whose barrier lied. thorough_every: of so
    many states one is gone on with, and crashed again while it recovers."""

    name: str
    base: str
    steps: tuple[Step, ...]
    depth: Depth = Depth()  # noqa: RUF009 - immutable
    lies: Depth = Depth(24, 12)  # noqa: RUF009 - immutable
    thorough_every: int = 8


def data(seed: str, length: int) -> tuple[str, str, int]:
    return "bytes", seed, length


GRACE_NS = 10**14
"""Longer than any workload, and over when the state after a crash is judged."""

_SMALL: tuple[Step, ...] = (
    ("mkdir", "/a"), ("mkdir", "/b"), ("mkdir", "/c"),
    ("create", "/a/f"), ("write", "/a/f", 0, data("f", 9000)),
    ("create", "/a/g"), ("write", "/a/g", 0, data("g", 300)),
    ("create", "/b/k"), ("write", "/b/k", 0, data("k", 20000)), ("link", "/b/k", "/a/k2"),
    ("symlink", "../a/f", "/b/s"), ("setxattr", "/a/f", b"user.one", data("x", 40)),
    ("commit",),
)  # fmt: skip

_KEPT: tuple[Step, ...] = (
    *_SMALL,
    ("checkpoint", "one"),
    ("write", "/a/f", 2000, data("f2", 3000)), ("unlink", "/a/g"), ("mkdir", "/b/new"),
    ("publish", "two"),
    ("write", "/b/k", 8192, data("k2", 4096)), ("create", "/c/later"),
    ("commit",),
)  # fmt: skip

BASES: dict[str, tuple[Step, ...]] = {
    "small": _SMALL,
    "kept": _KEPT,
    "records": (*_SMALL, *record_stories.BASE),
    "few-records": (*_SMALL, *record_stories.FEW),
    "kept-records": (*_SMALL, *record_stories.BASE_WITH_KEPT),
    "wide": (
        *(
            step
            for index in range(50)
            for step in (
                ("create", f"/w{index}"),
                ("write", f"/w{index}", 0, data(f"w{index}", 1900)),
            )
        ),
        *_KEPT,
    ),
    "full": (
        *_SMALL,
        ("checkpoint", "one"),
        *(
            step
            for index in range(26)
            for step in (
                ("create", f"/b/fill{index}"),
                ("write", f"/b/fill{index}", 0, data(f"fill{index}", 2 << 20)),
                ("commit",),
            )
        ),
    ),
    "ring": (*_SMALL, *(step for i in range(60) for step in (("mkdir", f"/c/{i}"), ("commit",)))),
    "damage": (
        *(
            step
            for index in range(24)
            for step in (
                ("create", f"/d{index}"),
                ("write", f"/d{index}", 0, data(f"d{index}", 700)),
            )
        ),
        *record_stories.DAMAGED,
        *_KEPT,
        *record_stories.DAMAGED_LATER,
        ("setxattr", "/b", b"user.big", data("dx", 9000)), ("fifo", "/c/p"),
        ("hold", "h", "/d3"), ("unlink", "/d3"), ("write", "/d4", 0, data("d4", 30000)),
        ("commit",), ("checkpoint", "three"), ("write", "/a/f", 4096, data("df", 6000)),
        ("rename", "/d5", "/c/d5"), ("commit",), ("unlink", "/d6"), *record_stories.WAITING,
        ("commit",),
    ),
    "brim": (
        *_SMALL,
        ("checkpoint", "one"),
        *(
            step
            for index in range(4)
            for step in (
                ("create", f"/b/fill{index}"),
                ("write", f"/b/fill{index}", 0, data(f"brim{index}", 800_000)),
                ("commit",),
            )
        ),
    ),
}

PLACES = {"brim": 9}
"""Of bases with less room than the smallest device: how many segments there are."""

OPERATIONS: dict[str, tuple[Step, ...]] = {
    "create": (("create", "/a/n"),),
    "mkdir": (("mkdir", "/a/d"),),
    "fifo": (("fifo", "/b/p"),),
    "symlink": (("symlink", "f", "/a/n"),),
    "link": (("link", "/a/f", "/b/n"),),
    "unlink": (("unlink", "/a/f"),),
    "unlink-linked": (("unlink", "/b/k"),),
    "unlink-inline": (("unlink", "/a/g"),),
    "rmdir": (("rmdir", "/c"),),
    "rename": (("rename", "/a/f", "/a/n"),),
    "rename-across": (("rename", "/a/f", "/b/n"),),
    "rename-over": (("rename", "/a/f", "/b/k"),),
    "rename-over-linked": (("rename", "/a/g", "/a/k2"),),
    "rename-directory": (("rename", "/b", "/a/d"),),
    "rename-over-directory": (("rename", "/a", "/c"),),
    "exchange": (("exchange", "/a/f", "/b/k"),),
    "exchange-directory": (("exchange", "/a/f", "/b"),),
    "overwrite": (("write", "/a/f", 0, data("w1", 4096)),),
    "overwrite-part": (("write", "/a/f", 1000, data("w2", 50)),),
    "append": (("write", "/a/f", 9000, data("w3", 5000)),),
    "hole": (("write", "/b/k", 60000, data("w4", 100)),),
    "write-inline": (("write", "/a/g", 10, data("w5", 100)),),
    "outgrow-inline": (("write", "/a/g", 300, data("w6", 4000)),),
    "write-ahead": (("write", "/b/k", 4000, data("w7", 9000)), ("ahead",)),
    "truncate": (("truncate", "/a/f", 0),),
    "truncate-part": (("truncate", "/a/f", 5000),),
    "truncate-up": (("truncate", "/a/f", 20000),),
    "chmod": (("chmod", "/a/f", 0o600),),
    "chown": (("chown", "/a", 1000, 1000),),
    "utimens": (("utimens", "/a/f", TIME_NS - 5),),
    "setxattr": (("setxattr", "/a/f", b"user.two", data("x2", 60)),),
    "setxattr-large": (("setxattr", "/b", b"user.big", data("x3", 9000)),),
    "removexattr": (("removexattr", "/a/f", b"user.one"),),
    "orphan": (
        ("hold", "h", "/b/k"), ("unlink", "/b/k"), ("unlink", "/a/k2"),
        ("write_held", "h", 0, data("w8", 5000)),
    ),
}  # fmt: skip

_COMMIT: Step = ("commit",)


def singles() -> Iterator[Workload]:
    """Each operation alone, before, in and after a commit."""
    for name, steps in OPERATIONS.items():
        yield Workload(f"one/{name}", "small", (*steps, _COMMIT), Depth(None, 160))
        during = (("mkdir", "/c/x"), ("begin_commit",), *steps, ("end_commit",), _COMMIT)
        yield Workload(f"during/{name}", "small", during, Depth(64, 40))
        kept = (*_translated(steps), ("checkpoint", "new"), *_translated(steps), _COMMIT)
        yield Workload(f"keep/{name}", "kept", kept, Depth(64, 40))


def _translated(steps: tuple[Step, ...]) -> tuple[Step, ...]:
    """On the kept base some files are gone: what cannot be done is refused by both sides."""
    return tuple(step for step in steps if step[0] not in ("hold", "write_held"))


def pairs() -> Iterator[Workload]:
    """Every two operations, a commit between them and after them, and after both alone."""
    depth, lies = Depth(40, 26), Depth(8, 4)
    for first, before in OPERATIONS.items():
        for second, after in OPERATIONS.items():
            if second == first == "orphan":
                continue
            name = f"{first}+{second}"
            steps = (*before, _COMMIT, *after, _COMMIT)
            yield Workload(f"two/{name}", "small", steps, depth, lies, 16)
            steps = (*before, *after, _COMMIT)
            yield Workload(f"both/{name}", "small", steps, depth, lies, 16)


def triples(count: int, seed: int = 1) -> Iterator[Workload]:
    """A seeded sample of three operations with commits where chance puts them."""
    chance = random.Random(seed)
    names = sorted(set(OPERATIONS) - {"orphan"})
    for index in range(count):
        chosen = [chance.choice(names) for _ in range(3)]
        steps: list[Step] = []
        for name in chosen:
            steps += OPERATIONS[name]
            if chance.random() < 0.5:
                steps.append(_COMMIT)
        name = "+".join(chosen)
        yield Workload(
            f"three/{seed}.{index}/{name}", "small", (*steps, _COMMIT),
            Depth(40, 26), Depth(8, 4), 16,
        )  # fmt: skip


MEETINGS: dict[str, tuple[Step, ...]] = {
    "checkpoint": (("checkpoint", "new"),),
    "publish": (("publish", "new"),),
    "publish-kept": (("publish_kept", "one"),),
    "rollback": (("rollback", "one"),),
    "discard": (("rollback", "two", True),),
    "undo": (("rollback", "one"), ("rollback", "")),
    "reclaim": (("delete", "one"), ("reclaim",)),
    "ahead": (("ahead",),),
    "kill": (("kill",),),
    "close": (("close",),),
}


def meetings() -> Iterator[Workload]:
    """Each operation, what happens to whole states right after it, and another operation."""
    names = list(OPERATIONS)
    for place, (name, before) in enumerate(OPERATIONS.items()):
        for turn, (verb, steps) in enumerate(MEETINGS.items()):
            other = names[(place + 1 + 3 * turn) % len(names)]
            yield Workload(
                f"meet/{name}+{verb}+{other}", "kept",
                (*_translated(before), *steps, *_translated(OPERATIONS[other]), _COMMIT),
                Depth(40, 26), Depth(8, 4), 16,
            )  # fmt: skip


def records() -> Iterator[Workload]:
    """What is done with records: each alone and during a commit; and what happens to whole states
    right after it, followed by another one."""
    operations = record_stories.OPERATIONS
    names = list(operations)
    meetings = {**MEETINGS, "work": (("index_work",),), "part": (("index_work", 2),)}
    for place, (name, steps) in enumerate(operations.items()):
        yield Workload(f"record/{name}", "records", (*steps, _COMMIT), Depth(120, 60))
        during = (("mkdir", "/c/x"), ("begin_commit",), *_inside(steps), ("end_commit",), _COMMIT)
        yield Workload(f"record-during/{name}", "records", during, Depth(64, 40))
        for turn, (verb, meeting) in enumerate(meetings.items()):
            other = names[(place + 1 + 3 * turn) % len(names)]
            yield Workload(
                f"record-meet/{name}+{verb}+{other}", "kept-records",
                (*steps, *meeting, *operations[other], _COMMIT), Depth(30, 20), Depth(8, 4), 12,
            )  # fmt: skip


def _inside(steps: tuple[Step, ...]) -> tuple[Step, ...]:
    """One commit at a time."""
    return tuple(step for step in steps if step != _COMMIT)


def stories() -> Iterator[Workload]:
    """Verbs, and what takes longer."""
    yield from _verb_stories()
    yield from _reclaim_stories()
    yield from _retention_stories()
    yield from _crowded_stories()
    large = (
        ("create", "/c/big"), ("write", "/c/big", 0, data("b1", 700_000)), ("ahead",),
        ("write", "/c/big", 300_000, data("b2", 400_000)), _COMMIT,
        ("write", "/c/big", 100_000, data("b3", 650_000)), ("begin_commit",),
        ("write", "/c/big", 0, data("b4", 500_000)), ("ahead",), ("end_commit",),
        ("truncate", "/c/big", 123_456), _COMMIT,
    )  # fmt: skip
    yield Workload("large-writes", "small", large, Depth(200, 200), Depth(60, 40), 6)
    many: tuple[Step, ...] = tuple(
        step
        for index in range(40)
        for step in (
            ("create", f"/c/{index}"),
            ("write", f"/c/{index}", 0, data(f"m{index}", 5000)),
        )
    )
    many += (_COMMIT, *(("unlink", f"/c/{index}") for index in range(40)), _COMMIT)
    yield Workload("many-files", "small", many, Depth(120, 80), Depth(40, 20))
    ring = tuple(
        step for i in range(70) for step in (("write", "/a/g", 0, data(f"r{i}", 100)), _COMMIT)
    )
    yield Workload("ring-wraps", "small", ring, Depth(16, 12), Depth(4, 4), 16)
    yield Workload("ring-edge", "ring", ring[:16], Depth(None, 60), Depth(12, 6))
    held = (
        ("hold", "h", "/a/f"), ("hold", "i", "/b/k"), ("unlink", "/a/f"), _COMMIT,
        ("write_held", "h", 3000, data("o1", 8000)), ("unlink", "/b/k"), ("unlink", "/a/k2"),
        _COMMIT, ("let_go", "h"), ("clean",), _COMMIT, ("kill",), ("clean",), _COMMIT,
        ("close",), _COMMIT,
    )  # fmt: skip
    yield Workload("orphans", "small", held, Depth(None, 100), thorough_every=2)
    yield Workload("full", "full", _full_steps(), Depth(2, 1), Depth(1, 0), 24)
    reopen = (
        ("mkdir", "/c/x"), ("close",), ("kill",), ("mkdir", "/c/y"), ("kill",), ("rmdir", "/c/y"),
        ("close",), ("close",),
    )  # fmt: skip
    yield Workload("reopen", "small", reopen, Depth(None, 400), Depth(40, 40))
    yield Workload("indexes", "small", _index_steps(), Depth(60, 60), Depth(20, 20), 4)
    for name, steps in record_stories.STORIES.items():
        yield Workload(
            f"records/{name}", "kept-records", steps, Depth(40, 30), Depth(10, 6), 5
        )


def _index_steps() -> tuple[Step, ...]:
    """Records of an indexed directory come, change and go, while what waits is taken in between."""
    made: tuple[Step, ...] = tuple(
        step
        for number in range(5)
        for step in (
            ("create", f"/c/{number}"),
            ("write", f"/c/{number}", 0, b'{"n": %d, "t": "x"}' % (number * 7 % 5)),
        )
    )
    work: Step = ("index_work",)
    return (
        *made, ("index", "/c", "n", "lower(t)"), _COMMIT, ("index_work", 2), _COMMIT, work, _COMMIT,
        ("write", "/c/1", 0, b'{"n": 9, "t": "y"}'), ("begin_commit",), work, ("unlink", "/c/2"),
        ("end_commit",), _COMMIT, ("rename", "/c/3", "/b/3"), ("truncate", "/c/4", 3),
        ("exchange", "/c/0", "/a/f"), ("checkpoint", "new"), work, ("link", "/b/3", "/c/5"),
        ("write", "/b/3", 0, b'{"n": 1'), _COMMIT, ("kill",), work, ("rollback", "new"),
        ("index_work", 1), _COMMIT, ("index", "/c", "n"), ("index_work", 3), _COMMIT, ("kill",),
        work, ("index", "/c"), ("write", "/c/1", 0, b"[]"), _COMMIT, ("index_work", 2), _COMMIT,
        work, _COMMIT,
    )  # fmt: skip


def _verb_stories() -> Iterator[Workload]:
    full = Depth(None, 120)
    tellings: dict[str, tuple[Step, ...]] = {
        "checkpoint": (("mkdir", "/c/x"), ("checkpoint", "new"), ("rmdir", "/c/x"), _COMMIT),
        "publish": (("mkdir", "/c/x"), ("publish", "new"), ("unlink", "/a/f"), _COMMIT),
        "publish-kept": (("publish_kept", "one"), ("write", "/a/f", 0, data("q", 100)), _COMMIT),
        "rollback": (("unlink", "/a/f"), ("rollback", "one"), ("mkdir", "/c/x"), _COMMIT),
        "rollback-clean": (("rollback", "two"), ("rollback", "one"), ("rollback", "two"), _COMMIT),
        "rollback-discard": (
            ("write", "/b/k", 0, data("q", 9000)), ("rollback", "two", True), ("reclaim",), _COMMIT,
        ),
        "undo": (
            ("write", "/b/k", 0, data("q", 9000)), ("rollback", "one"), ("mkdir", "/c/x"),
            ("rollback", ""), ("write", "/b/k", 0, data("q2", 9000)), ("rollback", ""), _COMMIT,
        ),
        "pin": (("pin", "one"), ("mkdir", "/c/x"), _COMMIT),
        "settings": (
            ("setting", 1, 7, "ann"), ("mkdir", "/c/x"), ("begin_commit",),
            ("setting", 2, 1, "keep"), ("end_commit",), ("setting", 1, 7, "bob"),
            ("rollback", "one"), ("setting", 2, 1, None), ("kill",), ("rollback", ""), _COMMIT,
        ),
    }  # fmt: skip
    for name, steps in tellings.items():
        yield Workload(f"verb/{name}", "kept", steps, full)


def _reclaim_stories() -> Iterator[Workload]:
    depth = Depth(40, 30)
    edit: tuple[Step, ...] = (
        ("write", "/b/k", 4096, data("e", 6000)), ("create", "/c/e"), _COMMIT,
    )  # fmt: skip
    tellings: dict[str, tuple[Step, ...]] = {
        "oldest": (("delete", "one"), ("reclaim",), *edit),
        "newest": (*edit, ("checkpoint", "three"), ("delete", "three"), ("reclaim",), *edit),
        "between": (*edit, ("checkpoint", "three"), *edit[:1], ("publish", "four"),
                    ("delete", "three"), ("reclaim",), *edit[:1], _COMMIT),
        "branch": (("rollback", "one"), *edit, ("checkpoint", "side"), ("delete", "one"),
                   ("reclaim",), ("delete", "side"), ("reclaim",), _COMMIT),
        "while-writing": (*edit, ("checkpoint", "three"), *edit[:1], ("delete", "three"),
                          ("begin_reclaim",), ("unlink", "/a/k2"), ("unlink", "/b/k"),
                          ("clean",), _COMMIT, ("write", "/a/f", 0, data("v", 5000)), _COMMIT,
                          ("truncate", "/a/f", 100), ("end_reclaim",), _COMMIT),
        "killed": (*edit, ("checkpoint", "three"), *edit[:1], ("delete", "three"),
                   ("begin_reclaim",), *edit[:1], ("kill",), ("unlink", "/a/k2"),
                   ("unlink", "/b/k"), ("clean",), ("reclaim",), _COMMIT),
        "deleted-then-rollback": (*edit, ("checkpoint", "three"), ("delete", "three"),
                                  ("rollback", "one"), ("reclaim",), ("rollback", ""), _COMMIT),
        "restored": (*edit, ("checkpoint", "three"), *edit[:1], ("delete", "three", GRACE_NS),
                     ("reclaim",), ("kill",), *edit[:1], _COMMIT, ("reclaim",),
                     ("restore", "three"), ("kill",), ("rollback", "three"), *edit[:1], _COMMIT),
        "grace-ended": (*edit, ("checkpoint", "three"), *edit[:1], ("delete", "one", GRACE_NS),
                        ("delete", "three", GRACE_NS), ("reclaim",), ("restore", "one"),
                        ("end_grace",), ("reclaim",), ("kill",), *edit[:1], _COMMIT),
        "all": (("publish", "three"), ("delete", "one"), ("delete", "two"), ("reclaim",),
                ("unlink", "/b/k"), ("unlink", "/a/k2"), ("clean",), *([_COMMIT] * 4), *edit),
    }  # fmt: skip
    for name, steps in tellings.items():
        yield Workload(f"reclaim/{name}", "kept", steps, depth, Depth(10, 6), 3)
        wide = tuple(
            step
            for index, one in enumerate(steps)
            for step in (one, ("chmod", f"/w{index * 7 % 50}", 0o600 + index))
        )
        yield Workload(f"wide/{name}", "wide", (*wide, _COMMIT), Depth(10, 4), Depth(3, 1), 5)


def _retention_stories() -> Iterator[Workload]:
    """Many states come, and the old ones go: as a rule of retention would have it."""

    def life(kept: int, publish_every: int) -> tuple[Step, ...]:
        steps: list[Step] = []
        for index in range(9):
            steps += [("write", "/b/k", index * 2500 % 16000, data(f"r{index}", 3000))]
            steps += [("create", f"/c/r{index}"), ("chmod", "/a/f", 0o600 + index)]
            verb = "publish" if index % publish_every == 1 else "checkpoint"
            steps += [(verb, f"state{index}")]
            if index >= kept and (index - kept) % publish_every != 1:
                steps += [("delete", f"state{index - kept}"), ("reclaim",)]
            if index == 6:
                steps += [("rollback", "state5"), ("unlink", "/c/r3")]
        return (*steps, _COMMIT)

    for kept, publish_every in ((1, 4), (2, 3), (4, 5)):
        yield Workload(
            f"retention/{kept}-of-9", "kept", life(kept, publish_every),
            Depth(40, 30), Depth(8, 4), 5,
        )  # fmt: skip


def _crowded_stories() -> Iterator[Workload]:
    """Room runs out: for data, for many small files, for kept states; and comes back."""
    big = tuple(
        step
        for index in range(3)
        for step in (
            ("create", f"/c/{index}"),
            ("write", f"/c/{index}", 0, data(f"c{index}", 500_000)),
            _COMMIT,
        )
    )
    back = (("unlink", "/b/fill0"), ("clean",), _COMMIT)
    tellings: dict[str, tuple[Step, ...]] = {
        "data": (*big, *back, *big[1:3]),
        "overwrite": (
            *big[:6], ("write", "/b/fill1", 0, data("o", 800_000)), _COMMIT,
            ("write", "/b/fill2", 4096, data("p", 700_000)), _COMMIT, *back,
        ),
        "states": (
            *big[:3], ("checkpoint", "two"), ("write", "/b/fill1", 0, data("q", 400_000)),
            ("publish", "three"), ("write", "/b/fill1", 0, data("q2", 400_000)), _COMMIT,
            ("delete", "two"), ("reclaim",), ("write", "/b/fill1", 0, data("q3", 300_000)),
            _COMMIT, ("rollback", "three"), ("rollback", ""), _COMMIT,
        ),
        "small": (
            *big,
            *(
                step
                for index in range(40)
                for step in (
                    ("create", f"/a/s{index}"),
                    ("write", f"/a/s{index}", 0, data(f"s{index}", 9000)),
                )
            ),
            _COMMIT, *back,
        ),
    }  # fmt: skip
    for name, steps in tellings.items():
        yield Workload(f"crowded/{name}", "brim", steps, Depth(30, 20), Depth(6, 4), 6)


def _full_steps() -> tuple[Step, ...]:
    """From almost full to refused, and back by deleting."""
    steps: list[Step] = []
    for index in range(8):
        steps += [
            ("create", f"/c/{index}"),
            ("write", f"/c/{index}", 0, data(f"s{index}", 1 << 20)),
        ]
        steps += [_COMMIT] if index % 3 == 2 else []
    steps += [_COMMIT, ("unlink", "/b/fill0"), ("clean",), _COMMIT, ("publish", "crowded")]
    steps += [
        ("rollback", "one"),
        ("rollback", ""),
        ("write", "/c/0", 0, data("z", 200_000)),
        _COMMIT,
    ]
    return tuple(steps)


@cache
def _by_name() -> dict[str, Workload]:
    every = [
        *singles(), *pairs(), *meetings(), *records(), *stories(), *triples(4000)
    ]  # fmt: skip
    return {workload.name: workload for workload in every}


def find(name: str) -> Workload:
    """Errors: KeyError."""
    return _by_name()[name]
