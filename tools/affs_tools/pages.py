"""Everything that is made from the registry of commands: `python -m affs_tools.pages [ROOT]`.

docs/commands.md, the manual pages in docs/man/ and the completion scripts in
ctl/affs_ctl/completions/. Tests compare each of them with what is made here, so after a change of a
command this has to run.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from affs_ctl.manual import make_manual
from affs_ctl.scripts import make_scripts
from affs_fuse.runtime.commands import COMMANDS
from affs_fuse.runtime.reference import commands_page

__all__ = ["main", "pages"]

MANUAL = "docs/man"
SCRIPTS = "ctl/affs_ctl/completions"


def pages() -> dict[str, str]:
    """What each file has to hold, by its path from the root."""
    described = [command.describe() for command in COMMANDS]
    found = {"docs/commands.md": commands_page(COMMANDS)}
    found |= {f"{MANUAL}/{name}": text for name, text in make_manual(described).items()}
    found |= {f"{SCRIPTS}/{name}": text for name, text in make_scripts(described).items()}
    return found


def stale(root: Path, made: dict[str, str]) -> list[Path]:
    """Files in the folders of made pages that nothing is made for any more."""
    files = [path for folder in (MANUAL, SCRIPTS) for path in (root / folder).glob("*")]
    return [path for path in files if str(path.relative_to(root)) not in made]


def main(arguments: Sequence[str] | None = None) -> int:
    """Writes what has changed and removes what is stale; says which."""
    parser = argparse.ArgumentParser(prog="pages", description=__doc__)
    parser.add_argument("root", nargs="?", type=Path, default=Path())
    root: Path = parser.parse_args(arguments).root
    made = pages()
    for name, text in made.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")
            print(f"wrote {name}")
    for path in stale(root, made):
        path.unlink()
        print(f"removed {path.relative_to(root)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
