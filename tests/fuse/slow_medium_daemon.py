"""mount.affs on a device whose medium is slow to read: 40 ms for each MiB, so that a test can be
there while a verification runs.

    python slow_medium_daemon.py VOLUME DIRECTORY ...
"""

import sys
import time

from affs_fuse.daemon.main import main
from affs_fuse.device.device import Result
from affs_fuse.device.file import FileDevice
from affs_fuse.runtime import verification

SECONDS_PER_BYTE = 0.04 / (1 << 20)

_read_medium = FileDevice.read_medium


def read_medium(self: FileDevice, offset: int, length: int) -> tuple[bytes, Result]:
    time.sleep(length * SECONDS_PER_BYTE)
    return _read_medium(self, offset, length)


if __name__ == "__main__":
    setattr(FileDevice, "read_medium", read_medium)  # noqa: B010 - mypy lets no method be assigned
    verification.CURSOR_EVERY_S = 0.2
    sys.exit(main())
