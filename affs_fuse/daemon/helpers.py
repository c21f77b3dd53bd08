"""`mount.affs --install-helpers`: put the helpers where mount(8) and umount(8) look for them.

Each helper is a small script that runs this installation's Python in isolated mode, so neither the
caller's directory nor its environment decides what root executes. Invariant: a file that is not one
of ours is never overwritten.
"""

import os
import stat
import sys
from dataclasses import dataclass

from affs_fuse.errors import AffsError, Category

__all__ = ["HELPERS", "install_helpers", "umount_helper_installed"]

_MARK = "# AfFS mount helper, made by mount.affs --install-helpers"

HELPERS = {
    "mount.affs": "affs_fuse.daemon.main",
    "mount.fuse.affs": "affs_fuse.daemon.main",
    "umount.fuse.affs": "affs_fuse.daemon.unmount",
}
"""Name in PREFIX/sbin -> the module that it runs."""


@dataclass(frozen=True, slots=True)
class Installed:
    """paths: what was written. notes: lines worth telling the user."""

    paths: tuple[str, ...]
    notes: tuple[str, ...]


def helper_script(module: str) -> str:
    """The text of one helper."""
    python = sys.executable
    if "'" in python:
        raise AffsError(
            "mount.helpers", Category.INVALID, f"cannot quote the path of Python: {python}",
            hint="install AfFS under a path without quotes",
        )
    return f"#!/bin/sh\n{_MARK}\nexec '{python}' -I -m {module} \"$@\"\n"


def install_helpers(prefix: str) -> Installed:
    """Write the helpers to PREFIX/sbin, replacing older ones of ours.

    Errors: mount.helpers (DENIED, EXISTS, IO).
    """
    folder = os.path.join(prefix, "sbin")
    written: list[str] = []
    try:
        os.makedirs(folder, exist_ok=True)
        for name, module in HELPERS.items():
            path = os.path.join(folder, name)
            if os.path.lexists(path) and not _is_ours(path):
                raise AffsError(
                    "mount.helpers", Category.EXISTS, f"{path} is there and not ours",
                    hint="move it away, or choose another --prefix",
                )
            _replace(path, helper_script(module))
            written.append(path)
    except OSError as error:
        category = Category.DENIED if isinstance(error, PermissionError) else Category.IO
        raise AffsError(
            "mount.helpers", category, f"cannot write {error.filename}: {error.strerror}",
            hint="run it as root, or choose another --prefix",
        ) from error
    notes = (
        "fstab: /path/to/volume.affs /mnt fuse.affs rw,nofail,uhelper=fuse.affs 0 0",
    )
    return Installed(tuple(written), notes)


def _is_ours(path: str) -> bool:
    if not stat.S_ISREG(os.lstat(path).st_mode):
        return False
    with open(path, "rb") as file:
        return _MARK.encode() in file.read(4096)


def _replace(path: str, text: str) -> None:
    temporary = f"{path}.{os.getpid()}.new"
    with open(temporary, "x", encoding="utf-8") as file:
        file.write(text)
        os.fchmod(file.fileno(), 0o755)
    os.replace(temporary, path)


def umount_helper_installed() -> bool:
    """Whether umount(8) would find umount.fuse.affs."""
    return any(
        os.access(os.path.join(folder, "umount.fuse.affs"), os.X_OK)
        for folder in ("/sbin", "/usr/sbin", "/sbin/fs.d", "/sbin/fs")
    )
