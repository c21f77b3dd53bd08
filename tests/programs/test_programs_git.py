"""git: hundreds of commits, gc, fsck, clone, worktree; and a killed daemon in the middle."""

import subprocess
from pathlib import Path

from mounted import Mounted
from program import run

COMMITS = 200
SETTINGS = (
    "-c", "user.name=A", "-c", "user.email=a@example.org", "-c", "init.defaultBranch=main",
    "-c", "gc.auto=0", "-c", "protocol.file.allow=always",
)  # fmt: skip


def git(where: Path, *words: str) -> str:
    return run("git", *SETTINGS, "-C", where, *words)


def make_history(repository: Path, commits: int) -> None:
    repository.mkdir()
    git(repository, "init", "-q")
    script = f"""
        set -e
        for n in $(seq {commits}); do
            mkdir -p d$((n % 7))
            seq $n $((n * 3)) > d$((n % 7))/f$((n % 31))
            echo line $n >> log
            git {" ".join(SETTINGS)} add -A
            git {" ".join(SETTINGS)} commit -qm "commit $n"
        done
    """
    run("sh", "-c", script, cwd=repository)


def test_history_gc_clone_worktree(mounted: Mounted) -> None:
    root = mounted.directory
    repository = root / "r"
    make_history(repository, COMMITS)
    assert git(repository, "rev-list", "--count", "HEAD").strip() == str(COMMITS)
    assert git(repository, "status", "--porcelain") == ""
    git(repository, "fsck", "--full", "--strict")
    head = git(repository, "rev-parse", "HEAD")

    git(root, "clone", "-q", str(repository), "clone")
    git(root, "clone", "-q", "--no-hardlinks", "--bare", str(repository), "bare.git")
    git(repository, "gc", "-q", "--prune=now")
    git(repository, "fsck", "--full", "--strict")
    git(repository, "worktree", "add", "-q", str(root / "tree"), "HEAD~50")
    assert len((root / "tree" / "log").read_text().splitlines()) == COMMITS - 50
    git(root / "clone", "checkout", "-q", "HEAD~100")
    git(root / "clone", "checkout", "-q", "main")
    git(root / "clone", "push", "-q", str(root / "bare.git"), "main:other")

    mounted.remount()
    for where in (repository, root / "clone", root / "bare.git", root / "tree"):
        git(where, "fsck", "--full", "--strict")
    for where in (repository, root / "clone"):
        assert git(where, "rev-parse", "main") == head
        assert git(where, "status", "--porcelain") == ""


def test_killed_in_the_middle(mounted: Mounted) -> None:
    """git with fsync of everything: what it said is committed is there after the daemon died."""
    repository = mounted.directory / "r"
    make_history(repository, 5)
    git(repository, "config", "core.fsync", "all")
    git(repository, "config", "core.fsyncMethod", "fsync")
    script = f"""
        cd {repository}
        n=5
        while n=$((n + 1)); do
            echo line $n >> log
            git {" ".join(SETTINGS)} commit -qam "commit $n" || exit
            git rev-parse HEAD || exit
        done
    """
    writer = subprocess.Popen(
        ["sh", "-c", script], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    assert writer.stdout is not None
    told = [writer.stdout.readline().strip() for _ in range(6)]
    mounted.kill()
    told += [line.strip() for line in writer.communicate(timeout=60)[0].splitlines()]
    mounted.start()
    git(repository, "cat-file", "-e", told[-1].decode())
    for lock in (repository / ".git").rglob("*.lock"):
        lock.unlink()
    assert int(git(repository, "rev-list", "--count", told[-1].decode())) == 5 + len(told)
    assert "missing" not in git(repository, "fsck", "--full")
    git(repository, "reset", "-q", "--hard", told[-1].decode())
    assert len((repository / "log").read_text().splitlines()) == 5 + len(told)
