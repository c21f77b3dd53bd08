"""Kept states: the checkpoint tree as a table in memory, and names for them.

docs/specs/DiskLayout.md, "State item"; semantics.md, "States". The table is loaded whole at
opening (it is small: 10^4 states are 2 MB) and every change goes to table and tree together.
"""

import difflib
from collections.abc import Iterable
from dataclasses import dataclass

from affs_fuse.core.codec import Pointer, State, StatePointer
from affs_fuse.core.constants import (
    ITEM_STATE,
    ITEM_STATE_POINTER,
    POINTER_PUBLISHED,
    STATE_AUTOMATIC,
    STATE_DOOMED,
    STATE_HIDDEN,
    STATE_PUBLISHED,
)
from affs_fuse.core.tree import Tree
from affs_fuse.errors import AffsError, Category
from affs_fuse.volume.moments import MomentError, parse_moment

__all__ = ["LABEL_BYTES_MAX", "MESSAGE_BYTES_MAX", "KeptState", "StateTable", "check_label"]

LABEL_BYTES_MAX = 255
AUTHOR_BYTES_MAX = 255
MESSAGE_BYTES_MAX = 3072
ID_PREFIX_MIN = 4
_ALL = 1 << 64


@dataclass(frozen=True, slots=True)
class KeptState:
    """One kept state. number: its key; parent: the number of the nearest kept ancestor, 0 none."""

    number: int
    root: Pointer
    seq: int
    parent: int
    time_ns: int
    id: bytes
    flags: int
    pins: int
    object_count: int
    used_blocks: int
    label: str
    author: str
    message: str
    reclaim_ns: int = 0

    @property
    def hex_id(self) -> str:
        return self.id.hex()

    @property
    def automatic(self) -> bool:
        return bool(self.flags & STATE_AUTOMATIC)

    @property
    def listed(self) -> bool:
        """Not an internal state and not deleted."""
        return not self.flags & (STATE_HIDDEN | STATE_DOOMED)

    @property
    def restorable(self) -> bool:
        """Deleted, but whole, and not to be reclaimed before `reclaim_ns` unless room is needed."""
        return bool(self.flags & STATE_DOOMED) and self.reclaim_ns > 0

    @property
    def name(self) -> str:
        """For messages: the label, or the short id."""
        return self.label or self.hex_id[:12]

    def pack(self) -> bytes:
        label, author, message = self.label.encode(), self.author.encode(), self.message.encode()
        fixed = State(
            root=self.root,
            seq=self.seq,
            parent=self.parent,
            time_ns=self.time_ns,
            id=self.id,
            flags=self.flags,
            pins=self.pins,
            object_count=self.object_count,
            used_blocks=self.used_blocks,
            label_length=len(label),
            author_length=len(author),
            message_length=len(message),
            reclaim_ns=self.reclaim_ns,
        )
        return fixed.pack() + label + author + message

    @classmethod
    def unpack(cls, number: int, payload: bytes, errors: str = "strict") -> "KeptState":
        """errors: as of bytes.decode. Errors: UnicodeDecodeError."""
        fixed = State.unpack(payload)
        label_end = State.SIZE + fixed.label_length
        author_end = label_end + fixed.author_length
        return cls(
            number,
            fixed.root,
            fixed.seq,
            fixed.parent,
            fixed.time_ns,
            fixed.id,
            fixed.flags,
            fixed.pins,
            fixed.object_count,
            fixed.used_blocks,
            payload[State.SIZE : label_end].decode(errors=errors),
            payload[label_end:author_end].decode(errors=errors),
            payload[author_end : author_end + fixed.message_length].decode(errors=errors),
            fixed.reclaim_ns,
        )


