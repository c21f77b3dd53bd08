"""Images that no writer would write, with every checksum right: what a hostile or confused device
may hand out. Every recipe, every field's lies, and seeded ones; surgeon.py puts them into an image,
crafted_judge.py looks at what becomes of it.
"""

from collections.abc import Callable
from functools import cache

from affs_tools.crashsim.check import Violation
from affs_tools.crashsim.crafted_judge import judge_crafted
from affs_tools.crashsim.damage import BASE
from affs_tools.crashsim.explore import Failure, Tally, base_of
from affs_tools.crashsim.lies import Lie, lies
from affs_tools.crashsim.recipes import recipes, seeded
from affs_tools.crashsim.surgeon import Surgeon

__all__ = ["all_names", "explore_crafted"]

SEEDS = 6000
_HIDE = (".birth=", ".object_id=", "ancestor=")
"""Lies within bounds about when or where something came from: the birth rule believes them."""


@cache
def _fields() -> dict[str, Lie]:
    return {lie.name: lie for lie in lies(Surgeon(base_of(BASE).image))}


def all_names(*, short: bool) -> list[str]:
    """Of every crafted image; short: all recipes, and of the others a few (the same each time)."""
    names = [recipe.name for recipe in recipes()][:: 2 if short else 1]
    names += list(_fields())[:: 61 if short else 1]
    return names + [f"seed/{seed}" for seed in range(150 if short else SEEDS)]


def explore_crafted(names: list[str], tally: Tally) -> None:
    """Each image alone; failures go to the tally, images to `states`."""
    image = base_of(BASE).image
    by_name = {recipe.name: recipe for recipe in recipes()}
    for name in names:
        tally.states += 1
        mark = image.mark()
        try:
            recipe = by_name.get(name)
            _tell(name, recipe.tell if recipe is not None else None)
            random = name.startswith("seed/")
            outcome = judge_crafted(image, may_hide=random or any(one in name for one in _HIDE))
            if recipe is not None and recipe.found and "clean" in outcome:
                raise Violation("the check finds nothing")
            tally.outcomes[f"{'seeded' if random else 'made'}: {outcome}"] += 1
        except Exception as error:  # noqa: BLE001 - whatever it is, the image was not handled
            message = str(error) if isinstance(error, Violation) else repr(error)
            tally.failures.append(Failure(f"crafted@{name}", message))
        finally:
            image.revert(mark)


def _tell(name: str, recipe: Callable[[Surgeon], None] | None) -> None:
    surgeon = Surgeon(base_of(BASE).image)
    if recipe is not None:
        recipe(surgeon)
    elif name.startswith("seed/"):
        seeded(surgeon, int(name.removeprefix("seed/")), list(_fields().values()))
    else:
        _fields()[name].tell(surgeon)
