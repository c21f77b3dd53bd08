"""The shapes of what commands answer, declared so that any client can show a result it has never
seen.

A schema names the fields worth showing to a person, in order, with a title and a kind (a size, a
time, an id ...). The value itself always holds everything; programs read it by its keys.
"""

from dataclasses import dataclass
from enum import StrEnum

from affs_fuse.auv import Value

__all__ = ["FREES_FIELD", "STATE_FIELDS", "Field", "FieldKind", "Schema", "Shape"]


class Shape(StrEnum):
    """text: an object whose `text` is for people as it stands. document: one object. table: an
    Array of rows. stream: rows as items, then one object, the summary. bytes: the same, and the
    items are Binary, the pieces of one file."""

    TEXT = "text"
    DOCUMENT = "document"
    TABLE = "table"
    STREAM = "stream"
    BYTES = "bytes"


class FieldKind(StrEnum):
    """How a person wants to read the value; its type and unit in the answer stand behind each."""

    TEXT = "text"  # String
    ID = "id"  # String; people see the first 12 digits
    STATE = "state"  # an object of a state, shown by its label or id
    COUNT = "count"  # integer
    NUMBER = "number"  # integer or Float64
    SIZE = "size"  # integer, bytes
    GROWTH = "growth"  # integer, bytes, negative when it shrank
    TIME = "time"  # integer, ns since the epoch
    DURATION = "duration"  # Float64 or integer, seconds
    FLAG = "flag"  # Bool
    LIST = "list"  # Array of Strings
    PAIRS = "pairs"  # an object of scalars, as `key=value`
    REST = "rest"  # scalars of the row that no other field shows, as `key=value`
    ENTRY = "entry"  # an object of any values, as `key=value` with the value as AJIS text
    PATH = "path"  # String; the exact bytes in `<name>_b64` when they are not UTF-8


@dataclass(frozen=True, slots=True)
class Field:
    """path: the key, `.` between the keys of nested objects. wide: in a table shown only when
    there is room, or asked for; in a document only when it is neither zero nor false."""

    path: str
    title: str
    kind: FieldKind = FieldKind.TEXT
    wide: bool = False

    def describe(self) -> dict[str, Value]:
        return {"path": self.path, "title": self.title, "kind": str(self.kind), "wide": self.wide}


@dataclass(frozen=True, slots=True)
class Schema:
    """fields: of the document, or of each row. headline: one sentence for people with `{path}` for
    fields, "" for none; with a headline and without fields it is all that people see. summary: of a
    stream's last object. plan: of what a dry run answers."""

    shape: Shape
    fields: tuple[Field, ...] = ()
    headline: str = ""
    summary: tuple[Field, ...] = ()
    plan: tuple[Field, ...] = ()

    def describe(self) -> dict[str, Value]:
        result: dict[str, Value] = {
            "shape": str(self.shape),
            "fields": [field.describe() for field in self.fields],
        }
        if self.headline:
            result["headline"] = self.headline
        if self.summary:
            result["summary"] = [field.describe() for field in self.summary]
        if self.plan:
            result["plan"] = [field.describe() for field in self.plan]
        return result


STATE_FIELDS = (
    Field("id", "Id", FieldKind.ID),
    Field("label", "Label"),
    Field("seq", "Seq", FieldKind.COUNT),
    Field("time_ns", "Time", FieldKind.TIME),
    Field("published", "Published", FieldKind.FLAG),
    Field("pins", "Pins", FieldKind.COUNT),
    Field("flags", "Flags", FieldKind.LIST),
    Field("objects", "Objects", FieldKind.COUNT, wide=True),
    Field("bytes", "Used then", FieldKind.SIZE),
    Field("author", "Author"),
    Field("message", "Message"),
    Field("reclaim_ns", "Deleted, kept until", FieldKind.TIME, wide=True),
)
"""Of the state dict (ports.py)."""

FREES_FIELD = Field("frees_bytes", "Frees", FieldKind.SIZE)
"""What deleting a state alone would free now, where it was counted."""
