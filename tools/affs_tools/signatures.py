"""What a file or device already holds: the question that mkfs.affs asks before it overwrites
anything.

util-linux knows more formats than anybody else, so blkid(8) is asked where it is installed; the
table below is for systems without it, and for AfFS itself, which blkid does not know.
"""

import os
import shutil
import stat
import subprocess

__all__ = ["contents"]

MIB = 1 << 20
PROBED_BYTES = 1 * MIB

SIGNATURES: list[tuple[int, bytes, str]] = [
    (4096, b"AFSB", "an AfFS volume"),
    (33 * MIB + 4096, b"AFSB", "an AfFS volume (its second superblock)"),
    (1080, b"\x53\xef", "an ext2, ext3 or ext4 filesystem"),
    (0, b"XFSB", "an XFS filesystem"),
    (65600, b"_BHRfS_M", "a Btrfs filesystem"),
    (3, b"NTFS    ", "an NTFS filesystem"),
    (3, b"EXFAT   ", "an exFAT filesystem"),
    (54, b"FAT1", "a FAT filesystem"),
    (82, b"FAT32", "a FAT filesystem"),
    (0, b"hsqs", "a SquashFS image"),
    (1024, b"\x10\x20\xf5\xf2", "an F2FS filesystem"),
    (32769, b"CD001", "an ISO 9660 image"),
    (4086, b"SWAPSPACE2", "swap space"),
    (0, b"LUKS\xba\xbe", "an encrypted (LUKS) volume"),
    (536, b"LVM2 001", "an LVM physical volume"),
    (512, b"EFI PART", "a GPT partition table"),
    *((0, b"DOS" + bytes([kind]), "an Amiga filesystem") for kind in range(8)),
    (510, b"\x55\xaa", "a partition table or boot sector"),
]


def contents(path: str) -> str:
    """What is there, in words ("an XFS filesystem"), or "" where nothing speaks against
    overwriting.

    A regular file with any byte that is not zero in its first MiB counts as holding data. Errors:
    OSError.
    """
    status = os.stat(path)
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        for offset, magic, what in SIGNATURES:
            if os.pread(descriptor, len(magic), offset) == magic:
                return what
        if found := _ask_blkid(path):
            return found
        if stat.S_ISREG(status.st_mode) and any(os.pread(descriptor, PROBED_BYTES, 0)):
            return "data"
    finally:
        os.close(descriptor)
    return ""


def _ask_blkid(path: str) -> str:
    """The type that blkid's low-level probe finds, in words, or ""."""
    search = os.defpath + ":/usr/sbin:/sbin"
    program = shutil.which("blkid", path=search)
    if program is None:
        return ""
    done = subprocess.run(
        [program, "-p", "-o", "value", "-s", "TYPE", "-s", "PTTYPE", "--", path],
        capture_output=True, text=True, check=False,
    )
    words = done.stdout.split()
    if words:
        return f"a signature of type {words[0]}"
    return "several contradicting signatures" if done.returncode == 8 else ""
