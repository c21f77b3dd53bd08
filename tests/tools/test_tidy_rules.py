"""Each house rule finds a file that breaks it and leaves its correct twin alone."""

from pathlib import Path

import pytest

from affs_tools import tidy

ROOT = Path(__file__).resolve().parents[2]
DOC = '"""What this is for."""\n'


def messages(path: str, text: str) -> list[str]:
    return [finding.message for finding in tidy.check_source(tidy.Source(path, text), ROOT)]


BROKEN = [
    ("affs_fuse/a.py", DOC + "X = '" + "x" * 100 + "'\n", "columns"),
    ("affs_fuse/a.py", DOC + "X = 1\n" * 600, "split the file"),
    ("affs_fuse/a.py", "X = 1\n", "no module docstring"),
    ("affs_fuse/a.py", DOC + "def f():\n" + "    g()\n" * 70, "f() has 71 lines"),
    ("affs_fuse/a.py", DOC + "print(1)\n", "print()"),
    ("tools/affs_tools/a.py", DOC + "def f():\n    import os\n", "inside a function"),
    ("affs_fuse/a.py", DOC + "def f():\n    from os import path\n", "inside a function"),
    ("ctl/affs_ctl/a.py", DOC + "def f():\n    global X\n    X = 1\n", "global statement"),
    ("affs_fuse/a.py", DOC + "try:\n    f()\nexcept:\n    g()\n", "bare except"),
    ("affs_fuse/a.py", DOC + "try:\n    f()\nexcept OSError:\n    pass\n", "silent except"),
    ("affs_fuse/a.py", DOC + "import os\nX = os.environ['A']\n", "os.environ"),
    ("affs_fuse/daemon/main.py", DOC + "import os\nX = os.getenv('A')\n", "os.getenv"),
    ("affs_fuse/a.py", DOC + "import time\n", "import of time"),
    ("ctl/affs_ctl/a.py", DOC + "from random import random\n", "import of random"),
    ("affs_fuse/a.py", DOC + "import os\nX = os.urandom(4)\n", "os.urandom()"),
    ("affs_fuse/a.py", DOC + "import datetime\nX = datetime.datetime.now()\n", "now()"),
    ("affs_fuse/a.py", DOC + "import pickle\n", "import of pickle"),
    ("affs_fuse/a.py", DOC + "X = eval('1')\n", "eval()"),
    ("affs_fuse/a.py", DOC + "import subprocess\nsubprocess.run('a', shell=True)\n", "shell="),
    ("affs_fuse/volume/a.py", DOC + "from affs_fuse import _core\n", "compiled module"),
    ("affs_fuse/volume/a.py", DOC + "from .. import _core\n", "compiled module"),
    ("affs_fuse/volume/a.py", DOC + "from affs_fuse._core import lib\n", "compiled module"),
    ("affs_fuse/core/a.py", DOC + "from affs_fuse._requests import lib\n", "compiled module"),
    ("affs_fuse/core/a.py", DOC + "view = ffi.from_buffer(b'')\n", "from_buffer()"),
    ("affs_fuse/a.py", DOC + "import tools.affs_tools\n", "import of folder tools"),
    ("native/src/a.c", "int x;\n", "no opening comment"),
    ("native/src/a.c", "/* A. */\nint f(void)\n{\n" + "    g();\n" * 70 + "}\n", "a function of"),
    ("docs/a.md", "# One\n\n# Two\n", "2 headings"),
    ("docs/a.md", "no title\n", "0 headings"),
    ("docs/a.md", "# A\n\nsee [b](nowhere/b.md)\n", "no such file"),
    ("docs/a.md", "# A\n\nsee [b](../docs/style.md#no-such-heading)\n", "no such heading"),
]

CORRECT = [
    ("affs_fuse/a.py", DOC + "def f():\n" + "    g()\n" * 69),
    ("tools/affs_tools/a.py", DOC + "import time\n\nprint(time.time())\n"),
    ("ctl/affs_ctl/a.py", DOC + "import os\n\n\ndef f():\n    import json\n"),
    ("ctl/affs_ctl/a.py", DOC + "import os\nX = os.environ['A']\n"),
    ("affs_fuse/daemon/config.py", DOC + "import os\nX = os.environ['A']\n"),
    ("affs_fuse/core/a.py", DOC + "from affs_fuse._core import lib\n"),
    ("affs_fuse/core/a.py", DOC + "from .._core import lib\n"),
    ("affs_fuse/fuse/a.py", DOC + "from affs_fuse._requests import lib\n"),
    ("affs_fuse/core/a.py", DOC + "with ffi.from_buffer(b'') as view:\n    f(view)\n"),
    ("affs_fuse/a.py", DOC + "try:\n    f()\nexcept OSError as error:\n    log(error)\n"),
    ("native/src/a.c", "/* A. */\nstatic int table[] = {\n" + "    1,\n" * 80 + "};\n"),
    ("docs/a.md", "# A\n\n```sh\n# no title\n[x](nowhere)\n```\n\n## B\n\n[here](#b)\n"),
]


@pytest.mark.parametrize(("path", "text", "expected"), BROKEN)
def test_rule_finds(path: str, text: str, expected: str) -> None:
    assert [message for message in messages(path, text) if expected in message]


@pytest.mark.parametrize(("path", "text"), CORRECT)
def test_rule_leaves_alone(path: str, text: str) -> None:
    assert messages(path, text) == []


def test_codes_and_commands_have_to_be_documented(tmp_path: Path) -> None:
    (tmp_path / "docs/specs").mkdir(parents=True)
    (tmp_path / "docs/specs/Errors.md").write_text("# Errors\n\n| `a.known` | |\n")
    (tmp_path / "docs/commands.md").write_text("# Commands\n\n## `known`\n")
    commands = tmp_path / "affs_fuse/runtime/commands"
    commands.mkdir(parents=True)
    (commands / "a.py").write_text(
        DOC + 'A = Command(name="known")\nB = Command(name="unknown")\n'
        'raise AffsError("a.known", 1)\nraise AffsError("a.unknown", 1)\n'
    )
    found = [finding.message.split(";")[0] for finding in tidy.check_tree(tmp_path)]
    assert found == [
        "command unknown is not documented", "error code a.unknown is not documented",
    ]


def test_exit_status_and_output(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a.py").write_text(DOC)
    assert tidy.main([str(tmp_path)]) == 0
    (tmp_path / "b.py").write_text("X = 1\n")
    assert tidy.main([str(tmp_path)]) == 1
    assert "b.py:1: no module docstring" in capsys.readouterr().out
