"""The memory behind idempotency keys: a repeated request gets the first answer and does nothing
again.

Invariants: keys belong to a user, not to a connection, since a client repeats after it lost one.
One run per key at a time; who asks meanwhile waits for it. An outcome that invites a repetition
(busy, cancelled, deadline, anything retryable, a question for confirmation) is not kept. Memory is
bounded in entries and bytes; the oldest go first.
"""

from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import trio

from affs_fuse.auv import Value, encode, encode_canonical
from affs_fuse.errors import AffsError, Category

__all__ = ["ANSWERS_MAX", "BYTES_MAX", "IdempotencyMemory"]

ANSWERS_MAX = 1024
"""A day of what people do by hand; a program repeats within seconds."""

BYTES_MAX = 8 << 20
"""Of all kept answers together, but the newest is kept whatever its size."""

_NOT_FINAL = frozenset({Category.BUSY, Category.CANCELLED, Category.DEADLINE})
_QUESTIONS = frozenset({"plan.unconfirmed", "plan.stale"})

Key = tuple[int, str]
"""uid and the client's key."""


@dataclass(frozen=True, slots=True)
class _Kept:
    fingerprint: bytes
    value: Value
    error: AffsError | None
    size: int


def _is_final(error: AffsError) -> bool:
    return not (error.retryable or error.category in _NOT_FINAL or error.code in _QUESTIONS)


class IdempotencyMemory:
    """Loop thread only."""

    def __init__(self, *, answers_max: int = ANSWERS_MAX, bytes_max: int = BYTES_MAX) -> None:
        self._answers_max = answers_max
        self._bytes_max = bytes_max
        self._bytes = 0
        self._kept: OrderedDict[Key, _Kept] = OrderedDict()
        self._running: dict[Key, tuple[bytes, trio.Event]] = {}

    async def once(
        self,
        uid: int,
        key: str,
        asked: Value,
        run: Callable[[], Awaitable[Value]],
        repeated: Callable[[], None],
    ) -> Value:
        """The outcome of run(), or of its first call under this key. asked: what is run, so that a
        key used for two different requests is noticed. conflict: request.key_reused."""
        memory_key = (uid, key)
        fingerprint = encode_canonical(asked)
        while (running := self._running.get(memory_key)) is not None:
            self._same(key, running[0], fingerprint)
            await running[1].wait()
        kept = self._kept.get(memory_key)
        if kept is not None:
            self._same(key, kept.fingerprint, fingerprint)
            repeated()
            if kept.error is not None:
                raise kept.error.with_traceback(None)
            return kept.value
        done = trio.Event()
        self._running[memory_key] = (fingerprint, done)
        try:
            value = await run()
        except AffsError as error:
            if _is_final(error):
                self._keep(memory_key, fingerprint, None, error)
            raise
        else:
            self._keep(memory_key, fingerprint, value, None)
            return value
        finally:
            del self._running[memory_key]
            done.set()

    @staticmethod
    def _same(key: str, first: bytes, now: bytes) -> None:
        if first != now:
            raise AffsError(
                "request.key_reused",
                Category.CONFLICT,
                f"the idempotency key {key!r} was used for another request",
                hint="use a new key for each new request",
            )

    def _keep(self, key: Key, fingerprint: bytes, value: Value, error: AffsError | None) -> None:
        answer = value if error is None else error.to_auv()
        size = len(fingerprint) + len(encode(answer))
        self._kept[key] = _Kept(fingerprint, value, error, size)
        self._bytes += size
        while len(self._kept) > 1 and (
            len(self._kept) > self._answers_max or self._bytes > self._bytes_max
        ):
            _, oldest = self._kept.popitem(last=False)
            self._bytes -= oldest.size
