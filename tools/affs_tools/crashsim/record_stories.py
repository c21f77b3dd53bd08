"""What workloads do with records, as steps: collections, batches, evolutions, indexes.

Made into workloads by workloads.py. /r is a collection with a schema and two indexes, /s one that
declares a schema alone and has nothing in it.
"""

import json

from affs_tools.crashsim.session import Step

__all__ = [
    "BASE", "BASE_WITH_KEPT", "DAMAGED", "DAMAGED_LATER", "FEW", "OPERATIONS", "STORIES", "WAITING",
    "record", "small_story",
]  # fmt: skip

_COMMIT: Step = ("commit",)
_WORK: Step = ("index_work",)

SCHEMA = {"fields": {"n": {"type": "Int64"}, "t": {"type": "String"}}}
OTHER_SCHEMA = {"fields": {"t": {"type": "String", "required": True}}, "closed": True}
EVOLUTION: tuple[object, ...] = (
    "rename", "n", "num", "add", "mail", {"type": "String", "default": "-"},
)  # fmt: skip


def record(number: int, text: str = "x") -> bytes:
    """Of the form that SCHEMA wants."""
    return json.dumps({"n": number, "t": text}, separators=(",", ":")).encode() + b"\n"




def _base(count: int) -> tuple[Step, ...]:
    """With so many records in /r."""
    return (
        ("mkdir", "/r"), ("mkdir", "/s"),
        ("batch", *(("create", f"/r/{i}", record(i * 3 % 8, f"X{i}")) for i in range(count))),
        ("declare", "/r", SCHEMA), ("declare", "/s", SCHEMA),
        ("create", "/r/odd"), ("write", "/r/odd", 0, b'{"n": 1'),
        ("link", "/r/1", "/r/again"), ("link", "/r/2", "/a/also"),
        ("index", "/r", "n", "lower(t)"), _WORK, _COMMIT,
    )  # fmt: skip


BASE = _base(8)
FEW = (*_base(3), ("checkpoint", "one"), ("batch", ("replace", "/r/1", record(70, "Y"))), _COMMIT)
"""For what is run over and over; one record waits."""

BASE_WITH_KEPT: tuple[Step, ...] = (
    *BASE,
    ("checkpoint", "one"),
    ("batch", ("replace", "/r/1", record(70, "Y")), ("remove", "/r/2")),
    ("create", "/r/late"), ("write", "/r/late", 0, record(4, "late")),
    ("publish", "two"), _WORK,
    ("batch", ("replace", "/r/3", record(71, "Z" * 300))), _COMMIT,
)  # fmt: skip
"""The published state was kept while files waited for the indexes; one waits now."""

OPERATIONS: dict[str, tuple[Step, ...]] = {
    "declare": (("declare", "/b", SCHEMA),),
    "redeclare": (("declare", "/r", OTHER_SCHEMA),),
    "undeclare": (("declare", "/r", None),),
    "undeclare-all": (("declare", "/s", None),),
    "record-create": (("batch", ("create", "/r/new", record(3, "new"))),),
    "record-update": (("batch", ("replace", "/r/1", record(9, "one"))),),
    "record-grow": (("batch", ("replace", "/r/4", record(9, "g" * 5000))),),
    "record-erase": (("batch", ("remove", "/r/5")),),
    "record-move": (("batch", ("move", "/r/6", "/b/six")),),
    "record-move-in": (("batch", ("move", "/a/g", "/r/g")),),
    "batch": (
        ("batch", ("create", "/r/new", record(5)), ("replace", "/r/0", record(6)),
         ("remove", "/r/4"), ("move", "/r/7", "/r/moved"), ("create", "/s/new", record(1))),
    ),
    "evolve": (("evolve", "/r", *EVOLUTION),),
    "evolve-begin": (("begin_evolving", "/r", *EVOLUTION), ("evolve_some", "/r", 2)),
    "evolve-slowly": (
        ("begin_evolving", "/r", *EVOLUTION), _COMMIT, ("evolve_some", "/r", 3), _COMMIT,
        ("evolve_some", "/r", 100), ("end_evolving", "/r"),
    ),
    "index": (("index", "/r", "n", "lower(t)", "[n, t]"),),
    "index-build": (("index", "/r", "n", "lower(t)", "t"), ("index_work", 3)),
    "index-first": (("index", "/s", "n"), ("batch", ("create", "/s/1", record(1))), _WORK),
    "unindex": (("index", "/r", "n"),),
    "unindex-work": (("index", "/r"), ("index_work", 1)),
    "reindex": (("reindex", "/r"),),
    "reindex-at-once": (("index", "/r", "n", "lower(t)", "t"), ("reindex", "/r")),
    "reindex-work": (("reindex", "/r"), ("index_work", 4)),
    "catch-up": (("batch", ("replace", "/r/6", record(8, "six"))), _WORK),
    "mount-write": (("write", "/r/1", 5, b"8"),),
    "mount-truncate": (("truncate", "/r/4", 4),),
    "mount-replace": (("rename", "/a/g", "/r/5"),),
    "mount-exchange": (("exchange", "/r/6", "/a/f"),),
    "mount-link": (("link", "/a/g", "/r/g"), ("unlink", "/r/0")),
    "rename-collection": (("rename", "/r", "/b/r"),),
    "rmdir-collection": (("rmdir", "/s"),),
}  # fmt: skip

