"""The oracle: a namespace in plain dictionaries, and what a volume must show after each commit.

Written from POSIX and docs/principles.md, not from the engine: it knows no blocks, trees or caches.
Operations take absolute paths and either change everything they should or raise ModelError and
change nothing.
"""

import copy
from dataclasses import dataclass, field, replace
from hashlib import blake2b
from typing import Any, NamedTuple, Self

__all__ = [
    "Collected", "Entry", "Expected", "Kept", "Model", "ModelError", "Object", "Snapshot",
    "content_key",
]  # fmt: skip

INLINE_CONTENT_MAX = 256


class ModelError(Exception):
    """The operation is not possible (the engine must refuse it too)."""


class Entry(NamedTuple):
    """What one path shows. content: of a file (see content_key) or a link's target; same_as: the
    first path, in order, of the object that this path names."""

    kind: str
    mode: int
    uid: int
    gid: int
    nlink: int
    size: int
    mtime_ns: int
    content: bytes
    xattrs: tuple[tuple[bytes, bytes], ...]
    same_as: str


Snapshot = dict[str, Entry]


class Collected(NamedTuple):
    """A directory that declares something. files: what the regular files directly in it hold, by
    name. settled: its indexes are complete, and nothing waits for them."""

    declaration: dict[str, Any]
    files: dict[str, bytes]
    settled: bool


Collections = dict[str, Collected]
"""Of one state, by path."""


@dataclass(frozen=True)
class Expected:
    """Of one commit. kept: states by the seq of the commit that kept them. collections: of those,
    and (0) of the working state."""

    tree: Snapshot
    kept: dict[int, Snapshot]
    labels: dict[int, str]
    published: int
    undo: int
    settings: dict[tuple[int, int], object] = field(default_factory=dict)
    collections: dict[int, Collections] = field(default_factory=dict)


@dataclass(slots=True)
class Object:
    kind: str
    mode: int
    uid: int = 0
    gid: int = 0
    mtime_ns: int = 0
    nlink: int = 1
    data: bytearray = field(default_factory=bytearray)
    target: bytes = b""
    children: dict[str, int] = field(default_factory=dict)
    xattrs: dict[bytes, bytes] = field(default_factory=dict)
    declaration: dict[str, Any] | None = None


def copies(objects: dict[int, Object]) -> dict[int, Object]:
    """Objects that may change without the others. A declaration is replaced, never changed."""
    return {
        number: replace(
            one, data=bytearray(one.data), children=dict(one.children), xattrs=dict(one.xattrs)
        )
        for number, one in objects.items()
    }


class Kept(NamedTuple):
    """A kept state: what it shows, and what a rollback brings back. Nothing in it changes."""

    tree: Snapshot
    collections: Collections
    objects: dict[int, Object]
    settled: bool


def content_key(data: bytes | bytearray) -> bytes:
    """A file's content, or a digest where it is long."""
    if len(data) <= INLINE_CONTENT_MAX:
        return bytes(data)
    return blake2b(data, digest_size=16).digest()


