"""The tables of docs/specs/Errors.md against the code: every code once, with its category.

Codes are collected from the syntax trees: the first argument of every call of an error class, and
the like argument of every function that hands it on to one. A row whose code no longer stands
anywhere in the code is an error too.
"""

import ast
import errno
import pickle
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

from affs_fuse.errors import AffsError, Category
from affs_fuse.volume.index_pages import IndexDamage

ROOT = Path(__file__).resolve().parent.parent
SPEC = ROOT / "docs/specs/Errors.md"
FOLDERS = ("affs_fuse", "ctl/affs_ctl", "tools/affs_tools")
CODE = re.compile(r"[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)+")
ROW = re.compile(r"^\| `([a-z0-9_.]+)` \| ([a-z_ ,]+) \| (.+) \|$", re.MULTILINE)
ERROR_CLASS = re.compile(r"(Error|Fault)$")
HANDED_ON = frozenset({"code", "reason"})
"""Names of parameters that are a code; others that reach an error class are something else."""


@dataclass(frozen=True, slots=True)
class Use:
    """A code in the source. category: "" when the call does not name it."""

    code: str
    category: str
    where: str


@dataclass(frozen=True, slots=True)
class Source:
    name: str
    tree: ast.Module


@cache
def sources() -> tuple[Source, ...]:
    paths = sorted(path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py"))
    return tuple(Source(str(path.relative_to(ROOT)), ast.parse(path.read_text())) for path in paths)


def called_name(call: ast.Call) -> str:
    """The last name of what is called; `__init__` when it is super().__init__."""
    function = call.func
    if isinstance(function, ast.Attribute):
        return function.attr
    return function.id if isinstance(function, ast.Name) else ""


def literals(expression: ast.expr) -> Iterator[str]:
    """The codes that an argument may be: a literal, or either side of a conditional."""
    if isinstance(expression, ast.Constant) and isinstance(expression.value, str):
        if CODE.fullmatch(expression.value):
            yield expression.value
    elif isinstance(expression, ast.IfExp):
        yield from literals(expression.body)
        yield from literals(expression.orelse)


def argument(call: ast.Call, position: int, name: str) -> ast.expr | None:
    for keyword in call.keywords:
        if keyword.arg == name:
            return keyword.value
    return call.args[position] if position < len(call.args) else None


def category_of(call: ast.Call) -> str:
    for value in [*call.args, *(keyword.value for keyword in call.keywords)]:
        if isinstance(value, ast.Attribute) and ast.unparse(value.value) == "Category":
            return Category[value.attr].value
    return ""


@cache
def functions() -> tuple[tuple[str, list[str], tuple[ast.Call, ...]], ...]:
    """Name, parameters without self, and calls inside, of every function."""
    return tuple(
        (
            node.name,
            [one.arg for one in [*node.args.args, *node.args.kwonlyargs] if one.arg != "self"],
            tuple(inner for inner in ast.walk(node) if isinstance(inner, ast.Call)),
        )
        for source in sources()
        for node in ast.walk(source.tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name != "__init__"
    )


@cache
def makers() -> dict[str, tuple[int, str]]:
    """What makes an error of a code it is given: position and name of that parameter.

    Error classes by their names, and functions that hand a parameter on to one of these.
    """
    found: dict[str, tuple[int, str]] = {"__init__": (0, "code")}
    for source in sources():
        for node in ast.walk(source.tree):
            name = called_name(node) if isinstance(node, ast.Call) else ""
            if ERROR_CLASS.search(name):
                found[name] = (0, "code")
    count = 0
    while len(found) > count:
        count = len(found)
        for name, parameters, calls in functions():
            for call in calls:
                given = argument(call, *found.get(called_name(call), (99, "")))
                if isinstance(given, ast.Name) and given.id in HANDED_ON.intersection(parameters):
                    found.setdefault(name, (parameters.index(given.id), given.id))
    return found


@cache
def uses() -> tuple[Use, ...]:
    result = []
    for source in sources():
        for node in ast.walk(source.tree):
            if isinstance(node, ast.Call) and called_name(node) in makers():
                given = argument(node, *makers()[called_name(node)])
                for code in literals(given) if given is not None else ():
                    where = f"{source.name}:{node.lineno}"
                    result.append(Use(code, category_of(node), where))
            elif isinstance(node, ast.Constant) and str(node.value).startswith("verify."):
                result.append(Use(str(node.value), "", f"{source.name}:{node.lineno}"))
            elif isinstance(node, ast.keyword) and node.arg == "errors":
                # What a command declares that it may answer.
                members = node.value.elts if isinstance(node.value, ast.Tuple) else []
                for code in [code for member in members for code in literals(member)]:
                    result.append(Use(code, "", f"{source.name}:{node.value.lineno}"))
    return tuple(result)


@cache
def rows() -> tuple[tuple[str, list[str], str], ...]:
    found = ROW.findall(SPEC.read_text())
    return tuple((code, re.split(r" or |, ", categories), text) for code, categories, text in found)


def test_the_collector_sees_codes() -> None:
    found = {use.code for use in uses()}
    assert {"auv.wire", "auv.text", "protocol.frame_size", "client.closed"} <= found


def test_every_code_is_in_a_table() -> None:
    listed = {code for code, _, _ in rows()}
    missing = sorted(f"{use.code} ({use.where})" for use in uses() if use.code not in listed)
    assert not missing, f"add a row to docs/specs/Errors.md for: {missing}"


def test_every_code_has_one_row() -> None:
    codes = [code for code, _, _ in rows()]
    assert sorted(set(codes)) == sorted(codes)


def test_categories_agree() -> None:
    listed = {code: categories for code, categories, _ in rows()}
    wrong = [
        f"{use.code} is {use.category} in {use.where}, the table says {listed[use.code]}"
        for use in uses()
        if use.category and use.code in listed and use.category not in listed[use.code]
    ]
    assert not wrong, wrong


def test_every_row_stands_for_something() -> None:
    strings = {
        node.value
        for source in sources()
        for node in ast.walk(source.tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }
    dead = [code for code, _, _ in rows() if code not in strings]
    assert not dead, f"no code uses these rows of docs/specs/Errors.md: {dead}"


@pytest.mark.parametrize("category", list(Category))
def test_the_table_of_categories(category: Category) -> None:
    pattern = rf"^\| `{category}` \| (\d+) \| ([A-Z]+) \|"
    found = re.search(pattern, SPEC.read_text(), re.MULTILINE)
    assert found is not None, f"docs/specs/Errors.md has no row for {category}"
    assert int(found.group(1)) == category.exit_status
    assert getattr(errno, found.group(2)) == category.errno


@pytest.mark.parametrize(
    "error",
    [
        AffsError("a.b", Category.BUSY, "m", hint="h", retryable=True, details={"x": 1}, errno=5),
        IndexDamage("a page is missing"),
    ],
)
def test_errors_pass_between_processes(error: AffsError) -> None:
    copy = pickle.loads(pickle.dumps(error))
    assert (type(copy), copy.to_auv(), copy.errno) == (type(error), error.to_auv(), error.errno)
    assert str(copy) == str(error)
