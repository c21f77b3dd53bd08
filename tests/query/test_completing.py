"""What is expected at the end of a query that is being written."""

import pytest

from affs_fuse.query.completing import Expected, expected_at_end


def at_end(line: str) -> Expected:
    verb = line.split()[0]
    return expected_at_end(line, len(verb), verb)


@pytest.mark.parametrize(
    ("line", "kinds", "prefix"),
    [
        ("find ", ("path", "keyword"), ""),
        ("find /pe", ("path", "keyword"), "/pe"),
        ("find records /pe", ("path", "keyword"), "/pe"),
        ("find /people ", ("keyword",), ""),
        ("find /people wh", ("keyword",), "wh"),
        ("find /people as ", ("keyword",), ""),
        ("find /people as of be", ("state",), "be"),
        ("find /people changed since ", ("state",), ""),
        ("find /people where ", ("value",), ""),
        ("find /people where age > 3 and na", ("value",), "na"),
        ("find /people where lower(na", ("value",), "na"),
        ("find /people where (age > 3 or ", ("value",), ""),
        ("find /people where home.", ("member",), ""),
        ("find /people where @na", ("attribute",), "@na"),
        ("find /people where age ", ("keyword",), ""),
        ("find /people |", ("stage",), ""),
        ("find /people | so", ("stage",), "so"),
        ("find /people | limit ", (), ""),
        ("find /people | select age as ", (), ""),
        ("find /people | select age, ", ("value",), ""),
        ("find /people | group sum(age) by ", ("value",), ""),
        ('find /people where name = "a and ', (), ""),
        ("find /people where name = 'it''s' and ", ("value",), ""),
        ("find '/with space' where ", ("value",), ""),
        ("find /people | join (find /ci", ("path", "keyword"), "/ci"),
        ("find /people | outer join (find /cities where ", ("value",), ""),
        ("find /people | join (find /cities) on ", ("value",), ""),
    ],
)
def test_kinds(line: str, kinds: tuple[str, ...], prefix: str) -> None:
    found = at_end(line)
    assert (found.kinds, found.prefix) == (kinds, prefix)
    assert line[found.start :] == prefix


def test_what_the_fields_are_of() -> None:
    assert at_end("find /people where ").path == "/people"
    assert at_end("find /people | join (find /cities where ").path == "/cities"
    assert at_end("find /people where home.address.").chain == ("home", "address")
    assert at_end("find /people where a = `odd name`.b.").chain == ("odd name", "b")
    assert at_end("list /people where ").files
    assert not at_end("list records /people where ").files
    assert at_end("find /people | where ").names is None
    given = at_end("find /people | select name as n, home.city, age | sort ")
    assert given.names == ("n", "city", "age")
    assert at_end("find /p | group count() as c by a.b | sort ").names == ("c", "b")


@pytest.mark.parametrize("line", ["find /p where )(", "find /p || ", "find /p | (((", "find /p ."])
def test_what_is_odd_is_no_error(line: str) -> None:
    at_end(line)
