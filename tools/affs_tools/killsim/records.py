"""A collection beside the writers' directories, changed by command: what a batch does to it, and
what it then is.

It has a schema with a unique key, and indexes. A batch is one step: all of its operations are there
after a crash, or none. It is seen as files, for the same judge: name -> what the record is.
"""

import os
import random
from pathlib import Path
from typing import Any

from affs_fuse import auv
from affs_tools.killsim.model import Files

__all__ = ["DIRECTORY", "choose_batch", "prepare", "read_records"]

DIRECTORY = "r"
RECORDS_MAX = 40
BATCH_MAX = 6
SCHEMA: dict[str, Any] = {"fields": {"n": {"type": "Int64"}}, "unique": ["n"]}


def prepare(command: Any) -> None:
    """Declare it. command: gives one to the daemon (Ground.command)."""
    command("declare", path=f"/{DIRECTORY}", schema=SCHEMA)
    command("index", path=f"/{DIRECTORY}", expression="n")
    command("index", path=f"/{DIRECTORY}", expression="lower(text)")


def choose_batch(
    chance: random.Random, files: Files, number: int
) -> tuple[list[dict[str, Any]], Files]:
    """(operations, the collection after them). number: of the batch; its values are its own."""
    after = dict(files)
    operations: list[dict[str, Any]] = []
    names = chance.sample(sorted(files), min(len(files), BATCH_MAX))
    for index in range(1 + chance.randrange(BATCH_MAX)):
        n = number * BATCH_MAX + index
        roll = chance.random()
        if not names or (roll < 0.5 and len(after) < RECORDS_MAX):
            name = f"{number}.{index}"
            value = {"n": n, "text": "x" * chance.randrange(60)}
            operations.append({"create": f"/{DIRECTORY}/{name}", "value": value})
        elif roll < 0.75:
            name = names.pop()
            value = {**_value(after[name]), "n": n}
            operations.append({"update": f"/{DIRECTORY}/{name}", "changes": ["set", "n", n]})
        else:
            name = names.pop()
            operations.append({"erase": f"/{DIRECTORY}/{name}"})
            del after[name]
            continue
        after[name] = auv.encode_canonical(value), b""
    return operations, after


def _value(entry: tuple[bytes, bytes]) -> dict[str, Any]:
    value: Any = auv.decode(entry[0])
    return dict(value)


def read_records(directory: Path) -> Files:
    """The collection as it is; AuvError for a file that is no record."""
    with os.scandir(directory) as entries:
        return {
            entry.name: (auv.encode_canonical(auv.parse(Path(entry.path).read_text())), b"")
            for entry in entries
        }
