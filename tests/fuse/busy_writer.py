"""A process that does everything to a few files, until it is killed.

    python busy_writer.py DIRECTORY SEED

Ends with status 3 and says so when an operation fails in a way that none should, whatever is rolled
back meanwhile.
"""

import errno
import os
import random
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

EXPECTED = {
    errno.ENOENT, errno.EEXIST, errno.ESTALE, errno.ENOTEMPTY, errno.ENOTDIR, errno.EISDIR,
    errno.ENOSPC, errno.EPERM, errno.ENODATA, errno.EMLINK, None,
}


class Busy:
    """Operations on up to 120 files of 6 directories."""

    def __init__(self, root: Path, seed: int) -> None:
        self.root = root
        self.chance = random.Random(seed)
        self.operations: list[Callable[[Path], object]] = [
            lambda file: file.parent.mkdir(exist_ok=True),
            self.append, self.append, self.append, self.overwrite, self.rename, self.link,
            lambda file: file.unlink(),
            lambda file: os.truncate(file, self.chance.randrange(20_000)),
            lambda file: file.read_bytes(),
            lambda file: os.setxattr(file, "user.x", os.urandom(self.chance.choice([5, 6000]))),
            lambda file: file.chmod(self.chance.randrange(0o1000) | 0o600),
            self.list_or_remove,
        ]

    def any_file(self) -> Path:
        return self.root / f"d{self.chance.randrange(6)}" / f"f{self.chance.randrange(20)}"

    def append(self, file: Path) -> None:
        with file.open("ab") as opened:
            opened.write(os.urandom(self.chance.choice([10, 3000, 5000, 100_000])))
            if self.chance.random() < 0.1:
                opened.flush()
                os.fsync(opened.fileno())

    def overwrite(self, file: Path) -> None:
        with file.open("r+b") as opened:
            opened.seek(self.chance.randrange(50_000))
            opened.write(b"z" * self.chance.randrange(9000))

    def rename(self, file: Path) -> None:
        file.rename(self.any_file())

    def link(self, file: Path) -> None:
        os.link(file, self.any_file())

    def list_or_remove(self, file: Path) -> None:
        if self.chance.random() < 0.1:
            shutil.rmtree(file.parent)
        else:
            os.listdir(file.parent)

    def run(self) -> None:
        while True:
            try:
                self.chance.choice(self.operations)(self.any_file())
            except OSError as error:
                if error.errno not in EXPECTED:
                    sys.exit(f"unexpected: {error}")


if __name__ == "__main__":
    Busy(Path(sys.argv[1]), int(sys.argv[2])).run()
