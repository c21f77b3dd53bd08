"""AJIS text to values (docs/specs/AJIS.md).

Not recursive: one small frame per open container, so hostile nesting costs a typed error and no
stack. Time is linear in the text; nothing but `TextError` is raised for any text.
"""

from collections.abc import Iterable

from affs_fuse.auv.ajis_numbers import read_number
from affs_fuse.auv.ajis_source import Source, decode_text
from affs_fuse.auv.ajis_tokens import read_char, read_key, read_string, read_word
from affs_fuse.auv.limits import DEFAULT_LIMITS, Limits
from affs_fuse.auv.values import Value

__all__ = ["Frame", "Parser", "parse", "parse_prefix", "place_positions"]

Place = tuple[str | int, ...]
"""Keys and indexes, from the outermost value on."""

_NUMBER_STARTS = frozenset("-0123456789")


def parse(text: str | bytes, limits: Limits = DEFAULT_LIMITS) -> Value:
    """The one value that text is; bytes are read as UTF-8. TextError for everything else."""
    source = Source(decode_text(text) if isinstance(text, bytes) else text, limits, True)
    value, end = Parser(source).run(source.skip(0))
    end = source.skip(end)
    if end != len(source.text):
        raise source.fault("trailing", end, "the end of the document")
    return value


def parse_prefix(
    text: str, start: int = 0, limits: Limits = DEFAULT_LIMITS, *, space_separators: bool = True
) -> tuple[Value, int]:
    """The value that begins at start, and the offset behind it; what follows is not looked at.

    For AJIS literals inside another grammar. space_separators False: a space ends a number, as
    where words are parted by spaces. Positions in a TextError count from the beginning of text.
    """
    source = Source(text, limits, space_separators)
    return Parser(source).run(start)


def place_positions(text: str | bytes, places: Iterable[Place]) -> list[tuple[int, int]]:
    """Of each place: line and column, from 1, at which the value under these keys and indexes
    begins; where there is none, that of the value which should have it. TextError where the text is
    no value.
    """
    places = list(places)
    source = Source(decode_text(text) if isinstance(text, bytes) else text, DEFAULT_LIMITS, True)
    parser = _PlaceParser(source, places)
    parser.run(source.skip(0))
    return [source.position(parser.nearest(place)) for place in places]


class Frame:
    """An open Array (key unused) or Object (key: of the entry whose value is being read)."""

    __slots__ = ("array", "entries", "key")

    def __init__(self, keyed: bool) -> None:
        self.array: list[Value] = []
        self.entries: dict[str, Value] | None = {} if keyed else None
        self.key = ""


class Parser:
    def __init__(self, source: Source) -> None:
        self._source = source
        self._element_count = 0
        self._frames: list[Frame] = []

    def run(self, offset: int) -> tuple[Value, int]:
        """The value that begins at offset exactly, and the offset behind it."""
        while True:
            opened = self._open(offset)
            if opened is not None:
                offset = opened
                continue
            value, offset = self._leaf(offset)
            while self._frames:
                following = self._add(value, offset)
                if following is not None:
                    offset = following
                    break
                value, offset = self._close(offset)
            else:
                return value, offset

    def _open(self, offset: int) -> int | None:
        """Enter a container that has members: the offset of its first value. None: no such."""
        source = self._source
        lead = source.at(offset)
        if lead not in ("[", "{"):
            return None
        if len(self._frames) >= source.limits.depth_max:
            raise source.fault("depth", offset, f"at most {source.limits.depth_max} levels")
        inside = source.skip(offset + 1)
        if source.at(inside) == ("]" if lead == "[" else "}"):
            return None
        frame = Frame(keyed=lead == "{")
        self._frames.append(frame)
        return inside if frame.entries is None else self._key(inside, frame)

    def _leaf(self, offset: int) -> tuple[Value, int]:
        """A scalar, or a container without members."""
        source = self._source
        lead = source.at(offset)
        if lead == '"':
            return read_string(source, offset)
        if lead in _NUMBER_STARTS:
            return read_number(source, offset)
        if lead == "'":
            return read_char(source, offset)
        if lead == "[":
            return [], source.skip(offset + 1) + 1
        if lead == "{":
            return {}, source.skip(offset + 1) + 1
        return read_word(source, offset)

    def _add(self, value: Value, offset: int) -> int | None:
        """Give value to the open container: the offset of the next value, or None at its end."""
        source = self._source
        frame = self._frames[-1]
        self._element_count += 1
        if self._element_count > source.limits.elements_max:
            raise source.fault(
                "elements", offset, f"at most {source.limits.elements_max} elements in all"
            )
        if frame.entries is None:
            frame.array.append(value)
        else:
            frame.entries[frame.key] = value
        offset = source.skip(offset)
        if source.at(offset) != ",":
            return None
        offset = source.skip(offset + 1)
        return offset if frame.entries is None else self._key(offset, frame)

    def _close(self, offset: int) -> tuple[Value, int]:
        """The finished container, and the offset behind its bracket."""
        source = self._source
        frame = self._frames.pop()
        offset = source.skip(offset)
        bracket = "]" if frame.entries is None else "}"
        if source.at(offset) != bracket:
            raise source.fault("structure", offset, f"',' or '{bracket}'")
        return (frame.array if frame.entries is None else frame.entries), offset + 1

    def _key(self, offset: int, frame: Frame) -> int:
        """Read `"key" :` into the frame: the offset of the value."""
        source = self._source
        key, end = read_key(source, offset)
        assert frame.entries is not None, "only an Object has keys"
        if key in frame.entries:
            raise source.fault("duplicate_key", offset, "a key that this object does not have yet")
        frame.key = key
        end = source.skip(end)
        if source.at(end) != ":":
            raise source.fault("structure", end, "':' after the key")
        return source.skip(end + 1)


class _PlaceParser(Parser):
    """Notes where the values of places begin, and those around them."""

    def __init__(self, source: Source, places: list[Place]) -> None:
        super().__init__(source)
        self._found = {place[:count]: -1 for place in places for count in range(len(place) + 1)}
        self._depth = max(map(len, places), default=0)

    def nearest(self, place: Place) -> int:
        """The offset of the value of a place, or of the innermost that is there around it."""
        while self._found[place] < 0:
            place = place[:-1]
        return self._found[place]

    def _open(self, offset: int) -> int | None:
        frames = self._frames
        if len(frames) <= self._depth:
            place = tuple(
                len(frame.array) if frame.entries is None else frame.key for frame in frames
            )
            if place in self._found:
                self._found[place] = offset
        return super()._open(offset)
