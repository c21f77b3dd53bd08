"""`affsctl shell`: lines typed one after the other, with completion, help for the argument under
the cursor, history and results that can be used again.

A client like any other: what it knows about commands it asks the runtime. prompt_toolkit draws the
line; while a line runs the terminal is an ordinary one, so Ctrl-C reaches the request.
"""

import os
import re
import sys
from collections.abc import Callable, Iterable
from typing import Any

from affs_ctl.assist import Assist
from affs_ctl.batch import open_link
from affs_ctl.conversation import SHELL_COMMANDS, Conversation, Leave
from affs_ctl.execute import EXIT_INTERRUPTED, ask_on_terminal
from affs_ctl.history import History, history_path
from affs_ctl.interrupt import Interrupts
from affs_ctl.options import Options
from affs_ctl.output import make_output
from affs_ctl.render import clean, size
from affs_fuse import __version__
from affs_fuse.clock import SYSTEM_CLOCK
from affs_fuse.errors import AffsError, Category

try:
    from prompt_toolkit import PromptSession
    from prompt_toolkit.application import get_app
    from prompt_toolkit.auto_suggest import AutoSuggestFromHistory
    from prompt_toolkit.completion import CompleteEvent, Completer, Completion
    from prompt_toolkit.document import Document
    from prompt_toolkit.formatted_text import StyleAndTextTuples
    from prompt_toolkit.history import History as PromptHistory
    from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent
    from prompt_toolkit.styles import Style
except ImportError:
    raise AffsError(
        "cli.no_shell",
        Category.UNSUPPORTED,
        "the interactive shell needs prompt_toolkit, which is not installed",
        hint="install affs[shell]; lines of a file work without it: affsctl -f FILE",
    ) from None

__all__ = ["Shell", "run_shell"]

_STYLES = {
    "bottom-toolbar": "noreverse",
    "bottom-toolbar.text": "",
    "here": "bold underline",
    "about": "italic",
    "dirty": "ansiyellow",
    "volume": "ansicyan",
}

_REFERENCE = re.compile(r"(?:^|[\s=\[{,:])(_[\w.\[\]-]*)$")

_WELCOME = (
    "affsctl {version}: {volume}, role {role}. `help` lists the commands, \\? the shell's own."
)


def run_shell(options: Options) -> int:
    """Until the user leaves; the exit status of the shell, which is 0 then. AffsError when there is
    no volume to talk to."""
    interrupts = Interrupts()
    link = open_link(options, interrupts, "affsctl shell")
    history = History(history_path(os.environ), SYSTEM_CLOCK)
    conversation = Conversation(
        link,
        lambda form, expanded: make_output(
            form,
            quiet=options.quiet,
            color=options.color,
            pager=options.pager,
            expanded=expanded,
            program="",
        ),
        interrupts,
        form=options.format,
        timeout_s=options.timeout_s,
        ask=ask_on_terminal if sys.stderr.isatty() else None,
        history=history,
    )
    shell = Shell(conversation, history, color=options.color)
    try:
        if not options.quiet:
            print(_WELCOME.format(version=__version__, volume=shell.volume, role=link.role))
        if options.rc:
            shell.run_startup()
            shell.read_rc(os.path.expanduser("~/.affsrc"))
        shell.run()
    finally:
        link.close()
    return 0


