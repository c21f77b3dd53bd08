"""Where an exercise takes place: a volume mounted for it, or just a directory.

A ground is used from one process at a time. Everything it started is gone after `close()`, which
never raises for what is down already.
"""

import ctypes
import os
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from affs_ctl.client import Client
from affs_fuse.errors import AffsError
from affs_fuse.fuse import mount_table
from affs_fuse.volume.mkfs import MkfsOptions, make_volume

__all__ = ["Ground", "VolumeGround", "drop_caches", "end_with_parent", "fallocate"]

START_TIMEOUT_S = 30.0
END_TIMEOUT_S = 60.0
PR_SET_PDEATHSIG = 1
SIGKILL = 9

_libc = ctypes.CDLL(None, use_errno=True)


class Ground:
    """A directory, taken as it is. The verbs of a volume do not exist here."""

    verbs = False

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.on_start: Callable[[int], None] = lambda pid: None

    def start(self) -> None:
        self.directory.mkdir(parents=True, exist_ok=True)

    def close(self) -> None:
        pass

    def reopen(self) -> None:
        raise NotImplementedError

    def kill(self) -> None:
        raise NotImplementedError

    def command(self, name: str, **arguments: Any) -> Any:
        raise NotImplementedError

    def problems(self) -> str:
        """What the daemon's log complains about."""
        return ""


class VolumeGround(Ground):
    """A volume in folder, mounted by a daemon of its own.

    folder: holds volume, mount point, log and socket; short, for the socket's sake.
    on_start: is told the daemon's process id at each start.
    """

    verbs = True

    def __init__(self, folder: Path, options: str = "", size_bytes: int = 1 << 30) -> None:
        super().__init__(folder / "m")
        self.folder = folder
        self.volume = folder / "v.affs"
        self._log = folder / "log"
        self._control = folder / "control"
        self._options = options
        self._size_bytes = size_bytes
        self._process: subprocess.Popen[bytes] | None = None
        self._client: Client | None = None

    def start(self) -> None:
        """Make the volume if there is none, and mount it. RuntimeError when that fails."""
        self.directory.mkdir(parents=True, exist_ok=True)
        if not self.volume.exists():
            make_volume(str(self.volume), MkfsOptions(size_bytes=self._size_bytes))
        words = [f"log={self._log}", f"control={self._control}"]
        words += [self._options] if self._options else []
        command = [sys.executable, "-m", "affs_fuse.daemon.main", "--foreground"]
        command += [str(self.volume), str(self.directory), "-o", ",".join(words)]
        self._process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        self.on_start(self._process.pid)
        deadline = time.monotonic() + START_TIMEOUT_S
        while True:
            with suppress(AffsError):
                if os.path.ismount(self.directory):
                    self._client = Client.connect(str(self._control), timeout_s=END_TIMEOUT_S)
                    return
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"the volume cannot be mounted\n{self._read_log()}")
            time.sleep(0.01)

    def reopen(self) -> None:
        """Unmount in an orderly way, and mount again. No file may be open. RuntimeError."""
        self._disconnect()
        done = subprocess.run(
            ["umount", str(self.directory)], capture_output=True, text=True, check=False,
            timeout=END_TIMEOUT_S,
        )
        if done.returncode:
            raise RuntimeError(done.stderr)
        process, self._process = self._process, None
        assert process is not None
        status = process.wait(END_TIMEOUT_S)
        if status:
            raise RuntimeError(f"the daemon ended with status {status}\n{self._read_log()}")
        self.start()

    def kill(self) -> None:
        """SIGKILL, and mount again."""
        self._kill()
        self.start()

    def command(self, name: str, **arguments: Any) -> Any:
        """A command to the daemon; its answer. AffsError."""
        assert self._client is not None
        return self._client.command(name, arguments)

    def problems(self) -> str:
        lines = self._read_log().splitlines()
        bad = [line for line in lines if " error " in line or " critical " in line]
        return "\n".join(bad)

    def close(self) -> None:
        self._kill()

    def _disconnect(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            client.close()

    def _kill(self) -> None:
        self._disconnect()
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait(END_TIMEOUT_S)
        while mount_table.mount_entry_of(str(self.directory)) is not None:
            mount_table.unmount(str(self.directory), mount_table.MNT_DETACH)

    def _read_log(self) -> str:
        return self._log.read_text(errors="replace") if self._log.exists() else ""


def drop_caches() -> None:
    """Make the host forget its clean pages, names and inodes, where that is allowed."""
    with suppress(OSError):
        Path("/proc/sys/vm/drop_caches").write_text("3\n")


def fallocate(descriptor: int, mode: int, offset: int, length: int) -> None:
    """fallocate(2), which Python's os does not have. Errors: OSError."""
    place, count = ctypes.c_long(offset), ctypes.c_long(length)
    if _libc.fallocate(descriptor, mode, place, count):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def end_with_parent() -> None:
    """This process is killed when its parent ends, so nothing outlives an interrupted run."""
    _libc.prctl(PR_SET_PDEATHSIG, SIGKILL)
