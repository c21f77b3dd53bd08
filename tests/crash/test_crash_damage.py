"""Damage and crafted images: a seeded part of what tools/crashsim does to a small volume."""

import pytest

from affs_tools.crashsim.campaign import (
    bit_tasks,
    crafted_tasks,
    damage_tasks,
    replayed,
    run_tasks,
)
from affs_tools.crashsim.crafted import all_names, all_recipes
from affs_tools.crashsim.damage import BASE, all_damages, metadata
from affs_tools.crashsim.explore import base_of
from affs_tools.crashsim.lies import lies
from affs_tools.crashsim.surgeon import Surgeon

KINDS = {"superblock", "owner", "record", "segment header", "node"}


def test_every_kind_of_metadata_is_on_the_volume() -> None:
    pieces = metadata()
    assert {piece.kind for piece in pieces} == KINDS
    trees = {piece.pointer.tree for piece in pieces if piece.pointer is not None}
    assert trees == {1, 2, 3, 4}
    assert any(piece.pointer.level for piece in pieces if piece.pointer is not None)


def test_flipped_bits_of_metadata_are_refused() -> None:
    figures = run_tasks(bit_tasks(short=True), 1)
    assert not figures.tally.failures, figures.tally.failures[:3]
    assert figures.tally.states > 131_072


@pytest.mark.parametrize("shard", range(2))
def test_damage_is_found_and_never_served(shard: int) -> None:
    figures = run_tasks(damage_tasks(short=True)[shard::2], 1)
    assert not figures.tally.failures, figures.tally.failures[:3]
    kinds = {outcome.partition(":")[0] for outcome in figures.tally.outcomes}
    assert kinds >= ({"swap", "over"} if shard else {"flip", "zero", "cut"})


def test_two_records_of_one_commit_open_nothing() -> None:
    assert any(damage.name == "two-records" for damage in all_damages(2))
    assert replayed("damage@two-records") is None


@pytest.mark.parametrize("shard", range(4))
def test_crafted_images_give_errors_that_have_a_name(shard: int) -> None:
    figures = run_tasks(crafted_tasks(short=True)[shard::4], 1)
    assert not figures.tally.failures, figures.tally.failures[:3]
    assert figures.tally.states >= 100


def test_the_recipes_are_many_and_each_changes_something() -> None:
    made = all_recipes()
    assert len({recipe.name for recipe in made}) == len(made) >= 200
    assert len(all_names(short=False)) > 10_000
    image = base_of(BASE).image
    for recipe in made:
        mark = image.mark()
        before = bytes(image.content[: 8 << 20])
        recipe.tell(Surgeon(image))
        changed = bytes(image.content[: 8 << 20]) != before
        assert changed or recipe.name.startswith("record/"), recipe.name
        image.revert(mark)
        assert bytes(image.content[: 8 << 20]) == before


def test_lies_have_names_of_their_own() -> None:
    names = [lie.name for lie in lies(Surgeon(base_of(BASE).image))]
    assert len(set(names)) == len(names)
