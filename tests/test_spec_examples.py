"""Every example in docs/ is run: Python sessions, and the language-neutral ones of AUV and AJIS.

Blocks with the info strings `auv order`, `auv wire`, `auv refuse` and `ajis accept` hold one
example per line, its two sides parted by ` => `. Any implementation can be tested by them.
"""

import doctest
import itertools
import re
import sys
from pathlib import Path

import pytest

from affs_fuse import auv
from affs_fuse.errors import AffsError
from affs_fuse.query.conversion import converted
from affs_fuse.query.functions import FUNCTIONS
from affs_fuse.query.lexer import KEYWORDS
from affs_fuse.query.parser import AGGREGATES
from affs_fuse.query.rows import ATTRIBUTES
from affs_fuse.query.schema_check import Violation, violations
from affs_fuse.query.schema_reading import parse_schema

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "tests/posix"), str(ROOT / "tests/query")]

from query_harness import QueryBench  # noqa: E402 - found by the path just set

DOCS = ROOT / "docs"
BLOCK = re.compile(r"^```([a-z]+ [a-z]+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks(page: str, kind: str) -> list[str]:
    """The lines of all blocks of one kind in a page of docs/specs."""
    found = BLOCK.findall((DOCS / "specs" / page).read_text())
    return [line for name, body in found if name == kind for line in body.splitlines() if line]


def examples(page: str, kind: str) -> list[tuple[str, str]]:
    parts = [line.rpartition("=> ") for line in blocks(page, kind)]
    assert all(arrow for _, arrow, _ in parts)
    return [(left.removesuffix(" "), right) for left, _, right in parts]


PAGES = sorted(
    str(path.relative_to(DOCS)) for path in DOCS.rglob("*.md") if ">>> " in path.read_text()
)


@pytest.mark.parametrize("page", PAGES)
def test_python_sessions(page: str) -> None:
    text = (DOCS / page).read_text().replace("```", "")
    test = doctest.DocTestParser().get_doctest(text, {}, page, page, 0)
    assert test.examples
    output: list[str] = []
    doctest.DocTestRunner(optionflags=doctest.ELLIPSIS).run(test, out=output.append)
    assert not output, "".join(output)


def test_every_page_with_examples_is_seen() -> None:
    assert {"auv.md", "specs/AUV.md", "specs/AJIS.md", "specs/ControlProtocol.md"} <= set(PAGES)


@pytest.mark.parametrize(("text", "canonical"), examples("AJIS.md", "ajis accept"))
def test_ajis_examples(text: str, canonical: str) -> None:
    if canonical.startswith("refused "):
        with pytest.raises(auv.TextError) as caught:
            auv.parse(text)
        assert caught.value.reason == canonical.removeprefix("refused ")
    else:
        assert auv.format_canonical(auv.parse(text)) == canonical
        assert auv.format_canonical(auv.parse(canonical)) == canonical


@pytest.mark.parametrize(("text", "image"), examples("AUV.md", "auv wire"))
def test_wire_examples(text: str, image: str) -> None:
    value = auv.parse(text)
    assert auv.encode_canonical(value).hex(" ") == image
    assert auv.equal(auv.decode(bytes.fromhex(image)), value)


@pytest.mark.parametrize(("image", "refusal"), examples("AUV.md", "auv refuse"))
def test_refused_wire_examples(image: str, refusal: str) -> None:
    with pytest.raises(auv.WireError) as caught:
        auv.decode(bytes.fromhex(image))
    assert f"{caught.value.reason} {caught.value.offset}" == refusal


def test_the_order_example() -> None:
    lines = blocks("AUV.md", "auv order")
    assert len(lines) > 20
    for low, high in itertools.combinations([auv.parse(line) for line in lines], 2):
        assert auv.compare(low, high) == -1


@pytest.fixture(scope="module")
def query_bench() -> QueryBench:
    """The files that QueryLanguage.md asks, and the checkpoint that it mentions."""
    bench = QueryBench()
    bench.load("/people/anna", '{"name": "Anna", "age": 30}')
    bench.directory("/notes")
    bench.checkpoint("before")
    for path, text in examples("QueryLanguage.md", "query files"):
        bench.load(path, text)
    return bench


@pytest.fixture(scope="module")
def guide_bench() -> QueryBench:
    """The files of the guide: two kept states, and what came after each."""
    bench = QueryBench()
    files = dict(examples("../queries.md", "query files"))
    for path in ("/orders/1001", "/orders/1002"):
        bench.load(path, files[path].replace('"paid"', '"open"'))
    bench.checkpoint("first")
    for path, text in files.items():
        if path not in ("/orders/1003", "/orders/1004", "/orders/draft"):
            bench.load(path, text)
    bench.checkpoint("second")
    for path, text in files.items():
        if path in ("/orders/1003", "/orders/1004", "/orders/draft"):
            bench.load(path, text)
    return bench


@pytest.mark.parametrize(("query", "rows"), examples("../queries.md", "query rows"))
def test_tasks_of_the_guide(guide_bench: QueryBench, query: str, rows: str) -> None:
    assert auv.format_compact(guide_bench.rows(query)) == auv.format_compact(auv.parse(rows))


@pytest.mark.parametrize(("query", "refusal"), examples("../queries.md", "query refuse"))
def test_refusals_of_the_guide(guide_bench: QueryBench, query: str, refusal: str) -> None:
    with pytest.raises(AffsError) as caught:
        guide_bench.rows(query)
    assert f"{caught.value.code} {caught.value.details['column']}" == refusal


def _sides(line: str) -> tuple[auv.Value, auv.Value]:
    """`RULES <- VALUE`."""
    rules, _, value = line.partition(" <- ")
    return auv.parse(rules), auv.parse(value)


@pytest.mark.parametrize(("line", "wrong"), examples("Collections.md", "schema check"))
def test_schemas(line: str, wrong: str) -> None:
    given, record = _sides(line)
    schema = parse_schema(given)
    found = [f"{one.field} {one.rule}" for one in violations(schema.record, record)]
    assert (", ".join(found) or "valid") == wrong
    again = parse_schema(schema.value)
    assert again.value == schema.value
    assert violations(again.record, record) == violations(schema.record, record)


@pytest.mark.parametrize(("given", "place"), examples("Collections.md", "schema refuse"))
def test_refused_schemas(given: str, place: str) -> None:
    with pytest.raises(AffsError) as caught:
        parse_schema(auv.parse(given))
    assert caught.value.code == "collection.schema"
    assert caught.value.details["place"] == place


@pytest.mark.parametrize(("line", "wanted"), examples("Collections.md", "schema convert"))
def test_conversions(line: str, wanted: str) -> None:
    types, value = _sides(line)
    rule = parse_schema({"fields": {"a": {"type": types}}}).record.fields["a"]
    problems: list[Violation] = []
    made = converted(rule, value, (), problems)
    assert auv.format_canonical(made if not problems else value) == (
        auv.format_canonical(auv.parse(wanted)) if wanted != "impossible"
        else auv.format_canonical(value)
    )  # fmt: skip
    assert bool(problems) == (wanted == "impossible")


def _without_names_of_state(rows: list[auv.Value]) -> list[auv.Value]:
    """The page leaves out what is different on every volume."""
    hidden = ("id", "version")
    return [{key: row[key] for key in row if key not in hidden} for row in rows]


@pytest.mark.parametrize(("query", "rows"), examples("QueryLanguage.md", "query rows"))
def test_query_examples(query_bench: QueryBench, query: str, rows: str) -> None:
    found = query_bench.rows(query)
    if "| select" not in query:
        found = _without_names_of_state(found)
    assert auv.format_compact(found) == auv.format_compact(auv.parse(rows))


@pytest.mark.parametrize(("query", "refusal"), examples("QueryLanguage.md", "query refuse"))
def test_refused_query_examples(query_bench: QueryBench, query: str, refusal: str) -> None:
    with pytest.raises(AffsError) as caught:
        query_bench.rows(query)
    assert f"{caught.value.code} {caught.value.details['column']}" == refusal
    assert caught.value.details["line"] == query


@pytest.fixture(scope="module")
def indexed_bench() -> QueryBench:
    """With what the section on indexes speaks of."""
    bench = QueryBench()
    for number in range(200):
        name = f"/parts/p{number * 37 % 200:03}"
        bench.put(name, {"n": number, "t": f"t{number % 10}", "low": number % 5})
    for name in ("n", "t", "low"):
        bench.add_index("/parts", name, name)
    bench.settle_indexes()
    return bench


@pytest.mark.parametrize(("query", "how"), examples("QueryLanguage.md", "query index"))
def test_examples_of_indexes(indexed_bench: QueryBench, query: str, how: str) -> None:
    bench = indexed_bench
    assert bench.how(query) == how
    bench.indexes = True
    found = bench.rows(query)
    assert (how == "read") == (bench.report.index == "")
    assert (bench.report.files == 0) == ("alone" in how)
    bench.indexes = False
    assert found == bench.rows(query)


def test_the_query_page_has_every_word_of_the_language() -> None:
    text = (DOCS / "specs" / "QueryLanguage.md").read_text()
    shown = " ".join(query for query, _ in examples("QueryLanguage.md", "query rows"))
    for function in [*FUNCTIONS, "now"]:
        assert f"`{function}(" in text
        assert f"{function}(" in shown, f"no example of {function}"
    words = {*re.findall(r"[a-z_]+", shown)}
    for attribute in ATTRIBUTES:
        assert f"`{attribute}`" in text
        assert attribute in words, f"no example of @{attribute}"
    for keyword in KEYWORDS:
        assert f"`{keyword}`" in text
        assert keyword in words, f"no example of {keyword}"
    stages = "find list get files records where select sort limit skip distinct count group join"
    for word in [*stages.split(), "changed", "since", "outer", "with", "div", *AGGREGATES]:
        assert word in words, f"no example of {word}"
    signs = "= == != <> < <= > >= + - * / % [ { $"
    for sign in signs.split():
        assert f" {sign}" in shown, f"no example of {sign}"


@pytest.mark.parametrize(
    "page",
    [
        "AUV.md", "AJIS.md", "ControlProtocol.md", "Errors.md", "QueryLanguage.md", "Records.md",
        "Transfer.md", "Provenance.md",
    ],
)
def test_each_specification_has_a_version_and_a_rule_for_change(page: str) -> None:
    text = (DOCS / "specs" / page).read_text()
    version = re.search(r"^(?:Format v|V)ersion \*\*(\d+)\*\*\.$", text, re.MULTILINE)
    assert version is not None
    assert "**Rule for change.**" in text
    assert re.search(rf"^\| {version.group(1)} \| ", text.rpartition("## Changes")[2], re.MULTILINE)


def test_the_reasons_in_the_tables_are_those_of_the_code() -> None:
    source = "".join(path.read_text() for path in (ROOT / "affs_fuse/auv").glob("*.py"))
    used = set(re.findall(r"""(?:[fF]ault|WireError|TextError)\(\s*"([a-z_]+)"[,)]""", source))
    used |= {"string_size", "key_size"}
    listed = set()
    for page in ("AUV.md", "AJIS.md"):
        text = (DOCS / "specs" / page).read_text()
        section = text.partition("| Reason |")[2].partition("\n\n")[0]
        for row in section.splitlines()[2:]:
            listed |= set(re.findall("`([a-z_]+)`", row.split("|")[1]))
    assert listed == used
