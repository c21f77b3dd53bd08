"""Rollbacks while other processes write through mappings: no stale byte, no hang.

AFFS_ROLLBACK_ROUNDS sets how many (the issue's 100; the short form takes fewer).
"""

import mmap
import os
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from mapping_writer import FILES, MAPPED_AT, PAGE, PAGES, STAMP, WRITTEN_AT
from mounted import ENVIRONMENT, Mounted

ROUNDS = int(os.environ.get("AFFS_ROLLBACK_ROUNDS", "12"))
WRITERS = 2
TARGET = b"T" * PAGE
SETTLE_TIMEOUT_S = 20


class Phase:
    """The phase that writers stamp with, in a page that all map."""

    def __init__(self, path: Path) -> None:
        path.write_bytes(bytes(PAGE))
        with path.open("r+b") as file:
            self._page = mmap.mmap(file.fileno(), PAGE)
        self.now = 0

    def advance(self) -> None:
        """The next phase; returns once every writer stamps with it."""
        self.now += 1
        struct.pack_into("<Q", self._page, 0, self.now)
        end = time.monotonic() + SETTLE_TIMEOUT_S
        for number in range(1, WRITERS + 1):
            while struct.unpack_from("<Q", self._page, 8 * number)[0] != self.now:
                assert time.monotonic() < end, f"writer {number} hangs"
                time.sleep(0.001)


@contextmanager
def writers(
    directory: Path, phase_file: Path, *, pause_s: float, pages: int
) -> Iterator[None]:
    program = [sys.executable, str(Path(__file__).with_name("mapping_writer.py"))]
    started = [
        subprocess.Popen(
            [*program, *map(str, (directory, phase_file, number, pause_s, pages))],
            env=ENVIRONMENT,
        )
        for number in range(1, WRITERS + 1)
    ]
    try:
        yield
        assert all(writer.poll() is None for writer in started), "a writer failed"
    finally:
        for writer in started:
            writer.kill()
            writer.wait()


def check(content: bytes, phase: int, where: str) -> None:
    """Target, but for stamps of `phase` (0: target alone)."""
    assert len(content) == PAGES * PAGE, where
    for number in range(PAGES):
        page = bytearray(content[number * PAGE : (number + 1) * PAGE])
        for at in (MAPPED_AT, WRITTEN_AT):
            mark, stamped = STAMP.unpack_from(page, at)
            if mark != TARGET[:8]:
                assert mark == b"STAMPED-", f"{where}, page {number}: {mark!r}"
                assert stamped == phase, f"{where}, page {number}: stale, of phase {stamped}"
                page[at : at + STAMP.size] = TARGET[: STAMP.size]
        assert page == TARGET, f"{where}, page {number}"


@pytest.mark.timeout(60 + 3 * ROUNDS)
def test_no_stale_byte_and_no_hang(mounted: Mounted) -> None:
    names = [mounted.directory / f"f{index}" for index in range(FILES)]
    for name in names:
        name.write_bytes(TARGET * PAGES)
    mounted.affsctl("publish")
    phase = Phase(mounted.folder / "phase")
    with ExitStack() as stack:
        opened = [stack.enter_context(name.open("rb", buffering=0)) for name in names]
        mapped = [
            stack.enter_context(mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ))
            for file in opened
        ]
        client = stack.enter_context(mounted.client())
        # Slow enough that most of what a rollback has to undo is older than the newest phase.
        with writers(mounted.directory, mounted.folder / "phase", pause_s=0.001, pages=PAGES):
            phase.advance()
            for _ in range(ROUNDS):
                time.sleep(0.05)
                # All that was stamped before this was written before the command began.
                phase.advance()
                client.run("rollback")
                for index, name in enumerate(names):
                    where = f"phase {phase.now}, {name.name}"
                    check(name.read_bytes(), phase.now, f"{where} by read")
                    check(mapped[index][:], phase.now, f"{where} by mapping")
        mounted.affsctl("rollback")
        for index, name in enumerate(names):
            check(name.read_bytes(), 0, f"{name.name} at rest")
            check(mapped[index][:], 0, f"{name.name} at rest by mapping")
    mounted.remount()
    for name in names:
        check(name.read_bytes(), 0, f"{name.name} after a remount")


@pytest.mark.timeout(60 + 3 * ROUNDS)
def test_the_cache_shows_what_the_volume_has(mounted: Mounted) -> None:
    """What was written while the command ran may be there or not, but in the cache and in the
    volume alike."""
    names = [mounted.directory / f"f{index}" for index in range(FILES)]
    for name in names:
        name.write_bytes(TARGET * PAGES)
    mounted.affsctl("publish")
    phase = Phase(mounted.folder / "phase")
    with mounted.client() as client:
        for _ in range(ROUNDS):
            with writers(mounted.directory, mounted.folder / "phase", pause_s=0, pages=1):
                phase.advance()
                time.sleep(0.02)
                client.run("rollback")
            cached = [name.read_bytes() for name in names]
            for name in names:
                drop_cached_pages(name)
            stored = [name.read_bytes() for name in names]
            assert cached == stored


def drop_cached_pages(path: Path) -> None:
    with path.open("rb") as file:
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
