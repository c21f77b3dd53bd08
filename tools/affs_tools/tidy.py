"""The house rules, checked: `python -m affs_tools.tidy [ROOT]`.

A rule that matters is checked by a machine, and its message names the remedy. The rules stand in
docs/style.md, "House rules"; what ruff, mypy and import-linter already check is not repeated here.
Every rule is a function from a parsed file to findings, so tests/tools/test_tidy_rules.py can show
each of them a file that breaks it.
"""

import argparse
import ast
import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

__all__ = ["Finding", "Source", "check_tree", "main"]

LINE_COLUMNS_MAX = 100
FUNCTION_LINES_MAX = 70
FILE_LINES_MAX = 600

CODE_SUFFIXES = {".py", ".pyi", ".c", ".h"}
SKIPPED_FOLDERS = {"build", "dist", "__pycache__", "demo-mnt"}
RUNNING_MODULES = {"pickle", "marshal", "shelve", "code"}
CLOCK_MODULES = {"time", "random", "secrets"}
CLOCK_CALLS = {
    "os.urandom", "os.getrandom", "uuid.uuid1", "uuid.uuid4", "datetime.now", "datetime.utcnow",
    "datetime.today", "date.today", "datetime.datetime.now", "datetime.date.today",
}
COMPILED_MODULES = {"affs_fuse._core": "affs_fuse/core", "affs_fuse._requests": "affs_fuse/fuse"}
ROOTS_THAT_ARE_NO_PACKAGES = {"ctl", "tools", "native"}
ERROR_CODE = re.compile(r"^[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)+$")


@dataclass(frozen=True, slots=True, order=True)
class Finding:
    """One broken rule. path: relative to the root. line: 1-based, 0 for the whole file."""

    path: str
    line: int
    message: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.message}"


@dataclass(frozen=True)
class Source:
    """A text file. path: relative to the root, with forward slashes."""

    path: str
    text: str

    @cached_property
    def lines(self) -> list[str]:
        return self.text.splitlines()

    @cached_property
    def suffix(self) -> str:
        return Path(self.path).suffix

    @cached_property
    def tree(self) -> ast.Module:
        return ast.parse(self.text, self.path)

    @cached_property
    def syntax_error(self) -> SyntaxError | None:
        try:
            self.tree  # noqa: B018 parsed on first use
        except SyntaxError as error:
            return error
        return None

    @cached_property
    def nodes(self) -> list[ast.AST]:
        return list(ast.walk(self.tree))

    def under(self, *folders: str) -> bool:
        return any(self.path.startswith(folder + "/") for folder in folders)

    def finding(self, line: int, message: str) -> Finding:
        return Finding(self.path, line, message)


Rule = Callable[[Source], Iterator[Finding]]


# ---- every source file ----


def lines_fit(source: Source) -> Iterator[Finding]:
    for number, line in enumerate(source.lines, 1):
        if len(line) > LINE_COLUMNS_MAX:
            yield source.finding(
                number, f"{len(line)} columns; wrap the line at {LINE_COLUMNS_MAX}"
            )


def file_fits(source: Source) -> Iterator[Finding]:
    if len(source.lines) > FILE_LINES_MAX:
        yield source.finding(
            0,
            f"{len(source.lines)} lines; split the file by subject, "
            f"at most {FILE_LINES_MAX} lines each",
        )


# ---- Python ----


def has_docstring(source: Source) -> Iterator[Finding]:
    if source.tree.body and ast.get_docstring(source.tree) is None:
        yield source.finding(1, "no module docstring; open with what the file is for")


def functions_fit(source: Source) -> Iterator[Finding]:
    for node in source.nodes:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = (node.end_lineno or node.lineno) - node.lineno + 1
            if length > FUNCTION_LINES_MAX:
                yield source.finding(
                    node.lineno,
                    f"{node.name}() has {length} lines; make functions of its steps, "
                    f"at most {FUNCTION_LINES_MAX} lines each",
                )


def no_print(source: Source) -> Iterator[Finding]:
    if not source.under("affs_fuse", "native"):
        return
    for node in source.nodes:
        if isinstance(node, ast.Call) and dotted(node.func) == "print":
            yield source.finding(node.lineno, "print() here; log it, or return it to the caller")


