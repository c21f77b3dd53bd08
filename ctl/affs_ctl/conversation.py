"""Lines one after the other, typed or from a file: what `affsctl shell` and `affsctl -f` have in
common.

A line is for the runtime, but for these: an empty one and one that begins with `#` do nothing; one
that begins with a backslash is for the shell itself (`\\?` lists them); `X ?` is `help X`; and
references to earlier results are replaced (affs_ctl/results.py).
"""

import shlex
import sys
from collections.abc import Callable, Iterable, Iterator

from affs_ctl.execute import Executor, Outcome
from affs_ctl.history import History
from affs_ctl.interrupt import Interrupts
from affs_ctl.link import Link
from affs_ctl.options import FORMATS
from affs_ctl.output import Output
from affs_ctl.render import clean, text_of
from affs_ctl.results import Results
from affs_fuse.auv import format_canonical
from affs_fuse.errors import AffsError, Category

__all__ = ["SHELL_COMMANDS", "Conversation", "Leave", "joined"]

ITEMS_KEPT_MAX = 10_000
"""Of a stream, in a result that can be used again."""

_RESULT_COLUMNS = 60

SHELL_COMMANDS = {
    "\\?": "list these",
    "\\x": "expanded view: each row of a table as a document; again: back",
    "\\text": "results as text for people",
    "\\json": "results as JSON",
    "\\jsonl": "results as JSON, a line each",
    "\\ajis": "results as canonical AJIS",
    "\\results": "the results so far: _ is the newest, _3 the third, _3.id a part of it",
    "\\history": "[TEXT] [--here] [--session ID] [--ok | --failed] [-n N]: lines of before",
    "\\q": "leave",
}


class Leave(Exception):
    """The user wants to go."""


class Conversation:
    """make_output(format, expanded): where the next answer goes. ask: as of `Executor`. history:
    None when lines are not remembered."""

    def __init__(
        self,
        link: Link,
        make_output: Callable[[str, bool], Output],
        interrupts: Interrupts,
        *,
        form: str = "",
        timeout_s: float | None = None,
        ask: Callable[[str], bool] | None = None,
        history: History | None = None,
    ) -> None:
        self.link = link
        self.results = Results()
        self._make_output = make_output
        self._interrupts = interrupts
        self._timeout_s = timeout_s
        self._ask = ask
        self._history = history
        self._format = form
        self._expanded = False

    def take(self, line: str, *, remember: bool = True) -> int:
        """Do what a line says, and give the exit status it would have had. Leave when it says
        so."""
        text = line.strip()
        if not text or text.startswith("#"):
            return 0
        try:
            status = self._shell_command(text) if text.startswith("\\") else self._run(line)
        except AffsError as error:
            output = self._output()
            output.error(error)
            status = Outcome(error=error).status
        if self._history is not None and remember:
            volume = str(self.link.volume.get("uuid", ""))
            self._history.add(line, session=self.link.session, volume=volume, status=status)
        return status

    def take_all(self, lines: Iterable[str], name: str, *, stop_on_error: bool) -> int:
        """The lines of a file; the status of the first that failed, 0 if none did. Each failure is
        named by its place."""
        first = 0
        for number, line in joined(lines):
            try:
                status = self.take(line, remember=False)
            except Leave:
                break
            if status:
                sys.stdout.flush()
                print(f"{name}:{number}: status {status}", file=sys.stderr)
                first = first or status
                if stop_on_error or status == Outcome(interrupted=True).status:
                    break
        return first

    def _output(self) -> Output:
        return self._make_output(self._format, self._expanded)

    def _run(self, line: str) -> int:
        text = line.strip()
        if text == "?" or text.endswith(" ?"):
            line = f"help {text[:-1].strip()}"
        elif text.lower() in ("exit", "quit") and text.lower() not in self.link.commands():
            raise Leave
        line = self.results.substitute(line)
        output = self._output()
        with self.link.client() as client:
            executor = Executor(
                client,
                self._interrupts,
                timeout_s=self._timeout_s,
                ask=self._ask,
                items_kept_max=ITEMS_KEPT_MAX,
            )
            outcome = executor.run(line, output)
        if outcome.error is None and not outcome.interrupted:
            items = outcome.items
            value = {"items": items, "result": outcome.value} if items else outcome.value
            self.results.add(value)
        return outcome.status

    # ---- the shell's own commands ----

    def _shell_command(self, text: str) -> int:
        try:
            name, *words = shlex.split(text.replace("\\", "", 1))
        except ValueError as problem:
            raise _usage(f"{problem}") from None
        name = name.lower()
        if name in ("q", "quit"):
            raise Leave
        if name == "x":
            self._expanded = not self._expanded
            print(f"expanded view: {'on' if self._expanded else 'off'}")
        elif name in FORMATS and name != "wire":
            self._format = name
        elif name == "text":
            self._format = ""
        elif name == "results":
            self._show_results()
        elif name == "history":
            self._show_history(words)
        elif name in ("?", "h", "help"):
            for command, about in SHELL_COMMANDS.items():
                print(f"  {command:<10} {about}")
            print("  COMMAND ?  help about a command of the runtime; `help` lists them")
        else:
            raise _usage(f"the shell has no command \\{name}")
        return 0

    def _show_results(self) -> None:
        for number, value in self.results.all():
            text = clean(format_canonical(value))
            cut = text if len(text) <= _RESULT_COLUMNS else text[: _RESULT_COLUMNS - 1] + "…"
            print(f"_{number:<4} {cut}")

    def _show_history(self, words: list[str]) -> None:
        if self._history is None:
            raise _usage("lines are not remembered here")
        text: list[str] = []
        session, succeeded, limit = "", None, 50
        rest = iter(words)
        for word in rest:
            if word == "--here":
                session = self.link.session
            elif word == "--session":
                session = next(rest, "")
            elif word in ("--ok", "--failed"):
                succeeded = word == "--ok"
            elif word == "-n":
                limit = _count(next(rest, ""))
            else:
                text.append(word)
        found = self._history.search(
            " ".join(text), session=session, succeeded=succeeded, limit=limit
        )
        for entry in found:
            mark = " " if entry.status == 0 else "!"
            when = text_of(entry.time_ns, "time")
            print(f"{mark} {when}  {entry.session[:8]:<8}  {clean(entry.line)}")


def joined(lines: Iterable[str]) -> Iterator[tuple[int, str]]:
    """Lines with their number from 1; one that ends in an odd number of backslashes goes on in the
    next."""
    held = ""
    first = 0
    for number, raw in enumerate(lines, 1):
        line = raw.rstrip("\n")
        first = first or number
        if (len(line) - len(line.rstrip("\\"))) % 2 and not line.lstrip().startswith("#"):
            held += line[:-1] + "\n"
            continue
        yield first, held + line
        held, first = "", 0
    if held:
        yield first, held


def _count(text: str) -> int:
    if not text.isdecimal():
        raise _usage(f"-n takes a number, not {text!r}")
    return int(text)


def _usage(message: str) -> AffsError:
    return AffsError("shell.command", Category.INVALID, message, hint="\\? lists them")
