"""Filesystems on, in and over the mount: ext4 in a loop device, overlayfs, bind mounts; programs
that check every byte; sockets and pipes between processes.
"""

import os
import socketserver
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from mounted import Mounted
from program import make_rich_tree, run
from trees import snapshot


@contextmanager
def mount(target: Path, *words: str | Path) -> Iterator[None]:
    target.mkdir(exist_ok=True)
    run("mount", *words, target)
    try:
        yield
    finally:
        run("umount", target)


def test_ext4_in_a_loop_device(mounted: Mounted, folder: Path) -> None:
    image, target = mounted.directory / "image", folder / "ext4"
    with image.open("wb") as file:
        file.truncate(128 << 20)
    run("mkfs.ext4", "-q", "-b", "4096", image)
    with mount(target, "-o", "loop", image):
        make_rich_tree(target / "tree")
        wanted = snapshot(target / "tree")
        (target / "big").write_bytes(os.urandom(20 << 20))
        os.sync()
        before = image.stat().st_blocks * 512
        (target / "big").unlink()
        os.sync()
        run("fstrim", target)
        assert before - image.stat().st_blocks * 512 > 15 << 20, "what is discarded gets a hole"
    run("e2fsck", "-fn", image)
    mounted.remount()
    run("e2fsck", "-fn", image)
    with mount(target, "-o", "loop,ro", image):
        assert snapshot(target / "tree") == wanted


def test_lower_layer_of_overlayfs(mounted: Mounted, folder: Path) -> None:
    lower, upper, target = mounted.directory / "lower", folder / "upper", folder / "merged"
    make_rich_tree(lower)
    before = snapshot(lower)
    with mount(upper, "-t", "tmpfs", "tmpfs"):
        for name in ("up", "work"):
            (upper / name).mkdir()
        layers = f"lowerdir={lower},upperdir={upper}/up,workdir={upper}/work"
        with mount(target, "-t", "overlay", "overlay", "-o", layers):
            names = sorted(path.name for path in target.iterdir())
            assert names == sorted(path.name for path in lower.iterdir())
            assert (target / "plain").read_bytes() == (lower / "plain").read_bytes()
            (target / "plain").write_bytes(b"changed")
            (target / "small").chmod(0o600)
            (target / "empty").unlink()
            (target / "deep" / "new").mkdir()
            (target / "holes").rename(target / "deep" / "moved")
            assert not (target / "empty").exists()
            assert (target / "plain").read_bytes() == b"changed"
    assert snapshot(lower) == before


def test_bind_mount_into_another_tree(mounted: Mounted, folder: Path) -> None:
    make_rich_tree(mounted.directory / "tree")
    wanted = snapshot(mounted.directory / "tree")
    with mount(folder / "bound", "--bind", mounted.directory / "tree"):
        assert snapshot(folder / "bound") == wanted
        (folder / "bound" / "new").write_text("x")
    assert (mounted.directory / "tree" / "new").read_text() == "x"


@pytest.mark.parametrize("engine", ["psync", "mmap", "libaio"])
@pytest.mark.parametrize("pattern", ["write", "randwrite", "randrw"])
def test_fio_verifies(root: Path, engine: str, pattern: str) -> None:
    words = ["--direct=1"] if engine == "libaio" else []
    run(
        "fio", "--name=v", f"--filename={root}/v", f"--ioengine={engine}", f"--rw={pattern}",
        "--size=12M", "--bsrange=4k-64k", "--bs_unaligned=0", "--verify=crc32c",
        "--verify_fatal=1", "--do_verify=1", "--verify_backlog=200", "--randseed=1",
        "--fallocate=none", "--end_fsync=1", "--thread", "--iodepth=8",
        "--verify_state_save=0", *words,
    )  # fmt: skip


def test_fio_written_before_and_verified_after_remounting(mounted: Mounted) -> None:
    words = (
        "fio", "--name=v", f"--filename={mounted.directory}/v", "--ioengine=psync",
        "--rw=randwrite", "--size=16M", "--bs=4k", "--verify=crc32c", "--verify_fatal=1",
        "--randseed=7", "--fallocate=none", "--thread", "--verify_state_save=0",
    )  # fmt: skip
    run(*words, "--do_verify=0", "--end_fsync=1")
    mounted.remount()
    run(*words, "--verify_only=1")


class Echo(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        self.wfile.write(self.rfile.readline().upper())


class Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True


def test_unix_socket_served_from_the_mount(root: Path) -> None:
    with Server(str(root / "s"), Echo) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            program = (
                "import socket,sys\ns=socket.socket(socket.AF_UNIX)\ns.connect(sys.argv[1])\n"
                "s.sendall(b'hello\\n')\nprint(s.makefile().readline(), end='')"
            )
            for _ in range(5):
                assert run("python3", "-c", program, root / "s") == "HELLO\n"
        finally:
            server.shutdown()
            thread.join()


def test_fifo_between_programs(root: Path) -> None:
    os.mkfifo(root / "p")
    with subprocess.Popen(["sh", "-c", "seq 20000 > p"], cwd=root) as writer:
        assert run("sh", "-c", "sha1sum < p; seq 20000 | sha1sum", cwd=root).splitlines()[0] == (
            run("sh", "-c", "seq 20000 | sha1sum").strip()
        )
        assert writer.wait(20) == 0


STRESSORS = (
    "access", "chdir", "chmod", "chown", "copy-file", "dentry", "dir", "dup",
    "fcntl", "file-ioctl", "flock", "fpunch", "fsize", "getdent", "hdd", "inotify",
    "io", "iomix", "lease", "link", "lockf", "lockofd", "locka", "mknod", "mmap", "mmapfork",
    "mmapmany", "msync", "open", "readahead", "rename", "revio", "seek", "sendfile", "splice",
    "symlink", "sync-file", "touch", "utime", "verity", "xattr",
)  # fmt: skip


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_stress_ng(mounted: Mounted) -> None:
    """stress-ng's filesystem stressors, all at once, with their own checks."""
    options = [word for name in STRESSORS for word in (f"--{name}", "1")]
    run(
        "stress-ng", *options, "-t", "5", "--verify", "--oomable", "--temp-path",
        mounted.directory, cwd=mounted.directory,
    )  # fmt: skip
    (mounted.directory / "after").write_text("x")
    mounted.remount()
    assert (mounted.directory / "after").read_text() == "x"
