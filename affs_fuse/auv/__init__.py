"""AUV, the universal values: one closed model for the control channel, results, records and logs.

Values, limits, equality and order (docs/specs/AUV.md), the wire form (`encode`, `decode`) and the
text form (`parse`, `format_canonical` and the other writers, docs/specs/AJIS.md). Every error that
leaves this room is an `AuvError`.
"""

from affs_fuse.auv.ajis import parse, parse_prefix, place_positions
from affs_fuse.auv.ajis_edit import edited_text
from affs_fuse.auv.ajis_quick import format_json_quick, format_quick, parse_quick
from affs_fuse.auv.ajis_writer import (
    format_canonical,
    format_compact,
    format_json,
    format_pretty,
)
from affs_fuse.auv.errors import AuvError, TextError, ValueFault, WireError, printable
from affs_fuse.auv.limits import (
    ANSWER_LIMITS,
    DEFAULT_LIMITS,
    DEPTH_SUPPORTED_MAX,
    REQUEST_LIMITS,
    Limits,
)
from affs_fuse.auv.order import compare, equal, sort_key
from affs_fuse.auv.values import INT64_MAX, INT64_MIN, Char, Type, Value, check, normal, type_of
from affs_fuse.auv.wire import decode, encode, encode_canonical

__all__ = [
    "ANSWER_LIMITS",
    "DEFAULT_LIMITS",
    "DEPTH_SUPPORTED_MAX",
    "INT64_MAX",
    "INT64_MIN",
    "REQUEST_LIMITS",
    "AuvError",
    "Char",
    "Limits",
    "TextError",
    "Type",
    "Value",
    "ValueFault",
    "WireError",
    "check",
    "compare",
    "decode",
    "edited_text",
    "encode",
    "encode_canonical",
    "equal",
    "format_canonical",
    "format_compact",
    "format_json",
    "format_json_quick",
    "format_pretty",
    "format_quick",
    "normal",
    "parse",
    "parse_prefix",
    "parse_quick",
    "place_positions",
    "printable",
    "sort_key",
    "type_of",
]
