"""The control socket: where clients reach the runtime of a mounted volume."""

from affs_fuse.control.exposition import Exposition, parse_target
from affs_fuse.control.metrics import control_metrics
from affs_fuse.control.peer import SystemAccounts
from affs_fuse.control.server import ControlLimits, ControlServer
from affs_fuse.control.socket_file import SocketFile, remove_dead_daemons

__all__ = [
    "ControlLimits",
    "ControlServer",
    "Exposition",
    "SocketFile",
    "SystemAccounts",
    "control_metrics",
    "parse_target",
    "remove_dead_daemons",
]
