"""A writer: random operations on one directory of the mount, each told to a pipe before and after.

    python -m affs_tools.killsim.writer DIRECTORY SEED FIRST

A byte on its standard input makes it pause between two operations, and say so; a second one lets it
go on, after a look at what is there now. It ends when the mount has gone. The pipe's other end
outlives the mount: what arrived there counts.
"""

import json
import os
import random
import select
import sys
import time
from pathlib import Path

from affs_tools.killsim.model import applied, choose, perform, read_files
from affs_tools.parent import end_with_parent

__all__ = ["main"]


def tell(kind: str, number: int, **more: object) -> None:
    """One line, in one write: a pipe takes it whole."""
    line = json.dumps({"kind": kind, "number": number, "at": time.monotonic_ns(), **more})
    os.write(1, line.encode() + b"\n")


def main(root: str, seed: int, number: int) -> None:
    end_with_parent()
    chance = random.Random(seed)
    poll = select.poll()
    poll.register(0, select.POLLIN)
    # By path one would find the directory below the mount once that is taken away.
    os.chdir(root)
    root = "."
    files = read_files(Path(root))
    tell("ready", number)
    while True:
        if poll.poll(0):
            os.read(0, 1)
            tell("paused", number)
            if not os.read(0, 1):
                return
            try:
                files = read_files(Path(root))
            except OSError:
                return
        operation = choose(chance, files, number)
        tell("begun", number, operation=operation)
        try:
            perform(root, operation)
        except OSError as error:
            tell("failed", number, errno=error.errno)
            return
        files = applied(files, operation)
        tell("done", number)
        number += 1


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
