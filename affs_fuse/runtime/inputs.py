"""Bytes that a client sends to a request that is at work (docs/specs/ControlProtocol.md, "Files").

The command asks for them by an `input` event, the client sends them by `input` requests, one after
the other. Invariants: one piece waits at most, so a client that is faster than the command waits
for its answers; pieces come in order and none is lost; when the command has ended, who still sends
is told so.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import trio

from affs_fuse.errors import AffsError, Category

__all__ = ["PIECE_BYTES", "Input", "Inputs"]

PIECE_BYTES = 256 << 10
"""What a client should send at once."""

PIECE_BYTES_MAX = 4 << 20


class Input:
    """Of one request. total_bytes: as the client says, None if it does not know."""

    def __init__(self) -> None:
        self.total_bytes: int | None = None
        self._pieces, self._waiting = trio.open_memory_channel[bytes](0)
        self._sending = trio.Lock()

    async def take(self) -> bytes | None:
        """The next piece; None at the end."""
        try:
            return await self._waiting.receive()
        except trio.EndOfChannel:
            return None

    async def send(self, data: bytes, *, end: bool) -> None:
        """Returns when the command has taken it. invalid: input.size; conflict: input.closed."""
        if len(data) > PIECE_BYTES_MAX:
            raise AffsError(
                "input.size", Category.INVALID,
                f"{len(data)} bytes at once, at most {PIECE_BYTES_MAX} are taken",
            )  # fmt: skip
        try:
            async with self._sending:
                if data:
                    await self._pieces.send(data)
                if end:
                    self._pieces.close()
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            raise _closed() from None

    def close(self) -> None:
        """The command takes no more."""
        self._waiting.close()
        self._pieces.close()


class Inputs:
    """Of one session. Loop thread only."""

    def __init__(self) -> None:
        self._open: dict[str, Input] = {}
        self._count = 0

    @contextmanager
    def open(self) -> Iterator[tuple[str, Input]]:
        """A new input, under a name that no other one of the session had."""
        self._count += 1
        name, made = f"i{self._count}", Input()
        self._open[name] = made
        try:
            yield name, made
        finally:
            del self._open[name]
            made.close()

    def find(self, name: str) -> Input:
        """conflict: input.closed."""
        found = self._open.get(name)
        if found is None:
            raise _closed()
        return found


def _closed() -> AffsError:
    return AffsError(
        "input.closed", Category.CONFLICT, "the command that asked for this input takes no more",
        hint="its own answer says why",
    )  # fmt: skip
