"""The write buffer against plain bytes."""

from hypothesis import given, settings
from hypothesis import strategies as st

from affs_fuse.core.checksum import Buffer
from affs_fuse.core.constants import BLOCK_SIZE, EXTENT_BLOCKS_MAX
from affs_fuse.posix import write_buffer
from affs_fuse.posix.write_buffer import WriteBuffer

EDGES = [0, 1, 100, 4095, 4096, 4097, 8192, 65_535, 65_536, 65_537, 262_144, 600_000, 1 << 20]
OFFSETS = st.one_of(
    st.sampled_from(EDGES), st.integers(0, 1 << 21), st.integers(0, 300).map(lambda n: n * 4096)
)
LENGTHS = st.one_of(
    st.sampled_from([1, 10, 4096, 8192, 65_536, 131_072, 524_288, 1 << 20]), st.integers(1, 70_000)
)


FILE_BYTES = 4 << 20
"""No step reaches further: OFFSETS end at 2 MiB, appending at 3 MiB, LENGTHS at 1 MiB."""
ZEROS, ONES = memoryview(bytes(FILE_BYTES)), memoryview(b"\1" * FILE_BYTES)


class Model:
    """bytes and a set of dirty blocks. The arrays serve every example, and nothing copies them
    whole: fetching fresh memory is what a test of this kind would otherwise spend its time with."""

    def __init__(self) -> None:
        self.bytes = bytearray(FILE_BYTES)
        self.dirty: set[int] = set()
        self.written = bytearray(FILE_BYTES)
        self._reach = 0  # no byte behind it was written

    def reset(self) -> None:
        self._clear(0, self._reach)
        self._reach = 0
        self.dirty = set()

    def _clear(self, start: int, end: int) -> None:
        end = min(end, self._reach)
        if start < end:
            self.bytes[start:end] = ZEROS[: end - start]
            self.written[start:end] = ZEROS[: end - start]

    def write(self, offset: int, data: bytes) -> None:
        end = offset + len(data)
        self.bytes[offset:end] = data
        self.written[offset:end] = ONES[: len(data)]
        self._reach = max(self._reach, end)
        self.dirty |= set(range(offset // BLOCK_SIZE, -(-end // BLOCK_SIZE)))

    def truncate(self, size: int) -> int:
        """How many blocks were dirty and are not any more."""
        self._clear(size, FILE_BYTES)
        last = -(-size // BLOCK_SIZE)
        before = len(self.dirty)
        self.dirty = {block for block in self.dirty if block < last}
        if size % BLOCK_SIZE and last:  # a block that only pieces behind `size` made dirty
            begin = (last - 1) * BLOCK_SIZE
            if not any(self.written[begin:size]):
                self.dirty.discard(last - 1)
        return before - len(self.dirty)

    def cut(self, start: int, end: int) -> int:
        """Whole blocks; how many were dirty."""
        self._clear(start, end)
        before = len(self.dirty)
        self.dirty -= set(range(start // BLOCK_SIZE, end // BLOCK_SIZE))
        return before - len(self.dirty)

    def has(self, offset: int, data: Buffer) -> bool:
        return self.bytes.startswith(data, offset)

    def is_zero(self, start: int, end: int) -> bool:
        return self.has(start, ZEROS[: end - start])


MODEL = Model()


def dirty_in(buffer: WriteBuffer, first: int, last: int) -> set[int]:
    clean = {
        block for begin, end in buffer.clean_ranges(first, last) for block in range(begin, end)
    }
    return set(range(first, last)) - clean


@settings(max_examples=120, deadline=None)
@given(
    st.lists(st.tuples(st.booleans(), OFFSETS, LENGTHS, st.integers(1, 255)), max_size=25),
    st.booleans(),
)
def test_against_bytes(steps: list[tuple[bool, int, int, int]], appending: bool) -> None:
    buffer, model = WriteBuffer(), MODEL
    model.reset()
    for cut, offset, length, fill in steps:
        if cut and fill % 3 == 0:
            assert buffer.truncate(offset) == model.truncate(offset)
            continue
        if cut and fill % 3 == 1:
            start = offset // BLOCK_SIZE * BLOCK_SIZE
            end = start + -(-length // BLOCK_SIZE) * BLOCK_SIZE
            assert buffer.cut(start, end) == model.cut(start, end)
            continue
        at = min(buffer.end, 3 << 20) if appending and fill % 2 else offset
        data = bytes([fill]) * length
        first, last = at // BLOCK_SIZE, -(-(at + length) // BLOCK_SIZE)
        clean = sum(end - begin for begin, end in buffer.clean_ranges(first, last))
        buffer.write(at, data, clean)
        model.write(at, data)
        assert buffer.blocks == len(model.dirty)
    assert dirty_in(buffer, 0, 1024) == model.dirty
    check_parts(buffer, model)
    check_runs(buffer, model)


def check_parts(buffer: WriteBuffer, model: Model) -> None:
    for offset, end in ((0, FILE_BYTES), (5000, 70_000), (65_536, 65_537)):
        at = offset
        for start, data in buffer.parts(offset, end):
            assert at <= start
            assert 0 < len(data) <= end - start
            assert model.is_zero(at, start)
            assert model.has(start, data)
            at = start + len(data)
        assert model.is_zero(at, end)


def check_runs(buffer: WriteBuffer, model: Model) -> None:
    blocks: set[int] = set()
    end = buffer.end
    for first, data, length in buffer.runs():
        count = len(data) // BLOCK_SIZE
        assert len(data) % BLOCK_SIZE == 0
        assert count <= EXTENT_BLOCKS_MAX
        assert len(data) - BLOCK_SIZE < length <= len(data)
        assert first * BLOCK_SIZE + length <= -(-end // BLOCK_SIZE) * BLOCK_SIZE
        mine = set(range(first, first + count))
        assert not blocks & mine
        blocks |= mine
        assert model.has(first * BLOCK_SIZE, data)
    assert blocks == model.dirty


def test_small_appends_grow_one_piece() -> None:
    buffer = WriteBuffer()
    for index in range(1000):
        buffer.write(index * 100, b"a" * 100, 1 if index * 100 // 4096 >= buffer.blocks else 0)
    assert len(buffer.parts(0, 1 << 20)) == 1
    (run,) = buffer.runs()
    assert run[0] == 0
    assert run[2] == 100_000


def test_large_whole_pieces_are_not_copied() -> None:
    buffer = WriteBuffer()
    pieces = [bytes([index]) * (1 << 20) for index in range(1, 4)]
    for index, piece in enumerate(pieces):
        buffer.write(index << 20, piece, 256)
    runs = list(buffer.runs())
    assert [run[0] for run in runs] == [0, 256, 512]
    assert all(run[1].obj is piece for run, piece in zip(runs, pieces, strict=True))


def test_what_was_handed_out_does_not_change() -> None:
    buffer = WriteBuffer()
    buffer.write(0, b"a" * 100, 1)
    buffer.write(100, b"b" * 100, 0)
    parts = buffer.parts(0, 200)
    runs = list(buffer.runs())
    buffer.settle()
    buffer.write(0, b"c" * 200, 0)
    buffer.write(200, b"d" * 100, 0)
    assert bytes(parts[0][1]) == b"a" * 100 + b"b" * 100
    assert bytes(runs[0][1][:200]) == b"a" * 100 + b"b" * 100


def test_forgetting_what_has_a_place() -> None:
    buffer = WriteBuffer()
    buffer.write(0, bytes(range(256)) * 64, 4)
    buffer.write(40_000, b"z" * 10, 1)
    buffer.forget_below(8192)
    assert buffer.blocks == 3
    assert buffer.clean_ranges(0, 12) == [(0, 2), (4, 9), (10, 12)]
    assert bytes(buffer.parts(0, 50_000)[0][1]) == bytes(range(256)) * 32
    assert write_buffer.GROW_BYTES_MAX >= write_buffer.SMALL_BYTES_MAX
