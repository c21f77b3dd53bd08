"""mount.affs with faults planted: what no handler should meet, met by some.

    python faulty_daemon.py VOLUME DIRECTORY ...
"""

import sys

from affs_fuse.core.checksum import Buffer
from affs_fuse.daemon.main import main
from affs_fuse.fuse.more_operations import LSEEK
from affs_fuse.fuse.requests import RequestServer
from affs_fuse.posix.namespace import Namespace

PLANTED = b"planted: no room for this one"


def readlink(self: Namespace, number: int) -> bytes:
    raise ZeroDivisionError("planted")


def removexattr(self: Namespace, *arguments: object) -> None:
    raise BaseExceptionGroup("planted", [ValueError("planted")])


def mknod(self: Namespace, *arguments: object) -> None:
    raise MemoryError("planted")


take = RequestServer.take


def take_or_not(self: RequestServer, descriptor: int, request: Buffer) -> None:
    """What comes before any wrapper: a seek, or these bytes to be written."""
    if request[4] == LSEEK or PLANTED in bytes(request):
        raise MemoryError("planted")
    take(self, descriptor, request)


def take_write(self: RequestServer, descriptor: int, request: Buffer) -> int:
    if PLANTED in bytes(request):
        self.take(descriptor, request)
    return write_taken(self, descriptor, request)


write_taken = RequestServer.take_write


def forget(self: Namespace, number: int) -> None:
    raise KeyError("planted")


if __name__ == "__main__":
    setattr(Namespace, "readlink", readlink)  # noqa: B010 - mypy lets no method be assigned
    setattr(Namespace, "removexattr", removexattr)  # noqa: B010
    setattr(Namespace, "mknod", mknod)  # noqa: B010
    setattr(Namespace, "forget", forget)  # noqa: B010
    setattr(RequestServer, "take", take_or_not)  # noqa: B010
    setattr(RequestServer, "take_write", take_write)  # noqa: B010
    sys.exit(main())
