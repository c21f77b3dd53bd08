"""mount.affs with faults planted: what no handler should meet, met by some.

    python faulty_daemon.py VOLUME DIRECTORY ...
"""

import sys

from affs_fuse.daemon.main import main
from affs_fuse.posix.namespace import Namespace


def readlink(self: Namespace, number: int) -> bytes:
    raise ZeroDivisionError("planted")


def removexattr(self: Namespace, *arguments: object) -> None:
    raise BaseExceptionGroup("planted", [ValueError("planted")])


def mknod(self: Namespace, *arguments: object) -> None:
    raise MemoryError("planted")


def forget(self: Namespace, number: int) -> None:
    raise KeyError("planted")


if __name__ == "__main__":
    setattr(Namespace, "readlink", readlink)  # noqa: B010 - mypy lets no method be assigned
    setattr(Namespace, "removexattr", removexattr)  # noqa: B010
    setattr(Namespace, "mknod", mknod)  # noqa: B010
    setattr(Namespace, "forget", forget)  # noqa: B010
    sys.exit(main())
