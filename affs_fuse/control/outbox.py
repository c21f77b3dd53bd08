"""What waits to be sent to one client, bounded in bytes.

Requests put whole frames, one writer takes them: so a request can be cancelled at any time without
cutting a frame in two. Who puts waits while the box is full, in order of arrival; the box takes at
least one frame, however large.
"""

from collections import deque

import trio

__all__ = ["FRAMES_IN_A_TURN", "OUTBOX_BYTES_MAX", "Outbox"]

OUTBOX_BYTES_MAX = 256 << 10
"""Per client, beside one frame for each of its requests; twice a socket's usual buffer."""

FRAMES_IN_A_TURN = 16
"""Put one after the other before the loop goes round: a row must not cost a turn of the loop."""


class Outbox:
    """Loop thread only."""

    def __init__(self, bytes_max: int = OUTBOX_BYTES_MAX) -> None:
        self._bytes_max = bytes_max
        self._frames: deque[bytes] = deque()
        self._bytes = 0
        self._put = 0
        self._waiting = trio.lowlevel.ParkingLot()
        self._filled = trio.Event()
        self._drained = trio.Event()
        self._drained.set()

    async def put(self, frame: bytes) -> None:
        """Returns when the frame is in the box. Cancelled: it is not, and never will be."""
        self._put += 1
        if self._put % FRAMES_IN_A_TURN:
            await trio.lowlevel.checkpoint_if_cancelled()
        else:
            await trio.lowlevel.checkpoint()
        while self._bytes >= self._bytes_max:
            await self._waiting.park()
        self._frames.append(frame)
        self._bytes += len(frame)
        self._filled.set()
        if self._drained.is_set():
            self._drained = trio.Event()

    async def take(self) -> bytes:
        """All that waits, joined; for the writer, which calls `sent` when it is through with it."""
        while not self._frames:
            self._filled = trio.Event()
            await self._filled.wait()
        data = b"".join(self._frames)
        self._frames.clear()
        return data

    def sent(self, size: int) -> None:
        """size bytes have left: there is room again."""
        self._bytes -= size
        self._waiting.unpark_all()
        if not self._bytes:
            self._drained.set()

    async def wait_drained(self) -> None:
        """Until everything put so far has left."""
        await self._drained.wait()
