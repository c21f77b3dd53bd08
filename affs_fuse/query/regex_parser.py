"""Regular expressions from text to a program of states (docs/specs/QueryLanguage.md, "Patterns").

The program is Thompson's: a list of instructions, each consuming one scalar of a class, splitting
in two, or standing for a place (begin, end, edge of a word). Repetitions are written out, so its
size is bounded before it is built. What could not be matched in linear time (back references,
looking around) is not in the language.
"""

from collections.abc import Callable
from dataclasses import dataclass

__all__ = ["PROGRAM_MAX", "Instruction", "PatternProblem", "compile_program"]

PROGRAM_MAX = 2000
"""Instructions: the time for one scalar grows with them, in the worst case."""

REPEAT_MAX = 1000
DEPTH_MAX = 40

CharacterTest = Callable[[str], bool]


class PatternProblem(Exception):
    """at: where in the pattern, from 0."""

    def __init__(self, at: int, message: str) -> None:
        super().__init__(message)
        self.at = at
        self.message = message


@dataclass(slots=True)
class Instruction:
    """kind: take (a scalar that `test` accepts, then `first`), split (to both), begin, end, edge,
    inside (no edge), done."""

    kind: str
    first: int = -1
    second: int = -1
    test: CharacterTest | None = None


@dataclass(frozen=True, slots=True)
class _Node:
    """kind: take, place, chain, choice, repeat."""

    kind: str
    test: CharacterTest | None = None
    place: str = ""
    parts: "tuple[_Node, ...]" = ()
    low: int = 0
    high: int | None = None
    size: int = 1


def compile_program(pattern: str) -> list[Instruction]:
    """The program of a pattern; it may match anywhere in a text. Errors: PatternProblem."""
    node = _Parser(pattern).run()
    if node.size >= PROGRAM_MAX:
        raise PatternProblem(0, f"the pattern unfolds to more than {PROGRAM_MAX} steps")
    program: list[Instruction] = []
    _emit(node, program)
    program.append(Instruction("done"))
    return program


def _emit(node: _Node, program: list[Instruction]) -> None:
    """Append the node's instructions; it goes on with the next instruction behind them."""
    if node.kind == "take":
        program.append(Instruction("take", len(program) + 1, test=node.test))
    elif node.kind == "place":
        program.append(Instruction(node.place, len(program) + 1))
    elif node.kind == "chain":
        for part in node.parts:
            _emit(part, program)
    elif node.kind == "choice":
        _emit_choice(node, program)
    else:
        _emit_repeat(node, program)


def _emit_choice(node: _Node, program: list[Instruction]) -> None:
    jumps = []
    for part in node.parts[:-1]:
        split = Instruction("split", len(program) + 1)
        program.append(split)
        _emit(part, program)
        jump = Instruction("split")
        program.append(jump)
        jumps.append(jump)
        split.second = len(program)
    _emit(node.parts[-1], program)
    for jump in jumps:
        jump.first = jump.second = len(program)


def _emit_repeat(node: _Node, program: list[Instruction]) -> None:
    part = node.parts[0]
    for _ in range(node.low):
        _emit(part, program)
    if node.high is None:
        split = Instruction("split", len(program) + 1)
        start = len(program)
        program.append(split)
        _emit(part, program)
        program.append(Instruction("split", start, start))
        split.second = len(program)
        return
    splits = []
    for _ in range(node.high - node.low):
        split = Instruction("split", len(program) + 1)
        splits.append(split)
        program.append(split)
        _emit(part, program)
    for split in splits:
        split.second = len(program)


_CLASSES: dict[str, CharacterTest] = {
    "d": str.isdecimal,
    "s": str.isspace,
    "w": lambda letter: letter.isalnum() or letter == "_",
}
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "f": "\f", "v": "\v"}
_PLACES = {"b": "edge", "B": "inside"}


def _negated(test: CharacterTest) -> CharacterTest:
    return lambda letter: not test(letter)


