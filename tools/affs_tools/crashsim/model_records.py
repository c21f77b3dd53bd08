"""The oracle with collections: what is declared, and what commands make of records.

Written from docs/specs/Collections.md, Records.md and DiskLayout.md ("Index"), with JSON for what
AJIS is more than. As in model.py, an operation changes all that it should, or raises ModelError.
"""

import copy
import json
from typing import Any

from affs_tools.crashsim.model import Model, ModelError, Object

__all__ = ["RecordModel"]

Change = tuple[Any, ...]
"""(create, path, data), (replace, path, data), (remove, path) or (move, path, target)."""


class RecordModel(Model):
    """declaration of an Object: without `schema` and without `indexes` there is none."""

    # ---- what is declared ----

    def _directory(self, path: str) -> Object:
        found = self.objects[self.find(path)]
        if found.kind != "d":
            raise ModelError(f"{path} is no directory")
        return found

    def declare(self, path: str, schema: dict[str, Any] | None) -> None:
        """None: it has no schema any more."""
        kept = {
            key: value
            for key, value in (self._directory(path).declaration or {}).items()
            if key not in ("schema", "version", "evolving")
        }
        if schema is not None:
            kept |= {"version": 1, "schema": schema}
        self._directory(path).declaration = kept or None

    def index(self, path: str, *expressions: str) -> None:
        """These are its indexes now; those that it had of one of them stay."""
        there = {one["expression"]: one["id"] for one in self._indexes(path)}
        self._put_indexes(path, [(text, there.get(text)) for text in expressions])

    def reindex(self, path: str) -> None:
        """All of them are made anew."""
        self._put_indexes(path, [(one["expression"], None) for one in self._indexes(path)])

    def _indexes(self, path: str) -> list[dict[str, Any]]:
        declaration = self._directory(path).declaration or {}
        declared: list[dict[str, Any]] = declaration.get("indexes", [])
        return declared

    def _put_indexes(self, path: str, wanted: list[tuple[str, int | None]]) -> None:
        """Each with the number that it keeps, or gets a new one."""
        declaration = self._directory(path).declaration or {}
        following = declaration.get("next_index", 1)
        rows = []
        for text, number in wanted:
            if number is None:
                number, following = following, following + 1
            rows.append({"id": number, "name": text, "expression": text})
        rows.sort(key=lambda row: row["id"])
        changed = {**declaration, "indexes": rows, "next_index": following}
        self._directory(path).declaration = changed

    # ---- records ----

    def batch(self, *changes: Change) -> None:
        """All of them, or none."""
        for verb, path, *rest in changes:
            if verb == "create":
                parent, name = self._place(path)
                if parent.kind != "d" or name in parent.children:
                    raise ModelError(f"{path} cannot be made")
                continue
            self._file(path)
            if verb == "move":
                parent, name = self._place(rest[0])
                if parent.kind != "d" or name in parent.children:
                    raise ModelError(f"{rest[0]} is there")
        for verb, path, *rest in changes:
            if verb == "create":
                self.create(path)
                self._file(path).data[:] = rest[0]
            elif verb == "replace":
                self._put(path, rest[0])
            elif verb == "remove":
                self.unlink(path)
            else:
                self.rename(path, rest[0])

    def _put(self, path: str, data: bytes) -> None:
        one = self._file(path)
        one.data[:] = data
        one.mtime_ns = self.now_ns

    # ---- evolution ----

    def evolve(self, path: str, *words: Any) -> None:
        """Schema and records in one step."""
        self._settled_schema(path)
        schema = _evolved(self._schema(path), words)
        self._migrate(path, words, None)
        self.declare(path, schema)

    def begin_evolving(self, path: str, *words: Any) -> None:
        """The declaration says so; the records follow."""
        self._settled_schema(path)
        _evolved(self._schema(path), words)
        declaration = {**self._declaration(path), "evolving": list(words)}
        self._directory(path).declaration = declaration

    def evolve_some(self, path: str, count: int) -> None:
        """One batch: the first records that are left, by name."""
        self._migrate(path, self._words(path), count)

    def end_evolving(self, path: str) -> None:
        """The new schema alone is declared."""
        self.declare(path, _evolved(self._schema(path), self._words(path)))

    def _declaration(self, path: str) -> dict[str, Any]:
        found = self._directory(path).declaration
        if found is None or "schema" not in found:
            raise ModelError(f"{path} has no schema")
        return found

    def _schema(self, path: str) -> dict[str, Any]:
        schema: dict[str, Any] = self._declaration(path)["schema"]
        return schema

    def _settled_schema(self, path: str) -> None:
        if "evolving" in self._declaration(path):
            raise ModelError(f"{path} evolves already")

    def _words(self, path: str) -> tuple[Any, ...]:
        if "evolving" not in self._declaration(path):
            raise ModelError(f"{path} does not evolve")
        return tuple(self._declaration(path)["evolving"])

    def _migrate(self, path: str, words: tuple[Any, ...], count: int | None) -> None:
        """Of files with several names each one once."""
        done: set[int] = set()
        for name in sorted(self._directory(path).children):
            number = self._directory(path).children[name]
            before = bytes(self.objects[number].data)
            after = _migrated(before, words) if self.objects[number].kind == "f" else before
            if after == before or number in done:
                continue
            if count is not None and len(done) == count:
                return
            done.add(number)
            self._put(f"{path}/{name}", after)


def _pairs(words: tuple[Any, ...]) -> list[tuple[str, str, Any]]:
    """(verb, field, rule or name); workloads add, rename and drop."""
    found = []
    rest = list(words)
    while rest:
        verb, field = rest[:2]
        found.append((verb, field, None if verb == "drop" else rest[2]))
        del rest[: 2 if verb == "drop" else 3]
    return found


def _evolved(schema: dict[str, Any], words: tuple[Any, ...]) -> dict[str, Any]:
    made = copy.deepcopy(schema)
    fields = made["fields"]
    for verb, field, operand in _pairs(words):
        if (field in fields) == (verb == "add") or (verb == "rename" and operand in fields):
            raise ModelError(f"the schema cannot {verb} {field}")
        if verb == "add":
            fields[field] = operand
        elif verb == "rename":
            fields[operand] = fields.pop(field)
        else:
            del fields[field]
    return made


def _migrated(content: bytes, words: tuple[Any, ...]) -> bytes:
    """What is no record, or cannot follow, stays as it is."""
    try:
        record = json.loads(content)
    except ValueError:
        return content
    if not isinstance(record, dict):
        return content
    before = dict(record)
    for verb, field, operand in _pairs(words):
        if verb == "add" and field not in record and "default" in operand:
            record[field] = operand["default"]
        elif verb == "rename" and field in record:
            if operand in record:
                return content
            record = {operand if key == field else key: one for key, one in record.items()}
        elif verb == "drop":
            record.pop(field, None)
    if record == before:
        return content
    return json.dumps(record, separators=(",", ":"), ensure_ascii=False).encode() + b"\n"
