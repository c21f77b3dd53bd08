"""`follow` for trio: events for good, over lost connections and daemons that are started anew."""

from collections.abc import Awaitable, Callable, Iterable
from typing import Any

import trio

from affs_ctl.follow import RETRY_S, newest_cursor, watch_arguments, worth_another_try
from affs_ctl.trio_client import connect
from affs_fuse.errors import AffsError
from affs_fuse.protocol import Event

__all__ = ["follow_events"]


async def follow_events(
    find_socket: Callable[[], str],
    take: Callable[[dict[str, Any]], Awaitable[object]],
    kinds: Iterable[str] = (),
    *,
    after: str = "",
    retry_s: float = RETRY_S,
) -> None:
    """Hands each event to `take`, as `affs_ctl.follow.follow` gives them; until it is cancelled.
    What `take` raises ends it. find_socket: the path of the socket, asked for at each try."""
    kinds = [*kinds]
    met = False
    failure: BaseException | None = None
    while True:
        try:
            async with connect(find_socket()) as client:
                met = True
                after = after or newest_cursor(await client.run("status"))
                arguments = watch_arguments(kinds, after)
                async with await client.start(command="watch", args=arguments) as call:
                    async for part in call:
                        if isinstance(part, Event):
                            try:
                                await take(part.event)
                            except AffsError as error:
                                failure = error
                                raise
                            after = part.event["cursor"]
                    await call.result()
        except AffsError as error:
            if error is failure or not worth_another_try(error, met=met):
                raise
        await trio.sleep(retry_s)
