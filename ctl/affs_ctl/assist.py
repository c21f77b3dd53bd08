"""Help for a line that is being typed, all of it from the runtime: candidates for its end, and the
signature of its command with the argument under the cursor.

Answers are remembered by the text in front of the cursor, until a line has run: it may have made
states. Thread-safe: the prompt asks from a thread of its own.
"""

import threading
from collections import OrderedDict
from dataclasses import dataclass
from typing import Any

from affs_ctl.link import Link

__all__ = ["Assist", "Candidate", "Signature"]

_REMEMBERED_MAX = 64


@dataclass(frozen=True, slots=True)
class Candidate:
    """source: what replaces the text in front of the cursor from its index `start` on."""

    start: int
    source: str
    text: str
    help: str
    kind: str


@dataclass(frozen=True, slots=True)
class Signature:
    """before, here, after: the command's usage, split around the argument under the cursor. help:
    of that argument, or of the command."""

    before: str
    here: str
    after: str
    help: str


class Assist:
    """link: to the runtime that knows."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._lock = threading.Lock()
        self._answers: OrderedDict[str, dict[str, Any]] = OrderedDict()

    def forget(self) -> None:
        with self._lock:
            self._answers.clear()

    def known(self, text: str) -> bool:
        """Whether the answer for text is here already."""
        with self._lock:
            return text in self._answers

    def learn(self, text: str) -> dict[str, Any]:
        """The runtime's answer for the text in front of the cursor; {} when there is none."""
        with self._lock:
            if text in self._answers:
                self._answers.move_to_end(text)
                return self._answers[text]
        answer = self._link.ask("complete", {"line": text})
        if not isinstance(answer, dict):
            return {}
        with self._lock:
            self._answers[text] = answer
            while len(self._answers) > _REMEMBERED_MAX:
                self._answers.popitem(last=False)
        return answer

    def candidates(self, text: str) -> list[Candidate]:
        answer = self.learn(text)
        start = answer.get("column", 1) - 1
        return [
            Candidate(start, one["source"], one["text"], one["help"], one["kind"])
            for one in answer.get("candidates", [])
        ]

    def signature(self, text: str) -> Signature | None:
        """None while there is no command in the text."""
        answer = self.learn(text)
        described = self._link.commands().get(answer.get("command") or "")
        if described is None:
            return None
        name = answer.get("parameter")
        words = [described["name"]]
        here = -1
        summary = described["summary"]
        for parameter in described["parameters"]:
            if parameter["name"] == name:
                here = len(words)
                summary = parameter["help"]
            words.append(_word(parameter))
        if here < 0:
            return Signature(" ".join(words), "", "", summary)
        before, after = " ".join(words[:here]) + " ", " ".join(["", *words[here + 1 :]])
        return Signature(before, words[here], after, summary)


def _word(parameter: dict[str, Any]) -> str:
    """As in the command's usage."""
    word: str = parameter["word"]
    if parameter["positional"]:
        word += "..." if parameter["repeated"] else ""
    elif parameter["type"] != "flag":
        word += " " + parameter["name"].upper()
    return word if parameter["required"] else f"[{word}]"
