"""Commands that read or write files of the client (`import`, `export`), for trio.

    summary = await run_with_files(client, "import people.csv /people --name id")

As `affs_ctl.transfer` does for the blocking client (docs/specs/ControlProtocol.md, "Files"). Files
are read and written in threads, so no other task waits for them. Cancelled, it cancels the request,
and leaves no part of a file that was to be written.
"""

from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import trio

from affs_ctl.transfer_files import SourceFile, TargetFile
from affs_ctl.trio_client import Call, Client
from affs_fuse.auv import Value
from affs_fuse.errors import AffsError
from affs_fuse.protocol import Event, Item, Progress

__all__ = ["run_with_files"]


async def run_with_files(
    client: Client,
    line: str | None = None,
    *,
    item: Callable[[Value], Awaitable[object]] | None = None,
    progress: Callable[[Progress], Awaitable[object]] | None = None,
    **options: Any,
) -> Value:
    """The answer to a command; options as of `Client.start`. item: gets the items that go into no
    file (of an import, what was refused). AffsError cli.file for a file that cannot be read or
    written; RemoteError when the answer is an error."""
    async with await client.start(line, **options) as call:
        moving = _Moving(client, call, item, progress)
        return await moving.run()


class _Moving:
    """One command at work. failure: what ended the sending of a file."""

    def __init__(
        self,
        client: Client,
        call: Call,
        item: Callable[[Value], Awaitable[object]] | None,
        progress: Callable[[Progress], Awaitable[object]] | None,
    ) -> None:
        self._client = client
        self._call = call
        self._item = item
        self._progress = progress
        self._target: TargetFile | None = None
        self._failure: BaseException | None = None

    async def run(self) -> Value:
        value: Value = None
        done = False
        try:
            async with trio.open_nursery() as nursery:
                try:
                    await self._follow(nursery)
                    value = await self._call.result()
                    done = True
                except Exception as error:  # noqa: BLE001 - raised again below, in no group
                    self._failure = error
                nursery.cancel_scope.cancel()
        finally:
            target, self._target = self._target, None
            if target is not None:
                target.close(done=done and self._failure is None)
        if self._failure is not None:
            raise self._failure
        return value

    async def _follow(self, nursery: trio.Nursery) -> None:
        async for part in self._call:
            if isinstance(part, Event):
                await self._event(part.event, nursery)
            elif isinstance(part, Item) and self._target is not None:
                await trio.to_thread.run_sync(self._target.write, part.item)
            elif isinstance(part, Item) and self._item is not None:
                await self._item(part.item)
            elif isinstance(part, Progress) and self._progress is not None:
                await self._progress(part)

    async def _event(self, event: dict[str, Any], nursery: trio.Nursery) -> None:
        if event.get("kind") == "input":
            source = await trio.to_thread.run_sync(SourceFile, event)
            nursery.start_soon(self._send, source, nursery.cancel_scope)
        elif event.get("kind") == "output":
            self._target = await trio.to_thread.run_sync(TargetFile, event)

    async def _send(self, source: SourceFile, scope: trio.CancelScope) -> None:
        """One piece after the other."""
        try:
            while not source.ended:
                await _wait_for(source)
                args = await trio.to_thread.run_sync(source.piece)
                try:
                    await self._client.command("input", args)
                except AffsError as error:
                    if error.code != "input.closed":
                        raise
                    source.ended = True  # the command's own answer says why
        except AffsError as error:
            self._failure = error
            scope.cancel()
        finally:
            source.close()


async def _wait_for(source: SourceFile) -> None:
    """Until a pipe has something: here it can be cancelled, in a thread it could not."""
    with suppress(PermissionError):  # a file, which always has
        await trio.lowlevel.wait_readable(source.fileno())
