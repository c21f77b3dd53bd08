"""Metrics by HTTP and in a file: what is offered, to whom, and what a bad reader can do."""

import os
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio

from affs_fuse.control import Exposition, parse_target
from affs_fuse.control.exposition import CLIENTS_MAX, REQUEST_BYTES_MAX, Target
from affs_fuse.errors import AffsError

TEXT = "affs_up 1\n"


def exposition(target: Target) -> Exposition:
    return Exposition(target, lambda: TEXT, ended_text="affs_up 0\n", mode=0o600, group="")


@asynccontextmanager
async def offering(target: Target) -> AsyncIterator[Exposition]:
    made = exposition(target)
    made.open()
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(made.serve)
            yield made
            nursery.cancel_scope.cancel()
    finally:
        made.close()


async def ask(path: str, request: bytes) -> bytes:
    stream = await trio.open_unix_socket(path)
    async with stream:
        await stream.send_all(request)
        return b"".join([piece async for piece in stream])


@pytest.mark.parametrize(
    ("text", "target"),
    [
        ("9810", Target(host="127.0.0.1", port=9810)),
        ("127.0.0.1:9810", Target(host="127.0.0.1", port=9810)),
        ("[::1]:9810", Target(host="::1", port=9810)),
        ("/run/x/metrics", Target(socket="/run/x/metrics")),
        ("/var/lib/x/a.prom", Target(file="/var/lib/x/a.prom")),
    ],
)
def test_places(text: str, target: Target) -> None:
    assert parse_target(text) == target


@pytest.mark.parametrize(
    "text",
    ["", "0", "65536", "0.0.0.0:80", "192.168.1.1:80", "[::]:80", "localhost:80", "x", "1:2:3",
     "127.0.0.1:", "127.0.0.1:٣", "relative/path"],
)
def test_no_places(text: str) -> None:
    with pytest.raises(AffsError) as caught:
        parse_target(text)
    assert caught.value.code == "mount.option"


async def test_get_head_and_nothing_else(tmp_path: Path) -> None:
    path = str(tmp_path / "s")
    async with offering(Target(socket=path)):
        assert os.stat(path).st_mode & 0o777 == 0o600
        answer = await ask(path, b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
        head, _, body = answer.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200 OK\r\n")
        assert f"Content-Length: {len(TEXT)}".encode() in head
        assert body == TEXT.encode()
        head_only = await ask(path, b"HEAD /metrics HTTP/1.0\r\n\r\n")
        assert head_only == head + b"\r\n\r\n"
        for request, status in (
            (b"GET / HTTP/1.1\r\n\r\n", b" 404 "),
            (b"POST /metrics HTTP/1.1\r\n\r\n", b" 405 "),
            (b"\x00\xff\r\n\r\n", b" 405 "),
            (b"GET /metrics?x=1 HTTP/1.1\r\n\r\n", b" 200 "),
            (b"x" * REQUEST_BYTES_MAX, b" 405 "),
        ):
            answer = await ask(path, request)
            assert status in answer.partition(b"\r\n")[0]
    assert not os.path.exists(path)


async def test_by_tcp() -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    async with offering(Target(host="127.0.0.1", port=port)):
        stream = await trio.open_tcp_stream("127.0.0.1", port)
        async with stream:
            await stream.send_all(b"GET /metrics HTTP/1.1\r\n\r\n")
            answer = b"".join([piece async for piece in stream])
        assert answer.endswith(TEXT.encode())
        with pytest.raises(AffsError) as caught:
            exposition(Target(host="127.0.0.1", port=port)).open()
        assert caught.value.code == "mount.metrics"


async def test_silent_clients_are_few_and_others_come_after_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("affs_fuse.control.exposition.REQUEST_S", 0.2)
    path = str(tmp_path / "s")
    async with offering(Target(socket=path)):
        silent = [await trio.open_unix_socket(path) for _ in range(CLIENTS_MAX)]
        for stream in silent:
            assert await stream.receive_some() == b""  # dropped for its silence
            await stream.aclose()
        assert b" 200 " in await ask(path, b"GET /metrics HTTP/1.1\r\n\r\n")


async def test_a_client_that_goes_does_no_harm(tmp_path: Path) -> None:
    path = str(tmp_path / "s")
    async with offering(Target(socket=path)):
        for _ in range(3):
            stream = await trio.open_unix_socket(path)
            await stream.send_all(b"GET /metrics HTTP/1.1\r\n\r\n")
            await trio.aclose_forcefully(stream)
        assert b" 200 " in await ask(path, b"GET /metrics HTTP/1.1\r\n\r\n")


async def test_a_file_for_the_collector(tmp_path: Path) -> None:
    path = tmp_path / "a.prom"
    async with offering(Target(file=str(path))):
        assert path.read_text() == TEXT
        assert path.stat().st_mode & 0o777 == 0o644
    assert path.read_text() == "affs_up 0\n"
    assert [one.name for one in tmp_path.iterdir()] == ["a.prom"]


def test_a_file_that_cannot_be_written_is_told_before_the_mount(tmp_path: Path) -> None:
    with pytest.raises(AffsError) as caught:
        exposition(Target(file=str(tmp_path / "no" / "a.prom"))).open()
    assert caught.value.code == "mount.metrics"
