"""The main job: a real tree in, published, damaged, rolled back on the live mount, brought back
again."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from mounted import Mounted
from trees import below, snapshot

SOURCES = [Path("/usr/lib/python3.11"), Path("/usr/share/doc")]


def copy_sources(target: Path) -> list[Path]:
    present = [source for source in SOURCES if source.is_dir()]
    for source in present:
        subprocess.run(["cp", "-a", str(source), str(target)], check=True, timeout=120)
    return present


def damage(root: Path) -> None:
    """Delete, overwrite, rename, chmod, truncate, append, replace by another type."""
    folders = sorted(path for path in root.rglob("*") if path.is_dir() and not path.is_symlink())
    shutil.rmtree(folders[len(folders) // 3])
    files = sorted(path for path in root.rglob("*") if path.is_file() and not path.is_symlink())
    for number, path in enumerate(files[::7]):
        kind = number % 6
        if kind == 0:
            path.unlink()
        elif kind == 1:
            path.write_bytes(b"damaged" * 1000)
        elif kind == 2:
            path.rename(path.with_name(path.name + ".moved"))
        elif kind == 3:
            path.chmod(0o600)
        elif kind == 4:
            os.truncate(path, path.stat().st_size // 2)
        else:
            path.unlink()
            path.mkdir()
    folders = sorted(path for path in root.rglob("*") if path.is_dir() and not path.is_symlink())
    folders[len(folders) // 2].rename(root / "moved-directory")
    (root / "new").mkdir()
    (root / "new" / "file").write_text("not there before")


@pytest.mark.timeout(240)
def test_publish_damage_rollback_undo_remount(folder: Path) -> None:
    with Mounted(folder, size_bytes=1 << 30) as mounted:
        root = mounted.directory / "tree"
        root.mkdir()
        sources = copy_sources(root)
        published = snapshot(root)
        for source in sources:
            assert below(published, source.name) == snapshot(source)
        mounted.affsctl("publish", "-m", "as copied")
        damage(root)
        damaged = snapshot(root)
        assert damaged != published

        plan = mounted.affsctl("rollback", "--dry-run")["plan"]
        answer = mounted.affsctl("rollback")
        assert snapshot(root) == published
        assert {key: answer[key] for key in ("added", "removed", "changed", "renamed")} == {
            key: plan[key] for key in ("added", "removed", "changed", "renamed")
        }
        assert answer["added"] > 0
        assert answer["removed"] > 0
        assert answer["changed"] > 0
        assert answer["renamed"] > 0

        mounted.remount()
        assert snapshot(root) == published
        mounted.affsctl("rollback", "--undo")
        assert snapshot(root) == damaged
        past = (mounted.directory / ".affs" / "published").resolve() / "tree"
        assert snapshot(past) == published
        assert ".affs" not in os.listdir(mounted.directory)