class Shell:
    """conversation: does what a line says. More keywords go to the prompt (a test gives it a
    terminal of its own)."""

    def __init__(
        self, conversation: Conversation, history: History, *, color: bool = True, **prompt: Any
    ) -> None:
        self._conversation = conversation
        self._link = conversation.link
        self._assist = Assist(self._link)
        colored = color and not os.environ.get("NO_COLOR")
        self.session: PromptSession[str] = PromptSession(
            completer=_LineCompleter(self._assist, conversation),
            complete_in_thread=True,
            complete_while_typing=False,
            enable_history_search=True,
            auto_suggest=AutoSuggestFromHistory(),
            history=_TypedHistory(history),
            key_bindings=_key_bindings(),
            bottom_toolbar=self._toolbar,
            rprompt=lambda: f"_{conversation.results.next_number}",
            style=Style.from_dict(_STYLES if colored else {}),
            **prompt,
        )

    @property
    def volume(self) -> str:
        """Its label, else the beginning of its UUID."""
        found = self._link.volume
        return clean(str(found.get("label") or str(found.get("uuid", ""))[:8]))

    def run_startup(self) -> None:
        """What the personality of the volume begins a session with: queries, shown as if they had
        been typed."""
        found = self._link.ask("personality", {})
        lines = found.get("startup") if isinstance(found, dict) else None
        for line in lines if isinstance(lines, list) else []:
            print(f"> {clean(str(line))}")
            self._conversation.take(str(line))

    def read_rc(self, path: str) -> None:
        """The lines that the user wants at every start."""
        try:
            with open(path, encoding="utf-8") as lines:
                self._conversation.take_all(lines, path, stop_on_error=False)
        except FileNotFoundError:
            return
        except (OSError, UnicodeDecodeError) as problem:
            print(f"{path}: {problem}", file=sys.stderr)

    def run(self) -> None:
        """Until \\q or the end of the input."""
        while True:
            try:
                line = self.session.prompt(self._prompt())
            except KeyboardInterrupt:
                continue  # the line is thrown away
            except EOFError:
                return
            try:
                status = self._conversation.take(line)
            except Leave:
                return
            except KeyboardInterrupt:
                status = EXIT_INTERRUPTED  # at a question, say
            if status == EXIT_INTERRUPTED:
                print(file=sys.stderr)  # behind the terminal's ^C
            self._assist.forget()

    def _prompt(self) -> "StyleAndTextTuples":
        """`affs:work admin +12.0 KiB*>`: the star tells of changes that no commit holds yet. Asked
        once for each line, not for each key."""
        status = self._link.ask("status", {})
        known = status if isinstance(status, dict) else {}
        mark = ""
        if known.get("dirty"):
            data = known.get("dirty_bytes")
            mark = (f"+{size(data)}" if isinstance(data, int) and data else "") + "*"
        role = clean(self._link.role)
        return [
            ("", "affs:"),
            ("class:volume", self.volume),
            ("", f" {role}"),
            ("class:dirty", f" {mark}" if mark else ""),
            ("", "> "),
        ]

    def _toolbar(self) -> "StyleAndTextTuples":
        """The signature of the command being typed, the argument under the cursor marked. Asked for
        in the background: typing never waits for it."""
        app = get_app()
        text = app.current_buffer.document.text_before_cursor
        if not text.strip() or text.lstrip().startswith("\\"):
            return [
                ("class:about", "Tab completes, COMMAND ? helps, Ctrl-R searches, Ctrl-D leaves")
            ]
        if not self._assist.known(text):
            self._learn(text, app.invalidate)
            return []
        found = self._assist.signature(text)
        if found is None:
            return []
        return [
            ("", found.before),
            ("class:here", found.here),
            ("", found.after),
            ("class:about", f"  {found.help}"),
        ]

    def _learn(self, text: str, then: Callable[[], object]) -> None:
        def work() -> None:
            if self._assist.learn(text):
                self._link.commands()
                then()

        loop = get_app().loop
        if loop is not None:
            loop.run_in_executor(None, work)


class _LineCompleter(Completer):
    """The runtime's candidates; of the shell's own commands and of results, its own."""

    def __init__(self, assist: Assist, conversation: Conversation) -> None:
        self._assist = assist
        self._conversation = conversation

    def get_completions(
        self, document: "Document", complete_event: "CompleteEvent"
    ) -> Iterable["Completion"]:
        text = document.text_before_cursor
        if text.startswith("\\"):
            for name, about in SHELL_COMMANDS.items():
                if name.startswith(text):
                    yield Completion(name, -len(text), display_meta=about)
            return
        word = _REFERENCE.search(text)
        if word is not None:
            for reference in self._conversation.results.paths(word[1]):
                yield Completion(reference, -len(word[1]))
        for one in self._assist.candidates(text):
            yield Completion(
                one.source, one.start - len(text), display=one.text, display_meta=one.help
            )


class _TypedHistory(PromptHistory):
    """The lines of all sessions. The conversation writes them down, when it knows how they went."""

    def __init__(self, history: History) -> None:
        super().__init__()
        self._history = history

    def load_history_strings(self) -> Iterable[str]:
        return self._history.lines()

    def store_string(self, string: str) -> None:
        """See the class."""


def _key_bindings() -> "KeyBindings":
    bindings = KeyBindings()

    @bindings.add("escape", "enter")
    def _(event: "KeyPressEvent") -> None:
        """A line break inside the line."""
        event.current_buffer.insert_text("\n")

    return bindings