DAMAGED: tuple[Step, ...] = (
    ("mkdir", "/r"), ("mkdir", "/s"), ("declare", "/r", SCHEMA),
    ("declare", "/s", {"fields": {"t": {"enum": [f"{number:0200}" for number in range(24)]}}}),
    ("batch", *(("create", f"/r/{i}", record(i * 3 % 8, f"x{i}" + "k" * 180))
                for i in range(12))),
    ("index", "/r", "n", "t"), _WORK,
)  # fmt: skip
"""What is damaged: an index of several pages, a declaration of two parts."""

DAMAGED_LATER: tuple[Step, ...] = (
    ("batch", ("replace", "/r/3", record(2, "x7")), ("remove", "/r/5")), _WORK,
)  # fmt: skip
WAITING: tuple[Step, ...] = (("batch", ("replace", "/r/8", record(7, "x9"))),)

_MANY = 40


def _long(number: int) -> bytes:
    """Few such keys fill a page of an index."""
    return record(number, f"{number * 7 % _MANY:02}" + "k" * 170)


def _many() -> tuple[Step, ...]:
    """An index of several levels, whose pages split and merge from commit to commit."""
    steps: list[Step] = [("index", "/s", "t", "n")]
    for first in range(0, _MANY, 10):
        steps += [
            ("batch", *(("create", f"/s/{i}", _long(i)) for i in range(first, first + 10))),
            _WORK, _COMMIT,
        ]  # fmt: skip
    steps += [("batch", *(("replace", f"/s/{i}", _long(i + 3)) for i in range(0, _MANY, 7)))]
    steps += [("begin_commit",), _WORK, ("end_commit",), _COMMIT, ("checkpoint", "full")]
    for first in range(0, _MANY, 20):
        removed = [("remove", f"/s/{i}") for i in range(first, first + 19)]
        steps += [("batch", *removed), ("index_work", 8), _COMMIT, _WORK, _COMMIT]
    return (*steps, ("index", "/s", "n"), ("index_work", 1), _COMMIT, _WORK, _COMMIT)


STORIES: dict[str, tuple[Step, ...]] = {
    "life": (
        ("declare", "/c", SCHEMA),
        ("batch", *(("create", f"/c/{i}", record(i)) for i in range(5))),
        ("index", "/c", "n", "lower(t)"), _COMMIT, ("index_work", 2), _COMMIT, _WORK, _COMMIT,
        ("batch", ("replace", "/c/1", record(9)), ("remove", "/c/2"), ("move", "/c/3", "/r/c3")),
        ("begin_commit",), _WORK, ("batch", ("create", "/c/5", record(5))), ("end_commit",),
        ("publish", "new"), _WORK, ("reindex", "/c"), ("index_work", 1), _COMMIT, ("kill",),
        ("index_work", 2), ("rollback", "new"), _WORK, ("rollback", ""), _WORK, _COMMIT,
        ("index", "/c"), ("declare", "/c", None), _COMMIT, _WORK, ("close",),
    ),
    "evolution": (
        ("begin_evolving", "/r", *EVOLUTION), _COMMIT, ("evolve_some", "/r", 2), ("kill",),
        ("evolve_some", "/r", 2), ("checkpoint", "half"), ("index_work", 2),
        ("evolve_some", "/r", 50), ("write", "/r/odd", 7, b', "t": "mended"}'), _COMMIT,
        ("rollback", "half"), ("evolve_some", "/r", 50), ("end_evolving", "/r"), _COMMIT,
        ("index", "/r", "num", "lower(t)"), _WORK, ("publish", "evolved"), ("rollback", ""),
        ("rollback", "one"), ("evolve", "/r", *EVOLUTION), _WORK, _COMMIT,
    ),
    "reclaim": (
        ("batch", ("remove", "/r/0"), ("replace", "/r/5", record(50))), ("publish", "three"),
        ("reindex", "/r"), ("index_work", 3), ("delete", "two"), ("begin_reclaim",), _WORK,
        ("batch", ("create", "/r/8", record(8))), _COMMIT, ("end_reclaim",), ("delete", "one"),
        ("reclaim",), ("index", "/r", "n"), ("index_work", 1), ("checkpoint", "four"), _WORK,
        ("delete", "four"), ("reclaim",),
        _WORK, _COMMIT, ("unlink", "/r/again"), _COMMIT,
    ),
    "removed": (
        ("batch", ("create", "/s/1", record(1)), ("create", "/s/2", record(2))),
        ("index", "/s", "n", "t"), ("index_work", 1), _COMMIT,
        ("batch", ("remove", "/s/1"), ("remove", "/s/2")), ("checkpoint", "there"),
        ("rmdir", "/s"), _COMMIT, _WORK, ("clean",), _COMMIT, ("mkdir", "/s"), ("kill",),
        ("rollback", "there"), _WORK, _COMMIT,
    ),
    "many": _many(),
}  # fmt: skip


def small_story() -> tuple[Step, ...]:
    """A little of everything, on FEW."""
    return (
        ("declare", "/c", SCHEMA), ("batch", ("create", "/c/1", record(1)),
                                    ("move", "/r/0", "/c/0"), ("remove", "/r/2")),
        ("index", "/c", "n"), ("index_work", 1), _COMMIT, ("evolve", "/r", *EVOLUTION),
        ("begin_commit",), _WORK, ("batch", ("replace", "/c/1", record(2, "y" * 3000))),
        ("end_commit",), ("reindex", "/r"), ("publish", "new"), _WORK, _COMMIT,
    )  # fmt: skip
