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
from typing import Any, Protocol

from affs_ctl.client import Client
from affs_fuse.errors import AffsError
from affs_fuse.fuse import mount_table
from affs_fuse.volume.mkfs import MkfsOptions, make_volume

__all__ = ["Ground", "Process", "VolumeGround", "drop_caches", "fallocate"]

START_TIMEOUT_S = 30.0
END_TIMEOUT_S = 60.0

_libc = ctypes.CDLL(None, use_errno=True)


class Process(Protocol):
    """What a ground needs of subprocess.Popen."""

    @property
    def pid(self) -> int: ...

    def poll(self) -> int | None: ...

    def wait(self, timeout: float) -> int: ...

    def kill(self) -> None: ...


def _start_process(words: list[str]) -> Process:
    return subprocess.Popen(
        [sys.executable, "-m", "affs_fuse.daemon.main", *words],
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )


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
    options: of the next start. on_start: is told the daemon's process id at each start. launch:
    starts mount.affs with the words it is given.
    """

    verbs = True

    def __init__(
        self,
        folder: Path,
        options: str = "",
        size_bytes: int = 1 << 30,
        launch: Callable[[list[str]], Process] | None = None,
    ) -> None:
        super().__init__(folder / "m")
        self.folder = folder
        self.volume = folder / "v.affs"
        self._log = folder / "log"
        self._control = folder / "control"
        self.options = options
        self._size_bytes = size_bytes
        self._launch = launch or _start_process
        self._process: Process | None = None
        self._client: Client | None = None

    def start(self) -> None:
        """Make the volume if there is none, and mount it. RuntimeError when that fails."""
        self.directory.mkdir(parents=True, exist_ok=True)
        if not self.volume.exists():
            make_volume(str(self.volume), MkfsOptions(size_bytes=self._size_bytes))
        words = [f"log={self._log}", f"control={self._control}"]
        words += [self.options] if self.options else []
        self._process = self._launch(
            ["--foreground", str(self.volume), str(self.directory), "-o", ",".join(words)]
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
        self.crash()
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
        self.crash()

    def _disconnect(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            client.close()

    def crash(self) -> None:
        """SIGKILL; what is left of the mount is taken away. Nothing to do for what is down."""
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
