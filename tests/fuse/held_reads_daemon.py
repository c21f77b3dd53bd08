"""mount.affs whose device does not answer reads of what is not in memory while the file VOLUME.gate
is there, so that a test can be there while a request is under way.

    python held_reads_daemon.py VOLUME DIRECTORY ...
"""

import sys
import time
from pathlib import Path

from affs_fuse.daemon.main import main
from affs_fuse.device.device import Result
from affs_fuse.device.file import FileDevice

gate = Path(sys.argv[1] + ".gate")

_read, _try_read = FileDevice.read, FileDevice.try_read


def read(self: FileDevice, offset: int, length: int) -> tuple[bytes, Result]:
    while gate.exists():
        time.sleep(0.01)
    return _read(self, offset, length)


def try_read(self: FileDevice, offset: int, length: int) -> bytes | None:
    return None if gate.exists() else _try_read(self, offset, length)


if __name__ == "__main__":
    setattr(FileDevice, "read", read)  # noqa: B010 - mypy lets no method be assigned
    setattr(FileDevice, "try_read", try_read)  # noqa: B010
    sys.exit(main())