class _Parser:
    def __init__(self, pattern: str) -> None:
        self._pattern = pattern
        self._at = 0
        self._depth = 0
        self._fold = False

    def run(self) -> _Node:
        if self._pattern.startswith("(?i)"):
            self._fold = True
            self._at = 4
        node = self._choice()
        if self._at < len(self._pattern):
            raise PatternProblem(self._at, "')' without '('")
        return node

    def _peek(self) -> str:
        return self._pattern[self._at : self._at + 1]

    def _take(self, expected: str) -> str:
        letter = self._peek()
        if not letter:
            raise PatternProblem(self._at, f"expected {expected}, found the end of the pattern")
        self._at += 1
        return letter

    def _choice(self) -> _Node:
        self._depth += 1
        if self._depth > DEPTH_MAX:
            raise PatternProblem(self._at, f"groups nest deeper than {DEPTH_MAX}")
        parts = [self._chain()]
        while self._peek() == "|":
            self._at += 1
            parts.append(self._chain())
        self._depth -= 1
        if len(parts) == 1:
            return parts[0]
        size = sum(part.size + 2 for part in parts)
        return _Node("choice", parts=tuple(parts), size=size)

    def _chain(self) -> _Node:
        parts = []
        while (letter := self._peek()) and letter not in "|)":
            parts.append(self._repeated())
        return _Node("chain", parts=tuple(parts), size=sum(part.size for part in parts))

    def _repeated(self) -> _Node:
        start = self._at
        node = self._atom()
        while (letter := self._peek()) and letter in "*+?{":
            low, high = self._count(start)
            if self._peek() == "?":
                self._at += 1  # lazy or greedy: whether there is a match is the same
            if node.kind == "place":
                raise PatternProblem(start, "a place cannot be repeated")
            times = low + 1 if high is None else high
            size = (node.size + 2) * max(times, 1)
            if size >= PROGRAM_MAX:
                raise PatternProblem(start, f"the pattern unfolds to more than {PROGRAM_MAX} steps")
            node = _Node("repeat", parts=(node,), low=low, high=high, size=size)
        return node

    def _count(self, start: int) -> tuple[int, int | None]:
        letter = self._take("a repetition")
        if letter != "{":
            return {"*": (0, None), "+": (1, None), "?": (0, 1)}[letter]
        body, closed, _ = self._pattern[self._at :].partition("}")
        low_text, comma, high_text = body.partition(",")
        numbers = [text for text in (low_text, high_text) if text]
        if not closed or not low_text or not all(t.isascii() and t.isdecimal() for t in numbers):
            hint = "{ repeats as {2}, {2,} or {2,5}; a brace itself is written \\{"
            raise PatternProblem(self._at - 1, hint)
        self._at += len(body) + 1
        low = int(low_text[:9])
        high = (int(high_text[:9]) if high_text else None) if comma else low
        if low > REPEAT_MAX or (high or 0) > REPEAT_MAX or (high is not None and high < low):
            raise PatternProblem(
                start, f"a repetition is from 0 to {REPEAT_MAX}, lower bound first"
            )
        return low, high

    def _atom(self) -> _Node:
        start = self._at
        letter = self._take("a character")
        if letter == "(":
            return self._group(start)
        if letter == "[":
            return _Node("take", test=self._class(start))
        if letter == ".":
            return _Node("take", test=lambda one: one != "\n")
        if letter in "^$":
            return _Node("place", place="begin" if letter == "^" else "end")
        if letter in "*+?{":
            raise PatternProblem(start, f"{letter!r} repeats nothing")
        if letter == "\\":
            return self._escape(start)
        return self._literal(letter)

    def _group(self, start: int) -> _Node:
        if self._peek() == "?":
            if not self._pattern.startswith("?:", self._at):
                raise PatternProblem(
                    start, "of groups with (? there is (?: alone, and (?i) at the beginning"
                )
            self._at += 2
        node = self._choice()
        if self._peek() != ")":
            raise PatternProblem(start, "'(' is never closed")
        self._at += 1
        return node

    def _escape(self, start: int) -> _Node:
        letter = self._take("a character behind the backslash")
        if letter.lower() in _CLASSES:
            test = _CLASSES[letter.lower()]
            return _Node("take", test=test if letter.islower() else _negated(test))
        if letter in _PLACES:
            return _Node("place", place=_PLACES[letter])
        if letter in _ESCAPES:
            return self._literal(_ESCAPES[letter])
        if letter.isalnum():
            what = "there are no back references" if letter.isdigit() else "it has no meaning"
            raise PatternProblem(start, f"\\{letter}: {what}")
        return self._literal(letter)

    def _literal(self, letter: str) -> _Node:
        if self._fold:
            variants = frozenset({letter, letter.lower(), letter.upper()})
            return _Node("take", test=variants.__contains__)
        return _Node("take", test=letter.__eq__)

    def _class(self, start: int) -> CharacterTest:
        negated = self._peek() == "^"
        if negated:
            self._at += 1
        singles: set[str] = set()
        ranges: list[tuple[str, str]] = []
        tests: list[CharacterTest] = []
        first = True
        while first or self._peek() != "]":
            first = False
            if not self._peek():
                raise PatternProblem(start, "'[' is never closed")
            low = self._class_member(tests)
            if low is None:
                continue
            if self._peek() == "-" and self._pattern[self._at + 1 : self._at + 2] not in ("]", ""):
                self._at += 1
                high = self._class_member(tests)
                if high is None or high < low:
                    raise PatternProblem(start, "a range has its lower end first")
                ranges.append((low, high))
            else:
                singles.add(low)
        self._at += 1
        return _class_test(frozenset(singles), tuple(ranges), tuple(tests), negated, self._fold)

    def _class_member(self, tests: list[CharacterTest]) -> str | None:
        """A scalar; None if it was a class of its own, which is added to tests."""
        letter = self._take("a character")
        if letter != "\\":
            return letter
        start = self._at - 1
        letter = self._take("a character behind the backslash")
        if letter.lower() in _CLASSES:
            test = _CLASSES[letter.lower()]
            tests.append(test if letter.islower() else _negated(test))
            return None
        if letter in _ESCAPES:
            return _ESCAPES[letter]
        if letter.isalnum():
            raise PatternProblem(start, f"\\{letter} has no meaning in a class")
        return letter


def _class_test(
    singles: frozenset[str],
    ranges: tuple[tuple[str, str], ...],
    tests: tuple[CharacterTest, ...],
    negated: bool,
    fold: bool,
) -> CharacterTest:
    def one(letter: str) -> bool:
        return (
            letter in singles
            or any(low <= letter <= high for low, high in ranges)
            or any(test(letter) for test in tests)
        )

    def any_case(letter: str) -> bool:
        return one(letter) or one(letter.lower()) or one(letter.upper())

    chosen = any_case if fold else one
    return _negated(chosen) if negated else chosen
