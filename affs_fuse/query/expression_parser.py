"""Expressions of queries, from tokens to their tree (docs/specs/QueryLanguage.md, "Expressions").

By precedence, loosest first: or, and, not, comparisons, sums, products, minus, steps. Comparisons
do not chain. Nesting is bounded, so no text costs more stack than that.
"""

from affs_fuse.errors import AffsError
from affs_fuse.query.lexer import MINIMUM_MAGNITUDE, Lexer, Token
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
    height,
)

__all__ = ["DEPTH_MAX", "HEIGHT_MAX", "ExpressionParser"]

DEPTH_MAX = 40
"""Parentheses, brackets and signs that are open at once: some nine calls of Python each."""

HEIGHT_MAX = 200
"""Of the tree: a chain of sums is as high as it is long, and evaluating it nests as deep."""

_COMPARISONS = {
    "=": "=", "==": "=", "!=": "!=", "<>": "!=", "<": "<", "<=": "<=", ">": ">", ">=": ">=",
}  # fmt: skip


class ExpressionParser:
    def __init__(self, lexer: Lexer) -> None:
        self._lexer = lexer
        self._depth = 0

    def expression(self) -> Expression:
        """A whole expression. Errors: query.syntax."""
        self._depth += 1
        if self._depth > DEPTH_MAX:
            raise self._error(self._lexer.peek(), f"nested deeper than {DEPTH_MAX}")
        parsed = self._chain("or")
        self._depth -= 1
        return parsed if self._depth else self._checked(parsed)

    def value(self) -> Expression:
        """An expression without comparisons and logic. Errors: query.syntax."""
        return self._checked(self._operand())

    def _checked(self, parsed: Expression) -> Expression:
        if height(parsed) > HEIGHT_MAX:
            raise self._lexer.error(parsed.span, f"an expression of more than {HEIGHT_MAX} levels")
        return parsed

    def _operand(self) -> Expression:
        left = self._product()
        while (token := self._symbol("+", "-")) is not None:
            right = self._product()
            left = Binary(token.text, left, right, left.span.to(right.span))
        return left

    def _chain(self, word: str) -> Expression:
        read = self._negation if word == "and" else self._conjunction
        parts = [read()]
        while self._keyword(word):
            parts.append(read())
        if len(parts) == 1:
            return parts[0]
        return Logic(word, tuple(parts), parts[0].span.to(parts[-1].span))

    def _conjunction(self) -> Expression:
        return self._chain("and")

    def _negation(self) -> Expression:
        token = self._keyword("not")
        if token is None:
            return self._comparison()
        self._descend(token)
        operand = self._negation()
        self._depth -= 1
        return Not(operand, token.span.to(operand.span))

    def _descend(self, token: Token) -> None:
        self._depth += 1
        if self._depth > DEPTH_MAX:
            raise self._error(token, f"nested deeper than {DEPTH_MAX}")

    def _comparison(self) -> Expression:
        exists = self._keyword("exists")
        if exists is not None:
            place = self._postfix()
            self._check_place(place)
            return Exists(place, exists.span.to(place.span))
        left = self._operand()
        token = self._lexer.peek()
        if token.kind == "symbol" and token.text in _COMPARISONS:
            self._lexer.next()
            right = self._operand()
            self._refuse_chain()
            return Compare(_COMPARISONS[token.text], left, right, left.span.to(right.span))
        negated = self._keyword("not")
        found = self._word_comparison(left)
        if found is None:
            if negated is not None:
                after = self._lexer.peek()
                expected = "expected like, matches, in or between behind not"
                raise self._error(after, f"{expected}, found {after.shown}")
            return left
        self._refuse_chain()
        return found if negated is None else Not(found, found.span)

    def _word_comparison(self, left: Expression) -> Expression | None:
        if self._keyword("like"):
            right = self._operand()
            return Like(left, right, left.span.to(right.span))
        if self._keyword("matches"):
            token = self._lexer.next()
            if token.kind != "literal" or not isinstance(token.value, str):
                raise self._error(token, f"expected a pattern in quotes, found {token.shown}")
            pattern = Literal(token.value, token.span)
            return Matches(left, pattern, left.span.to(token.span))
        if self._keyword("in"):
            right = self._operand()
            return In(left, right, left.span.to(right.span))
        if self._keyword("between"):
            low = self._operand()
            self._expect_keyword("and")
            high = self._operand()
            return Between(left, low, high, left.span.to(high.span))
        return None

    def _refuse_chain(self) -> None:
        token = self._lexer.peek()
        if token.kind == "symbol" and token.text in _COMPARISONS:
            raise self._lexer.error(
                token.span, "comparisons do not chain", "join two of them by and"
            )

    def _check_place(self, place: Expression) -> None:
        base = place
        while isinstance(base, Step):
            base = base.base
        if not isinstance(base, Name | Attribute | Whole):
            raise self._lexer.error(place.span, "exists takes a field")

    def _product(self) -> Expression:
        left = self._signed()
        while True:
            token = self._symbol("*", "/", "%") or self._division_word()
            if token is None:
                return left
            right = self._signed()
            operator = token.text.lower()
            left = Binary(operator, left, right, left.span.to(right.span))

    def _division_word(self) -> Token | None:
        token = self._lexer.peek()
        if token.kind == "name" and token.text.lower() == "div":
            return self._lexer.next()
        return None

    def _signed(self) -> Expression:
        token = self._symbol("-")
        if token is None:
            return self._postfix()
        following = self._lexer.peek()
        if following.kind == "literal" and type(following.value) in (int, float):
            self._lexer.next()
            literal = Literal(-following.value, token.span.to(following.span))
            return self._steps(literal)
        self._descend(token)
        operand = self._signed()
        self._depth -= 1
        return Unary(operand, token.span.to(operand.span))

    def _postfix(self) -> Expression:
        return self._steps(self._primary())

    def _steps(self, base: Expression) -> Expression:
        while True:
            if self._symbol("."):
                token = self._lexer.next()
                if token.kind not in ("name", "quoted", "keyword"):
                    raise self._error(token, f"expected a field's name, found {token.shown}")
                source = self._lexer.line[token.span.start : token.span.end]
                name = source if token.kind == "keyword" else token.text
                base = Step(base, name, base.span.to(token.span))
            elif self._symbol("["):
                key = self._index()
                base = Step(base, key, base.span.to(self._expect("]").span))
            else:
                return base

    def _index(self) -> str | int:
        minus = self._symbol("-")
        token = self._lexer.next()
        value = token.value
        if token.kind == "literal" and type(value) is int and value < MINIMUM_MAGNITUDE:
            return -value if minus else value
        if token.kind == "literal" and isinstance(value, str) and minus is None:
            return value
        raise self._error(token, f"expected a number or a key in quotes, found {token.shown}")

    def _primary(self) -> Expression:
        token = self._lexer.next()
        if token.kind == "literal":
            if type(token.value) is int and token.value >= MINIMUM_MAGNITUDE:
                raise self._error(token, "this number does not fit Int64")
            return Literal(token.value, token.span)
        if token.kind == "attribute":
            return Attribute(token.text, token.span)
        if token.kind in ("name", "quoted"):
            following = self._lexer.peek()
            called = following.kind == "symbol" and following.text == "("
            if token.kind == "name" and called:
                return self._call(token)
            return Name(token.text, token.span)
        if token.kind == "symbol":
            bracketed = self._bracketed(token)
            if bracketed is not None:
                return bracketed
        raise self._error(token, f"expected a value or a field, found {token.shown}", _hint(token))

    def _bracketed(self, token: Token) -> Expression | None:
        if token.text == "(":
            inner = self.expression()
            token = self._lexer.peek()
            if token.kind == "symbol" and token.text == ",":
                hint = "an Array is written in brackets, as in [1, 2]"
                raise self._error(token, f"expected ')', found {token.shown}", hint)
            self._expect(")")
            return inner
        if token.text == "$":
            return Whole(token.span)
        if token.text == "[":
            elements = self._sequence("]")
            return ArrayOf(tuple(elements), token.span.to(self._expect("]").span))
        if token.text == "{":
            return self._object(token)
        return None

    def _call(self, name: Token) -> Call:
        self._expect("(")
        arguments = self._sequence(")")
        end = self._expect(")").span
        return Call(name.text, tuple(arguments), name.span, name.span.to(end))

    def _sequence(self, closer: str) -> list[Expression]:
        token = self._lexer.peek()
        if token.kind == "symbol" and token.text == closer:
            return []
        found = [self.expression()]
        while self._symbol(","):
            found.append(self.expression())
        return found

    def _object(self, opener: Token) -> ObjectOf:
        entries: list[tuple[str, Expression]] = []
        closing = self._lexer.peek()
        if not (closing.kind == "symbol" and closing.text == "}"):
            while True:
                entries.append(self._entry(entries))
                if not self._symbol(","):
                    break
        return ObjectOf(tuple(entries), opener.span.to(self._expect("}").span))

    def _entry(self, before: list[tuple[str, Expression]]) -> tuple[str, Expression]:
        token = self._lexer.next()
        key = token.value if token.kind == "literal" else token.text
        if not isinstance(key, str) or token.kind not in ("name", "quoted", "literal"):
            raise self._error(token, f"expected a key, found {token.shown}")
        if any(key == other for other, _ in before):
            raise self._error(token, f"the key {key!r} is there twice")
        self._expect(":")
        return key, self.expression()

    # ---- pieces ----

    def _symbol(self, *texts: str) -> Token | None:
        token = self._lexer.peek()
        if token.kind == "symbol" and token.text in texts:
            return self._lexer.next()
        return None

    def _expect(self, text: str) -> Token:
        token = self._lexer.next()
        if token.kind != "symbol" or token.text != text:
            raise self._error(token, f"expected {text!r}, found {token.shown}")
        return token

    def _keyword(self, text: str) -> Token | None:
        token = self._lexer.peek()
        if token.kind == "keyword" and token.text == text:
            return self._lexer.next()
        return None

    def _expect_keyword(self, text: str) -> None:
        if self._keyword(text) is None:
            token = self._lexer.peek()
            raise self._error(token, f"expected {text!r}, found {token.shown}")

    def _error(self, token: Token, message: str, hint: str = "") -> AffsError:
        return self._lexer.error(token.span, message, hint)


def _hint(token: Token) -> str:
    if token.kind == "keyword":
        return f"a field called {token.text} is written `{token.text}`, in backquotes"
    return ""
