"""A query that takes too much memory by an index is carried out without, as if there were none."""

import pytest
from runtime_engine import running
from runtime_fake import Desk

from affs_fuse.query import index_source, opening, sources
from affs_fuse.runtime.policy import Identity

ADMIN = Identity(0, 0, user="root")


async def answer(desk: Desk, line: str) -> tuple[list[object], dict[str, object]]:
    desk.reply.items.clear()
    summary = await desk.ok(line)
    return list(desk.reply.items), summary


async def test_memory_that_an_index_takes_is_no_reason_to_fail(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sources, "SORTED_ENTRIES_MAX", 20)
    monkeypatch.setattr(opening, "SORTED_ENTRIES_MAX", 20)
    async with running() as runtime:
        desk = runtime.desk(ADMIN)
        await runtime.mkdir("p", 0o755)
        for number in range(120):
            await desk.ok(f'create /p/{number:03} {{"n": {number}}}')
        await desk.ok("index /p n")
        line = "find --memory 1 /p where n < 30 | sort n | select n"
        rows, summary = await answer(desk, line)
        assert rows == [{"n": number} for number in range(30)]
        assert (summary["index"], summary["note"]) == ("n", "")
        monkeypatch.setattr(index_source, "ENTRY_BYTES", 1 << 16)
        again, summary = await answer(desk, line)
        assert again == rows
        assert summary["index"] == ""
        assert "without the index: find would keep more" in str(summary["note"])
