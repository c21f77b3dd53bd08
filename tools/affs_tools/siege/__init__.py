"""A siege of a mounted volume's control socket: hostile messages by the hundred thousand, while the
mount's latency and the daemon's memory are watched (docs/security.md).

Command: tools/siege.
"""
