"""tar, rsync, cp, zip and cpio-like copies of a tree with everything in it, there and back."""

from pathlib import Path
from typing import Any

import pytest
from mounted import Mounted
from program import make_rich_tree, run
from trees import snapshot

RSYNC = ("rsync", "-aHAX", "--modify-window=-1")
"""With times compared to the nanosecond."""


@pytest.fixture
def original(folder: Path) -> Path:
    """A rich tree on the kernel's own filesystem."""
    made = folder / "original"
    make_rich_tree(made)
    return made


@pytest.fixture
def wanted(original: Path) -> dict[str, tuple[Any, ...]]:
    return snapshot(original)


def test_rsync_there_and_back(
    mounted: Mounted, original: Path, wanted: dict[str, tuple[Any, ...]]
) -> None:
    copy, back = mounted.directory / "copy", original.parent / "back"
    run(*RSYNC, "-S", f"{original}/", f"{copy}/")
    assert snapshot(copy) == wanted
    mounted.remount()
    assert snapshot(copy) == wanted
    run(*RSYNC, "-S", f"{copy}/", f"{back}/")
    assert snapshot(back) == wanted
    said = run(*RSYNC, "-Sni", "--delete", "--checksum", f"{original}/", f"{copy}/")
    assert said == ""


def test_rsync_brings_up_to_date(mounted: Mounted, original: Path) -> None:
    copy = mounted.directory / "copy"
    run(*RSYNC, f"{original}/", f"{copy}/")
    (original / "plain").write_bytes(b"changed")
    (original / "empty").unlink()
    (original / "sticky" / "new").write_text("new")
    run(*RSYNC, "--delete", "--inplace", f"{original}/", f"{copy}/")
    assert snapshot(copy) == snapshot(original)


def test_tar_there_and_back(
    mounted: Mounted, original: Path, wanted: dict[str, tuple[Any, ...]]
) -> None:
    """Sockets are no part of archives; all else is, with nanoseconds, ACLs and attributes."""
    (original / "socket").unlink()
    del wanted["socket"]
    options = ["--format=pax", "--acls", "--xattrs", "--xattrs-include=*", "--numeric-owner", "-S"]
    root = mounted.directory
    run("tar", *options, "-C", original.parent, "-cf", root / "one.tar", "original")
    (root / "copy").mkdir()
    run("tar", *options, "-C", root / "copy", "-xpf", root / "one.tar")
    got, want = snapshot(root / "copy" / "original"), snapshot(original)
    assert got == want
    run("tar", *options, "-C", root / "copy", "-cf", root / "two.tar", "original")
    run("tar", "-C", root / "copy", "-df", root / "two.tar")
    (original.parent / "back").mkdir()
    run("tar", *options, "-C", original.parent / "back", "-xpf", root / "two.tar")
    assert snapshot(original.parent / "back" / "original") == want


def test_cp_within_and_onto_the_mount(
    mounted: Mounted, original: Path, wanted: dict[str, tuple[Any, ...]]
) -> None:
    root = mounted.directory
    run("cp", "-a", original, root / "one")
    assert snapshot(root / "one") == wanted
    run("cp", "-a", root / "one", root / "two")
    assert snapshot(root / "two") == wanted
    run("mv", root / "two", root / "one" / "deep" / "three")
    assert snapshot(root / "one" / "deep" / "three") == wanted
    run("rm", "-r", root / "one")
    assert list(root.iterdir()) == []
    run("mv", original, root / "moved")
    assert snapshot(root / "moved") == wanted


def test_zip(mounted: Mounted, folder: Path) -> None:
    root = mounted.directory
    (root / "d").mkdir()
    for count in range(200):
        (root / "d" / f"f{count}").write_bytes(b"%d" % count * count)
    run("zip", "-qr", "a.zip", "d", cwd=root)
    run("zip", "-qT", "a.zip", cwd=root)
    run("unzip", "-q", "a.zip", "-d", "out", cwd=root)
    run("diff", "-r", "d", "out/d", cwd=root)
