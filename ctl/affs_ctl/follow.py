"""Following events for good: over lost connections, and over daemons that are started anew.

`follow` is for blocking programs, `follow_events` for trio; `affs_ctl.trio_follow` has the latter,
since this module imports no event loop. Invariants:
- Each event is given once and in order; where some may be missing there is a `lost` event.
- A connection that ends, or a daemon that is not there, is waited for; any other error is raised.
  A volume that cannot be found at all is an error at first, and waited for later.
"""

import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from affs_ctl.client import Client
from affs_fuse.auv import Value
from affs_fuse.errors import AffsError
from affs_fuse.protocol import Event, RemoteError

__all__ = ["RETRY_S", "follow", "newest_cursor", "watch_arguments", "worth_another_try"]

RETRY_S = 1.0

_PASSING = frozenset({"client.closed", "client.unreachable", "client.no_daemon"})
_PASSING_LATER = _PASSING | {"client.no_volume"}
"""Once there has been an answer: then the volume is being mounted again."""


def follow(
    connect: Callable[[], Client],
    kinds: Iterable[str] = (),
    *,
    after: str = "",
    retry_s: float = RETRY_S,
) -> Iterator[dict[str, Any]]:
    """Events of these kinds (all without any), from the one with the cursor `after` on, or from
    now; without end. connect: a new client each time it is called, for example
    `lambda: Client.connect(find("/srv/work").socket)`.

    Whoever keeps the `cursor` of the last event that was dealt with can begin from it in another
    process. Errors: event.cursor, event.kind, and what `connect` raises for good.
    """
    kinds = [*kinds]
    pause = threading.Event()
    met = False
    while True:
        try:
            with connect() as client:
                met = True
                after = after or newest_cursor(client.run("status"))
                call = client.start(command="watch", args=watch_arguments(kinds, after))
                for part in call:
                    if isinstance(part, Event):
                        after = part.event["cursor"]
                        yield part.event
                call.result()
        except AffsError as error:
            if not worth_another_try(error, met=met):
                raise
        pause.wait(retry_s)


def newest_cursor(status: Value) -> str:
    """That of the newest event, out of the answer to `status`."""
    cursor: str = status["runtime"]["events"]["cursor"]
    return cursor


def watch_arguments(kinds: list[str], after: str) -> dict[str, Value]:
    return {"kinds": [*kinds], "after": after}


def worth_another_try(error: AffsError, *, met: bool) -> bool:
    """Whether it may pass: nobody answers for now, or the server says so itself. met: whether there
    has been an answer before."""
    if isinstance(error, RemoteError):
        return error.retryable
    return error.code in (_PASSING_LATER if met else _PASSING)
