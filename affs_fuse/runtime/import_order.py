"""What an import was asked to do, and the cursor that says how far it is.

docs/specs/Transfer.md, "Where an import stands". The cursor is one Object; it has what the order
says, so that `--resume` needs no more than the directory, and the same input.
"""

from dataclasses import dataclass, fields
from typing import Any

from affs_fuse.auv import AuvError, decode, encode_canonical
from affs_fuse.core.constants import ITEM_MAX
from affs_fuse.errors import AffsError, Category
from affs_fuse.formats import Mark

__all__ = ["CONFLICTS", "ImportOrder", "Progress", "Terms", "cursor_value", "packed_cursor"]

Plain = dict[str, Any]

CONFLICTS = {
    "refuse": "the new one is refused, and told",
    "skip": "the new one is left out",
    "replace": "the record that is there becomes the new one",
    "update": "the new one's keys are merged into the record that is there",
}

SUFFIXES = {
    "jsonl": "jsonl", "ndjson": "jsonl", "json": "json", "csv": "csv", "tsv": "csv", "ajis": "ajis",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Terms:
    """How the input is read and what becomes of it. name: an expression, "" for numbers."""

    format: str
    name: str = ""
    on_conflict: str = "refuse"
    delimiter: str = ","
    types: str = "string"


@dataclass(frozen=True, slots=True)
class ImportOrder:
    """source: what the client calls its file. path: of the directory. The five that follow: None
    where they were not given."""

    source: str
    path: str
    format: str | None = None
    name: str | None = None
    on_conflict: str | None = None
    delimiter: str | None = None
    types: str | None = None
    resume: bool = False
    dry_run: bool = False
    all_or_nothing: bool = False

    def terms(self) -> Terms:
        """Of a new import. invalid: import.format."""
        suffix = self.source.rpartition(".")[2].lower()
        format = self.format or SUFFIXES.get(suffix)
        if format is None:
            raise AffsError(
                "import.format", Category.INVALID,
                f"the name {self.source!r} does not tell a format",
                hint=f"say --format {', '.join(dict.fromkeys(SUFFIXES.values()))}",
            )  # fmt: skip
        delimiter = "\t" if suffix == "tsv" and self.format is None else ","
        return Terms(
            format, self.name or "", self.on_conflict or "refuse",
            delimiter if self.delimiter is None else self.delimiter, self.types or "string",
        )  # fmt: skip

    def check_same(self, terms: Terms) -> None:
        """That what was given is what the unfinished import has. conflict: import.terms."""
        for field in fields(terms):
            given, known = getattr(self, field.name), getattr(terms, field.name)
            if given is not None and given != known:
                raise AffsError(
                    "import.terms", Category.CONFLICT,
                    f"the unfinished import has --{field.name.replace('_', '-')} {known!r},"
                    f" not {given!r}",
                    hint="leave it out with --resume, or drop that import",
                )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Progress:
    """Up to a mark. digest: SHA-256 of the input in front of it. records: all that were read."""

    mark: Mark = Mark()  # noqa: RUF009 - immutable
    records: int = 0
    created: int = 0
    replaced: int = 0
    skipped: int = 0
    refused: int = 0

    def counts(self) -> Plain:
        return {
            name: getattr(self, name)
            for name in ("records", "created", "replaced", "skipped", "refused")
        }


def packed_cursor(terms: Terms, progress: Progress, digest: bytes, about: Plain) -> bytes:
    """As it is stored. about: source, user, started_ns. invalid: import.terms_size."""
    value: Plain = {field.name: getattr(terms, field.name) for field in fields(terms)}
    value |= {**progress.counts(), **progress.mark._asdict(), "digest": digest, **about}
    data = encode_canonical(value)
    if len(data) > ITEM_MAX:
        raise AffsError(
            "import.terms_size", Category.INVALID,
            f"what is said about this import takes {len(data)} bytes, {ITEM_MAX} at most",
            hint="write a shorter name or shorter types",
        )  # fmt: skip
    return data


def cursor_value(payload: bytes) -> tuple[Terms, Progress, bytes, Plain]:
    """The parts again. corrupt: import.damaged."""
    try:
        value: Any = decode(payload)
        terms = Terms(*(str(value[field.name]) for field in fields(Terms)))
        mark = Mark(*(value[name] for name in Mark._fields))
        counts = (value[name] for name in Progress().counts())
        about = {name: value[name] for name in ("source", "user", "started_ns")}
        return terms, Progress(mark, *counts), bytes(value["digest"]), about
    except (AuvError, KeyError, TypeError) as error:
        raise AffsError(
            "import.damaged", Category.CORRUPT, f"the cursor of this import is damaged: {error}",
            hint="`drop-import` takes it away; the records that it made stay",
        ) from None  # fmt: skip