class StateTable:
    """The kept states of a volume by number, and the pointers among them.

    problem: "" or why nothing may be written: what the tree holds contradicts itself."""

    def __init__(self, tree: Tree) -> None:
        self._tree = tree
        self._states: dict[int, KeptState] = {}
        self._pointers: dict[int, StatePointer] = {}
        self.problem = ""
        for number, kind, _, payload in tree.iterate((0, 0, 0), (_ALL - 1, 255, _ALL - 1)):
            if kind == ITEM_STATE:
                self._states[number] = self._unpacked(number, payload)
            elif kind == ITEM_STATE_POINTER:
                self._pointers[number] = StatePointer.unpack(payload)
        for state in self._states.values():
            parent = self._states.get(state.parent)
            if state.parent and (parent is None or parent.seq >= state.seq):
                self.problem = f"kept state {state.number} descends from {state.parent}, which is"
                self.problem += " not there" if parent is None else " not older"

    def _unpacked(self, number: int, payload: bytes) -> KeptState:
        try:
            return KeptState.unpack(number, payload)
        except UnicodeDecodeError:
            self.problem = f"a text of kept state {number} is not UTF-8"
            return KeptState.unpack(number, payload, "replace")

    def __len__(self) -> int:
        return len(self._states)

    def all(self) -> list[KeptState]:
        """Every state, internal and doomed ones too, by seq."""
        return sorted(self._states.values(), key=lambda state: (state.seq, state.number))

    def listed(self) -> list[KeptState]:
        """What users see, oldest first."""
        return [state for state in self.all() if state.listed]

    def get(self, number: int) -> KeptState | None:
        return self._states.get(number)

    def __getitem__(self, number: int) -> KeptState:
        return self._states[number]

    def seq_of(self, number: int) -> int:
        """Seq of a state; 0 for no state: what births are compared with."""
        return self._states[number].seq if number else 0

    def put(self, state: KeptState) -> None:
        self._tree.put(state.number, ITEM_STATE, 0, state.pack())
        self._states[state.number] = state

    def remove(self, number: int) -> None:
        self._tree.delete(number, ITEM_STATE, 0)
        del self._states[number]

    def pointer(self, which: int) -> KeptState | None:
        """The state that POINTER_PUBLISHED, POINTER_UNDO or POINTER_REDO names."""
        pointer = self._pointers.get(which)
        return None if pointer is None else self._states.get(pointer.state)

    def set_pointer(self, which: int, number: int, now_ns: int) -> None:
        """Make the pointer name a state. now_ns: when."""
        pointer = StatePointer(number, now_ns)
        self._tree.put(which, ITEM_STATE_POINTER, 0, pointer.pack())
        self._pointers[which] = pointer

    def clear_pointer(self, which: int) -> None:
        """Make the pointer name nothing."""
        if which in self._pointers:
            self._tree.delete(which, ITEM_STATE_POINTER, 0)
            del self._pointers[which]

    def forget_pointers_to(self, number: int) -> None:
        """No pointer names this state any more (it is about to be removed)."""
        for which, pointer in list(self._pointers.items()):
            if pointer.state == number:
                self.clear_pointer(which)

    def snapshot(self) -> tuple[dict[int, KeptState], dict[int, StatePointer]]:
        """For restore(): the table as it is."""
        return dict(self._states), dict(self._pointers)

    def restore(self, snapshot: tuple[dict[int, KeptState], dict[int, StatePointer]]) -> None:
        """Undo every change since snapshot()."""
        states, pointers = snapshot
        for number in [number for number in self._states if number not in states]:
            self.remove(number)
        for number, state in states.items():
            if self._states.get(number) is not state:
                self.put(state)
        for which in list(self._pointers):
            if which not in pointers:
                self.clear_pointer(which)
            elif pointers[which] != self._pointers[which]:
                self.set_pointer(which, *pointers[which])

    def limit_to(self, number: int) -> None:
        """Show this state alone, and only the pointers to it. The tree stays as it is: for those
        who read a volume that another daemon changes, and hold one state of it."""
        self._states = {number: self._states[number]}
        self._pointers = {
            which: pointer for which, pointer in self._pointers.items() if pointer.state == number
        }

    @property
    def published(self) -> KeptState | None:
        return self.pointer(POINTER_PUBLISHED)

    def children(self, number: int) -> list[KeptState]:
        """States whose nearest kept ancestor is `number`."""
        return [state for state in self.all() if state.parent == number]

    def resolve(self, text: str, now_ns: int = 0) -> KeptState:
        """The state that a user names: see the table in docs/specs/CommandGrammar.md, "States".
        now_ns: what `@{2h ago}` counts from.

        Errors: state.not_found, state.ambiguous, state.none_published, state.moment.
        """
        if text.startswith("@{") and text.endswith("}"):
            return self._at_moment(text, now_ns)
        base, _, steps_text = text.partition("~")
        if steps_text and not steps_text.isdecimal():
            raise _not_found(text)
        steps = int(steps_text) if steps_text else 0
        if base == "published":
            return self._published_back(text, steps)
        if base == "@":
            return _nth_newest(self.listed(), steps, text)
        if base.startswith("#") and base[1:].isdecimal():
            matches = [state for state in self.listed() if state.seq == int(base[1:])]
            return _only(matches, text)
        if "~" in text:
            raise _not_found(text)
        return self._by_label_or_id(text)

    def resolve_deleted(self, text: str) -> KeptState:
        """A deleted state that can be restored, by label or id. Of several with one label, the one
        deleted last. Errors: state.not_found, state.ambiguous."""
        found = [state for state in self._states.values() if state.restorable]
        found.sort(key=lambda state: state.reclaim_ns)
        if labelled := [state for state in found if state.label and state.label == text]:
            return labelled[-1]
        if len(text) < ID_PREFIX_MIN:
            raise _not_found(text)
        return _only([state for state in found if state.hex_id.startswith(text.lower())], text)

    def _at_moment(self, text: str, now_ns: int) -> KeptState:
        """The newest that was kept by then."""
        try:
            moment_ns = parse_moment(text[2:-1], now_ns)
        except MomentError as error:
            raise AffsError("state.moment", Category.INVALID, str(error)) from None
        by_then = [state for state in self.listed() if state.time_ns <= moment_ns]
        if not by_then:
            raise _not_found(text)
        return by_then[-1]

    def _published_back(self, text: str, steps: int) -> KeptState:
        current = self.published
        if current is None:
            raise AffsError(
                "state.none_published",
                Category.NOT_FOUND,
                "nothing has been published on this volume yet",
                hint="affsctl publish makes the working state the published one",
            )
        if steps == 0:
            return current
        history = [
            state
            for state in self.listed()
            if state.flags & STATE_PUBLISHED and state.number != current.number
        ]
        return _nth_newest(history, steps - 1, text)

    def _by_label_or_id(self, text: str) -> KeptState:
        listed = self.listed()
        if labelled := [state for state in listed if state.label and state.label == text]:
            return labelled[0]
        lowered = text.lower()
        found = [state for state in listed if state.hex_id.startswith(lowered)]
        if not found or len(text) < ID_PREFIX_MIN:
            raise _not_found(text, [state.label for state in listed if state.label])
        return _only(found, text)


