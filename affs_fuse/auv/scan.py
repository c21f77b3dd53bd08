"""The wire profile's guard: one pass over the bytes that builds nothing (docs/specs/AUV.md, "Wire
form").

`scan` proves, before a single value is made, that the bytes hold exactly one value of the profile
and that it stays inside the limits; the first byte that breaks a rule is the offset of the
`WireError`. It keeps one small frame per open container and the keys of open Objects. `msgpack`
then decodes bytes it cannot stumble over. Not recursive; time is linear in the bytes.
"""

from collections.abc import Callable

from affs_fuse.auv.errors import WireError
from affs_fuse.auv.limits import Limits
from affs_fuse.auv.values import INT64_MAX

__all__ = ["CHAR_EXTENSION", "scan"]

CHAR_EXTENSION = 1
"""The extension type of Char: 1 to 4 bytes, the UTF-8 form of one scalar."""

# Widths of the big-endian number after a lead byte.
_UNSIGNED_WIDTHS = {0xCC: 1, 0xCD: 2, 0xCE: 4, 0xCF: 8}
_SIGNED_WIDTHS = {0xD0: 1, 0xD1: 2, 0xD2: 4, 0xD3: 8}
_FIXED_EXTENSIONS = {0xD4: 1, 0xD5: 2, 0xD6: 4, 0xD7: 8, 0xD8: 16}
_LONG_EXTENSIONS = {0xC7: 1, 0xC8: 2, 0xC9: 4}
# The lowest number that needs each width; anything lower has a shorter form.
_UNSIGNED_LOWEST = {1: 0x80, 2: 0x100, 4: 0x1_0000, 8: 0x1_0000_0000}
_SIGNED_HIGHEST = {1: -0x21, 2: -0x81, 4: -0x8001, 8: -0x8000_0001}
_STRING_LOWEST = {1: 0x20, 2: 0x100, 4: 0x1_0000}
_BINARY_LOWEST = {1: 0, 2: 0x100, 4: 0x1_0000}
_CONTAINER_LOWEST = {2: 0x10, 4: 0x1_0000}


def scan(data: bytes, limits: Limits) -> None:
    """WireError unless data is exactly one value of the profile, within limits."""
    end = _Scanner(data, limits).run()
    if end != len(data):
        raise WireError("trailing", end, f"{len(data) - end} bytes after the value")


class _Frame:
    """An open container: members still to come, and for an Object the keys seen so far."""

    __slots__ = ("keys", "member_count")

    def __init__(self, member_count: int, keys: set[bytes] | None) -> None:
        self.member_count = member_count
        self.keys = keys


