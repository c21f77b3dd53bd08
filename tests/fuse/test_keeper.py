"""The process that keeps a mount: a killed daemon that cannot end, and one that may not unmount."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest
from mounted import Mounted

from affs_fuse.fuse import keeper
from affs_fuse.fuse.keeper import Keeper

HELD = str(Path(__file__).with_name("held_reads_daemon.py"))
READ = """
import os, sys
descriptor = os.open(sys.argv[1], os.O_RDWR)
print("open", flush=True)
try:
    os.read(descriptor, 4096)
except OSError as error:
    sys.exit(error.errno)
"""


LOOKS = 100


def stuck_threads(pid: int) -> set[str]:
    """Those that are in a sleep which no signal ends, just now."""
    return {
        task.name
        for task in Path(f"/proc/{pid}/task").iterdir()
        if (task / "stat").read_text().rpartition(")")[2].split()[0] == "D"
    }


def wait_for_a_stuck_thread(pid: int) -> None:
    """One that is stuck each time that one looks; a device makes threads wait a moment, too."""
    while True:
        stuck = stuck_threads(pid)
        for _ in range(LOOKS):
            stuck &= stuck_threads(pid)
        if stuck:
            return


def test_a_daemon_that_is_killed_while_it_tells_the_kernel_ends(folder: Path) -> None:
    """A thread of it waits for a page of a read that nobody will answer any more: without help it
    would for ever, SIGKILL or not, and so would the reader and whoever gave the command."""
    with Mounted(folder, program=(HELD,)) as mounted:
        mounted.allowed = ["was missing in ring", "not closed", "did not close"]
        (mounted.directory / "file").write_bytes(os.urandom(1 << 20))
        mounted.remount()
        os.stat(mounted.directory / "file")
        gate = folder / "v.affs.gate"
        gate.touch()
        with subprocess.Popen(
            [sys.executable, "-c", READ, str(mounted.directory / "file")], stdout=subprocess.PIPE
        ) as reader, mounted.client() as client:
            assert reader.stdout is not None
            assert reader.stdout.readline() == b"open\n"
            wait_for_a_stuck_thread(reader.pid)
            call = client.start("commit")
            wait_for_a_stuck_thread(mounted.pid)
            mounted.kill()
            assert reader.wait(30) in (errno.ECONNABORTED, errno.ENOTCONN, errno.EIO)
            with pytest.raises(Exception, match="closed"):
                call.result(timeout_s=30)
        gate.unlink()
        mounted.start()
        assert (mounted.directory / "file").stat().st_size == 1 << 20


def test_an_orderly_end_waits_for_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """And does nothing: by then another mount may have the number of this one."""
    monkeypatch.setattr(keeper, "STUCK_AFTER_S", 3600.0)
    kept = Keeper.start("/nowhere", (0, 0))
    kept.unmount()  # nothing of ours is there
    kept.close()
