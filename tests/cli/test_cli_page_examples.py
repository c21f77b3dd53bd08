"""The Python examples of docs/user-interfaces.md, run against a real socket; its tables against the
code."""

import re
from typing import Any

import pytest
from terminal import ROOT

from affs_ctl.conversation import SHELL_COMMANDS
from affs_ctl.options import FORMATS, SYNOPSES

PAGE = (ROOT / "docs/user-interfaces.md").read_text(encoding="utf-8")


def test_the_examples_do_what_the_page_says(
    served: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    """A block of Python prints the block of text behind it."""
    blocks = re.findall(r"```python\n(.*?)```\n\n```text\n(.*?)```", PAGE, re.DOTALL)
    assert len(blocks) == 2
    for code, output in blocks:
        exec(compile(code, "user-interfaces.md", "exec"), {"socket": served.path})
        assert capsys.readouterr().out == output


def test_the_tables_name_what_there_is() -> None:
    named = set(re.findall(r"`(\\[a-z?]+)", PAGE))
    assert named == set(SHELL_COMMANDS)
    assert all(f"| `--{name}` |" in PAGE for name in FORMATS)
    assert all(f"\n{synopsis}\n" in PAGE for synopsis in SYNOPSES)
