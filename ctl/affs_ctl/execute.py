"""One line from its sending to its exit status: the way that affsctl and the shell share.

The runtime parses the line and describes how its result is shown; a plan that it wants confirmed is
shown with a question; Ctrl-C cancels the request and waits for the runtime to say that it has
stopped.
"""

import sys
from collections.abc import Callable
from dataclasses import dataclass, field

from affs_ctl.client import Call, Client
from affs_ctl.interrupt import Interrupts
from affs_ctl.output import Output
from affs_ctl.pager import PagerClosed
from affs_ctl.transfer import Transfer
from affs_fuse.auv import Value
from affs_fuse.errors import AffsError, Category
from affs_fuse.protocol import Item, Progress

__all__ = ["EXIT_INTERRUPTED", "Executor", "Outcome", "ask_on_terminal", "exit_status"]

EXIT_INTERRUPTED = 130

_EXIT_BY_CODE = {
    "client.no_volume": 10,
    "client.ambiguous": 10,
    "client.no_daemon": 17,
    "client.unreachable": 17,
    "client.closed": 17,
}

_GRACE_S = 5.0
"""Beyond the deadline that the server keeps, for its answer to arrive."""

_CANCEL_WAIT_S = 3.0

_IDLE_S = 0.3
"""How long rows of a stream are held back for a pager when no more come."""

_CONFIRMABLE = ("plan.unconfirmed", "plan.stale")


def exit_status(error: AffsError) -> int:
    """By category (docs/specs/Errors.md); what only the client can know has its own."""
    return _EXIT_BY_CODE.get(error.code, error.category.exit_status)


@dataclass(slots=True)
class Outcome:
    """value: of the answer. items: of a stream, as many as were to be kept. error: in its place.
    interrupted: by Ctrl-C."""

    value: Value = None
    items: list[Value] = field(default_factory=list)
    error: AffsError | None = None
    interrupted: bool = False

    @property
    def status(self) -> int:
        """For the exit of a program."""
        if self.interrupted:
            return EXIT_INTERRUPTED
        if self.error is not None:
            return exit_status(self.error)
        asked = self.value.get("exit_status", 0) if isinstance(self.value, dict) else 0
        return asked if isinstance(asked, int) else 0


class Executor:
    """Runs lines on one client. ask(question): whether the user agrees; None when there is nobody
    to ask. items_kept_max: how many items of a stream an outcome keeps."""

    def __init__(
        self,
        client: Client,
        interrupts: Interrupts,
        *,
        timeout_s: float | None = None,
        ask: Callable[[str], bool] | None = None,
        items_kept_max: int = 0,
    ) -> None:
        self._client = client
        self._interrupts = interrupts
        self._timeout_s = timeout_s
        self._ask = ask
        self._items_kept_max = items_kept_max

    def run(self, line: str, output: Output) -> Outcome:
        """The line, and once more as often as a plan is confirmed. Errors are shown and are in the
        outcome."""
        while True:
            outcome = self._shown(line, output)
            confirmed = self._confirmed(outcome.error, output)
            if confirmed is None:
                if outcome.error is not None and not outcome.interrupted:
                    output.error(outcome.error)
                return outcome
            line = confirmed

    def _shown(self, line: str, output: Output) -> Outcome:
        """What came of the line; all of it but an error is shown."""
        outcome = Outcome()
        try:
            with self._interrupts:
                self._converse(line, output, outcome)
        except PagerClosed:
            return outcome  # the reader has seen enough
        except AffsError as error:
            outcome.error = error
        except KeyboardInterrupt:
            outcome.interrupted = True
        finally:
            output.end()
        return outcome

    def _converse(self, line: str, output: Output, outcome: Outcome) -> None:
        timeout_s = self._timeout_s
        deadline_ms = None if timeout_s is None else max(1, int(timeout_s * 1000))
        patience_s = None if timeout_s is None else timeout_s + _GRACE_S
        description = self._client.start(command="describe", args={"line": line})
        call = self._client.start(line, deadline_ms=deadline_ms)
        transfer = Transfer(self._client)
        try:
            try:
                output.schema(description.result(timeout_s=patience_s))
            except AffsError as error:
                if error.code == "client.timeout":
                    raise
                output.schema(None)  # what is wrong with the line, its answer will say
            self._parts(call, output, outcome, patience_s, transfer)
            outcome.value = call.result()
            transfer.finish(done=True)
        except (KeyboardInterrupt, PagerClosed):
            _cancel(call)
            raise
        except AffsError as error:
            if error.code == "cli.file":
                _cancel(call)
            raise
        finally:
            transfer.finish(done=False)
        output.result(outcome.value)

    def _parts(
        self, call: Call, output: Output, outcome: Outcome, patience_s: float | None,
        transfer: Transfer,
    ) -> None:  # fmt: skip
        wait_s = _IDLE_S if output.holds_back else patience_s
        while True:
            try:
                for part in call.parts(wait_s, transfer.step):
                    if isinstance(part, Progress):
                        output.progress(part)
                    elif isinstance(part, Item):
                        if not transfer.item(part.item):
                            output.item(part.item)
                        if len(outcome.items) < self._items_kept_max:
                            outcome.items.append(part.item)
                    elif not transfer.event(part.event):
                        output.event(part.event)
            except AffsError as error:
                if error.code != "client.timeout" or wait_s == patience_s:
                    raise
                output.idle()
                wait_s = patience_s
            else:
                return

    def _confirmed(self, error: AffsError | None, output: Output) -> str | None:
        """The line that does what the user was asked about and agreed to; None when nobody can be
        asked."""
        if error is None or self._ask is None or error.code not in _CONFIRMABLE:
            return None
        line = error.details.get("confirmed_line")
        if not isinstance(line, str):
            return None
        if error.code == "plan.stale":
            output.error(error)
        plan = error.details.get("plan")
        output.plan(plan)
        undo = plan.get("undo") if isinstance(plan, dict) else None
        possible = isinstance(undo, dict) and undo.get("possible") is True
        gone = error.details.get("danger") == "destructive" and not possible
        lasting = " It cannot be undone." if gone else ""
        return line if self._ask(f"Do it?{lasting} [y/N] ") else None


def _cancel(call: Call) -> None:
    """Ask the server to stop, and wait a little for it to say that it has: then nothing goes on
    behind the user's back. A second interrupt does not wait."""
    try:
        call.cancel()
        for _ in call.parts(_CANCEL_WAIT_S):
            pass
    except AffsError as error:
        if error.category is Category.DEADLINE:
            call.abandon()


def ask_on_terminal(question: str) -> bool:
    """On standard error and standard input."""
    try:
        sys.stderr.write(question)
        sys.stderr.flush()
        return input().strip().lower() in ("y", "yes")
    except EOFError:
        return False
