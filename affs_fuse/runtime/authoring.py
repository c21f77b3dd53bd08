"""Numbers of the table of authors for those who change something (volume/authors.py)."""

from affs_fuse.errors import AffsError
from affs_fuse.volume.authors import NOBODY, Author
from affs_fuse.volume.volume import Volume

__all__ = ["author_number"]


def author_number(volume: Volume, author: Author) -> int:
    """Never fails: without room or memory for another author, or where nothing changes anyhow, it
    is nobody."""
    known = volume.authors.find(author)
    if known is not None:
        return known
    if volume.read_only:
        return NOBODY
    try:
        return volume.attempt(_new, volume, author)
    except (AffsError, MemoryError):
        return NOBODY


def _new(volume: Volume, author: Author) -> int:
    volume.begin_change()
    return volume.authors.number(author)
