"""The control socket: where clients reach the runtime of a mounted volume."""

from affs_fuse.control.server import ControlLimits, ControlServer
from affs_fuse.control.socket_file import SocketFile, remove_dead_views

__all__ = ["ControlLimits", "ControlServer", "SocketFile", "remove_dead_views"]
