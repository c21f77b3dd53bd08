"""Handing Amiga images on to the kernel's own `affs`.

`/sbin/mount.affs` is called for every `mount -t affs`, and Linux has long had a filesystem of that
name: the Amiga's. Its images begin with `DOS` and a byte 0 to 7.
"""

import os
import stat

__all__ = ["is_amiga_image", "kernel_mount_command"]

_MAGICS = frozenset(b"DOS" + bytes([kind]) for kind in range(8))


def is_amiga_image(path: str) -> bool:
    """Whether path is an Amiga image; False also where it cannot be read (others report that)."""
    try:
        with open(path, "rb", buffering=0) as file:
            return file.read(4) in _MAGICS
    except OSError:
        return False


def kernel_mount_command(
    path: str, directory: str, words: tuple[str, ...], *, verbose: bool = False, fake: bool = False
) -> list[str]:
    """The mount(8) call that mounts it without helpers (-i)."""
    options = [word for word in words if not word.startswith(("uhelper=", "helper="))]
    if stat.S_ISREG(os.stat(path).st_mode) and "loop" not in options:
        options.append("loop")
    command = ["mount", "-i", "-t", "affs"]
    command += ["-v"] if verbose else []
    command += ["-f"] if fake else []
    command += ["-o", ",".join(options)] if options else []
    return [*command, path, directory]
