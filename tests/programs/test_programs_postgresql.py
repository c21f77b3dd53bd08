"""PostgreSQL as its own user: a cluster, pgbench, an immediate stop, a killed daemon, recovery."""

import os
import pwd
import signal
import subprocess
import time
from contextlib import suppress
from pathlib import Path

import pytest
from mounted import Mounted
from program import RUN_TIMEOUT_S

USER = "postgres"


def binaries() -> Path:
    """Of the newest version installed."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parts[-2]))
    assert found, "PostgreSQL is missing: run tools/setup --dev"
    return found[-1]


class Cluster:
    def __init__(self, folder: Path) -> None:
        self.data = folder / "data"
        self.sockets = folder / "s"
        self.sockets.mkdir()
        owner = pwd.getpwnam(USER)
        for path in (folder, self.sockets):
            os.chown(path, owner.pw_uid, owner.pw_gid)

    def run(self, program: str, *words: str) -> str:
        done = subprocess.run(
            [str(binaries() / program), *words],
            user=USER,
            group=USER,
            extra_groups=[],
            cwd="/",
            env={"PGHOST": str(self.sockets), "PATH": "/usr/bin:/bin", "LC_ALL": "C"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            check=False,
            timeout=RUN_TIMEOUT_S,
        )
        output = done.stdout.decode()
        assert done.returncode == 0, f"{program} {words}: {output}\n{self.log_end()}"
        return output

    def create(self) -> None:
        self.run("initdb", "-D", str(self.data), "--data-checksums", "-A", "trust")

    def __enter__(self) -> None:
        self.start()

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        if kind is None:
            self.stop("fast")
            return
        with suppress(AssertionError, OSError):
            self.stop("immediate")

    def start(self) -> None:
        options = f"-c listen_addresses= -k {self.sockets} -c shared_buffers=16MB"
        options += " -c dynamic_shared_memory_type=mmap"
        log = str(self.data / "log")
        self.run("pg_ctl", "-D", str(self.data), "-w", "-l", log, "-o", options, "start")

    def log_end(self) -> str:
        try:
            return (self.data / "log").read_text()[-3000:]
        except OSError as error:
            return str(error)

    def stop(self, mode: str) -> None:
        self.run("pg_ctl", "-D", str(self.data), "-w", "-m", mode, "stop")

    def processes(self) -> list[int]:
        """The server, and its children, which keep its shared memory alive."""
        server = int((self.data / "postmaster.pid").read_text().split()[0])
        listed = Path(f"/proc/{server}/task/{server}/children").read_text()
        return [server, *map(int, listed.split())]

    def ask(self, text: str) -> str:
        return self.run("psql", "-d", "postgres", "-At", "-c", text).strip()

    def check(self) -> None:
        """Balances agree with the history, and amcheck finds all relations sound."""
        for table in ("pgbench_accounts", "pgbench_tellers", "pgbench_branches"):
            column = table.removeprefix("pgbench_")[0] + "balance"
            assert self.ask(
                f"SELECT (SELECT sum({column}) FROM {table}) = "
                "(SELECT coalesce(sum(delta), 0) FROM pgbench_history)"
            ) == "t"
        self.run("pg_amcheck", "--install-missing", "-d", "postgres")


@pytest.mark.timeout(240)
def test_crashes_and_recovers(mounted: Mounted) -> None:
    folder = mounted.directory / "pg"
    folder.mkdir()
    cluster = Cluster(folder)
    cluster.create()
    with cluster:
        cluster.run("pgbench", "-q", "-i", "-s", "1", "postgres")
        cluster.run("pgbench", "-n", "-c", "4", "-T", "3", "postgres")
        cluster.stop("immediate")
        cluster.start()
        cluster.check()

        command = [str(binaries() / "pgbench"), "-n", "-c", "4", "-T", "60", "postgres"]
        load = subprocess.Popen(
            command,
            user=USER,
            group=USER,
            extra_groups=[],
            cwd="/",
            env={"PGHOST": str(cluster.sockets), "PATH": "/usr/bin:/bin"},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        while int(cluster.ask("SELECT count(*) FROM pgbench_history")) < 500:
            pass
        processes = cluster.processes()
        mounted.kill()
        for pid in processes:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        load.wait(60)
        for pid in processes:
            wait_for_end(pid)
        mounted.start()
        for lock in (cluster.data / "postmaster.pid", cluster.sockets / ".s.PGSQL.5432.lock"):
            # Its number stays taken until its parent notices, and would pass for a living server.
            lock.write_text(lock.read_text().replace(str(processes[0]), str(load.pid), 1))
        cluster.start()
        cluster.check()
        assert int(cluster.ask("SELECT count(*) FROM pgbench_history")) >= 500
    cluster.run("pg_checksums", "--check", "-D", str(cluster.data))


def wait_for_end(pid: int) -> None:
    """Until the process is gone, or waits only for its parent to notice."""
    with suppress(FileNotFoundError, ProcessLookupError):
        while Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z":
            time.sleep(0.05)