def check_label(label: str, states: Iterable[KeptState]) -> None:
    """A label must be usable as a name everywhere. Errors: state.label, state.label_taken."""
    encoded = label.encode("utf-8", "surrogateescape")
    reserved = label in ("published", "undo", "redo", "working", ".", "..", "-")
    odd = any(ord(letter) < 32 or letter in "/~#@" or ord(letter) == 127 for letter in label)
    if reserved or odd or len(encoded) > LABEL_BYTES_MAX or label != label.strip():
        raise AffsError(
            "state.label",
            Category.INVALID,
            f"{label!r} cannot be a label",
            hint="use up to 255 bytes without / ~ # @, control characters or blanks at the ends;"
            " published, undo, redo and working are taken",
        )
    for state in states:
        if state.listed and state.label == label:
            raise AffsError(
                "state.label_taken",
                Category.EXISTS,
                f"the label {label!r} belongs to state {state.hex_id[:12]}",
                hint="choose another, or delete that state first",
            )


def check_text(text: str, what: str, bytes_max: int) -> None:
    if len(text.encode("utf-8", "surrogateescape")) > bytes_max:
        raise AffsError(
            "state.text_too_long",
            Category.INVALID,
            f"the {what} is longer than {bytes_max} bytes",
        )


def _nth_newest(states: list[KeptState], steps: int, text: str) -> KeptState:
    if steps >= len(states):
        raise _not_found(text)
    return states[-1 - steps]


def _only(matches: list[KeptState], text: str) -> KeptState:
    if not matches:
        raise _not_found(text)
    if len(matches) > 1:
        raise AffsError(
            "state.ambiguous",
            Category.INVALID,
            f"{text!r} fits {len(matches)} states: "
            + ", ".join(state.hex_id[:12] for state in matches[:5]),
            hint="give more of the id",
        )
    return matches[0]


def _not_found(text: str, labels: Iterable[str] = ()) -> AffsError:
    """labels: among which one may have been meant."""
    near = difflib.get_close_matches(text, [*labels], n=3, cutoff=0.6)
    return AffsError(
        "state.not_found",
        Category.NOT_FOUND,
        f"there is no kept state {text!r}",
        hint=f"did you mean {' or '.join(near)}?"
        if near
        else "affsctl checkpoints lists them; a label, an id (4 digits or more), published, @ and"
        " @~N name one",
        details={"candidates": near} if near else None,
    )
