"""Hostile frames, seeded: what a client may send that is no honest message."""

import random
import struct
from typing import Any

from affs_fuse.auv import encode
from affs_fuse.runtime.commands import COMMANDS

__all__ = ["bomb", "frame", "hello", "honest", "hostile"]

FRAME_MAX = 16 << 20
_NAMES = [command.name for command in COMMANDS]
_WORDS = [
    "", "-", "--", "---", "--yes", "--dry-run", "--token", "--since", "@~9999999999", "#-1",
    "published~99", "/", "/../..", "../../etc/passwd", "\x1b]0;owned\x07", "\x00", "\ud7ff", "'",
    '"', "\\", "|", "{", "[[[[", "}" * 30, "hex\"AB\"", "9" * 400, "U+10FFFF", "a" * 300, "%s%n",
    "$(reboot)", "`id`", "\u202e\u0000", "working", "--limit=-1", "--lease", "9" * 21,
]


def frame(payload: bytes) -> bytes:
    return struct.pack(">I", len(payload)) + payload


def hello(client: str = "siege") -> bytes:
    return frame(encode({"hello": {"protocol": 1, "client": client}}))


def honest(chance: random.Random, number: int) -> bytes:
    """A message that a client may send; it asks, and changes nothing."""
    line = chance.choice([
        "status", "ping", "df", "help", "describe", "checkpoints", "log -l 3", "diff",
        "complete --line 'roll'", "show nothing", "verify --status", "hold published --lease 1",
    ])
    return frame(encode({"id": number, "line": line, "deadline_ms": 2000}))


def hostile(chance: random.Random, number: int) -> bytes:
    """One frame of any of these kinds, mostly whole."""
    kind = chance.choice([_mutated, _mutated, _wrong_fields, _odd_line, _noise, _nested, _torn])
    return kind(chance, number)


def _mutated(chance: random.Random, number: int) -> bytes:
    """An honest message with some bytes changed, cut, doubled or put elsewhere."""
    data = bytearray(honest(chance, number)[4:])
    for _ in range(1 + chance.randrange(4)):
        at = chance.randrange(len(data) + 1)
        roll = chance.randrange(5)
        if roll == 0 and at < len(data):
            data[at] ^= 1 << chance.randrange(8)
        elif roll == 1:
            data[at:at] = chance.randbytes(1 + chance.randrange(8))
        elif roll == 2:
            del data[at : at + 1 + chance.randrange(6)]
        elif roll == 3:
            data[at:at] = data[chance.randrange(len(data) + 1) :][:20]
        elif at < len(data):
            data[at] = chance.choice([0x00, 0x7F, 0x80, 0xC1, 0xC7, 0xDD, 0xDF, 0xFF])
    return frame(bytes(data) or b"\xc0")


def _anything(chance: random.Random) -> Any:
    return chance.choice([
        None, True, -1, 0, 1 << 62, -(1 << 63), 1.5, float("nan"), "", "x" * 300, b"\0" * 9, [], {},
        [[[]]], {"": 0}, "\x1b[2J", {"id": 1}, [1] * 50,
    ])


def _wrong_fields(chance: random.Random, number: int) -> bytes:
    """The right fields with the wrong values."""
    message: dict[str, Any] = {"id": number, "line": "status"}
    for _ in range(1 + chance.randrange(3)):
        field = chance.choice([
            "id", "line", "command", "args", "session", "trace", "deadline_ms", "idempotency_key",
            "window", "hello", "cancel", "credit", "count", "event", "ok", "unknown",
        ])
        message[field] = _anything(chance)
    if chance.random() < 0.3:
        message.pop("line", None)
        message["command"] = chance.choice(_NAMES)
        message["args"] = {chance.choice(["state", "yes", "x", "limit"]): _anything(chance)}
    return frame(encode(message))


def _odd_line(chance: random.Random, number: int) -> bytes:
    """A command line that nobody would type."""
    words = [chance.choice([*_NAMES, "nosuch"])]
    words += [chance.choice(_WORDS) for _ in range(chance.randrange(6))]
    line = " ".join(words)
    if chance.random() < 0.02:
        line *= 2000
    return frame(encode({"id": number, "line": line[: 1 << 20], "deadline_ms": 500}))


def _noise(chance: random.Random, number: int) -> bytes:
    return frame(chance.randbytes(1 + chance.randrange(chance.choice([8, 300, 9000]))))


def _nested(chance: random.Random, number: int) -> bytes:
    """Deep or wide values that are cheap to send."""
    depth = chance.choice([10, 70, 300, 5000, 100_000])
    return frame(b"\x91" * depth + b"\xc0" if chance.random() < 0.8 else b"\xdd\xff\xff\xff\xff")


def _torn(chance: random.Random, number: int) -> bytes:
    """A frame with the wrong length, or none; nothing after it can be read."""
    size = chance.choice([0, 1, FRAME_MAX, FRAME_MAX + 1, (1 << 32) - 1, 5000])
    return struct.pack(">I", size) + chance.randbytes(chance.randrange(40))


def bomb(chance: random.Random) -> bytes:
    """A large frame of the values that take most memory for a byte."""
    count = chance.choice([1 << 16, 1 << 18, 1 << 20, FRAME_MAX - 5])
    return frame(b"\xdd" + struct.pack(">I", count) + chance.choice([b"\x90", b"\x80"]) * count)
