"""The whole repository keeps the house rules, the import contracts, and links that resolve."""

import subprocess
import sys
from pathlib import Path

from affs_tools import tidy

ROOT = Path(__file__).resolve().parents[1]


def test_house_rules() -> None:
    findings = tidy.check_tree(ROOT)
    assert not findings, "\n" + "\n".join(map(str, findings))


def test_import_contracts() -> None:
    program = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run(
        [program, "--no-cache"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_document_is_reached_from_the_index() -> None:
    """A page that no other page links to is a page that nobody reads."""
    linked: set[Path] = set()
    for page in [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")]:
        source = tidy.Source(page.relative_to(ROOT).as_posix(), page.read_text())
        for _, line in tidy.prose_lines(source):
            for target in tidy.LINK.findall(line):
                linked.add((page.parent / target.partition("#")[0]).resolve())
    lonely = [str(page) for page in ROOT.glob("docs/**/*.md") if page.resolve() not in linked]
    assert not lonely
