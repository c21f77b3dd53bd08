"""mount.affs in a mount namespace of its own, where /proc hides the processes of other users.

    python hidden_proc_daemon.py VOLUME DIRECTORY ...
"""

import ctypes
import sys

from affs_fuse.daemon.main import main

CLONE_NEWNS = 0x20000
MS_REC, MS_PRIVATE = 1 << 14, 1 << 18

libc = ctypes.CDLL(None, use_errno=True)


def hide() -> None:
    for failed in (
        libc.unshare(CLONE_NEWNS),
        libc.mount(None, b"/", None, MS_REC | MS_PRIVATE, None),
        libc.mount(b"proc", b"/proc", b"proc", 0, b"hidepid=invisible"),
    ):
        if failed:
            raise OSError(ctypes.get_errno(), "no namespace with a /proc that hides")


if __name__ == "__main__":
    hide()
    sys.exit(main())