def imports_on_top(source: Source) -> Iterator[Finding]:
    if source.under("ctl"):
        return
    for function in source.nodes:
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
            for node in ast.walk(function):
                if isinstance(node, ast.Import | ast.ImportFrom):
                    yield source.finding(
                        node.lineno, "import inside a function; move it to the top of the file"
                    )


def no_global(source: Source) -> Iterator[Finding]:
    for node in source.nodes:
        if isinstance(node, ast.Global):
            yield source.finding(
                node.lineno, "global statement; make it an attribute of an object that is passed in"
            )


def no_silent_except(source: Source) -> Iterator[Finding]:
    for node in source.nodes:
        if not isinstance(node, ast.ExceptHandler):
            continue
        if node.type is None:
            yield source.finding(node.lineno, "bare except; name the exceptions that are expected")
        elif all(is_nothing(statement) for statement in node.body):
            yield source.finding(
                node.lineno,
                "silent except; handle or log it, or say contextlib.suppress() with a comment why",
            )


def is_nothing(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.Pass) or (
        isinstance(statement, ast.Expr)
        and isinstance(statement.value, ast.Constant)
        and statement.value.value is ...
    )


def environment_in_one_place(source: Source) -> Iterator[Finding]:
    if source.under("ctl", "tests") or source.path == "affs_fuse/daemon/config.py":
        return
    for node in source.nodes:
        if isinstance(node, ast.Attribute) and dotted(node) in ("os.environ", "os.environb"):
            yield source.finding(
                node.lineno, "os.environ; read it in daemon/config.py and pass the value on"
            )
        elif isinstance(node, ast.Call) and dotted(node.func) in ("os.getenv", "getenv"):
            yield source.finding(
                node.lineno, "os.getenv(); read it in daemon/config.py and pass the value on"
            )


def clock_in_one_place(source: Source) -> Iterator[Finding]:
    if source.under("tools", "tests") or source.path == "affs_fuse/clock.py":
        return
    remedy = "take a Clock or an Entropy (affs_fuse/clock.py) as an argument"
    for line, module in imported_modules(source):
        if module in CLOCK_MODULES:
            yield source.finding(line, f"import of {module}; {remedy}")
    for node in source.nodes:
        if isinstance(node, ast.Call) and dotted(node.func) in CLOCK_CALLS:
            yield source.finding(node.lineno, f"{dotted(node.func)}(); {remedy}")


def nothing_runs_data(source: Source) -> Iterator[Finding]:
    """The daemon reads what others have made: none of it may become code or a shell's line."""
    if not source.under("affs_fuse"):
        return
    for line, module in imported_modules(source):
        if module in RUNNING_MODULES:
            yield source.finding(line, f"import of {module}; use auv, which only makes values")
    for node in source.nodes:
        if not isinstance(node, ast.Call):
            continue
        if dotted(node.func) in ("eval", "exec", "compile", "os.system", "os.popen"):
            yield source.finding(node.lineno, f"{dotted(node.func)}(); do without it")
        if any(word.arg == "shell" for word in node.keywords):
            yield source.finding(node.lineno, "shell=; give the program its words as a list")


def one_room_calls_c(source: Source) -> Iterator[Finding]:
    for line, module in imported_modules(source):
        name = ".".join(module.split(".")[:2])
        room = COMPILED_MODULES.get(name)
        if room is not None and not source.under(room):
            yield source.finding(
                line, f"import of the compiled module {name}; use the functions of {room}/"
            )


def views_are_released(source: Source) -> Iterator[Finding]:
    """core/abi.py says why."""
    for node in source.nodes:
        if not isinstance(node, ast.Assign) or not isinstance(node.value, ast.Call):
            continue
        if dotted(node.value.func).endswith(".from_buffer") and isinstance(
            node.targets[0], ast.Name
        ):
            yield source.finding(
                node.lineno, "a name for from_buffer(); use it in a with statement"
            )


def packages_by_name(source: Source) -> Iterator[Finding]:
    for line, module in imported_modules(source):
        if module.split(".")[0] in ROOTS_THAT_ARE_NO_PACKAGES:
            yield source.finding(
                line, f"import of folder {module}; import affs_ctl, affs_tools or affs_fuse"
            )


