"""From the text of a query to its tree (docs/specs/QueryLanguage.md, "Grammar").

Recursive descent over sources and stages; expressions are in `expression_parser`. Every error says
what was expected at its place, and near words where there are some.
"""

import difflib
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import TypeVar

from affs_fuse.errors import AffsError
from affs_fuse.query.expression_parser import ExpressionParser
from affs_fuse.query.faults import Span
from affs_fuse.query.lexer import Lexer, Token
from affs_fuse.query.paths import absolute_path, is_path
from affs_fuse.query.tree import (
    Aggregate,
    Attribute,
    Count,
    Distinct,
    Expression,
    Group,
    Item,
    Join,
    Limit,
    Name,
    Query,
    Select,
    Skip,
    Sort,
    SortKey,
    Source,
    Stage,
    Step,
    Where,
    Whole,
)

__all__ = ["AGGREGATES", "SOURCES", "STAGES_MAX", "is_object_id", "parse_query", "suggest"]

SOURCES = ("find", "list", "get")
AGGREGATES = ("count", "sum", "min", "max", "avg", "collect")
STAGES_MAX = 64
JOIN_DEPTH_MAX = 8
ROWS_MAX = 1 << 53
_ROW_WORDS = ("files", "records")
_OTHER_LANGUAGES = {
    "order": "sort EXPRESSION, or sort EXPRESSION desc", "top": "limit NUMBER",
    "head": "limit NUMBER", "first": "limit NUMBER", "offset": "skip NUMBER",
    "filter": "where CONDITION", "having": "where CONDITION, behind group",
    "project": "select FIELD, FIELD", "unique": "distinct", "uniq": "distinct",
    **{name: f"group {name}(EXPRESSION)" for name in AGGREGATES if name != "count"},
}  # fmt: skip
"""What is written here for words that other query languages have."""

T = TypeVar("T")


def parse_query(line: str, directory: str = "/") -> Query:
    """directory: what a path that begins with a dot begins at. Errors: query.syntax."""
    parser = _Parser(Lexer(line), directory)
    query = parser.query(0)
    parser.finish()
    return query


def suggest(text: str, known: Iterable[str]) -> str:
    """A hint with the known words that text may have meant, or ""."""
    near = difflib.get_close_matches(text.lower(), list(known), n=3, cutoff=0.6)
    return f"did you mean {' or '.join(near)}?" if near else ""


