"""Running programs, and a tree that has everything a tree can have."""

import os
import socket
import stat
import subprocess
from pathlib import Path

RUN_TIMEOUT_S = 100


def run(*words: str | Path, cwd: Path | None = None, **environment: str) -> str:
    """A program's output; fails with all it said if its status is not 0."""
    done = subprocess.run(
        [str(word) for word in words],
        cwd=cwd,
        env={**os.environ, "LC_ALL": "C.UTF-8", **environment},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
        timeout=RUN_TIMEOUT_S,
    )
    output = done.stdout.decode(errors="replace")
    assert done.returncode == 0, f"{words}: {output}{done.stderr.decode(errors='replace')}"
    return output


def make_rich_tree(root: Path) -> None:
    """Every type of file, hard links, holes, odd names, modes, owners, times, attributes, ACLs."""
    root.mkdir()
    (root / "plain").write_bytes(os.urandom(100_000))
    (root / "empty").touch()
    (root / "small").write_bytes(b"small")
    with (root / "holes").open("wb") as file:
        file.seek(5 << 20)
        file.write(b"middle")
        file.truncate(9 << 20)
    (root / "deep").mkdir()
    for depth in ("a", "b", "c"):
        folder = root / "deep" / depth
        folder.mkdir()
        os.link(root / "plain", folder / "linked")
        (folder / ("n" * 200)).write_text(depth)
    (root / "target").symlink_to("deep/a")
    (root / "dangling").symlink_to("/nowhere/at all")
    os.mkfifo(root / "fifo", 0o640)
    os.mknod(root / "character", stat.S_IFCHR | 0o620, os.makedev(1, 3))
    os.mknod(root / "block", stat.S_IFBLK | 0o660, os.makedev(7, 200))
    with socket.socket(socket.AF_UNIX) as server:
        before = os.getcwd()
        os.chdir(root)
        server.bind("socket")
        os.chdir(before)
    Path(os.fsdecode(os.fsencode(root) + b"/latin \xe9\xff")).write_text("bytes")
    (root / "new\nline and \u00fcml\u00e4ut").write_text("odd")
    (root / "setuid").write_text("s")
    os.chown(root / "setuid", 61001, 62001)
    (root / "setuid").chmod(0o6755)
    (root / "sticky").mkdir()
    (root / "sticky").chmod(0o1777)
    os.setxattr(root / "small", "user.comment", b"\x00value\xff")
    os.setxattr(root / "deep", "user.large", b"v" * 3000)
    os.setxattr(root / "small", "trusted.affs", b"t")
    run("setfacl", "-m", "u:61001:rw,g:62002:-", root / "small")
    run("setfacl", "-d", "-m", "u:61002:rx", root / "deep" / "b")
    for number, path in enumerate(sorted(root.rglob("*"), reverse=True)):
        times = (10**18 + number, 1_234_567_890_123_456_789 + number * 1_000_000_007)
        os.utime(path, ns=times, follow_symlinks=False)
