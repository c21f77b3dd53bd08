"""The benchmark runs in small, and judges and writes its figures rightly."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from affs_tools.bench import __main__ as bench
from affs_tools.bench.figures import Figure, markdown, plain_text
from affs_tools.bench.requests import build_program, run_passes

ROWS = [
    Figure("S", "fast", 1.5, "us", 1.0, "that", ratio_max=2),
    Figure("S", "slow", 2.5, "us", 1.0, "that", ratio_max=2),
    Figure("T", "small", 10, "MiB", value_max=20),
    Figure("T", "large", 30, "MiB", value_max=20),
    Figure("T", "just told", 30, "s"),
]


def test_targets() -> None:
    assert [figure.reached for figure in ROWS] == [True, False, True, False, True]
    text = plain_text(ROWS)
    assert "S (beside it: that)" in text
    assert text.count("NO") == 2
    table = markdown(ROWS)
    assert "| fast | 1.5 us | 1 us | 1.50 | at most 2 times | yes |" in table
    assert "| just told | 30 s |  |  |  |  |" in table


def test_the_page_keeps_what_is_not_a_table(tmp_path: Path) -> None:
    page = tmp_path / "performance.md"
    page.write_text(f"# P\n\nbefore\n\n{bench.BEGIN}\nformer words\n{bench.END}\n\nafter\n")
    bench.update_page(page, "a machine", ROWS)
    bench.update_page(page, "a machine", ROWS)
    text = page.read_text()
    assert text.startswith("# P\n\nbefore\n\n")
    assert text.endswith("\n\nafter\n")
    assert "former words" not in text
    assert text.count("| fast |") == 1
    assert bench.BEGIN in bench.PAGE.read_text()
    assert bench.END in bench.PAGE.read_text()


def test_passes_leave_nothing_behind(tmp_path: Path) -> None:
    program = build_program(tmp_path)
    found = run_passes(program, tmp_path, 10)
    assert len(found) == 6
    assert all(us > 0 for us in found.values())
    assert list((tmp_path / "passes").iterdir()) == []
    done = subprocess.run([program, tmp_path / "nowhere", "1"], capture_output=True, check=False)
    assert done.returncode == 1


@pytest.mark.slow
@pytest.mark.mount
@pytest.mark.skipif(not os.access("/dev/fuse", os.W_OK), reason="no /dev/fuse")
@pytest.mark.parametrize(
    "section", ["requests", "large", "clients", "start", "records", "transfer"]
)
def test_runs_in_small(tmp_path: Path, section: str) -> None:
    """Whether targets are met is not judged here: the machine may be busy."""
    done = subprocess.run(
        [
            sys.executable, "-m", "affs_tools.bench", "--quick", section,
            "--disk", tmp_path, "--memory", tmp_path,
        ],
        capture_output=True, text=True, check=False, cwd=tmp_path,
    )
    assert done.returncode in (0, 1), done.stderr
    assert "Traceback" not in done.stderr
    assert "at most" in done.stdout
    assert not [name for name in os.listdir(tmp_path) if name.startswith("affs-bench")]
