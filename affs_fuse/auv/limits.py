"""Bounds on one value, checked before memory is spent on it (docs/specs/AUV.md, "Limits").

A limit is passed explicitly; there is no module state. `DEFAULT_LIMITS` are for files, records and
the library; `REQUEST_LIMITS` for what a stranger sends to the control socket. Precedents: SQLite's
JSON depth 1000, serde_json 128, protobuf 100; MessagePack's own reader stops at 1024 levels.
"""

from dataclasses import dataclass, field

__all__ = ["ANSWER_LIMITS", "DEFAULT_LIMITS", "DEPTH_SUPPORTED_MAX", "REQUEST_LIMITS", "Limits"]

DEPTH_SUPPORTED_MAX = 500
"""`msgpack` writes at most 511 levels; the project promises a little less."""


@dataclass(frozen=True, slots=True)
class Limits:
    """depth_max: Arrays and Objects open at once (a scalar has depth 0, `[]` has 1).

    string_bytes_max, key_bytes_max: of the UTF-8 form. elements_max: Array elements plus Object
    entries in the whole value, nested ones included.
    """

    depth_max: int = 256
    string_bytes_max: int = 64 << 20
    binary_bytes_max: int = 1 << 30
    elements_max: int = 10_000_000
    key_bytes_max: int = 4 << 10
    least: int = field(init=False, repr=False, compare=False)
    """A value of so few bytes can be over no limit but that of depth."""

    def __post_init__(self) -> None:
        sizes = self.string_bytes_max, self.binary_bytes_max, self.key_bytes_max
        object.__setattr__(self, "least", min(*sizes, self.elements_max))
        assert 0 <= self.depth_max <= DEPTH_SUPPORTED_MAX, "depth_max is out of range"
        assert self.elements_max >= 0, "elements_max is negative"


DEFAULT_LIMITS = Limits()

REQUEST_LIMITS = Limits(
    depth_max=64, string_bytes_max=16 << 20, binary_bytes_max=16 << 20, elements_max=100_000
)
"""What a server reads: 100,000 elements cost at most about 25 MB and 60 ms."""

ANSWER_LIMITS = Limits(
    depth_max=256, string_bytes_max=16 << 20, binary_bytes_max=16 << 20, elements_max=1_000_000
)
"""What a client reads from its server."""