def imported_modules(source: Source) -> Iterator[tuple[int, str]]:
    """Absolute names of what is imported; `from a import b` gives both a and a.b."""
    package = Path(source.path).with_suffix("").parts[:-1]
    for node in source.nodes:
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                above = package[: len(package) - node.level + 1]
                base = ".".join([*above, *([base] if base else [])])
            yield node.lineno, base
            for alias in node.names:
                yield node.lineno, f"{base}.{alias.name}"


def dotted(node: ast.expr) -> str:
    """`a.b.c` of a chain of names, or ""."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        prefix = dotted(node.value)
        return f"{prefix}.{node.attr}" if prefix else ""
    return ""


# ---- C ----


def opens_with_comment(source: Source) -> Iterator[Finding]:
    if not source.text.lstrip().startswith(("/*", "//")):
        yield source.finding(1, "no opening comment; open with what the file is for")


def c_functions_fit(source: Source) -> Iterator[Finding]:
    """A function's body opens at the end of a line or on a line of its own, and
    closes with a brace in the first column."""
    begin = 0
    for number, line in enumerate(source.lines, 1):
        if line and not line[0].isspace() and line[0] not in "}#/*{":
            begin = number
        if line.startswith("}"):
            if begin and number - begin + 1 > FUNCTION_LINES_MAX and is_function(source, begin):
                yield source.finding(
                    begin,
                    f"a function of {number - begin + 1} lines; take steps out of it, "
                    f"at most {FUNCTION_LINES_MAX} lines each",
                )
            begin = 0


def is_function(source: Source, line: int) -> bool:
    head = "\n".join(source.lines[line - 1 : line + 8]).split("{")[0]
    return "(" in head and "=" not in head and not head.startswith("typedef")


# ---- documents ----

FENCE = re.compile(r"^(```|~~~)")
LINK = re.compile(r"(?<!!)\[[^\]]*\]\(\s*<?([^)\s>]+)>?[^)]*\)")
HEADING = re.compile(r"^(#{1,6})\s+(.*?)\s*#*$")


def prose_lines(source: Source) -> Iterator[tuple[int, str]]:
    """The lines of a document outside fenced code, with inline code blanked."""
    fenced = False
    for number, line in enumerate(source.lines, 1):
        if FENCE.match(line.lstrip()):
            fenced = not fenced
        elif not fenced:
            yield number, re.sub(r"`[^`]*`", lambda match: "`" * len(match[0]), line)


def one_title(source: Source) -> Iterator[Finding]:
    titles = [number for number, line in prose_lines(source) if line.startswith("# ")]
    if len(titles) != 1:
        yield source.finding(
            titles[1] if titles else 1,
            f"{len(titles)} headings of the first level; a document has exactly one, its title",
        )


def heading_anchors(source: Source) -> set[str]:
    """The anchors that GitHub and most renderers give to a document's headings."""
    anchors: set[str] = set()
    fenced = False
    for line in source.lines:
        if FENCE.match(line.lstrip()):
            fenced = not fenced
        heading = None if fenced else HEADING.match(line)
        if heading is None:
            continue
        text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading[2]).lower()
        slug = re.sub(r"[^\w\- ]", "", text).strip().replace(" ", "-")
        repeat = 0
        anchor = slug
        while anchor in anchors:
            repeat += 1
            anchor = f"{slug}-{repeat}"
        anchors.add(anchor)
    return anchors


def links_resolve(source: Source, root: Path) -> Iterator[Finding]:
    for number, line in prose_lines(source):
        for target in LINK.findall(line):
            if re.match(r"^[a-z][a-z0-9+.-]*:", target):
                continue
            path, _, anchor = target.partition("#")
            place = (root / source.path).parent / path if path else Path(source.path)
            if path and not place.exists():
                yield source.finding(
                    number, f"link to {target}: no such file; correct the path or write the page"
                )
            elif anchor and place.suffix == ".md":
                page = Source(str(place), place.read_text()) if path else source
                if anchor not in heading_anchors(page):
                    yield source.finding(
                        number, f"link to {target}: no such heading; use the heading's own anchor"
                    )


# ---- the project as a whole ----


def literals(values: list[ast.expr]) -> Iterator[str]:
    """The string constants among them."""
    for value in values:
        if isinstance(value, ast.Constant) and isinstance(value.value, str):
            yield value.value


