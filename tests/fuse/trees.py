"""Whole trees compared: content, metadata, names, hard links."""

import hashlib
import os
import stat
from pathlib import Path
from typing import Any

__all__ = ["below", "snapshot"]


def snapshot(root: Path, *, times: bool = True) -> dict[str, tuple[Any, ...]]:
    """Relative path -> what makes up the object: type and mode, owner, size, mtime, target or hash
    of the content, extended attributes, and which paths are the same inode."""
    found: dict[str, tuple[Any, ...]] = {}
    first_name: dict[tuple[int, int], str] = {}
    for directory, folders, files in os.walk(root):
        folders.sort()
        for name in [".", *sorted(folders), *sorted(files)]:
            if name == "." and directory != str(root):
                continue
            path = os.path.join(directory, name)
            relative = os.path.relpath(path, root)
            about = os.lstat(path)
            linked = first_name.setdefault((about.st_dev, about.st_ino), relative)
            is_directory = stat.S_ISDIR(about.st_mode)
            found[relative] = (
                about.st_mode,
                about.st_uid,
                about.st_gid,
                None if is_directory else about.st_size,
                about.st_mtime_ns if times else None,
                about.st_nlink if not is_directory else None,
                linked,
                _content(path, about.st_mode),
                _attributes(path),
            )
    return found


def below(tree: dict[str, tuple[Any, ...]], folder: str) -> dict[str, tuple[Any, ...]]:
    """The part of a snapshot that is a snapshot of `folder`."""
    prefix = folder + "/"
    found = {}
    for path, about in tree.items():
        if path == folder or path.startswith(prefix):
            *front, linked, content, attributes = about
            short = path[len(prefix) :] or "."
            found[short] = (*front, linked[len(prefix) :] or ".", content, attributes)
    return found


def _content(path: str, mode: int) -> str:
    if stat.S_ISLNK(mode):
        return os.readlink(path)
    if not stat.S_ISREG(mode):
        return ""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "blake2b").hexdigest()


def _attributes(path: str) -> tuple[tuple[str, bytes], ...]:
    names = sorted(
        name
        for name in os.listxattr(path, follow_symlinks=False)
        if not name.startswith("security.")
    )
    return tuple((name, os.getxattr(path, name, follow_symlinks=False)) for name in names)
