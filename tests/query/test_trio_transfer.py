"""Import and export by the trio client on a mounted volume."""

import json
import os
from pathlib import Path
from typing import Any

import pytest
import trio
from mounted import Mounted

from affs_ctl.client import Client
from affs_ctl.trio_client import connect
from affs_ctl.trio_transfer import run_with_files
from affs_fuse.errors import AffsError
from affs_fuse.protocol import Progress

pytestmark = pytest.mark.mount


def socket_of(mounted: Mounted) -> str:
    return os.fsdecode(os.getxattr(mounted.directory, "user.affs.control"))


async def test_records_come_in_and_go_out(
    mounted: Mounted, client: Client, tmp_path: Path
) -> None:
    source, target = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    lines = [json.dumps({"k": f"r{number:04}", "pad": "x" * 500}) for number in range(2000)]
    source.write_text("\n".join([*lines[:7], "{", *lines[7:]]))
    told: list[Any] = []
    steps: list[Progress] = []

    async def tell(row: Any) -> None:
        told.append(row)

    async def step(progress: Progress) -> None:
        steps.append(progress)

    async with connect(socket_of(mounted)) as made:
        summary = await run_with_files(
            made, f"import {source} /p --name k", item=tell, progress=step
        )
        assert (summary["created"], summary["refused"]) == (2000, 1)
        assert [row["line"] for row in told] == [8]
        assert steps[-1].done == source.stat().st_size == steps[-1].total
        summary = await run_with_files(made, f"export -o {target} find /p")
        assert summary["rows"] == 2000
    assert [json.loads(line) for line in target.read_text().splitlines()] == [
        json.loads(line) for line in lines
    ]


async def test_what_goes_wrong_is_said_and_leaves_nothing(
    mounted: Mounted, client: Client, tmp_path: Path
) -> None:
    target = tmp_path / "out.csv"
    client.run('create /p/a {"a": 1}')
    client.run('create /p/b {"b": [2]}')
    async with connect(socket_of(mounted)) as made:
        for line, code in [
            (f"import {tmp_path}/none.jsonl /p", "cli.file"),
            (f"import {tmp_path} /p --format jsonl", "cli.file"),
            (f"import {tmp_path}/x.jsonl /none", "record.not_found"),
            (f"export -o {target} find /p", "export.row"),
            (f"export -o {tmp_path}/none/x.csv find /p", "cli.file"),
        ]:
            with pytest.raises(AffsError) as caught:
                await run_with_files(made, line)
            assert caught.value.code == code, line
            assert [*tmp_path.iterdir()] == []
        assert (await made.run("ping"))["version"]
        assert await made.run("imports") == []


async def test_a_pipe_that_says_nothing_can_be_given_up(
    mounted: Mounted, client: Client, tmp_path: Path
) -> None:
    pipe = tmp_path / "pipe.jsonl"
    os.mkfifo(pipe)
    writing = os.open(pipe, os.O_RDWR)
    try:
        os.write(writing, b'{"k": "a"}\n')
        async with connect(socket_of(mounted)) as made, trio.open_nursery() as nursery:
            nursery.start_soon(run_with_files, made, f"import {pipe} /p --name k")
            while not (mounted.directory / "p/a").exists():
                await trio.sleep(0.01)
            nursery.cancel_scope.cancel()
    finally:
        os.close(writing)
    assert len(client.run("imports")) == 1
