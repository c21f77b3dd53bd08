"""Expressions as functions of a row (docs/specs/QueryLanguage.md, "Expressions").

`Compiler` binds an expression to a scope: names are looked up, functions found, constants worked
out, and what can never be right is refused with its place. The functions that it makes raise
`Trouble` for a value that an operation does not take. Null is what a missing field gives;
arithmetic with Null is Null, and a condition that is Null does not hold.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from affs_fuse.auv import Value
from affs_fuse.errors import AffsError
from affs_fuse.query import arithmetic
from affs_fuse.query.faults import Span, Trouble, fault
from affs_fuse.query.functions import FUNCTIONS, TEXT_MAX, Function, Misuse
from affs_fuse.query.like import compile_like
from affs_fuse.query.ordering import compare_values, key_of, text_type
from affs_fuse.query.parser import suggest
from affs_fuse.query.regex import Pattern, PatternProblem, WorkLimit
from affs_fuse.query.rows import ATTRIBUTES, MISSING, Getter, Needs, Scope
from affs_fuse.query.tree import (
    ArrayOf,
    Attribute,
    Between,
    Binary,
    Call,
    Compare,
    Exists,
    Expression,
    In,
    Like,
    Literal,
    Logic,
    Matches,
    Name,
    Not,
    ObjectOf,
    Step,
    Unary,
    Whole,
    walk,
)

__all__ = ["Bound", "Compiler", "needs_of"]

_TYPE_NAMES = {
    bool: "a Bool", int: "an Int64", float: "a Float64", str: "a String", list: "an Array",
    dict: "an Object", bytes: "Binary",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Bound:
    """run: the value for a row. constant: the same for every row. kind: the type of every value
    that is not Null, where that is certain."""

    run: Getter
    constant: bool = False
    kind: type | None = None


def needs_of(expression: Expression, scope: Scope) -> Needs:
    """What of a file the expression looks at."""
    needs = Needs.NOTHING
    for part in walk(expression):
        if isinstance(part, Attribute):
            attribute = ATTRIBUTES.get(part.name)
            needs |= attribute.needs if attribute is not None else Needs.NOTHING
        elif isinstance(part, Name):
            if scope.kind == "records":
                needs |= Needs.CONTENT
            elif scope.kind == "files" and part.name in ATTRIBUTES:
                needs |= ATTRIBUTES[part.name].needs
        elif isinstance(part, Whole) and scope.kind == "records":
            needs |= Needs.CONTENT
    return needs


class Compiler:
    """line: for messages. now_ns: what now() gives, one moment for the whole query."""

    def __init__(self, line: str, scope: Scope, now_ns: int) -> None:
        self._line = line
        self._scope = scope
        self._now_ns = now_ns
        self._makers: dict[type, Callable[[Any], Bound]] = {
            Literal: lambda node: _constant(node.value),
            Name: self._name,
            Attribute: self._attribute,
            Whole: lambda node: Bound(scope.whole()),
            Step: self._step,
            Unary: self._unary,
            Binary: self._binary,
            Compare: self._compare,
            Logic: self._logic,
            Not: self._not,
            Like: self._like,
            Matches: self._matches,
            In: self._in,
            Between: self._between,
            Exists: self._exists,
            Call: self._call,
            ArrayOf: self._array,
            ObjectOf: self._object,
        }

    def value(self, expression: Expression) -> Bound:
        """Errors: query.field, query.function, query.type, query.pattern, query.value,
        query.overflow, query.limit."""
        return self._makers[type(expression)](expression)

    def condition(self, expression: Expression) -> Callable[[Any], bool]:
        """Whether a row fulfils it. Errors: as `value`."""
        return self._truth(expression, self.value(expression))

    def _truth(self, node: Expression, bound: Bound) -> Callable[[Any], bool]:
        if bound.kind not in (None, bool):
            found = _TYPE_NAMES.get(bound.kind, "no Bool")
            raise self._fault(node, f"expected a condition, and this is {found}", "query.type")
        run, span = bound.run, node.span
        if bound.kind is bool:
            return lambda row: run(row) is True

        def truth(row: Any) -> bool:
            found = run(row)
            if found is None or found is False:
                return False
            if found is True:
                return True
            raise Trouble("query.value", span, f"a condition is a Bool, not {text_type(found)}")

        return truth

    # ---- names ----

    def _name(self, node: Name) -> Bound:
        place = self._place(node)
        if self._scope.kind == "files":
            return Bound(place, kind=ATTRIBUTES[node.name].kind)
        return Bound(_no_missing(place))

    def _place(self, node: Name) -> Getter:
        place = self._scope.place(node.name)
        if place is None:
            known = sorted(self._scope.known_names())
            hint = suggest(node.name, known) or f"there are {', '.join(known[:24])}"
            raise self._fault(node, f"no field {node.name!r} here", "query.field", hint)
        return place

    def _attribute(self, node: Attribute) -> Bound:
        attribute = ATTRIBUTES.get(node.name)
        if attribute is None:
            hint = suggest(node.name, ATTRIBUTES) or f"they are {', '.join(ATTRIBUTES)}"
            raise self._fault(node, f"no attribute @{node.name}", "query.field", hint)
        if not self._scope.has_attributes:
            hint = f"select @{node.name} along with the rest"
            message = f"@{node.name} is not known any more behind select, group, count or join"
            raise self._fault(node, message, "query.field", hint)
        return Bound(attribute.get, kind=attribute.kind)

    def _step(self, node: Step) -> Bound:
        base = self.value(node.base)
        if base.kind in (bool, int, float, str, bytes):
            found = _TYPE_NAMES[base.kind]
            raise self._fault(node, f"{found} has no parts", "query.type")
        return Bound(_no_missing(self._place_of(node)))

    def _place_of(self, node: Expression) -> Getter:
        """Like the value, but MISSING where there is nothing."""
        if isinstance(node, Name):
            return self._place(node)
        if not isinstance(node, Step):
            return self.value(node).run
        base, key = self._place_of(node.base), node.key
        if isinstance(key, str):

            def member(row: Any) -> Value:
                found = base(row)
                return found.get(key, MISSING) if type(found) is dict else MISSING

            return member

        def element(row: Any) -> Value:
            found = base(row)
            if type(found) is list and -len(found) <= key < len(found):
                return found[key]
            return MISSING

        return element

    def _exists(self, node: Exists) -> Bound:
        place = self._place_of(node.place)
        return Bound(lambda row: place(row) is not MISSING, kind=bool)

    # ---- arithmetic ----

    def _unary(self, node: Unary) -> Bound:
        operand = self._number(node.operand)
        run = arithmetic.negation(operand.run, node.span)
        return self._folded(Bound(run, kind=operand.kind), [operand], node)

    def _binary(self, node: Binary) -> Bound:
        left, right = self.value(node.left), self.value(node.right)
        for bound, part in ((left, node.left), (right, node.right)):
            if bound.kind in (bool, dict, bytes):
                found = _TYPE_NAMES[bound.kind]
                raise self._fault(part, f"{node.operator} does not take {found}", "query.type")
        run = arithmetic.operation(node.operator, left.run, right.run, node.span)
        return self._folded(Bound(run), [left, right], node)

    def _number(self, node: Expression) -> Bound:
        bound = self.value(node)
        if bound.kind not in (None, int, float):
            found = _TYPE_NAMES[bound.kind]
            raise self._fault(node, f"expected a number, and this is {found}", "query.type")
        return bound

    def _folded(self, bound: Bound, parts: list[Bound], node: Expression) -> Bound:
        """Work it out now if nothing in it depends on the row."""
        if not all(part.constant for part in parts):
            return bound
        try:
            return _constant(bound.run(None))
        except Trouble as trouble:
            raise fault(
                self._line, trouble.span, trouble.message, code=trouble.code, hint=trouble.hint
            ) from None

    # ---- comparisons ----

    def _compare(self, node: Compare) -> Bound:
        left, right = self.value(node.left), self.value(node.right)
        run = _comparison(node.operator, left, right)
        return self._folded(Bound(run, kind=bool), [left, right], node)

    def _between(self, node: Between) -> Bound:
        operand, low, high = map(self.value, (node.operand, node.low, node.high))
        one, least, most = operand.run, low.run, high.run

        def between(row: Any) -> bool:
            found = one(row)
            return compare_values(found, least(row)) >= 0 >= compare_values(found, most(row))

        return Bound(between, kind=bool)

    def _in(self, node: In) -> Bound:
        element, container = self.value(node.element), self.value(node.container)
        if container.kind not in (None, list):
            found = _TYPE_NAMES[container.kind]
            raise self._fault(node.container, f"in takes an Array, not {found}", "query.type")
        one, many, span = element.run, container.run, node.container.span
        if container.constant and many(None) is not None:
            keys = frozenset(key_of(value) for value in many(None))
            return Bound(lambda row: key_of(one(row)) in keys, kind=bool)

        def contained(row: Any) -> bool:
            found = many(row)
            if found is None:
                return False
            if type(found) is not list:
                raise Trouble("query.value", span, f"in takes an Array, not {text_type(found)}")
            wanted = key_of(one(row))
            return any(key_of(value) == wanted for value in found)

        return Bound(contained, kind=bool)

    def _logic(self, node: Logic) -> Bound:
        parts = [self.condition(part) for part in node.parts]
        if len(parts) == 2:
            first, second = parts
            if node.operator == "and":
                return Bound(lambda row: first(row) and second(row), kind=bool)
            return Bound(lambda row: first(row) or second(row), kind=bool)
        return Bound(_all_of(parts) if node.operator == "and" else _any_of(parts), kind=bool)

    def _not(self, node: Not) -> Bound:
        holds = self.condition(node.operand)
        return Bound(lambda row: not holds(row), kind=bool)

    # ---- patterns ----

    def _like(self, node: Like) -> Bound:
        text, pattern = self.value(node.text), self.value(node.pattern)
        if pattern.kind not in (None, str):
            found = _TYPE_NAMES[pattern.kind]
            raise self._fault(node.pattern, f"a pattern is a String, not {found}", "query.type")
        span = node.pattern.span
        if pattern.constant:
            wanted = pattern.run(None)
            if not isinstance(wanted, str):
                raise self._fault(node.pattern, "a pattern is a String, not Null", "query.type")
            try:
                fits = compile_like(wanted)
            except ValueError as error:
                raise self._fault(node.pattern, str(error), "query.pattern") from None
            return Bound(_text_test(text.run, fits, span), kind=bool)
        one, made = text.run, pattern.run

        def like(row: Any) -> bool:
            wanted = made(row)
            if type(wanted) is not str:
                return False
            try:
                return _text_test(one, compile_like(wanted), span)(row)
            except ValueError as error:
                raise Trouble("query.pattern", span, str(error)) from None

        return Bound(like, kind=bool)

    def _matches(self, node: Matches) -> Bound:
        text = self.value(node.text)
        assert isinstance(node.pattern.value, str)
        try:
            pattern = Pattern(node.pattern.value)
        except PatternProblem as problem:
            where = f"at character {problem.at + 1} of the pattern: {problem.message}"
            raise self._fault(node.pattern, where, "query.pattern") from None
        return Bound(_text_test(text.run, pattern.found_in, node.pattern.span), kind=bool)

    # ---- functions and containers ----

    def _call(self, node: Call) -> Bound:
        name = node.function.lower()
        if name == "now" and not node.arguments:
            return _constant(self._now_ns)
        function = FUNCTIONS.get(name)
        if function is None:
            hint = suggest(name, [*FUNCTIONS, "now"]) or f"they are now, {', '.join(FUNCTIONS)}"
            message = f"no function {node.function!r}"
            raise fault(self._line, node.name_span, message, code="query.function", hint=hint)
        if not function.least <= len(node.arguments) <= function.most:
            message = f"{name} does not take {len(node.arguments)} arguments"
            hint = f"it is {function.usage}"
            raise self._fault(node, message, "query.function", hint)
        arguments = [self.value(argument) for argument in node.arguments]
        for index, bound in enumerate(arguments):
            taken = _taken(function, index)
            if bound.kind is not None and taken and bound.kind not in taken:
                found = _TYPE_NAMES[bound.kind]
                message = f"{name} does not take {found} here"
                hint = f"it is {function.usage}"
                raise self._fault(node.arguments[index], message, "query.type", hint)
        run = _call_of(function, [bound.run for bound in arguments], node.span)
        return self._folded(Bound(run), arguments, node)

    def _array(self, node: ArrayOf) -> Bound:
        elements = [self.value(element) for element in node.elements]
        runs = [bound.run for bound in elements]
        constant = all(element.constant for element in elements)
        return Bound(lambda row: [run(row) for run in runs], constant, list)

    def _object(self, node: ObjectOf) -> Bound:
        entries = [(key, self.value(value)) for key, value in node.entries]
        runs = [(key, bound.run) for key, bound in entries]
        constant = all(bound.constant for _, bound in entries)
        return Bound(lambda row: {key: run(row) for key, run in runs}, constant, dict)

    def _fault(self, node: Expression, message: str, code: str, hint: str = "") -> AffsError:
        return fault(self._line, node.span, message, code=code, hint=hint)


def _constant(value: Value) -> Bound:
    return Bound(lambda row: value, True, type(value) if value is not None else None)


def _no_missing(place: Getter) -> Getter:
    def value(row: Any) -> Value:
        found = place(row)
        return None if found is MISSING else found

    return value


def _comparison(operator: str, left: Bound, right: Bound) -> Callable[[Any], bool]:
    test = _TESTS[operator]
    first, second = left.run, right.run
    if right.constant:
        wanted = second(None)
        kind = type(wanted)
        if kind is int or kind is str:
            direct = _DIRECT[operator]

            def against_scalar(row: Any) -> bool:
                found = first(row)
                if type(found) is kind:
                    return direct(found, wanted)
                return test(compare_values(found, wanted))

            return against_scalar
    return lambda row: test(compare_values(first(row), second(row)))


_TESTS: dict[str, Callable[[int], bool]] = {
    "=": lambda order: order == 0,
    "!=": lambda order: order != 0,
    "<": lambda order: order < 0,
    "<=": lambda order: order <= 0,
    ">": lambda order: order > 0,
    ">=": lambda order: order >= 0,
}
_DIRECT: dict[str, Callable[[Any, Any], bool]] = {
    "=": lambda left, right: left == right,
    "!=": lambda left, right: left != right,
    "<": lambda left, right: left < right,
    "<=": lambda left, right: left <= right,
    ">": lambda left, right: left > right,
    ">=": lambda left, right: left >= right,
}


def _all_of(parts: list[Callable[[Any], bool]]) -> Callable[[Any], bool]:
    return lambda row: all(part(row) for part in parts)


def _any_of(parts: list[Callable[[Any], bool]]) -> Callable[[Any], bool]:
    return lambda row: any(part(row) for part in parts)


def _text_test(text: Getter, fits: Callable[[str], bool], span: Span) -> Callable[[Any], bool]:
    """Only a String can fit a pattern, and only one of ordinary length is looked at."""

    def test(row: Any) -> bool:
        found = text(row)
        if type(found) is not str:
            return False
        if len(found) > TEXT_MAX:
            message = f"a text of {len(found)} characters is over the limit of {TEXT_MAX}"
            raise Trouble("query.limit", span, message)
        try:
            return fits(found)
        except WorkLimit:
            message = "this pattern takes too much work on this text"
            hint = "write it with fewer and smaller repetitions"
            raise Trouble("query.limit", span, message, hint) from None

    return test


def _taken(function: Function, index: int) -> tuple[type, ...]:
    if not function.types:
        return ()
    return function.types[min(index, len(function.types) - 1)]


def _call_of(function: Function, arguments: list[Getter], span: Span) -> Getter:
    checks = [_taken(function, index) for index in range(len(arguments))]
    call = function.call

    def run(row: Any) -> Value:
        values = [argument(row) for argument in arguments]
        if not function.takes_null and None in values:
            return None
        for value, taken in zip(values, checks, strict=True):
            if taken and type(value) not in taken:
                message = f"{function.name} does not take {text_type(value)} here"
                raise Trouble("query.value", span, message, f"it is {function.usage}")
        try:
            return call(*values)
        except Misuse as misuse:
            message = f"{function.name}: {misuse.message}"
            raise Trouble(misuse.code, span, message) from None

    return run
