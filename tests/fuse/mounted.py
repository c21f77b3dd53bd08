"""A volume mounted by a daemon of its own, and taken down again whatever happens.

    with Mounted(folder) as mounted:
        (mounted.directory / "file").write_text("x")

The daemon is a subprocess in the foreground; it says by sd_notify that the mount answers. Leaving
the block unmounts, waits for the daemon's end, and fails if its log has a line of a warning or
worse that the test did not allow.
"""

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from affs_ctl.client import Client
from affs_fuse.fuse import mount_table
from affs_fuse.volume.mkfs import MkfsOptions, make_volume

ROOT = Path(__file__).resolve().parents[2]
START_TIMEOUT_S = 30
END_TIMEOUT_S = 60
ENVIRONMENT = {
    **os.environ,
    "PYTHONPATH": os.pathsep.join(str(ROOT / part) for part in (".", "ctl", "tools")),
}


class Mounted:
    """folder: where volume, mount point, log and sockets go; short, for the socket's sake. user:
    who mounts, root if 0; another's mount is for that user alone."""

    def __init__(
        self,
        folder: Path,
        *,
        options: str = "",
        size_bytes: int = 256 << 20,
        program: tuple[str, ...] = ("-m", "affs_fuse.daemon.main"),
        user: int = 0,
    ) -> None:
        self.folder = folder
        self.volume = folder / "v.affs"
        self.directory = folder / "m"
        self.log = folder / "log"
        self.control = folder / "control"
        self.options = options
        self.allowed: list[str] = []
        self.told: list[bytes] = []  # to the service manager, of the latest life
        self._program = program
        self._user = user
        self._process: subprocess.Popen[bytes] | None = None
        self._receiver: socket.socket | None = None
        self.directory.mkdir(exist_ok=True)
        if not self.volume.exists():
            owner = MkfsOptions(size_bytes=size_bytes, root_uid=user, root_gid=user)
            make_volume(str(self.volume), owner)
        if user:
            for path in (folder, self.volume, self.directory):
                os.chown(path, user, user)

    # ---- the daemon ----

    def start(self) -> None:
        """Mount, and return when the mount answers."""
        address = self.folder / "notify"
        receiver = self._receiver = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        receiver.bind(str(address))
        address.chmod(0o666)
        words = [f"log={self.log}", f"control={self.control}"]
        words += [self.options] if self.options else []
        self._process = subprocess.Popen(
            [
                *self._become(), sys.executable, *self._program, str(self.volume),
                str(self.directory),
                "--foreground", "-o", ",".join(words),
            ],
            env={**ENVIRONMENT, "NOTIFY_SOCKET": str(address)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        self.told = []
        while not self.told or b"READY=1" not in self.told[-1]:
            self.told.append(self._next_message(receiver))

    def _become(self) -> tuple[str, ...]:
        """Words that let the daemon be the user's own: who then mounts by fusermount3."""
        if not self._user:
            return ()
        return (
            "setpriv", f"--reuid={self._user}", f"--regid={self._user}", "--clear-groups",
            # Python itself may lie where only root can go.
            "--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search",
        )

    def _next_message(self, receiver: socket.socket) -> bytes:
        """What the daemon tells its service manager; the socket stays open as long as it lives."""
        assert self._process is not None
        receiver.settimeout(0.2)
        for _ in range(START_TIMEOUT_S * 5):
            with suppress(TimeoutError):
                return receiver.recv(4096)
            if self._process.poll() is not None:
                assert self._process.stderr is not None
                output = self._process.stderr.read().decode()
                raise AssertionError(f"the daemon ended: {output}\n{self.read_log()}")
        raise AssertionError(f"the mount does not answer\n{self.read_log()}")

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    @property
    def alive(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def unmount(self) -> None:
        """umount(8), then the daemon's clean end."""
        subprocess.run(["umount", str(self.directory)], check=True, timeout=END_TIMEOUT_S)
        self.wait()

    def terminate(self) -> None:
        """SIGTERM, then the daemon's clean end."""
        os.kill(self.pid, signal.SIGTERM)
        self.wait()

    def kill(self) -> None:
        """SIGKILL; the dead mount is taken away. What it may leave: a record in one ring alone."""
        self.allowed.append("was missing in ring")
        assert self._process is not None
        self._process.kill()
        self._reap()
        mount_table.unmount(str(self.directory), mount_table.MNT_DETACH)

    def wait(self, status: int = 0) -> None:
        """Until the daemon has ended, with this exit status."""
        ended = self._reap()
        assert ended == status, f"exit status {ended}\n{self.read_log()}"

    def wait_for_failure(self) -> None:
        """Until the daemon has ended that could not start."""
        assert self._reap() != 0

    def _reap(self) -> int:
        process, self._process = self._process, None
        assert process is not None
        with process:
            ended = process.wait(END_TIMEOUT_S)
        self._close_receiver()
        return ended

    def _close_receiver(self) -> None:
        receiver, self._receiver = self._receiver, None
        if receiver is not None:
            receiver.setblocking(False)
            with suppress(BlockingIOError):
                while True:
                    self.told.append(receiver.recv(4096))
            receiver.close()
            (self.folder / "notify").unlink()

    def remount(self) -> None:
        self.unmount()
        self.start()

    # ---- commands ----

    def affsctl(
        self, *words: str, status: int = 0, environment: Mapping[str, str] | None = None
    ) -> Any:
        """The JSON that affsctl answers; with another status than 0, what it says on stderr."""
        done = self.run_affsctl(*words, environment=environment)
        assert done.returncode == status, f"{words}: {done.stdout}{done.stderr}"
        if status:
            return done.stderr
        return json.loads(done.stdout) if done.stdout.strip() else None

    def run_affsctl(
        self, *words: str, environment: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """The ended process, whatever its status."""
        return subprocess.run(
            [sys.executable, "-m", "affs_ctl", "-V", str(self.directory), "--json", *words],
            env={**ENVIRONMENT, **(environment or {})}, capture_output=True, text=True,
            check=False, timeout=END_TIMEOUT_S,
        )

    def client(self) -> Client:
        """A connection to the daemon; the caller closes it."""
        return Client.connect(str(self.control), timeout_s=END_TIMEOUT_S)

    def read_log(self) -> str:
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    # ---- life ----

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
        if error is None:
            self.check_log()

    def check_log(self) -> None:
        """No warning or worse but those allowed."""
        odd = [
            line
            for line in self.read_log().splitlines()
            if any(f" {level} " in line for level in ("warning", "error", "critical"))
            and not any(text in line for text in self.allowed)
        ]
        assert not odd, "\n".join(odd)

    def close(self) -> None:
        """Take everything down, by force if need be. Never raises for what is down already."""
        process, self._process = self._process, None
        entry = mount_table.mount_entry_of(str(self.directory))
        if entry is not None:
            with suppress(OSError):
                mount_table.unmount(str(self.directory))
        if process is not None:
            with process:
                try:
                    process.wait(10)
                except subprocess.TimeoutExpired:
                    if entry is not None:
                        with suppress(OSError):
                            mount_table.abort_connection(entry.device)
                    process.kill()
        self._close_receiver()
        while mount_table.mount_entry_of(str(self.directory)) is not None:
            mount_table.unmount(str(self.directory), mount_table.MNT_DETACH)


def fsck(volume: Path) -> None:
    """That fsck.affs finds nothing, data included."""
    done = subprocess.run(
        [sys.executable, "-m", "affs_tools.fsck", "--data", str(volume)],
        env=ENVIRONMENT, capture_output=True, text=True, check=False, timeout=60,
    )
    assert done.returncode == 0, done.stdout + done.stderr
