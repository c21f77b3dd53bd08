"""Completion for bash, zsh and fish: the scripts that they source, and the candidates that these
then ask for.

Names of commands and options stand in the scripts (affs_ctl/scripts.py makes them from the
registry); values are asked of the runtime (`complete`), states included. A question that cannot be
answered has no candidates: a shell wants no error messages in the middle of a line.
"""

import re
from collections.abc import Sequence
from pathlib import Path

from affs_ctl.client import Client
from affs_ctl.discover import find, token_offer
from affs_ctl.options import OWN_OPTIONS
from affs_fuse.errors import AffsError

__all__ = ["SCRIPT_NAMES", "print_candidates", "script", "split_line"]

SCRIPT_NAMES = {"bash": "affsctl.bash", "zsh": "_affsctl", "fish": "affsctl.fish"}
"""Of the files in affs_ctl/completions/."""

_WITH_VALUE = {name for one in OWN_OPTIONS if one.value for name in (one.short, one.long)}
_ANSWER_S = 2.0


def script(shell: str) -> str:
    """shell: one of SCRIPT_NAMES."""
    path = Path(__file__).parent / "completions" / SCRIPT_NAMES[shell]
    return path.read_text(encoding="utf-8")


def split_line(line: str) -> tuple[str | None, str | None]:
    """The volume and the runtime's part of a line that begins with affsctl; no part (None) while
    the line is still among affsctl's own options or waits for the value of one."""
    words = [(found.group(), found.start()) for found in re.finditer(r"\S+", line)][1:]
    volume: str | None = None
    while words and words[0][0].startswith("-"):
        word, start = words.pop(0)
        if start + len(word) == len(line):
            return volume, None
        name, equals, value = word.partition("=")
        if name in _WITH_VALUE and not equals:
            if not words or words[0][1] + len(words[0][0]) == len(line):
                return volume, None
            value = words.pop(0)[0]
        if name in ("-V", "--volume"):
            volume = value
    return volume, line[words[0][1] :] if words else ""


def print_candidates(arguments: Sequence[str]) -> int:
    """arguments: the line up to the cursor, and the word there as the shell sees it (it may begin
    later than ours: shells break words at `=` and `@`). `--help-text` in front: a tab and a word
    about it behind each."""
    with_help = arguments[:1] == ["--help-text"]
    if len(arguments) != 2 + with_help:
        return 2
    line, shell_word = arguments[-2:]
    volume, rest = split_line(line)
    if rest is None:
        for one in OWN_OPTIONS:
            if one.long and shell_word and one.long.startswith(shell_word):
                print(f"{one.long}\t{one.help}" if with_help else one.long)
        return 0
    try:
        with Client.connect(
            find(volume).socket, name="affsctl complete", auth=token_offer(), timeout_s=_ANSWER_S
        ) as client:
            call = client.start(command="complete", args={"line": rest}, deadline_ms=2000)
            answer = call.result(timeout_s=_ANSWER_S)
    except (AffsError, OSError):
        return 0
    replaced = rest[answer["column"] - 1 :]
    kept = replaced[: -len(shell_word)] if shell_word and replaced.endswith(shell_word) else ""
    for candidate in answer["candidates"]:
        source = candidate["source"]
        text = source[len(kept) :] if source.startswith(kept) else source
        about = " ".join(candidate["help"].split())
        print(f"{text}\t{about}" if with_help else text)
    return 0
