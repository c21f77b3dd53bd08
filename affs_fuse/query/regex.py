"""`matches`: whether a regular expression matches anywhere in a text, in bounded time.

The set of states that the program (`regex_parser`) can be in is followed through the text; sets
and the steps between them are remembered as they come up (a lazy DFA). So the time is linear in the
text, whatever the pattern: mostly one look into a table for a scalar, at the worst one step for
each instruction; and what one text may cost in all is limited. What is remembered is bounded, and
forgotten when it grows too large.
"""

from affs_fuse.query.regex_parser import Instruction, PatternProblem, compile_program

__all__ = ["WORK_MAX", "Pattern", "PatternProblem", "WorkLimit"]

STATES_MAX = 1000
STEPS_MAX = 20_000
"""Remembered at once: sets of states, and steps between them."""

WORK_MAX = 1_000_000
"""Instructions looked at for one text: about a fifth of a second."""

_BEGIN, _END, _EDGE = 1, 2, 4
_PLACES = {"begin": (_BEGIN, _BEGIN), "end": (_END, _END), "edge": (_EDGE, _EDGE)}
_PLACES["inside"] = (_EDGE, 0)
"""Which bit of a place an instruction looks at, and what it has to be."""


class WorkLimit(Exception):
    """The text costs more than WORK_MAX with this pattern."""


class _States:
    """A set of instructions that wait for a scalar. accepting: the pattern has matched."""

    __slots__ = ("accepting", "steps", "takes")

    def __init__(self, takes: tuple[Instruction, ...], accepting: bool) -> None:
        self.takes = takes
        self.accepting = accepting
        self.steps: dict[tuple[str, int], _States] = {}


class Pattern:
    """A compiled pattern. Errors: PatternProblem."""

    def __init__(self, pattern: str) -> None:
        self._program = compile_program(pattern)
        kinds = {one.kind for one in self._program}
        self._edges = bool(kinds & {"edge", "inside"})
        self._known: dict[tuple[frozenset[int], int], _States] = {}
        self._step_count = 0
        self._work = 0

    @property
    def work(self) -> int:
        """Instructions that were looked at for the last text."""
        return self._work

    def found_in(self, text: str) -> bool:
        """Whether some part of the text matches. Errors: WorkLimit."""
        self._work = 0
        last = len(text) - 1
        edges = self._edges
        place = _BEGIN
        if last < 0:
            place |= _END
        elif edges and _in_word(text[0]):
            place |= _EDGE
        states = self._states(frozenset({0}), place)
        for at, letter in enumerate(text):
            if states.accepting:
                return True
            place = 0
            if at == last:
                place = _END | (_EDGE if edges and _in_word(letter) else 0)
            elif edges and _in_word(letter) is not _in_word(text[at + 1]):
                place = _EDGE
            following = states.steps.get((letter, place))
            states = following if following is not None else self._step(states, letter, place)
        return states.accepting

    def _step(self, states: _States, letter: str, place: int) -> _States:
        entered = {0}
        self._spend(len(states.takes))
        for instruction in states.takes:
            assert instruction.test is not None
            if instruction.test(letter):
                entered.add(instruction.first)
        following = self._states(frozenset(entered), place)
        self._step_count += 1
        states.steps[letter, place] = following
        return following

    def _states(self, entered: frozenset[int], place: int) -> _States:
        """Where entering these instructions at this place leads."""
        found = self._known.get((entered, place))
        if found is None:
            if len(self._known) >= STATES_MAX or self._step_count >= STEPS_MAX:
                self._forget()
            found = self._known[entered, place] = self._close(entered, place)
        return found

    def _forget(self) -> None:
        for states in self._known.values():
            states.steps.clear()
        self._known.clear()
        self._step_count = 0

    def _close(self, entered: frozenset[int], place: int) -> _States:
        program = self._program
        waiting = list(entered)
        seen = set(entered)
        takes = []
        accepting = False
        while waiting:
            instruction = program[waiting.pop()]
            kind = instruction.kind
            if kind == "take":
                takes.append(instruction)
            elif kind == "done":
                accepting = True
            else:
                bit, wanted = _PLACES.get(kind, (0, 0))
                targets = (
                    {instruction.first, instruction.second}
                    if kind == "split"
                    else {instruction.first}
                )
                if place & bit == wanted:
                    waiting += targets - seen
                    seen |= targets
        self._spend(len(seen))
        return _States(tuple(takes), accepting)

    def _spend(self, work: int) -> None:
        self._work += work
        if self._work > WORK_MAX:
            raise WorkLimit


def _in_word(letter: str) -> bool:
    return letter.isalnum() or letter == "_"
