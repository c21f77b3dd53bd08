"""flock and fcntl locks between processes, leases, and what closing does to them."""

import errno
import fcntl
import os
import struct
import subprocess
import sys
from pathlib import Path

import pytest
from posix_kit import fails, in_child, opened, write_file

F_OFD_GETLK, F_OFD_SETLK = 36, 37
FLOCK = "hhqqi4x"


def lock_words(kind: int, start: int = 0, length: int = 0) -> bytes:
    return struct.pack(FLOCK, kind, os.SEEK_SET, start, length, 0)


def test_flock_between_descriptors(place: Path) -> None:
    write_file("a")
    with opened("a") as one, opened("a") as two:
        fcntl.flock(one, fcntl.LOCK_SH)
        fcntl.flock(two, fcntl.LOCK_SH)
        with fails(errno.EAGAIN):
            fcntl.flock(one, fcntl.LOCK_EX | fcntl.LOCK_NB)
        fcntl.flock(two, fcntl.LOCK_UN)
        fcntl.flock(one, fcntl.LOCK_EX | fcntl.LOCK_NB)
        with fails(errno.EAGAIN):
            fcntl.flock(two, fcntl.LOCK_SH | fcntl.LOCK_NB)


def test_flock_between_processes_ends_with_the_process(place: Path) -> None:
    write_file("a")
    holder = subprocess.Popen(
        [
            sys.executable, "-c",
            "import fcntl,sys\nf=open('a')\nfcntl.flock(f,fcntl.LOCK_EX)\n"
            "print('held',flush=True)\nsys.stdin.read()",
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )  # fmt: skip
    assert holder.stdout is not None
    assert holder.stdout.readline() == b"held\n"
    with opened("a") as mine:
        with fails(errno.EAGAIN):
            fcntl.flock(mine, fcntl.LOCK_EX | fcntl.LOCK_NB)
        holder.kill()
        holder.communicate()
        fcntl.flock(mine, fcntl.LOCK_EX)


def test_flock_of_a_directory(place: Path) -> None:
    with opened(".") as one, opened(".") as two:
        fcntl.flock(one, fcntl.LOCK_EX)
        with fails(errno.EAGAIN):
            fcntl.flock(two, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_fcntl_ranges_between_processes(place: Path) -> None:
    write_file("a", b"x" * 100)
    with opened("a", os.O_RDWR) as mine:
        fcntl.lockf(mine, fcntl.LOCK_EX, 10, 20)

        def other() -> list[bool]:
            free = []
            with opened("a", os.O_RDWR) as theirs:
                for start, length in ((0, 20), (19, 5), (29, 1), (30, 100), (1 << 40, 5)):
                    try:
                        fcntl.lockf(theirs, fcntl.LOCK_EX | fcntl.LOCK_NB, length, start)
                        free.append(True)
                    except OSError as error:
                        if error.errno not in (errno.EAGAIN, errno.EACCES):
                            raise
                        free.append(False)
            return free

        assert in_child(other) == [True, False, False, True, True]
        fcntl.lockf(mine, fcntl.LOCK_UN, 5, 20)
        assert in_child(other) == [True, True, False, True, True]


def test_fcntl_tells_the_holder(place: Path) -> None:
    write_file("a")
    with opened("a", os.O_RDWR) as mine:
        fcntl.lockf(mine, fcntl.LOCK_EX, 10, 5)

        def other() -> tuple[int, ...]:
            with opened("a", os.O_RDWR) as theirs:
                answer = fcntl.fcntl(theirs, fcntl.F_GETLK, lock_words(fcntl.F_WRLCK, 12, 1))
            return struct.unpack(FLOCK, answer)

        kind, _, start, length, pid = in_child(other)
        assert (kind, start, length, pid) == (fcntl.F_WRLCK, 5, 10, os.getpid())


def test_fcntl_locks_go_with_any_close(place: Path) -> None:
    """POSIX: closing any descriptor of the file gives up the process's locks on it."""
    write_file("a")

    def free() -> bool:
        with opened("a", os.O_RDWR) as theirs:
            try:
                fcntl.lockf(theirs, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                return False
            return True

    with opened("a", os.O_RDWR) as mine:
        fcntl.lockf(mine, fcntl.LOCK_EX)
        assert not in_child(free)
        with opened("a"):
            pass
        assert in_child(free)


def test_fcntl_locks_take_the_right_descriptor(place: Path) -> None:
    write_file("a")
    with opened("a", os.O_RDONLY) as mine, fails(errno.EBADF):
        fcntl.lockf(mine, fcntl.LOCK_EX)
    with opened("a", os.O_WRONLY) as mine, fails(errno.EBADF):
        fcntl.lockf(mine, fcntl.LOCK_SH)


def test_open_file_description_locks(place: Path) -> None:
    write_file("a")
    with opened("a", os.O_RDWR) as one, opened("a", os.O_RDWR) as two:
        fcntl.fcntl(one, F_OFD_SETLK, lock_words(fcntl.F_WRLCK, 0, 10))
        with fails(errno.EAGAIN):
            fcntl.fcntl(two, F_OFD_SETLK, lock_words(fcntl.F_WRLCK, 5, 1))
        fcntl.fcntl(two, F_OFD_SETLK, lock_words(fcntl.F_WRLCK, 10, 1))
        with opened("a"):
            pass
        with fails(errno.EAGAIN):
            fcntl.fcntl(two, F_OFD_SETLK, lock_words(fcntl.F_RDLCK, 0, 1))


@pytest.mark.parametrize("count", [200])
def test_a_counter_under_a_lock(place: Path, count: int) -> None:
    write_file("n", b"0")
    program = (
        "import fcntl\n"
        f"for _ in range({count}):\n"
        "    with open('n', 'r+') as f:\n"
        "        fcntl.lockf(f, fcntl.LOCK_EX)\n"
        "        n = int(f.read()); f.seek(0); f.write(str(n + 1)); f.flush()\n"
    )
    workers = [subprocess.Popen([sys.executable, "-c", program]) for _ in range(3)]
    assert [worker.wait(60) for worker in workers] == [0, 0, 0]
    assert Path("n").read_text() == str(3 * count)
