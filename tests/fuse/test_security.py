"""Threats of docs/security.md that take a real mount: programs and devices of a foreign image,
names that would write to terminals, and a daemon that is short of descriptors."""

import errno
import os
import shutil
import socket
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from mounted import ENVIRONMENT, Mounted
from test_verify import flip

NOBODY = 65534
HOSTILE = "evil\x1b]0;owned\x07\n\u202e.txt"


def effective_user(program: Path) -> str:
    """Of a copy of id(1), run by nobody."""
    done = subprocess.run(
        [program, "-u"], capture_output=True, text=True, check=True, user=NOBODY, group=NOBODY,
        extra_groups=[], timeout=30,
    )
    return done.stdout.strip()


def put_traps(root: Path) -> None:
    """What somebody may have prepared on another machine."""
    shutil.copy("/usr/bin/id", root / "id")
    (root / "id").chmod(0o4755)
    os.mknod(root / "null", stat.S_IFCHR | 0o666, os.makedev(1, 3))


def test_setuid_programs_and_device_nodes_of_an_image_do_nothing(folder: Path) -> None:
    folder.chmod(0o755)
    with Mounted(folder) as mounted:
        put_traps(mounted.directory)
        assert stat.S_IMODE((mounted.directory / "id").stat().st_mode) == 0o4755
        assert effective_user(mounted.directory / "id") == str(NOBODY)
        with pytest.raises(PermissionError) as caught:
            (mounted.directory / "null").write_bytes(b"x")
        assert caught.value.errno == errno.EACCES
        mounted.unmount()
        mounted.options = "suid,dev"  # root alone can say so
        mounted.start()
        assert effective_user(mounted.directory / "id") == "0"
        (mounted.directory / "null").write_bytes(b"x")


def test_a_write_takes_the_setuid_bit_away(folder: Path) -> None:
    folder.chmod(0o755)
    with Mounted(folder) as mounted:
        put_traps(mounted.directory)
        (mounted.directory / "id").chmod(0o6777)
        subprocess.run(
            ["dd", "if=/dev/zero", f"of={mounted.directory / 'id'}", "bs=1", "count=1",
             "conv=notrunc", "status=none"],
            check=True, user=NOBODY, group=NOBODY, extra_groups=[], timeout=30,
        )
        assert stat.S_IMODE((mounted.directory / "id").stat().st_mode) == 0o777


def test_a_hostile_name_writes_to_no_terminal_and_forges_no_line(folder: Path) -> None:
    """It comes up where names do: in findings, events, the log, and what affsctl prints."""
    content = os.urandom(50_000)
    with Mounted(folder) as mounted:
        mounted.allowed = ["verify."]
        (mounted.directory / HOSTILE).write_bytes(content)
        mounted.affsctl("commit")
        place = mounted.volume.read_bytes().index(content[:4096])
        flip(mounted.volume, place)
        printed = []
        for words in (["verify"], ["diff"], ["verify", "--status"], ["status"]):
            done = subprocess.run(
                [sys.executable, "-m", "affs_ctl", "-V", str(mounted.directory), *words],
                env=ENVIRONMENT, capture_output=True, text=True, check=False, timeout=60,
            )
            printed.append(done.stdout + done.stderr)
        assert any("evil" in text for text in printed)
        for text in [*printed, mounted.read_log()]:
            assert "\x1b" not in text
            assert "\u202e" not in text
            assert "\n\u202e" not in text
        assert "evil" in mounted.read_log()
        flip(mounted.volume, place)


def test_a_daemon_short_of_descriptors_goes_on(folder: Path) -> None:
    """Clients take all the places that there are; the mount does not notice."""
    program = str(Path(__file__).with_name("limited_daemon.py"))
    with Mounted(folder, program=(program,)) as mounted:
        crowd = []
        try:
            for _ in range(200):
                connected = socket.socket(socket.AF_UNIX)
                connected.connect(str(mounted.control))
                crowd.append(connected)
            for number in range(20):
                (mounted.directory / f"f{number}").write_bytes(b"x" * 10_000)
            os.sync()
            assert len(os.listdir(f"/proc/{mounted.pid}/fd")) < 128
        finally:
            for connected in crowd:
                connected.close()
        assert len(os.listdir(mounted.directory)) == 20
        mounted.remount()
        assert (mounted.directory / "f7").read_bytes() == b"x" * 10_000
