"""The table of authors: numbers that stay, bounds that hold, and who acts just now."""

import pytest
from volume_harness import Harness

from affs_fuse.core.constants import ITEM_AUTHOR
from affs_fuse.volume import authors as authors_module
from affs_fuse.volume.authors import (
    COMMAND,
    NOBODY,
    PROCESS,
    Author,
    Authors,
    acting,
    acting_number,
)
from affs_fuse.volume.verify import verify_volume

VIM = Author(1000, PROCESS, "vim")


def test_a_number_stays_over_a_reopening() -> None:
    harness = Harness()
    authors = harness.volume.authors
    number = authors.number(VIM)
    assert authors.number(VIM) == number != NOBODY
    other = authors.number(Author(1000, COMMAND, "vim"))
    assert other != number
    assert (authors.find(VIM), authors.find(Author(1, PROCESS, "vim"))) == (number, None)
    harness.volume.commit()
    again = Authors(harness.volume.trees.system)
    assert again.get(number) == VIM
    assert again.number(Author(2, PROCESS, "sed")) not in (number, other)
    assert (again.get(NOBODY), again.get(999)) == (None, None)


def test_the_names_of_one_user_are_bounded_and_those_of_all(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(authors_module, "OF_USER_MAX", 3)
    monkeypatch.setattr(authors_module, "AUTHORS_MAX", 6)
    monkeypatch.setattr(authors_module, "UNNAMED_MAX", 2)
    authors = Harness().volume.authors
    numbers = [authors.number(Author(1, PROCESS, str(n))) for n in range(9)]
    assert len({*numbers}) == 4
    assert authors.get(numbers[-1]) == Author(1, PROCESS, "")
    assert authors.number(Author(2, PROCESS, "a")) not in numbers
    others = [authors.number(Author(uid, PROCESS, "b")) for uid in range(3, 12)]
    assert others[-1] == NOBODY
    assert [authors.get(number) for number in others[:2]] == [
        Author(3, PROCESS, "b"), Author(4, PROCESS, ""),
    ]  # fmt: skip
    assert authors.number(Author(1, PROCESS, "0")) == numbers[0]


@pytest.mark.parametrize("payload", [b"\xc1", b"\x01", b"\x80"])
def test_a_damaged_one_says_nothing_and_its_number_is_not_given_again(payload: bytes) -> None:
    harness = Harness()
    number = harness.volume.authors.number(VIM)
    harness.volume.trees.system.put(1, ITEM_AUTHOR, number, payload)
    harness.volume.commit()
    again = Authors(harness.volume.trees.system)
    assert again.get(number) is None
    assert again.number(VIM) > number
    codes = {finding.code for finding in verify_volume(harness.device).findings}
    assert ("verify.system_value" in codes) == (payload == b"\xc1")


def test_who_acts() -> None:
    assert acting_number() == NOBODY
    with acting(3):
        with acting(4):
            assert acting_number() == 4
        assert acting_number() == 3
    assert acting_number() == NOBODY
