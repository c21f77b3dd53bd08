"""What can stand at the end of a query that is being written (docs/specs/CommandGrammar.md,
"Completion").

A rough reading, which takes what is odd for unknown rather than complain: the parser complains. A
query in parentheses behind `join` is read by itself.
"""

import re
from dataclasses import dataclass

__all__ = ["STAGE_WORDS", "Expected", "expected_at_end"]

STAGE_WORDS = {
    "where": "rows that fulfil a condition", "select": "fields, computed ones too",
    "sort": "by values, asc or desc", "limit": "at most so many rows",
    "skip": "without the first", "distinct": "each once", "count": "how many",
    "group": "count() and others, by values", "join": "with another query, on a value",
    "outer join": "also rows that have no partner",
}  # fmt: skip

_TOKEN = re.compile(
    r"""\s+|"(?:[^"\\]|\\.)*"|'(?:[^']|'')*'|`[^`]*`|@\w*|\d[\w.]*|[^\W\d]\w*|[^\s]""", re.VERBOSE
)
_PATH = re.compile(r"""\s*("(?:[^"\\]|\\.)*"|'[^']*'|[^\s|()'"]+)""")
_NAME = re.compile(r"[^\W\d]\w*\Z")
_KINDS = ("files", "records")
_BEFORE_VALUE = frozenset(
    {"and", "or", "not", "like", "matches", "in", "exists", "between", "by", "select", "where"}
    | {"sort", "group", "distinct", "on", *"=<>!+-*/([,:"}
)
_OPERATORS = (
    "and", "or", "=", "!=", "<", "<=", ">", ">=", "like", "matches", "in", "between", "not",
)  # fmt: skip


@dataclass(slots=True)
class Expected:
    """start: where in the text the word begins that is being written; prefix: what there is of it.
    kinds: path, state, keyword, stage, value (fields, functions), attribute, member. words: of
    keyword. path, files: of the source that fields are of. chain: in front of a member. names: that
    an earlier stage gave the rows, None while they are those of the source."""

    start: int
    prefix: str = ""
    kinds: tuple[str, ...] = ()
    words: tuple[str, ...] = ()
    path: str = ""
    files: bool = False
    chain: tuple[str, ...] = ()
    names: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class _Token:
    text: str
    start: int

    @property
    def low(self) -> str:
        return self.text.lower()


def expected_at_end(text: str, start: int, verb: str) -> Expected:
    """text: the whole line; start: behind the verb of the query in it."""
    tokens: list[_Token] = []
    files = verb == "list"
    kind = re.match(r"\s*(files|records)(?=\s)", text[start:], re.IGNORECASE)
    if kind is not None:
        files = kind[1].lower() == "files"
        start += kind.end()
    path = _PATH.match(text, start)
    if path is None or path.end() == len(text):
        word = text[start:].lstrip()
        begins = len(text) - len(word)
        early = kind is None and any(one.startswith(word.lower()) for one in _KINDS)
        words = _KINDS if early else ()
        return Expected(begins, word, ("path", "keyword"), words)
    source = path[1].strip("\"'")
    at = path.end()
    while at < len(text):
        match = _TOKEN.match(text, at)
        assert match is not None, "the last alternative takes anything"
        piece = match.group()
        if piece in ("'", '"', "`"):
            return Expected(len(text))  # inside quotes
        if not piece.isspace():
            tokens.append(_Token(piece, at))
        at = match.end()
    inner = _inner_query(tokens)
    if inner is not None:
        return expected_at_end(text, inner.start + len(inner.text), inner.low)
    return _at_end(text, tokens, source, files)


def _inner_query(tokens: list[_Token]) -> _Token | None:
    """The verb of a query in parentheses that are still open."""
    opened: list[int] = []
    for index, token in enumerate(tokens):
        if token.text == "(":
            opened.append(index)
        elif token.text == ")" and opened:
            opened.pop()
    for index in reversed(opened):
        behind = tokens[index + 1 :]
        if index and tokens[index - 1].low == "join" and behind:
            return behind[0] if behind[0].low in ("find", "list", "get") else None
    return None


def _at_end(text: str, tokens: list[_Token], path: str, files: bool) -> Expected:
    word = None
    if tokens and not text[-1].isspace() and re.fullmatch(r"@\w*|[^\W\d]\w*", tokens[-1].text):
        word = tokens.pop()
    prefix = word.text if word is not None else ""
    found = Expected(
        len(text) - len(prefix), prefix, path=path, files=files, names=_given_names(tokens)
    )
    stage = _current_stage(tokens)
    last = tokens[-1].low if tokens else ""
    if last == "|":
        found.kinds = ("stage",)
    elif not stage:
        _expect_clause(found, tokens, last)
    elif prefix.startswith("@"):
        found.kinds = ("attribute",)
    elif last == ".":
        found.kinds, found.chain = ("member",), _chain(tokens[:-1])
    elif stage in ("limit", "skip", "count") or last == "as":
        found.kinds = ()
    elif last in _BEFORE_VALUE:
        found.kinds = ("value",)
    else:
        found.kinds, found.words = ("keyword",), _behind_operand(stage)
    return found


def _expect_clause(found: Expected, tokens: list[_Token], last: str) -> None:
    if last == "as":
        found.kinds, found.words = ("keyword",), ("of",)
    elif last == "changed":
        found.kinds, found.words = ("keyword",), ("since",)
    elif last in ("of", "since"):
        found.kinds = ("state",)
    else:
        found.kinds, found.words = ("keyword",), ("where", "as of", "changed since", "|")


def _behind_operand(stage: str) -> tuple[str, ...]:
    if stage == "sort":
        return ("asc", "desc", "|")
    if stage == "select":
        return ("as", "|")
    if stage == "group":
        return ("as", "by", "|")
    return (*_OPERATORS, "|") if stage == "where" else ("|", "as", "on")


def _current_stage(tokens: list[_Token]) -> str:
    """The stage in which the end stands, "" for the source."""
    stage, begins = "", False
    for token in tokens:
        if token.text == "|":
            stage, begins = "?", True
        elif begins and token.low != "outer":
            stage, begins = token.low, False
        elif not stage and token.low == "where":
            stage = "where"
    return stage


def _chain(tokens: list[_Token]) -> tuple[str, ...]:
    """The names in front of a dot: home.address of `x = home.address.`"""
    names: list[str] = []
    wants_name = True
    for token in reversed(tokens):
        if wants_name and (_NAME.match(token.text) or token.text.startswith("`")):
            names.append(token.text.strip("`"))
        elif wants_name or token.text != ".":
            break
        wants_name = not wants_name
    return tuple(reversed(names))


def _given_names(tokens: list[_Token]) -> tuple[str, ...] | None:
    """Names of the fields that the last finished select or group gives."""
    names: tuple[str, ...] | None = None
    part: list[_Token] = []
    for token in tokens:
        if token.text == "|":
            names = _names_of(part, names)
            part = []
        else:
            part.append(token)
    return names


def _names_of(part: list[_Token], before: tuple[str, ...] | None) -> tuple[str, ...] | None:
    if not part or part[0].low not in ("select", "group"):
        return before
    names: list[str] = []
    for index, token in enumerate(part[1:], 1):
        previous = part[index - 1].low
        following = part[index + 1].low if index + 1 < len(part) else ","
        whole = following in (",", "by") and previous in (",", "select", "by", ".")
        if _NAME.match(token.text) and (previous == "as" or whole):
            names.append(token.text)
    return tuple(names)
