"""The control channel's frames and messages, without I/O (docs/specs/ControlProtocol.md).

A server holds a `ServerConnection` per socket, a client a `ClientConnection`: bytes go in by
`receive` and messages come out, messages go in by `send` and bytes come out.
"""

from affs_fuse.protocol.announcement import RUNTIME_DIRECTORY, Announcement, path_fields
from affs_fuse.protocol.connection import (
    REQUESTS_MAX,
    ClientConnection,
    Malformed,
    Received,
    ServerConnection,
)
from affs_fuse.protocol.errors import (
    LocalProtocolError,
    RemoteError,
    RemoteProtocolError,
    error_from_auv,
    error_to_auv,
)
from affs_fuse.protocol.frames import FRAME_BYTES_MAX, FrameReader, encode_frame
from affs_fuse.protocol.messages import (
    PROTOCOL_MAX,
    PROTOCOL_MIN,
    Answer,
    Cancel,
    ClientMessage,
    Credit,
    Event,
    Failure,
    Hello,
    Item,
    Progress,
    Request,
    RequestId,
    ServerMessage,
    Welcome,
    parse_client,
    parse_server,
)

__all__ = [
    "FRAME_BYTES_MAX",
    "PROTOCOL_MAX",
    "PROTOCOL_MIN",
    "REQUESTS_MAX",
    "RUNTIME_DIRECTORY",
    "Announcement",
    "Answer",
    "Cancel",
    "ClientConnection",
    "ClientMessage",
    "Credit",
    "Event",
    "Failure",
    "FrameReader",
    "Hello",
    "Item",
    "LocalProtocolError",
    "Malformed",
    "Progress",
    "Received",
    "RemoteError",
    "RemoteProtocolError",
    "Request",
    "RequestId",
    "ServerConnection",
    "ServerMessage",
    "Welcome",
    "encode_frame",
    "error_from_auv",
    "error_to_auv",
    "parse_client",
    "parse_server",
    "path_fields",
]
