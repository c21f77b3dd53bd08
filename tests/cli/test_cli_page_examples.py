"""The Python examples of docs/client-library.md, run against a real socket; the tables of
docs/user-interfaces.md against the code."""

import re
from typing import Any

import pytest
from terminal import ROOT

from affs_ctl.conversation import SHELL_COMMANDS
from affs_ctl.options import FORMATS, SYNOPSES

LIBRARY = (ROOT / "docs/client-library.md").read_text(encoding="utf-8")
PAGE = (ROOT / "docs/user-interfaces.md").read_text(encoding="utf-8")


def test_the_examples_do_what_the_page_says(
    served: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    """A block of Python prints the block of text behind it. They run one after the other, as a
    reader would run them."""
    blocks = re.findall(r"```python\n(.*?)```\n\n```text\n(.*?)```", LIBRARY, re.DOTALL)
    assert len(blocks) == LIBRARY.count("```python") == 10
    names = {"socket": served.path, "publish": served.publish}
    for code, output in blocks:
        exec(compile(code, "client-library.md", "exec"), names)
        assert capsys.readouterr().out == output, code


def test_the_tables_name_what_there_is() -> None:
    named = set(re.findall(r"`(\\[a-z?]+)", PAGE))
    assert named == set(SHELL_COMMANDS)
    assert all(f"| `--{name}` |" in PAGE for name in FORMATS)
    assert all(f"\n{synopsis}\n" in PAGE for synopsis in SYNOPSES)
