"""Images that no writer would write, with every checksum right: what a hostile or confused device
may hand out. Every recipe, every field's lies, and seeded ones; surgeon.py puts them into an image,
crafted_judge.py looks at what becomes of it.
"""

from functools import cache, partial

from affs_tools.crashsim.bounds import Violation
from affs_tools.crashsim.crafted_judge import Honest, honest_trees, judge_crafted
from affs_tools.crashsim.damage import BASE, all_pieces
from affs_tools.crashsim.explore import Tally, base_of, judge_each
from affs_tools.crashsim.lies import Lie, lies
from affs_tools.crashsim.recipes import Recipe, recipes, seeded
from affs_tools.crashsim.record_recipes import record_recipes
from affs_tools.crashsim.surgeon import Surgeon

__all__ = ["all_names", "all_recipes", "explore_crafted", "tell"]

SEEDS = 5000
_HIDE = (".birth=", ".object_id=", "ancestor=")
"""Lies within bounds about when or where something came from: the birth rule believes them."""


@cache
def _fields() -> dict[str, Lie]:
    return {lie.name: lie for lie in lies(Surgeon(base_of(BASE).image))}


@cache
def _recipes() -> dict[str, Recipe]:
    return {recipe.name: recipe for recipe in all_recipes()}


def all_recipes() -> list[Recipe]:
    """All that were made by hand."""
    return [*recipes(), *record_recipes()]


@cache
def _honest() -> Honest:
    return honest_trees(base_of(BASE).image)


def all_names(*, short: bool) -> list[str]:
    """Of every crafted image; short: all recipes, and of the others a few (the same each time)."""
    names = list(_recipes())[:: 2 if short else 1]
    names += list(_fields())[:: 61 if short else 1]
    return names + [f"seed/{seed}" for seed in range(150 if short else SEEDS)]


def explore_crafted(names: list[str], tally: Tally) -> None:
    """Each image alone."""
    _honest()  # both before anything is told
    all_pieces()
    judge_each(
        base_of(BASE).image, tally, [(f"crafted@{name}", partial(_judge, name)) for name in names]
    )


def _judge(name: str) -> str:
    recipe = _recipes().get(name)
    tell(name)
    by_chance = name.startswith("seed/")
    hides = by_chance or any(one in name for one in _HIDE)
    outcome = judge_crafted(
        base_of(BASE).image, _honest(), may_hide=hides, of_index=name.startswith("index/")
    )
    if recipe is not None and recipe.found and "clean" in outcome:
        raise Violation("the check finds nothing")
    return f"{'seeded' if by_chance else 'made'}: {outcome}"


def tell(name: str) -> None:
    """Put one of all_names() into the base's image."""
    surgeon = Surgeon(base_of(BASE).image, all_pieces())
    recipe = _recipes().get(name)
    if recipe is not None:
        recipe.tell(surgeon)
    elif name.startswith("seed/"):
        seeded(surgeon, int(name.removeprefix("seed/")), list(_fields().values()))
    else:
        _fields()[name].tell(surgeon)
