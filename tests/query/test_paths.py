"""Paths as text: any bytes can be named, and what names them is text."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from affs_fuse.errors import AffsError
from affs_fuse.query.paths import absolute_path, exact_path, path_bytes, path_fields, path_named

QUICK = settings(derandomize=True, deadline=None, database=None, max_examples=200)
names = st.binary(min_size=1, max_size=8).filter(lambda one: not {*one} & {0, 47})


@QUICK
@given(st.lists(names, max_size=4))
def test_every_path_has_a_text(parts: list[bytes]) -> None:
    path = b"/" + b"/".join(parts)
    text = path_named(path)
    assert path_bytes(text) == path
    text.encode()
    assert exact_path(path_fields(path)) == path
    plain = [one for one in parts if one not in (b".", b"..")]
    if plain == parts:
        assert absolute_path("/", text) == text
        assert absolute_path(text, "b64:eA==") == absolute_path(text, "x")


@pytest.mark.parametrize("text", ["b64:", "b64:x", "b64:YQ", "b64:AA==", "b64:?A=="])
def test_what_is_no_path_is_said(text: str) -> None:
    for call in (path_bytes, lambda one: absolute_path("/", one)):
        with pytest.raises(AffsError) as caught:
            call(text)
        assert caught.value.code == "record.path"


def test_relative_ones_begin_in_the_directory() -> None:
    assert absolute_path("/a", "b64:Yg==") == "/a/b"
    assert absolute_path("b64:L+k=", "../b") == "/b"
    assert absolute_path("b64:L+k=", "b") == path_named(b"/\xe9/b")
    assert path_named(b"b64:x") == "b64:YjY0Ong="