def error_codes(source: Source) -> Iterator[tuple[int, str]]:
    """Codes given literally to AffsError or to another class whose name ends in "Error"."""
    for node in source.nodes:
        if isinstance(node, ast.Call) and dotted(node.func).endswith("Error"):
            given = [*node.args[:1], *(word.value for word in node.keywords if word.arg == "code")]
            for value in literals(given):
                if ERROR_CODE.match(value):
                    yield node.lineno, value


def codes_documented(sources: list[Source], root: Path) -> Iterator[Finding]:
    page = root / "docs/specs/Errors.md"
    text = page.read_text() if page.exists() else ""
    listed = set(re.findall(r"`([a-z0-9_.]+)`", text))
    for source in sources:
        if source.under("affs_fuse") and source.suffix == ".py" and not source.syntax_error:
            for line, code in error_codes(source):
                if code not in listed:
                    yield source.finding(
                        line, f"error code {code} is not documented; add it to docs/specs/Errors.md"
                    )


def command_names(source: Source) -> Iterator[tuple[int, str]]:
    """Names of registered commands: `Command(name=...)` or `@command("name", ...)`."""
    for node in source.nodes:
        if not isinstance(node, ast.Call):
            continue
        if dotted(node.func).split(".")[-1].lower() in ("command", "query", "commandspec"):
            given = [*node.args[:1], *(word.value for word in node.keywords if word.arg == "name")]
            for value in literals(given):
                yield node.lineno, value


def commands_documented(sources: list[Source], root: Path) -> Iterator[Finding]:
    page = root / "docs/commands.md"
    text = page.read_text() if page.exists() else ""
    documented = set(re.findall(r"`([a-z-]+)", text))
    for source in sources:
        commands = source.under("affs_fuse/runtime/commands") and source.suffix == ".py"
        if commands and not source.syntax_error:
            for line, name in command_names(source):
                if name not in documented:
                    yield source.finding(
                        line, f"command {name} is not documented; add it to docs/commands.md"
                    )


TEXT_RULES: list[Rule] = [lines_fit, file_fits]
PYTHON_RULES: list[Rule] = [
    has_docstring, functions_fit, no_print, imports_on_top, no_global, no_silent_except,
    environment_in_one_place, clock_in_one_place, nothing_runs_data, one_room_calls_c,
    views_are_released, packages_by_name,
]
C_RULES: list[Rule] = [opens_with_comment, c_functions_fit]


def check_source(source: Source, root: Path) -> Iterator[Finding]:
    """All rules that look at one file."""
    rules: list[Rule] = []
    if source.suffix in CODE_SUFFIXES:
        rules += TEXT_RULES
    if source.suffix == ".py":
        if (error := source.syntax_error) is not None:
            yield source.finding(error.lineno or 0, f"{error.msg}; mend the syntax")
            return
        rules += PYTHON_RULES
    if source.suffix in (".c", ".h"):
        rules += C_RULES
    for rule in rules:
        yield from rule(source)
    if source.suffix == ".md":
        yield from one_title(source)
        yield from links_resolve(source, root)


def read_tree(root: Path) -> list[Source]:
    """Every source file and document below root that is not built, hidden or generated."""
    sources = []
    for path in sorted(root.rglob("*")):
        relative = path.relative_to(root)
        hidden = any(
            part.startswith(".") or part in SKIPPED_FOLDERS or part.endswith(".egg-info")
            for part in relative.parts
        )
        if hidden or path.suffix not in CODE_SUFFIXES | {".md"} or not path.is_file():
            continue
        built = path.suffix == ".c" and relative.parts[:-1] == ("affs_fuse",)
        if not built:
            sources.append(Source(relative.as_posix(), path.read_text()))
    return sources


def check_tree(root: Path) -> list[Finding]:
    """Everything found below root, sorted by place."""
    sources = read_tree(root)
    findings = [finding for source in sources for finding in check_source(source, root)]
    findings += codes_documented(sources, root)
    findings += commands_documented(sources, root)
    return sorted(set(findings))


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="tidy", description="check the house rules")
    default = Path(__file__).resolve().parents[2]
    parser.add_argument("root", nargs="?", type=Path, default=default, help="of the checkout")
    root = parser.parse_args(arguments).root
    findings = check_tree(root)
    for finding in findings:
        print(finding)
    if findings:
        print(f"tidy: {len(findings)} findings; docs/style.md explains the rules")
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
