"""What a check of a volume finds, as values.

A finding says what is wrong, where (path, state, block) and under which stable code; words for
people and AUV for programs are made from the same fields. Codes are listed in docs/specs/Errors.md,
"Findings".
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

__all__ = ["FINDINGS_MAX", "Finding", "Progress", "Report", "Severity"]

FINDINGS_MAX = 10_000
"""Findings kept in a report; more are only counted. A volume that bad needs no longer list."""


class Severity(StrEnum):
    """NOTE: normal, worth saying. WARNING: harmless now. ERROR: a promise of the format is
    broken."""

    NOTE = "note"
    WARNING = "warning"
    ERROR = "error"


@dataclass(frozen=True, slots=True)
class Finding:
    """path: of a file in its state, escaped. state: its name. block: an address. Each may be ""."""

    severity: Severity
    code: str
    message: str
    path: str = ""
    state: str = ""
    block: str = ""

    def to_auv(self) -> dict[str, Any]:
        return {
            "severity": str(self.severity),
            "code": self.code,
            "message": self.message,
            "path": self.path,
            "state": self.state,
            "block": self.block,
        }

    def __str__(self) -> str:
        where = ", ".join(
            f"{word} {value}"
            for word, value in (("state", self.state), ("block", self.block), ("", self.path))
            if value
        ).replace("  ", " ")
        return f"{self.severity}: {self.message}" + (f" ({where.strip()})" if where else "")


@dataclass(frozen=True, slots=True)
class Progress:
    """done of total (0: not known) of the named unit, while doing what."""

    what: str
    done: int
    total: int
    unit: str


@dataclass(slots=True)
class Report:
    """The findings of one check, and what was looked at.

    progress is called about every hundred nodes or data extents; what it raises ends the check.
    """

    progress: Callable[[Progress], None]
    findings: list[Finding] = field(default_factory=list)
    findings_dropped: int = 0
    seq: int = 0
    states: int = 0
    nodes: int = 0
    items: int = 0
    objects: int = 0
    data_blocks: int = 0
    data_blocks_checked: int = 0

    def add(self, finding: Finding) -> None:
        if len(self.findings) < FINDINGS_MAX:
            self.findings.append(finding)
        else:
            self.findings_dropped += 1

    def error(
        self, code: str, message: str, *, path: str = "", state: str = "", block: str = ""
    ) -> None:
        self.add(Finding(Severity.ERROR, code, message, path, state, block))

    def warning(
        self, code: str, message: str, *, path: str = "", state: str = "", block: str = ""
    ) -> None:
        self.add(Finding(Severity.WARNING, code, message, path, state, block))

    def note(
        self, code: str, message: str, *, path: str = "", state: str = "", block: str = ""
    ) -> None:
        self.add(Finding(Severity.NOTE, code, message, path, state, block))

    def count(self, severity: Severity) -> int:
        return sum(finding.severity is severity for finding in self.findings)

    @property
    def clean(self) -> bool:
        """No error was found; warnings and notes may have been."""
        return self.count(Severity.ERROR) == 0 and self.findings_dropped == 0

    def to_auv(self) -> dict[str, Any]:
        return {
            "clean": self.clean,
            "seq": self.seq,
            "states": self.states,
            "nodes": self.nodes,
            "items": self.items,
            "objects": self.objects,
            "data_blocks": self.data_blocks,
            "data_blocks_checked": self.data_blocks_checked,
            "findings": [finding.to_auv() for finding in self.findings],
            "findings_dropped": self.findings_dropped,
        }
