"""Processes that are killed in the middle of a request: the daemon goes on answering others."""

import os
import random
import signal
import subprocess
import sys
import time

import trio
from mounted import ENVIRONMENT, Mounted

from affs_fuse.fuse.spin import SpinningLowlevel, SpinningTrio

ROUNDS = 60

# Forks clients and kills them at random moments; the parent itself never touches the mount.
PROGRAM = """
import os, random, signal, sys, time
root, rounds = sys.argv[1], int(sys.argv[2])
chance = random.Random(5)
for _ in range(rounds):
    children = []
    for number in range(4):
        child = os.fork()
        if child == 0:
            turn = 0
            while True:
                turn += 1
                name = f"{root}/f{number}-{turn % 10}"
                descriptor = os.open(name, os.O_CREAT | os.O_RDWR)
                os.write(descriptor, b"x")
                os.close(descriptor)
                os.unlink(name)
        children.append(child)
    time.sleep(chance.random() * 0.006)
    for child in children:
        os.kill(child, signal.SIGKILL)
    for child in children:
        os.waitpid(child, 0)
"""


def test_a_request_that_vanishes_holds_nobody_up(mounted: Mounted) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(mounted.directory), str(ROUNDS)], env=ENVIRONMENT
    ) as clients:
        try:
            with mounted.client() as client:
                end = time.monotonic() + 60
                while clients.poll() is None:
                    assert time.monotonic() < end
                    client.start("ping").result(timeout_s=10)
                    time.sleep(random.Random(1).random() * 0.05)
                client.start("ping").result(timeout_s=10)
        finally:
            clients.kill()
    assert clients.returncode == 0
    (mounted.directory / "after").write_text("x")
    assert (mounted.directory / "after").read_text() == "x"


def test_reading_never_blocks(mounted: Mounted) -> None:
    (mounted.directory / "file").write_text("x")
    folder = f"/proc/{mounted.pid}/fd"
    devices = [
        number for number in os.listdir(folder) if os.readlink(f"{folder}/{number}") == "/dev/fuse"
    ]
    assert devices
    for number in devices:
        with open(f"/proc/{mounted.pid}/fdinfo/{number}") as file:
            words = dict(line.split(":", 1) for line in file if ":" in line)
        assert int(words["flags"], 8) & os.O_NONBLOCK


async def test_a_reader_that_found_nothing_starts_again() -> None:
    stand_in = SpinningTrio(SpinningLowlevel(time.monotonic, lambda: False, spin=False))
    turns = []

    async def reader(word: str) -> None:
        turns.append(word)
        if len(turns) < 3:
            raise BlockingIOError

    async with stand_in.open_nursery() as readers:
        readers.start_soon(reader, "again", name="reader")
    assert turns == ["again"] * 3


async def test_waiting_for_a_request() -> None:
    lowlevel = SpinningLowlevel(time.monotonic, lambda: False, spin=True)
    reader, writer = os.pipe()
    try:
        os.write(writer, b"1")
        await lowlevel.wait_readable(reader)
        assert lowlevel.statistics().at_once == 1
        os.read(reader, 1)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(lowlevel.wait_readable, reader)
            await trio.sleep(0.05)
            os.write(writer, b"1")
        assert lowlevel.statistics().slept == 1
        # Others get a turn though there is always something to read.
        turns = 0

        async def other() -> None:
            nonlocal turns
            while True:
                turns += 1
                await trio.lowlevel.checkpoint()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(other)
            for _ in range(200):
                await lowlevel.wait_readable(reader)
            nursery.cancel_scope.cancel()
        assert turns > 5
    finally:
        os.close(reader)
        os.close(writer)


async def test_one_reader_at_a_time() -> None:
    lock = SpinningTrio.Lock()
    inside = 0

    async def enter() -> None:
        nonlocal inside
        for _ in range(20):
            async with lock:
                inside += 1
                assert inside == 1
                await trio.lowlevel.checkpoint()
                inside -= 1
            await trio.lowlevel.checkpoint()

    with trio.fail_after(10):
        async with trio.open_nursery() as nursery:
            for _ in range(5):
                nursery.start_soon(enter)


def test_signals_are_still_heard(mounted: Mounted) -> None:
    os.kill(mounted.pid, signal.SIGTERM)
    mounted.wait()
