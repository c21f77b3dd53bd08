"""Events followed for good, by both clients, over a clean restart and a killed daemon."""

import threading
from pathlib import Path
from typing import Any

import pytest
import trio
from mounted import Mounted

from affs_ctl.client import Client
from affs_ctl.discover import find
from affs_ctl.follow import follow
from affs_ctl.trio_follow import follow_events
from affs_fuse.errors import AffsError, Category
from affs_fuse.protocol import RemoteError

KINDS = ("checkpoint", "publish")


class Heard:
    """Events as they come to a thread; `until` waits for one of a kind."""

    def __init__(self) -> None:
        self.events: list[dict[str, Any]] = []
        self._news = threading.Condition()

    def add(self, event: dict[str, Any]) -> None:
        with self._news:
            self.events.append(event)
            self._news.notify_all()

    def until(self, count: int, kind: str) -> None:
        with self._news:
            assert self._news.wait_for(
                lambda: sum(one["kind"] == kind for one in self.events) >= count, 60
            ), self.events


def blocking(path: str, heard: Heard, after: str, stop: threading.Event) -> None:
    for event in follow(lambda: Client.connect(path), KINDS, after=after, retry_s=0.05):
        heard.add(event)
        if event.get("label") == "last":
            stop.set()
            return


def with_trio(path: str, heard: Heard, after: str, stop: threading.Event) -> None:
    async def main() -> None:
        with trio.CancelScope() as scope:

            async def take(event: dict[str, Any]) -> None:
                heard.add(event)
                if event.get("label") == "last":
                    scope.cancel()

            await follow_events(lambda: path, take, KINDS, after=after, retry_s=0.05)
        stop.set()

    trio.run(main)


@pytest.fixture(params=[blocking, with_trio])
def way(request: pytest.FixtureRequest) -> Any:
    return request.param


def test_over_restarts(folder: Path, way: Any) -> None:
    with Mounted(folder, options="commit_interval=0") as mounted:
        first = mounted.affsctl("status")["runtime"]["events"]["cursor"]
        heard, stop = Heard(), threading.Event()
        thread = threading.Thread(target=way, args=(str(mounted.control), heard, first, stop))
        thread.start()
        mounted.affsctl("checkpoint", "-l", "one")
        heard.until(1, "checkpoint")
        mounted.remount()
        mounted.affsctl("publish")
        heard.until(1, "publish")
        mounted.kill()
        mounted.start()
        mounted.affsctl("checkpoint", "-l", "last")
        heard.until(2, "checkpoint")
        thread.join(60)
        assert stop.is_set()
    kinds = [event["kind"] for event in heard.events]
    assert [kind for kind in kinds if kind != "lost"] == ["checkpoint", "publish", "checkpoint"]
    assert kinds.index("lost") > kinds.index("publish")  # the killed one may have said more


def test_what_will_not_pass_is_raised(folder: Path) -> None:
    with Mounted(folder) as mounted:
        with pytest.raises(RemoteError) as caught:
            next(follow(mounted.client, ["nothing"]))
        assert caught.value.category is Category.INVALID
        with pytest.raises(AffsError) as missing:
            next(follow(lambda: Client.connect(find("no-such-volume").socket)))
        assert missing.value.code == "client.no_volume"
