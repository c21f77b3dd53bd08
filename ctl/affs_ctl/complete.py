"""Completion for shells: the script that a shell sources, and the candidates it then asks for.

affsctl's own options are completed here, all else by the runtime (`complete`). A question that
cannot be answered has no candidates: a shell wants no error messages in the middle of a line.
"""

import re
from collections.abc import Sequence

from affs_ctl.client import Client
from affs_ctl.discover import find
from affs_fuse.errors import AffsError

__all__ = ["BASH", "print_candidates", "split_line"]

BASH = """\
# bash completion for affsctl: source it, or install it as
# /usr/share/bash-completion/completions/affsctl
_affsctl() {
    local IFS=$'\\n'
    COMPREPLY=($(affsctl __complete "${COMP_LINE:0:COMP_POINT}" "${COMP_WORDS[COMP_CWORD]}" \\
        2>/dev/null))
    [[ ${#COMPREPLY[@]} -eq 1 && ${COMPREPLY[0]} == *= ]] && compopt -o nospace
}
complete -o default -F _affsctl affsctl
"""

_OWN = (
    "--volume",
    "--json",
    "--jsonl",
    "--ajis",
    "--no-color",
    "--quiet",
    "--timeout",
    "--version",
    "--help",
)
_WITH_VALUE = ("-V", "--volume", "--timeout")
_ANSWER_S = 2.0


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
    later than ours:
    shells break words at `=` and `@`)."""
    if len(arguments) != 2:
        return 2
    line, shell_word = arguments
    volume, rest = split_line(line)
    if rest is None:
        for word in _OWN:
            if shell_word and word.startswith(shell_word):
                print(word)
        return 0
    try:
        with Client.connect(
            find(volume).socket, name="affsctl complete", timeout_s=_ANSWER_S
        ) as client:
            call = client.start(command="complete", args={"line": rest}, deadline_ms=2000)
            answer = call.result(timeout_s=_ANSWER_S)
    except (AffsError, OSError):
        return 0
    replaced = rest[answer["column"] - 1 :]
    kept = replaced[: -len(shell_word)] if shell_word and replaced.endswith(shell_word) else ""
    for candidate in answer["candidates"]:
        source = candidate["source"]
        print(source[len(kept) :] if source.startswith(kept) else source)
    return 0
