"""What the daemon does by itself with the volume's commands: it lets go of states that the rules of
retention do not keep.

It is a client like any other, under the name `affs`: its commands have a trace, an entry in the
operation log, and can be undone. Invariant: nothing is said, and nothing logged, while there is
nothing to do.
"""

import logging
from collections.abc import Awaitable, Callable
from itertools import count
from typing import Any

import trio

from affs_fuse.auv import Value
from affs_fuse.clock import Clock
from affs_fuse.errors import AffsError
from affs_fuse.protocol import Answer, Request
from affs_fuse.runtime.dispatcher import Dispatcher
from affs_fuse.runtime.policy import Identity
from affs_fuse.runtime.ports import EnginePort, Plain
from affs_fuse.runtime.retention import Rules, expired

__all__ = ["UPKEEP_S", "Upkeep"]

_log = logging.getLogger("affs.runtime")

UPKEEP_S = 600.0
DAEMON = Identity(uid=0, gid=0, user="affs")


class _NoReply:
    """Nobody reads along."""

    async def item(self, value: Value) -> None:
        await trio.lowlevel.checkpoint()

    async def progress(self, done: int, total: int | None, unit: str, note: str = "") -> None:
        await trio.lowlevel.checkpoint()

    async def event(self, event: Plain) -> None:
        await trio.lowlevel.checkpoint()


class Upkeep:
    """sleep: for tests."""

    def __init__(
        self,
        dispatcher: Dispatcher,
        engine: EnginePort,
        clock: Clock,
        sleep: Callable[[float], Awaitable[None]] = trio.sleep,
    ) -> None:
        self._dispatcher = dispatcher
        self._engine = engine
        self._clock = clock
        self._sleep = sleep
        self._ids = count(1)
        self._told = ""

    async def serve(self) -> None:
        """Never returns."""
        while True:
            await self._sleep(UPKEEP_S)
            await self.once()

    async def once(self) -> None:
        """Everything that is due. What goes wrong is logged, once for each way to go wrong."""
        try:
            while await self._due():
                if not await self._expire():
                    return
        except AffsError as error:
            self._tell(error.code, error.message)
        except Exception:  # noqa: BLE001 - the mount goes on whatever fails here
            _log.exception("applying the rules of retention failed")

    async def _due(self) -> bool:
        if (await self._engine.status())["read_only"]:
            return False
        rules = Rules.of(self._engine.settings)
        return bool(expired(await self._engine.states(), rules, self._clock.now_ns()))

    async def _expire(self) -> bool:
        """By the token of a plan, so that only what was due goes. Whether it went well, and
        something went."""
        plan = await self._ask("expire --dry-run")
        if plan is None:
            return False
        answer = await self._ask(f"expire --token {plan['token']}")
        return answer is not None and answer["count"] > 0

    async def _ask(self, line: str) -> Any:
        sessions = self._dispatcher.sessions
        session = sessions.open(DAEMON, "upkeep", own=True)
        try:
            running = self._dispatcher.admit(session, Request(id=next(self._ids), line=line))
            answer = await self._dispatcher.serve(running, _NoReply())
        finally:
            sessions.close(session)
        if isinstance(answer, Answer):
            self._told = ""
            return answer.ok
        self._tell(str(answer.error["code"]), str(answer.error["message"]))
        return None

    def _tell(self, code: str, message: str) -> None:
        if code != self._told:
            self._told = code
            _log.warning("the rules of retention could not be applied: %s", message)