class _Scanner:
    def __init__(self, data: bytes, limits: Limits) -> None:
        self._data = data
        self._limits = limits
        self._element_count = 0
        self._frames: list[_Frame] = []

    def run(self) -> int:
        """The offset behind the first value."""
        offset = self._value(0)
        while self._frames:
            frame = self._frames[-1]
            if frame.member_count == 0:
                self._frames.pop()
                continue
            frame.member_count -= 1
            if frame.keys is not None:
                offset = self._key(offset, frame.keys)
            offset = self._value(offset)
        return offset

    def _value(self, offset: int) -> int:
        """Past a scalar, or past the head of a container, whose frame is then open."""
        lead = self._lead(offset)
        if lead < 0x80 or lead >= 0xE0:
            return offset + 1
        if lead < 0x90:
            return self._open(offset, offset + 1, lead & 0x0F, True)
        if lead < 0xA0:
            return self._open(offset, offset + 1, lead & 0x0F, False)
        if lead < 0xC0:
            return self._text(offset, offset + 1, lead & 0x1F)
        return _LEADS[lead - 0xC0](self, offset, lead)

    def _lead(self, offset: int) -> int:
        if offset >= len(self._data):
            raise WireError("cut", offset, "the bytes end inside the value")
        return self._data[offset]

    def _number(self, offset: int, width: int, signed: bool = False) -> int:
        end = offset + width
        if end > len(self._data):
            raise WireError("cut", len(self._data), "the bytes end inside the value")
        return int.from_bytes(self._data[offset:end], "big", signed=signed)

    def _length(self, offset: int, width: int, lowest: dict[int, int]) -> int:
        """The length after the lead byte at offset; its shortest form is required."""
        length = self._number(offset + 1, width)
        if length < lowest[width]:
            raise WireError("not_shortest", offset, f"length {length} has a shorter form")
        return length

    def _constant(self, offset: int, lead: int) -> int:
        return offset + 1

    def _never_used(self, offset: int, lead: int) -> int:
        raise WireError("type", offset, "0xc1 starts no value")

    def _float32(self, offset: int, lead: int) -> int:
        raise WireError("type", offset, "a Float64 is wanted, this is a 32-bit float")

    def _float64(self, offset: int, lead: int) -> int:
        self._number(offset + 1, 8)
        return offset + 9

    def _unsigned(self, offset: int, lead: int) -> int:
        width = _UNSIGNED_WIDTHS[lead]
        number = self._number(offset + 1, width)
        if number > INT64_MAX:
            raise WireError("integer", offset, f"{number} does not fit Int64")
        if number < _UNSIGNED_LOWEST[width]:
            raise WireError("not_shortest", offset, f"{number} has a shorter form")
        return offset + 1 + width

    def _signed(self, offset: int, lead: int) -> int:
        width = _SIGNED_WIDTHS[lead]
        number = self._number(offset + 1, width, signed=True)
        if number > _SIGNED_HIGHEST[width]:
            raise WireError("not_shortest", offset, f"{number} has a shorter form")
        return offset + 1 + width

    def _string(self, offset: int, lead: int) -> int:
        width = 1 << (lead - 0xD9)
        return self._text(offset, offset + 1 + width, self._length(offset, width, _STRING_LOWEST))

    def _text(self, head: int, start: int, length: int) -> int:
        if length > self._limits.string_bytes_max:
            raise WireError("string_size", head, f"a String of {length} bytes is over the limit")
        self._utf8(start, length)
        return start + length

    def _binary(self, offset: int, lead: int) -> int:
        width = 1 << (lead - 0xC4)
        length = self._length(offset, width, _BINARY_LOWEST)
        if length > self._limits.binary_bytes_max:
            raise WireError("binary_size", offset, f"a Binary of {length} bytes is over the limit")
        self._present(offset + 1 + width, length)
        return offset + 1 + width + length

    def _array(self, offset: int, lead: int) -> int:
        width = 2 << (lead - 0xDC)
        count = self._length(offset, width, _CONTAINER_LOWEST)
        return self._open(offset, offset + 1 + width, count, False)

    def _map(self, offset: int, lead: int) -> int:
        width = 2 << (lead - 0xDE)
        count = self._length(offset, width, _CONTAINER_LOWEST)
        return self._open(offset, offset + 1 + width, count, True)

    def _open(self, head: int, start: int, count: int, keyed: bool) -> int:
        if len(self._frames) >= self._limits.depth_max:
            raise WireError("depth", head, f"nested deeper than {self._limits.depth_max}")
        self._element_count += count
        if self._element_count > self._limits.elements_max:
            raise WireError("elements", head, f"more than {self._limits.elements_max} elements")
        # Every member takes a byte at least, every entry two: a lie about the count ends here.
        self._present(start, count * 2 if keyed else count)
        self._frames.append(_Frame(count, set() if keyed else None))
        return start

    def _fixed_extension(self, offset: int, lead: int) -> int:
        return self._extension(offset, offset + 1, _FIXED_EXTENSIONS[lead])

    def _long_extension(self, offset: int, lead: int) -> int:
        width = _LONG_EXTENSIONS[lead]
        length = self._number(offset + 1, width)
        if width > 1 or length in (1, 2, 4):
            raise WireError("not_shortest", offset, "the extension has a shorter head")
        return self._extension(offset, offset + 1 + width, length)

    def _extension(self, head: int, start: int, length: int) -> int:
        kind = self._number(start, 1)
        if kind != CHAR_EXTENSION:
            raise WireError("type", head, f"extension type {kind} is none of the profile")
        if not 1 <= length <= 4:
            raise WireError("char", head, f"a Char of {length} bytes")
        if self._utf8(start + 1, length) != 1:
            raise WireError("char", head, "a Char holds exactly one Unicode scalar")
        return start + 1 + length

    def _key(self, offset: int, keys: set[bytes]) -> int:
        lead = self._lead(offset)
        if 0xA0 <= lead < 0xC0:
            start, length = offset + 1, lead & 0x1F
        elif 0xD9 <= lead <= 0xDB:
            width = 1 << (lead - 0xD9)
            start, length = offset + 1 + width, self._length(offset, width, _STRING_LOWEST)
        else:
            raise WireError("key", offset, "a key that is no String")
        if length > self._limits.key_bytes_max:
            raise WireError("key_size", offset, f"a key of {length} bytes is over the limit")
        self._utf8(start, length)
        key = self._data[start : start + length]
        if key in keys:
            raise WireError("duplicate_key", offset, f"the key {key.decode()!r} appears twice")
        keys.add(key)
        return start + length

    def _present(self, start: int, length: int) -> None:
        if start + length > len(self._data):
            raise WireError("cut", len(self._data), "the bytes end inside the value")

    def _utf8(self, start: int, length: int) -> int:
        """How many scalars the bytes hold."""
        self._present(start, length)
        try:
            return len(self._data[start : start + length].decode("utf-8"))
        except UnicodeDecodeError as error:
            raise WireError("unicode", start + error.start, "invalid UTF-8") from None


def _leads() -> tuple[Callable[[_Scanner, int, int], int], ...]:
    """The reader for each lead byte from 0xC0 to 0xDF."""
    table: dict[int, Callable[[_Scanner, int, int], int]] = {
        0xC0: _Scanner._constant,
        0xC1: _Scanner._never_used,
        0xC2: _Scanner._constant,
        0xC3: _Scanner._constant,
        0xCA: _Scanner._float32,
        0xCB: _Scanner._float64,
    }
    table.update(dict.fromkeys((0xC4, 0xC5, 0xC6), _Scanner._binary))
    table.update(dict.fromkeys(_LONG_EXTENSIONS, _Scanner._long_extension))
    table.update(dict.fromkeys(_UNSIGNED_WIDTHS, _Scanner._unsigned))
    table.update(dict.fromkeys(_SIGNED_WIDTHS, _Scanner._signed))
    table.update(dict.fromkeys(_FIXED_EXTENSIONS, _Scanner._fixed_extension))
    table.update(dict.fromkeys((0xD9, 0xDA, 0xDB), _Scanner._string))
    table.update(dict.fromkeys((0xDC, 0xDD), _Scanner._array))
    table.update(dict.fromkeys((0xDE, 0xDF), _Scanner._map))
    return tuple(table[lead] for lead in range(0xC0, 0xE0))


_LEADS = _leads()