class Model:
    """The namespace and the kept states. now_ns: the time of the next operation. settled: all
    indexes were brought up to date after the last operation."""

    def __init__(self) -> None:
        self.now_ns = 0
        self.objects: dict[int, Object] = {1: Object("d", 0o755, nlink=2)}
        self.next_number = 2
        self.handles: dict[str, int] = {}
        self.settled = False
        self.kept: dict[int, Kept] = {}
        self.labels: dict[int, str] = {}
        self.deleted: dict[int, tuple[Kept, str]] = {}
        self.published = 0
        self.undo = 0
        self.ancestor = 0
        self.settings: dict[tuple[int, int], object] = {}

    def copy(self) -> Self:
        """Another one, which goes its own way."""
        made = copy.copy(self)
        made.objects = copies(self.objects)
        for name in ("handles", "kept", "labels", "deleted", "settings"):
            setattr(made, name, dict(getattr(self, name)))
        return made

    # ---- looking ----

    def find(self, path: str) -> int:
        number = 1
        for part in path.strip("/").split("/") if path != "/" else ():
            children = self.objects[number].children
            if part not in children:
                raise ModelError(f"no {path}")
            number = children[part]
        return number

    def _place(self, path: str) -> tuple[Object, str]:
        above, _, name = path.rpartition("/")
        parent = self.objects[self.find(above or "/")]
        if parent.kind != "d":
            raise ModelError(f"{above} is no directory")
        return parent, name

    def _file(self, path: str) -> Object:
        found = self.objects[self.find(path)]
        if found.kind != "f":
            raise ModelError(f"{path} is no file")
        return found

    def snapshot(self) -> Snapshot:
        """Every path of the namespace."""
        found: Snapshot = {}
        first: dict[int, str] = {}
        stack = [("/", 1)]
        while stack:
            path, number = stack.pop()
            one = self.objects[number]
            first.setdefault(number, path)
            size = {"d": len(one.children), "l": len(one.target)}.get(one.kind, len(one.data))
            content = one.target if one.kind == "l" else content_key(one.data)
            found[path] = Entry(
                one.kind, one.mode, one.uid, one.gid, one.nlink, size, one.mtime_ns, content,
                tuple(sorted(one.xattrs.items())), first[number],
            )  # fmt: skip
            base = path.rstrip("/")
            for name in sorted(one.children, reverse=True):
                stack.append((f"{base}/{name}", one.children[name]))
        return found

    def collections(self) -> Collections:
        """Every directory that declares something, and that has a path."""
        found: Collections = {}
        if not any(one.declaration for one in self.objects.values()):
            return found
        stack = [("", 1)]
        while stack:
            path, number = stack.pop()
            one = self.objects[number]
            if one.declaration:
                files = {name: self.objects[child] for name, child in one.children.items()}
                found[path or "/"] = Collected(
                    one.declaration,
                    {name: bytes(file.data) for name, file in files.items() if file.kind == "f"},
                    self.settled,
                )
            stack += [(f"{path}/{name}", child) for name, child in one.children.items()]
        return found

    def expected(self) -> Expected:
        collections = {seq: kept.collections for seq, kept in self.kept.items()}
        return Expected(
            self.snapshot(),
            {seq: kept.tree for seq, kept in self.kept.items()},
            dict(self.labels),
            self.published,
            self.undo,
            dict(self.settings),
            {0: self.collections(), **collections},
        )

    def operate(self, name: str, *arguments: Any) -> None:
        """An operation by its name. Errors: ModelError."""
        getattr(self, name)(*arguments)
        self.settled = False

    def settle(self) -> None:
        """All indexes are brought up to date."""
        self.settled = True

    # ---- names ----

    def _add(self, path: str, made: Object) -> None:
        parent, name = self._place(path)
        if name in parent.children:
            raise ModelError(f"{path} is there")
        made.mtime_ns = parent.mtime_ns = self.now_ns
        self.objects[self.next_number] = made
        parent.children[name] = self.next_number
        self.next_number += 1

    def create(self, path: str) -> None:
        self._add(path, Object("f", 0o644))

    def fifo(self, path: str) -> None:
        self._add(path, Object("p", 0o600))

    def symlink(self, target: str, path: str) -> None:
        self._add(path, Object("l", 0o777, target=target.encode()))

    def mkdir(self, path: str) -> None:
        self._add(path, Object("d", 0o755, nlink=2))
        self._place(path)[0].nlink += 1

    def link(self, old: str, new: str) -> None:
        number = self.find(old)
        parent, name = self._place(new)
        if self.objects[number].kind == "d" or name in parent.children:
            raise ModelError("no such link")
        parent.children[name] = number
        parent.mtime_ns = self.now_ns
        self.objects[number].nlink += 1

    def unlink(self, path: str) -> None:
        number = self.find(path)
        if self.objects[number].kind == "d":
            raise ModelError(f"{path} is a directory")
        self._remove(path)

    def rmdir(self, path: str) -> None:
        one = self.objects[self.find(path)]
        if one.kind != "d" or one.children or path == "/":
            raise ModelError(f"{path} cannot go")
        self._remove(path)

    def _remove(self, path: str) -> None:
        parent, name = self._place(path)
        number = parent.children.pop(name)
        parent.mtime_ns = self.now_ns
        one = self.objects[number]
        one.nlink -= 1
        if one.kind == "d":
            parent.nlink -= 1
            one.nlink = 0
        if not one.nlink and number not in self.handles.values():
            del self.objects[number]

    def rename(self, old: str, new: str) -> None:
        number = self.find(old)
        parent, name = self._place(new)
        moved = self.objects[number]
        if moved.kind == "d" and (new + "/").startswith(old + "/") and new != old:
            raise ModelError("below itself")
        met = parent.children.get(name)
        if met == number:
            return
        if met is not None:
            other = self.objects[met]
            if (other.kind == "d") != (moved.kind == "d") or other.children:
                raise ModelError(f"{new} cannot be replaced")
            self._remove(new)
        source, old_name = self._place(old)
        del source.children[old_name]
        parent.children[name] = number
        source.mtime_ns = parent.mtime_ns = self.now_ns
        if moved.kind == "d" and source is not parent:
            source.nlink -= 1
            parent.nlink += 1

    def exchange(self, one: str, two: str) -> None:
        first, second = self.find(one), self.find(two)
        (a, a_name), (b, b_name) = self._place(one), self._place(two)
        for path, other, number in ((one, two, first), (two, one, second)):
            if self.objects[number].kind == "d" and (other + "/").startswith(path + "/"):
                raise ModelError("below itself")
        if first == second:
            return
        a.children[a_name], b.children[b_name] = second, first
        a.mtime_ns = b.mtime_ns = self.now_ns
        if a is not b:
            difference = (self.objects[second].kind == "d") - (self.objects[first].kind == "d")
            a.nlink += difference
            b.nlink -= difference

    # ---- data and attributes ----

    def write(self, path: str, offset: int, data: bytes) -> None:
        self._write(self._file(path), offset, data)

    def _write(self, one: Object, offset: int, data: bytes) -> None:
        if offset > len(one.data):
            one.data += bytes(offset - len(one.data))
        one.data[offset : offset + len(data)] = data
        one.mtime_ns = self.now_ns

    def truncate(self, path: str, size: int) -> None:
        one = self._file(path)
        if size != len(one.data):
            one.mtime_ns = self.now_ns
        del one.data[size:]
        one.data += bytes(size - len(one.data))

    def hold(self, name: str, path: str) -> None:
        self._file(path)
        self.handles[name] = self.find(path)

    def write_held(self, name: str, offset: int, data: bytes) -> None:
        if name not in self.handles:
            raise ModelError("not held")
        self._write(self.objects[self.handles[name]], offset, data)

    def let_go(self, name: str) -> None:
        number = self.handles.pop(name)
        if not self.objects[number].nlink and number not in self.handles.values():
            del self.objects[number]

    def chmod(self, path: str, mode: int) -> None:
        self.objects[self.find(path)].mode = mode

    def chown(self, path: str, uid: int, gid: int) -> None:
        one = self.objects[self.find(path)]
        one.uid, one.gid = uid, gid

    def utimens(self, path: str, mtime_ns: int) -> None:
        self.objects[self.find(path)].mtime_ns = mtime_ns

    def setxattr(self, path: str, name: bytes, value: bytes) -> None:
        self.objects[self.find(path)].xattrs[name] = value

    def removexattr(self, path: str, name: bytes) -> None:
        if self.objects[self.find(path)].xattrs.pop(name, None) is None:
            raise ModelError(f"{path} has no {name!r}")

    # ---- kept states ----

    def crash(self) -> None:
        """Open files and objects without a name are gone with the process."""
        self.handles.clear()
        self.objects = {number: one for number, one in self.objects.items() if one.nlink}

    def keep(self, seq: int, label: str, publish: bool) -> None:
        self.kept[seq] = self._as_kept()
        self.labels[seq] = label
        self.ancestor = seq
        if publish:
            self.published = seq

    def _as_kept(self) -> Kept:
        objects = copies(self.objects)
        return Kept(self.snapshot(), self.collections(), objects, self.settled)

    def shows(self, kept: Kept) -> bool:
        """Is the working state what was kept, but for what waits for indexes?"""
        now = {path: one._replace(settled=False) for path, one in self.collections().items()}
        then = {path: one._replace(settled=False) for path, one in kept.collections.items()}
        return self.snapshot() == kept.tree and now == then

    def rollback(self, target: int, seal_seq: int, discard: bool) -> None:
        """The working state becomes kept state `target`; what is abandoned is kept as `seal_seq`
        (0: it did not differ from what it came from)."""
        if not discard:
            self.undo = seal_seq or self.ancestor
            if seal_seq:
                self.kept[seal_seq] = self._as_kept()
                self.labels[seal_seq] = ""
        self.objects = copies(self.kept[target].objects)
        self.settled = self.kept[target].settled
        self.objects = {number: one for number, one in self.objects.items() if one.nlink}
        self.ancestor = target

    def put_setting(self, kind: int, number: int, value: object) -> None:
        """value None: delete it."""
        self.settings[kind, number] = value
        if value is None:
            del self.settings[kind, number]

    def delete(self, seq: int) -> None:
        self.deleted[seq] = self.kept.pop(seq), self.labels.pop(seq)
        if self.undo == seq:
            self.undo = 0

    def restore(self, seq: int) -> None:
        """It comes back as it was, but nothing returns to it."""
        self.kept[seq], self.labels[seq] = self.deleted.pop(seq)

    def find_label(self, label: str) -> int:
        return next(seq for seq, found in self.labels.items() if found == label)
