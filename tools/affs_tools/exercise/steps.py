"""Steps, their log, and the data they write.

A step is a flat dictionary: "do" names it, the rest are integers and strings. A list of steps stays
meaningful when some are left out, so that it can be made shorter: whatever does not fit (a read
past the end, a name that is not there) has a defined outcome. The log has one JSON object a line:
first the run's settings, then the steps, each written before it is done.
"""

import json
import random
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

__all__ = ["DifferenceError", "Settings", "Step", "line", "load", "save", "stamped"]

Step = Mapping[str, Any]
FORMAT = 1


class DifferenceError(Exception):
    """The filesystem and the model disagree."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What a run is determined by. kind: "file" or "tree". size: of the file at most, in bytes."""

    kind: str
    seed: int
    size: int = 1 << 18
    processes: int = 4
    options: str = ""
    verbs: bool = True


def stamped(stamp: int, count: int) -> bytes:
    """count bytes that only this stamp gives; none of them is zero."""
    pattern = random.Random(stamp).randbytes(61).replace(b"\0", b"\1")
    return (pattern * (count // 61 + 1))[:count]


def save(path: Path, settings: Settings, steps: Iterable[Step]) -> None:
    lines = [json.dumps({"format": FORMAT, **asdict(settings)})]
    path.write_text("\n".join(lines) + "\n" + "".join(line(step) for step in steps))


def line(step: Step) -> str:
    """A step as it stands in the log."""
    return json.dumps(dict(step)) + "\n"


def load(path: Path) -> tuple[Settings, list[Step]]:
    """Raises ValueError for what is no log of this format."""
    head, *rest = path.read_text().splitlines()
    settings = json.loads(head)
    if settings.pop("format", None) != FORMAT:
        raise ValueError(f"{path}: not a log of format {FORMAT}")
    return Settings(**settings), [json.loads(text) for text in rest if text]
