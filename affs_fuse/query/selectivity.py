"""How many of the rows a condition lets through: rules of thumb, for `explain` alone."""

from affs_fuse.query.tree import (
    Between,
    Compare,
    Exists,
    Expression,
    In,
    Like,
    Logic,
    Matches,
    Not,
)

__all__ = ["share_of"]

_COMPARISONS = {"=": 0.1, "!=": 0.9}
RANGE = 1 / 3


def share_of(condition: Expression) -> float:
    """Between 0 and 1."""
    if isinstance(condition, Compare):
        return _COMPARISONS.get(condition.operator, RANGE)
    if isinstance(condition, Logic):
        share = 1.0
        for part in condition.parts:
            one = share_of(part)
            share *= one if condition.operator == "and" else 1 - one
        return share if condition.operator == "and" else 1 - share
    if isinstance(condition, Not):
        return 1 - share_of(condition.operand)
    if isinstance(condition, In):
        return 0.2
    if isinstance(condition, Between | Like | Matches):
        return 0.25
    return 0.9 if isinstance(condition, Exists) else 0.5
