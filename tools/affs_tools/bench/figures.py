"""Figures and the table that they make."""

from collections.abc import Iterable
from dataclasses import dataclass

__all__ = ["Figure", "markdown", "plain_text"]


@dataclass(frozen=True, slots=True)
class Figure:
    """One line of the table.

    value: of AfFS, in unit. base: of what it is held against, 0 where there is nothing; basis says
    what that is. ratio_max: value / base must not be more (times); value_max: value must not be
    more.
    """

    section: str
    what: str
    value: float
    unit: str
    base: float = 0.0
    basis: str = ""
    ratio_max: float = 0.0
    value_max: float = 0.0

    @property
    def ratio(self) -> float:
        """How many times the base; 0 where there is none."""
        return self.value / self.base if self.base else 0.0

    @property
    def reached(self) -> bool:
        """Of lines without a target: True."""
        if self.ratio_max and self.ratio > self.ratio_max:
            return False
        return not self.value_max or self.value <= self.value_max

    @property
    def target(self) -> str:
        if self.ratio_max and self.value_max:
            return f"at most {self.ratio_max:g} times, and {self.value_max:.3g} {self.unit}"
        if self.ratio_max:
            return f"at most {self.ratio_max:g} times"
        return f"at most {self.value_max:g} {self.unit}" if self.value_max else ""

    def cells(self) -> tuple[str, ...]:
        return (
            self.what,
            f"{self.value:.4g} {self.unit}",
            f"{self.base:.4g} {self.unit}" if self.base else "",
            f"{self.ratio:.2f}" if self.base else "",
            self.target,
            "" if not self.target else "yes" if self.reached else "NO",
        )


HEADINGS = ("", "AfFS", "beside it", "ratio", "target", "reached")


def sections(figures: Iterable[Figure]) -> dict[str, list[Figure]]:
    found: dict[str, list[Figure]] = {}
    for figure in figures:
        basis = f" (beside it: {figure.basis})" if figure.basis else ""
        found.setdefault(figure.section + basis, []).append(figure)
    return found


def markdown(figures: Iterable[Figure]) -> str:
    """Tables for a document."""
    parts = []
    for title, lines in sections(figures).items():
        rows = [HEADINGS, ("---", *["---:"] * 3, "---", "---"), *(line.cells() for line in lines)]
        parts.append(f"**{title}**\n\n" + "\n".join("| " + " | ".join(row) + " |" for row in rows))
    return "\n\n".join(parts) + "\n"


def plain_text(figures: Iterable[Figure]) -> str:
    """Tables for a terminal."""
    parts = []
    for title, lines in sections(figures).items():
        rows = [HEADINGS, *(line.cells() for line in lines)]
        widths = [max(len(row[column]) for row in rows) for column in range(len(HEADINGS))]
        parts.append(title)
        parts += [
            "  " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
            for row in rows
        ]
        parts.append("")
    return "\n".join(line.rstrip() for line in parts)
