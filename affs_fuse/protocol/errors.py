"""What can go wrong on a connection: the peer's fault, or ours (docs/specs/ControlProtocol.md,
"Errors").

`RemoteProtocolError` is a value to send or to show. `LocalProtocolError` is a broken contract of
the caller, such as a second answer to one request; it is never sent.
"""

from typing import Any

from affs_fuse.auv import AuvError, Limits, check, printable
from affs_fuse.errors import AffsError, Category

__all__ = [
    "LocalProtocolError",
    "RemoteError",
    "RemoteProtocolError",
    "error_from_auv",
    "error_to_auv",
]

_DETAILS_LIMITS = Limits(depth_max=32, string_bytes_max=1 << 20, elements_max=50_000)
_TEXT_SCALARS_MAX = 16 << 10


class LocalProtocolError(Exception):
    """This side used the connection wrongly."""


class RemoteProtocolError(AffsError):
    """The peer broke the protocol."""


class RemoteError(AffsError):
    """An error value that the peer sent. trace: of the request it belongs to, or ""."""

    def __init__(self, code: str, category: Category, message: str, **rest: Any) -> None:
        self.trace: str = rest.pop("trace", "")
        super().__init__(code, category, message, **rest)


def error_to_auv(error: AffsError, trace: str = "") -> dict[str, Any]:
    """The error value to send (docs/specs/Errors.md, "Shape"); it can always be encoded.

    File names in a message may be no valid Unicode: what is none is shown as `\\udc..`.
    Details that are no AUV value are replaced by a note of it.
    """
    value = error.to_auv(trace)
    for name in ("code", "message", "hint", "trace"):
        value[name] = printable(str(value[name])[:_TEXT_SCALARS_MAX])
    try:
        check(value["details"], _DETAILS_LIMITS)
    except AuvError as fault:
        value["details"] = {"unsendable": fault.message}
    return value


def error_from_auv(value: object) -> RemoteError:
    """The error that an answer carries. What is missing or odd in it is filled in, never raised."""
    fields: dict[str, Any] = value if isinstance(value, dict) else {}
    try:
        category = Category(fields.get("category", ""))
    except ValueError:
        category = Category.INTERNAL
    details = fields.get("details")
    return RemoteError(
        _text(fields, "code", "protocol.error_value"),
        category,
        _text(fields, "message", "the peer sent an error without a message"),
        hint=_text(fields, "hint", ""),
        retryable=fields.get("retryable") is True,
        details=details if isinstance(details, dict) else {},
        trace=_text(fields, "trace", ""),
    )


def _text(fields: dict[str, Any], name: str, default: str) -> str:
    value = fields.get(name)
    return value if isinstance(value, str) and value else default
