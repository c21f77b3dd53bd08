"""The same line through affsctl, the shell, both client libraries and raw frames: one answer.

On a real mount. What is compared is the AUV value, and, between raw frames and `affsctl --wire`,
the bytes of the last message.
"""

import re
import socket
import struct
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
import trio
from mounted import END_TIMEOUT_S, ENVIRONMENT, Mounted

from affs_ctl import trio_client
from affs_fuse.auv import Value, decode, encode, format_canonical, parse
from affs_fuse.errors import AffsError

QUERIES = (
    "show one",
    "diff one two",
    "log --limit 3",
    "help diff",
    "complete 'rollback --d'",
    "use-personality server --dry-run",
    "find /r where age >= 30 | sort age desc",
    "SHOW 'one'",
    # and what fails:
    "show nothing",
    "diff --limit x",
    "find /r where (",
)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mounted]:
    with Mounted(tmp_path_factory.mktemp("m"), options="commit_interval=0") as mounted:
        (mounted.directory / "r").mkdir()
        for name, age in (("ann", 31), ("bob", 29), ("æsa", 44)):
            text = format_canonical({"name": name, "age": age})
            (mounted.directory / f"r/{name}").write_text(text)
        mounted.affsctl("checkpoint", "-l", "one")
        (mounted.directory / "new").write_text("x")
        mounted.affsctl("checkpoint", "-l", "two")
        yield mounted


def by_affsctl(mounted: Mounted, line: str, *options: str) -> bytes:
    done = subprocess.run(
        [sys.executable, "-m", "affs_ctl", "-V", str(mounted.directory), *options, "-c", line],
        env=ENVIRONMENT, capture_output=True, check=False, timeout=END_TIMEOUT_S,
    )
    return done.stdout or done.stderr


def by_shell(mounted: Mounted, line: str) -> bytes:
    """The lines of a batch are the shell's, without a terminal."""
    done = subprocess.run(
        [sys.executable, "-m", "affs_ctl", "-V", str(mounted.directory), "--ajis", "shell"],
        input=line.encode() + b"\n", env=ENVIRONMENT, capture_output=True, check=False,
        timeout=END_TIMEOUT_S,
    )
    return done.stdout or done.stderr.splitlines()[0]  # behind it, which line it was


def by_blocking_client(mounted: Mounted, line: str) -> Value:
    with mounted.client() as client:
        call = client.start(line)
        try:
            return together(call.items, call.result())
        except AffsError as error:
            return {"error": error.to_auv(getattr(error, "trace", ""))}


async def by_trio_client(mounted: Mounted, line: str) -> Value:
    async with trio_client.connect(str(mounted.control)) as client:
        call = await client.start(line)
        try:
            return together(call.items, await call.result())
        except AffsError as error:
            return {"error": error.to_auv(getattr(error, "trace", ""))}


def raw_frames(mounted: Mounted, line: str) -> bytes:
    """Everything that the server sends for the line, as bytes of frames."""
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(END_TIMEOUT_S)
        client.connect(str(mounted.control))
        send(client, {"hello": {"protocol": 1, "client": "raw"}})
        assert "welcome" in receive(client)[1]
        send(client, {"id": 1, "line": line})
        frames = b""
        while True:
            data, message = receive(client)
            if "progress" not in message:
                frames += data
            if "ok" in message or "error" in message:
                return frames


def send(client: socket.socket, message: Value) -> None:
    payload = encode(message)
    client.sendall(struct.pack(">I", len(payload)) + payload)


def receive(client: socket.socket) -> tuple[bytes, Any]:
    head = read_exactly(client, 4)
    payload = read_exactly(client, struct.unpack(">I", head)[0])
    return head + payload, decode(payload)


def read_exactly(client: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        piece = client.recv(size - len(data))
        assert piece, "the server went away"
        data += piece
    return data


def messages(frames: bytes) -> list[Any]:
    found = []
    while frames:
        end = 4 + struct.unpack(">I", frames[:4])[0]
        found.append(decode(frames[4:end]))
        frames = frames[end:]
    return found


def together(items: list[Value], result: Value) -> Value:
    """As --json and --ajis have it."""
    return {"items": items, "result": result} if items else result


def of_messages(found: list[Any]) -> Value:
    last = found[-1]
    if "error" in last:
        return {"error": last["error"]}
    return together([one["item"] for one in found if "item" in one], last["ok"])


def plain(value: Value) -> Value:
    """Without what is of the request and not of the line: its trace."""
    if isinstance(value, dict) and "error" in value:
        return {"error": {**value["error"], "trace": ""}}
    return value


def without_trace(frames: bytes) -> bytes:
    return re.sub(rb"\xa5trace\xd9 [0-9a-f]{32}", b"", frames)


@pytest.mark.parametrize("line", QUERIES)
def test_one_line_four_ways(prepared: Mounted, line: str) -> None:
    frames = raw_frames(prepared, line)
    raw = plain(of_messages(messages(frames)))
    ways = {
        "affsctl --ajis": parse(by_affsctl(prepared, line, "--ajis")),
        "affsctl --json": parse(by_affsctl(prepared, line, "--json")),
        "shell": parse(by_shell(prepared, line)),
        "blocking": by_blocking_client(prepared, line),
        "trio": trio.run(by_trio_client, prepared, line),
    }
    for way, value in ways.items():
        assert format_canonical(plain(value)) == format_canonical(raw), way
    wire = by_affsctl(prepared, line, "--wire")
    assert without_trace(wire) == without_trace(frames)


def test_a_command_changes_the_same_whatever_the_way(prepared: Mounted) -> None:
    """State dicts differ in id, number and time alone."""
    made = [
        parse(by_affsctl(prepared, "checkpoint -m same", "--ajis")),
        parse(by_shell(prepared, "checkpoint -m same")),
        by_blocking_client(prepared, "checkpoint -m same"),
        trio.run(by_trio_client, prepared, "checkpoint -m same"),
        of_messages(messages(raw_frames(prepared, "checkpoint -m same"))),
    ]
    own = ("id", "number", "seq", "time_ns", "parent")
    shapes = {format_canonical({k: v for k, v in one.items() if k not in own}) for one in made}
    assert len(shapes) == 1
    assert [one["parent"] for one in made[1:]] == [one["id"] for one in made[:-1]]
    lines = {one["line"] for one in prepared.affsctl("log", "--limit", "5")}
    assert lines == {"checkpoint --message=same"}