class _Parser:
    def __init__(self, lexer: Lexer, directory: str) -> None:
        self._lexer = lexer
        self._directory = directory
        self._expressions = ExpressionParser(lexer)
        self._depth = 0
        self._stages: dict[str, Callable[[Token], Stage]] = {
            "where": self._where,
            "select": self._select,
            "sort": self._sort,
            "limit": self._limit,
            "skip": self._skip,
            "distinct": self._distinct,
            "count": self._count,
            "group": self._group,
            "join": self._join,
            "outer": self._outer_join,
        }

    # ---- sources ----

    def query(self, depth: int) -> Query:
        self._depth = depth
        lexer = self._lexer
        word = lexer.next()
        verb = word.text.lower()
        if word.kind != "name" or verb not in SOURCES:
            hint = suggest(word.text, SOURCES) or "a query begins with a source and its path"
            if word.kind == "literal":
                hint = "a query quoted as one word is the last one: options stand in front of it"
            expected = "expected find, list or get"
            raise self._error(word, f"{expected}, found {word.shown}", hint)
        source, conditions = self._source(verb)
        stages: list[Stage] = [*conditions]
        while self._symbol("|"):
            if len(stages) >= STAGES_MAX:
                raise self._error(lexer.peek(), f"a query has at most {STAGES_MAX} stages")
            stages.append(self._stage())
            self._depth = depth
        return Query(source, tuple(stages), source.span)

    def finish(self) -> None:
        token = self._lexer.peek()
        if token.kind != "end":
            raise self._unexpected(token)

    def _unexpected(self, token: Token) -> AffsError:
        if token.kind == "name" and token.text.lower() in self._stages:
            return self._error(token, f"expected '|' in front of {token.text}")
        hint = "a query in a shell's command line is quoted as one word, in single quotes"
        if token.kind == "name" and (near := suggest(token.text, self._stages)):
            return self._error(token, f"expected '|' or the end, found {token.shown}", near)
        if token.kind != "literal":
            hint = "stages are parted by '|'; a path with white space stands in double quotes"
        if token.text == "-":
            hint = "options stand in front of the query"
        return self._error(token, f"expected '|' or the end, found {token.shown}", hint)

    def _exact(self, place: Token) -> str:
        """An absolute path, or one in base64."""
        if place.text.startswith("/"):
            return place.text
        try:
            return absolute_path(self._directory, place.text)
        except AffsError as error:
            raise self._error(place, error.message, error.hint) from None

    def _source(self, verb: str) -> tuple[Source, list[Where]]:
        lexer = self._lexer
        records = verb != "list"
        place = lexer.bare("a path")
        if place.kind == "bare" and place.text.lower() in _ROW_WORDS:
            records = place.text.lower() == "records"
            place = lexer.bare("a path")
        path = place.text
        if path.startswith("."):
            path = absolute_path(self._directory, path)
        elif is_path(path):
            path = self._exact(place)
        elif not is_object_id(path):
            raise self._error(
                place,
                f"expected a path, found {place.shown}",
                "a path begins with '/', or with '.' where it is relative",
            )
        state = since = None
        end = place.span
        while True:
            token = lexer.peek()
            if token.kind == "keyword" and token.text == "as" and state is None:
                lexer.next()
                self._keyword("of")
                named = lexer.bare("a state")
                state, end = named.text, named.span
            elif _is(token, "changed") and since is None:
                lexer.next()
                self._word("since")
                named = lexer.bare("a state")
                since, end = named.text, named.span
            else:
                break
        conditions = []
        if _is(lexer.peek(), "where"):
            conditions.append(self._where(lexer.next()))
        return (
            Source(verb, records, path, state, since, place.span, place.span.to(end)),
            conditions,
        )

    # ---- stages ----

    def _stage(self) -> Stage:
        word = self._lexer.next()
        read = self._stages.get(word.text.lower()) if word.kind == "name" else None
        if read is None:
            names = [name for name in self._stages if name != "outer"]
            other = _OTHER_LANGUAGES.get(word.text.lower())
            hint = f"here that is `{other}`" if other else suggest(word.text, names)
            hint = hint or "stages are " + ", ".join(names)
            raise self._error(word, f"expected a stage, found {word.shown}", hint)
        stage = read(word)
        return replace(stage, span=Span(word.span.start, self._lexer.consumed))

    def _where(self, word: Token) -> Where:
        condition = self._expressions.expression()
        return Where(condition, word.span.to(condition.span))

    def _select(self, word: Token) -> Select:
        everything = False
        items: list[Item] = []
        if self._symbol("*"):
            everything = True
            if not self._symbol(","):
                return Select((), True, word.span)
        items += self._list(self._item)
        return Select(tuple(items), everything, word.span.to(items[-1].span))

    def _item(self) -> Item:
        expression = self._expressions.expression()
        return Item(expression, self._name_of(expression), expression.span)

    def _name_of(self, expression: Expression) -> str:
        """The name behind `as`, or that of the field itself."""
        token = self._lexer.peek()
        if token.kind == "keyword" and token.text == "as":
            self._lexer.next()
            return self._new_name()
        name = _own_name(expression)
        if name is None:
            raise self._lexer.error(expression.span, "a computed field needs a name: write as NAME")
        return name

    def _new_name(self) -> str:
        token = self._lexer.next()
        if token.kind not in ("name", "quoted"):
            raise self._error(token, f"expected a name, found {token.shown}")
        return token.text

    def _count(self, word: Token) -> Count:
        token = self._lexer.peek()
        if token.kind == "keyword" and token.text == "by":
            hint = "`group count() by FIELD` counts for each value"
            raise self._error(token, "expected '|' or the end, found 'by'", hint)
        return Count(word.span)

    def _sort(self, word: Token) -> Sort:
        token = self._lexer.peek()
        if token.kind == "keyword" and token.text == "by":
            hint = "`sort FIELD`, without by; a field of that name is written `by`, in backquotes"
            raise self._error(token, "expected a value or a field, found 'by'", hint)
        keys = self._list(self._sort_key)
        return Sort(tuple(keys), word.span.to(keys[-1].expression.span))

    def _sort_key(self) -> SortKey:
        expression = self._expressions.expression()
        token = self._lexer.peek()
        if token.kind == "keyword" and token.text in ("asc", "desc"):
            self._lexer.next()
            return SortKey(expression, token.text == "desc")
        return SortKey(expression, False)

    def _limit(self, word: Token) -> Limit:
        return Limit(self._number("limit"), word.span)

    def _skip(self, word: Token) -> Skip:
        return Skip(self._number("skip"), word.span)

    def _number(self, stage: str) -> int:
        token = self._lexer.next()
        value = token.value
        if token.kind != "literal" or type(value) is not int or not 0 <= value <= ROWS_MAX:
            raise self._error(token, f"{stage} takes a number of rows, found {token.shown}")
        return value

    def _distinct(self, word: Token) -> Distinct:
        token = self._lexer.peek()
        if token.kind == "end" or (token.kind == "symbol" and token.text in "|)"):
            return Distinct((), word.span)
        return Distinct(tuple(self._list(self._expressions.expression)), word.span)

    def _group(self, word: Token) -> Group:
        """Aggregates and then keys, or the other way round."""
        keys: list[Item] = []
        aggregates: list[Aggregate] = []
        if self._takes_keyword("by"):
            keys = self._list(self._item)
            if _is(self._lexer.peek(), "with"):
                self._lexer.next()
                aggregates = self._list(self._aggregate)
        else:
            aggregates = self._list(self._aggregate)
            if self._takes_keyword("by"):
                keys = self._list(self._item)
        self._distinct_names([*aggregates, *keys])
        return Group(tuple(aggregates), tuple(keys), word.span)

    def _takes_keyword(self, word: str) -> bool:
        token = self._lexer.peek()
        if token.kind != "keyword" or token.text != word:
            return False
        self._lexer.next()
        return True

    def _aggregate(self) -> Aggregate:
        word = self._lexer.next()
        function = word.text.lower()
        if word.kind != "name" or function not in AGGREGATES:
            hint = suggest(word.text, AGGREGATES) or "they are " + ", ".join(AGGREGATES)
            raise self._error(word, f"expected an aggregate, found {word.shown}", hint)
        token = self._lexer.peek()
        if function == "count" and not (token.kind == "symbol" and token.text == "("):
            return self._named_count(word.span)
        self._expect("(")
        argument = None
        token = self._lexer.peek()
        if not (function == "count" and token.kind == "symbol" and token.text == ")"):
            argument = self._expressions.expression()
        span = word.span.to(self._expect(")").span)
        if argument is None:
            return self._named_count(span)
        if self._takes_keyword("as"):
            return Aggregate(function, argument, self._new_name(), span)
        own = _own_name(argument)
        if own is None:
            raise self._lexer.error(span, "a computed field needs a name: write as NAME")
        return Aggregate(function, argument, f"{function}_{own}", span)

    def _named_count(self, span: Span) -> Aggregate:
        """Of rows."""
        name = self._new_name() if self._takes_keyword("as") else "count"
        return Aggregate("count", None, name, span)

    def _distinct_names(self, items: list[Aggregate | Item]) -> None:
        seen = set()
        for item in items:
            if item.name in seen:
                raise self._lexer.error(
                    item.span, f"two fields are called {item.name}", "write as NAME for one of them"
                )
            seen.add(item.name)

    def _outer_join(self, word: Token) -> Join:
        self._word("join")
        return self._join(word, outer=True)

    def _join(self, word: Token, outer: bool = False) -> Join:
        depth = self._depth + 1
        if depth > JOIN_DEPTH_MAX:
            raise self._error(word, f"joins nest at most {JOIN_DEPTH_MAX} deep")
        self._expect("(")
        query = self.query(depth)
        self._expect(")")
        self._keyword("on")
        condition = self._expressions.value()
        self._expect("=")
        right = self._expressions.value()
        self._keyword("as")
        return Join(query, condition, right, self._new_name(), outer, word.span)

    # ---- pieces ----

    def _list(self, read: Callable[[], T]) -> list[T]:
        found = [read()]
        while self._symbol(","):
            found.append(read())
        return found

    def _symbol(self, text: str) -> bool:
        token = self._lexer.peek()
        if token.kind == "symbol" and token.text == text:
            self._lexer.next()
            return True
        return False

    def _expect(self, text: str) -> Token:
        token = self._lexer.next()
        if token.kind != "symbol" or token.text != text:
            raise self._error(token, f"expected {text!r}, found {token.shown}")
        return token

    def _keyword(self, text: str) -> None:
        token = self._lexer.next()
        if token.kind != "keyword" or token.text != text:
            raise self._error(token, f"expected {text!r}, found {token.shown}")

    def _word(self, text: str) -> None:
        token = self._lexer.next()
        if not _is(token, text):
            raise self._error(token, f"expected {text!r}, found {token.shown}")

    def _error(self, token: Token, message: str, hint: str = "") -> AffsError:
        return self._lexer.error(token.span, message, hint)


def _is(token: Token, word: str) -> bool:
    return token.kind == "name" and token.text.lower() == word


def is_object_id(text: str) -> bool:
    """Whether it is written as an object's id, which no path is."""
    return len(text) == 32 and all(digit in "0123456789abcdef" for digit in text.lower())


def _own_name(expression: Expression) -> str | None:
    if isinstance(expression, Name | Attribute):
        return expression.name
    if isinstance(expression, Step) and isinstance(expression.key, str):
        return expression.key
    if isinstance(expression, Whole):
        return "value"
    return None
