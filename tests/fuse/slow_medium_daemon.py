"""mount.affs on a device whose medium is slow to read: 40 ms for each MiB, and nothing more after
so many bytes as VOLUME.gate says, while that file is there. So a test can be there while a
verification runs.

    python slow_medium_daemon.py VOLUME DIRECTORY ...
"""

import sys
import time
from contextlib import suppress
from pathlib import Path

from affs_fuse.daemon.main import main
from affs_fuse.device.device import Result
from affs_fuse.device.file import FileDevice
from affs_fuse.runtime import verification

SECONDS_PER_BYTE = 0.04 / (1 << 20)

_read_medium = FileDevice.read_medium


gate = Path(sys.argv[1] + ".gate")
count = 0


def closed() -> bool:
    with suppress(OSError, ValueError):
        return count > int(gate.read_text())
    return False


def read_medium(self: FileDevice, offset: int, length: int) -> tuple[bytes, Result]:
    globals()["count"] += length
    time.sleep(length * SECONDS_PER_BYTE)
    while closed():
        time.sleep(0.01)
    return _read_medium(self, offset, length)


if __name__ == "__main__":
    setattr(FileDevice, "read_medium", read_medium)  # noqa: B010 - mypy lets no method be assigned
    verification.CURSOR_EVERY_S = 0.2
    sys.exit(main())
