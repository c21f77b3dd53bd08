"""What was written to one file and has no place on the device yet.

Pieces are kept by reference where they are large, and grow in place where many small writes follow
each other. Invariants: pieces are in order, not empty, and do not overlap; a block (4 KiB) is
dirty exactly when a piece meets it; all bytes of a dirty block that no piece holds are zero
(whoever makes a block dirty in part puts its old bytes in first); `blocks` is the count of dirty
blocks.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence

from affs_fuse.core.checksum import Buffer
from affs_fuse.core.constants import BLOCK_SHIFT, BLOCK_SIZE, EXTENT_BLOCKS_MAX

__all__ = ["Run", "WriteBuffer", "assemble"]

GROW_BYTES_MAX = 256 << 10
"""A piece that small writes append to is copied when it grows; beyond this a new one begins."""
SMALL_BYTES_MAX = 64 << 10
"""Writes and pieces up to this are copied rather than referred to."""
WHOLE_BYTES_MIN = 512 << 10
"""A piece of whole blocks from this size on becomes extents of its own, without a copy."""
_MASK = BLOCK_SIZE - 1

Run = tuple[int, Buffer, int]
"""(first block, whole blocks of bytes, length in bytes up to the last byte that was written)."""


class WriteBuffer:
    """Of one file. append: whether an O_APPEND handle wrote it (an intent for its place)."""

    __slots__ = ("_pieces", "_starts", "append", "blocks")

    def __init__(self) -> None:
        self._starts: list[int] = []
        self._pieces: list[Buffer] = []
        self.blocks = 0
        self.append = False

    @property
    def end(self) -> int:
        """Offset behind the last byte."""
        return self._starts[-1] + len(self._pieces[-1]) if self._starts else 0

    def clean_ranges(self, first: int, last: int) -> list[tuple[int, int]]:
        """The ranges of blocks in [first, last) that are not dirty."""
        starts, pieces = self._starts, self._pieces
        index = bisect_right(starts, first << BLOCK_SHIFT)
        if index and starts[index - 1] + len(pieces[index - 1]) > first << BLOCK_SHIFT:
            index -= 1
        clean = []
        at, limit = first, last << BLOCK_SHIFT
        while at < last and index < len(starts) and (start := starts[index]) < limit:
            if start >> BLOCK_SHIFT > at:
                clean.append((at, start >> BLOCK_SHIFT))
            at = max(at, (start + len(pieces[index]) + _MASK) >> BLOCK_SHIFT)
            index += 1
        if at < last:
            clean.append((at, last))
        return clean

    def write(self, offset: int, data: Buffer, new_blocks: int) -> None:
        """Put data (not empty) over what is there. new_blocks: how many dirty blocks that adds.

        Data of more than SMALL_BYTES_MAX is kept by reference and must not change afterwards.
        """
        self.blocks += new_blocks
        starts, pieces = self._starts, self._pieces
        end = offset + len(data)
        index = bisect_right(starts, offset) - 1
        if index >= 0:
            start, piece = starts[index], pieces[index]
            piece_end = start + len(piece)
            if piece_end >= offset and (index + 1 == len(starts) or starts[index + 1] >= end):
                own = self._own(index, max(piece_end, end) - start, len(data))
                if own is not None:
                    own[offset - start : end - start] = data
                    return
        self._make_room(offset, end)
        at = bisect_left(starts, offset)
        starts.insert(at, offset)
        pieces.insert(at, data)

    def truncate(self, size: int) -> int:
        """Forget all from `size` on; how many blocks are not dirty any more."""
        starts, pieces = self._starts, self._pieces
        if self.end <= size:
            return 0
        before = self.blocks
        at = bisect_left(starts, size)
        del starts[at:], pieces[at:]
        if starts and starts[-1] + len(pieces[-1]) > size:
            pieces[-1] = _slice(pieces[-1], 0, size - starts[-1])
        self.blocks = self._count()
        return before - self.blocks

    def cut(self, offset: int, end: int) -> int:
        """Forget [offset, end), multiples of 4 KiB; how many blocks are not dirty any more."""
        before = self.blocks
        self._make_room(offset, end)
        self.blocks = self._count()
        return before - self.blocks

    def forget_below(self, offset: int) -> None:
        """Drop what lies before `offset`, a multiple of 4 KiB: it has a place now."""
        starts, pieces = self._starts, self._pieces
        at = bisect_left(starts, offset)
        if at and starts[at - 1] + len(pieces[at - 1]) > offset:
            at -= 1
            pieces[at] = _slice(pieces[at], offset - starts[at], len(pieces[at]))
            starts[at] = offset
        del starts[:at], pieces[:at]
        self.blocks = self._count()

    def parts(self, offset: int, end: int) -> list[tuple[int, Buffer]]:
        """What pieces hold of [offset, end): (offset, bytes), in order. They stay as they are."""
        starts, pieces = self._starts, self._pieces
        index = max(0, bisect_right(starts, offset) - 1)
        found = []
        while index < len(starts) and (start := starts[index]) < end:
            piece = pieces[index]
            first, last = max(start, offset), min(start + len(piece), end)
            if first < last:
                found.append((first, _slice(piece, first - start, last - start)))
            index += 1
        return found

    def forget_blocks(self, first: int, last: int) -> None:
        """Drop blocks [first, last), all of them dirty: they have a place now."""
        self._make_room(first << BLOCK_SHIFT, last << BLOCK_SHIFT)
        self.blocks -= last - first

    def settle(self) -> None:
        """Let no piece change in place any more: somebody may still refer to what runs() gave."""
        self._pieces = [
            bytes(piece) if isinstance(piece, bytearray) else piece for piece in self._pieces
        ]

    def _views(self, without: Sequence[tuple[int, int]]) -> Iterator[tuple[int, memoryview]]:
        """(offset, bytes) of the pieces outside these ranges of blocks, which are in order."""
        at = 0
        for start, piece in zip(self._starts, self._pieces, strict=True):
            view = memoryview(piece)
            while at < len(without) and without[at][1] << BLOCK_SHIFT <= start:
                at += 1
            index = at
            while len(view) and index < len(without):
                first, last = without[index][0] << BLOCK_SHIFT, without[index][1] << BLOCK_SHIFT
                if first >= start + len(view):
                    break
                if first > start:
                    yield start, view[: first - start]
                view = view[max(0, last - start) :]
                start = last
                index += 1
            if len(view):
                yield start, view

    def runs(self, without: Sequence[tuple[int, int]] = ()) -> Iterator[Run]:
        """All dirty blocks as runs of at most EXTENT_BLOCKS_MAX neighbours, in order.

        without: ranges of blocks [first, last) to leave out, in order.

        The bytes refer to the pieces: afterwards the buffer is dropped, or settle() is called.
        """
        parts: list[Buffer] = []
        first = filled = 0
        for begin, piece in self._views(without):
            start, view = begin, piece
            while len(view):
                limit = first + (EXTENT_BLOCKS_MAX << BLOCK_SHIFT)
                whole = not (start | len(view)) & _MASK and len(view) >= WHOLE_BYTES_MIN
                apart = start >> BLOCK_SHIFT > (filled + _MASK) >> BLOCK_SHIFT
                if parts and (whole or apart or start >= limit):
                    yield _run(first, filled, parts)
                    parts = []
                if not parts:
                    first = filled = start & ~_MASK
                    limit = first + (EXTENT_BLOCKS_MAX << BLOCK_SHIFT)
                if start > filled:
                    parts.append(bytes(start - filled))
                take = min(len(view), limit - start)
                parts.append(view[:take])
                start += take
                filled = start
                view = view[take:]
                if whole:
                    yield _run(first, filled, parts)
                    parts = []
        if parts:
            yield _run(first, filled, parts)

    def _own(self, index: int, length: int, added: int) -> bytearray | None:
        """Piece `index` as one that can be changed in place, if it is worth it."""
        piece = self._pieces[index]
        if added > SMALL_BYTES_MAX or length > GROW_BYTES_MAX:
            if isinstance(piece, bytearray) and length == len(piece):
                return piece
            return None
        if not isinstance(piece, bytearray):
            if len(piece) > SMALL_BYTES_MAX:
                return None
            piece = bytearray(piece)
            self._pieces[index] = piece
        return piece

    def _make_room(self, offset: int, end: int) -> None:
        """Take [offset, end) out of the pieces; `blocks` stays as it is."""
        starts, pieces = self._starts, self._pieces
        first = bisect_left(starts, offset)
        if first and starts[first - 1] + len(pieces[first - 1]) > offset:
            start, piece = starts[first - 1], pieces[first - 1]
            pieces[first - 1] = _slice(piece, 0, offset - start)
            if start + len(piece) > end:
                starts.insert(first, end)
                pieces.insert(first, _slice(piece, end - start, len(piece)))
                return
        last = bisect_left(starts, end)
        if last > first:
            start, piece = starts[last - 1], pieces[last - 1]
            if start + len(piece) > end:
                last -= 1
                starts[last] = end
                pieces[last] = _slice(piece, end - start, len(piece))
        del starts[first:last], pieces[first:last]

    def _count(self) -> int:
        blocks = reached = 0
        for start, piece in zip(self._starts, self._pieces, strict=True):
            first = max(start >> BLOCK_SHIFT, reached)
            last = (start + len(piece) + _MASK) >> BLOCK_SHIFT
            if last > first:
                blocks += last - first
                reached = last
        return blocks


def _slice(piece: Buffer, first: int, last: int) -> Buffer:
    """A part of a piece: by reference, but of those that change in place a copy."""
    if isinstance(piece, bytearray):
        return bytes(memoryview(piece)[first:last])
    return memoryview(piece)[first:last]


def _run(first: int, filled: int, parts: list[Buffer]) -> Run:
    """Whole blocks out of parts that follow each other from `first` to `filled`."""
    length = filled - first
    if length & _MASK:
        parts.append(bytes(BLOCK_SIZE - (length & _MASK)))
    data = parts[0] if len(parts) == 1 else b"".join(parts)
    return first >> BLOCK_SHIFT, data, length


def assemble(known: list[tuple[int, Buffer]], offset: int, end: int) -> bytes:
    """The bytes of [offset, end): parts in order, zeros between and after them."""
    if len(known) == 1 and known[0][0] == offset and len(known[0][1]) == end - offset:
        return bytes(known[0][1])
    parts: list[Buffer] = []
    for start, data in known:
        if start > offset:
            parts.append(bytes(start - offset))
        parts.append(data)
        offset = start + len(data)
    if offset < end:
        parts.append(bytes(end - offset))
    return b"".join(parts)
