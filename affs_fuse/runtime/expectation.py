"""What a plan was made on, and holding a verb to it (docs/specs/CommandGrammar.md, "Plans").

A dry run answers with its basis: the values that its plan depends on. A verb that gets this basis
back compares it in the turn in which it changes something, under the verbs' lock; so nothing can
come between the check and what it guards.
"""

from affs_fuse.auv import Value
from affs_fuse.errors import AffsError, Category

__all__ = ["Basis", "demand", "plan_stale"]

Basis = Value
"""Of a plan; None where a verb is not held to one."""


def demand(expect: Basis, basis: Basis, what: str) -> None:
    """Errors: plan.stale, if something is expected and it is not what there is."""
    if expect is not None and expect != basis:
        raise plan_stale(what)


def plan_stale(what: str, details: dict[str, Value] | None = None) -> AffsError:
    """what: the verb, for people. details: the plan as it would be now."""
    return AffsError(
        "plan.stale",
        Category.CONFLICT,
        f"the plan of this {what} no longer holds: the volume has changed since",
        hint="look at the new plan and use its token",
        details=details,
    )
