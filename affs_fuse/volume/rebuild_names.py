"""One state's names and objects, made to fit together again.

Of a state that is whole, nothing is changed. Where leaves are gone, a name may survive on one side
only (the directory's entry or the object's parent link), an object without its inode, a directory
without its own name. Rules, each decided by what is there and in a fixed order:

- A name counts if one side has it and nothing contradicts it. A link is contradicted by a directory
  that is complete without it, or that means somebody else by that name; an entry by an object whose
  links are complete without it. Only what was born no earlier can contradict.
- A name that leads to nothing is lost, and reported by its path.
- An object without any name goes into the directory for lost things under its number; if all its
  names were contradicted it was deleted, and stays so.
- Without an inode, its type is told by names and items, the rest is a default.

Memory: about half a kilobyte an object.
"""

import stat
from collections.abc import Iterable
from dataclasses import dataclass, field

from affs_fuse.core.codec import Extent, Inode, unpack_name
from affs_fuse.core.constants import (
    ITEM_COLLECTION,
    ITEM_DENTRY,
    ITEM_EXTENT,
    ITEM_INDEX,
    ITEM_INDEX_KEYS,
    ITEM_INDEX_PENDING,
    ITEM_INLINE,
    ITEM_INODE,
    ITEM_PARENT,
    ITEM_SYMLINK,
    OBJECT_COLLECTIONS,
    OBJECT_IMPORTS,
    OBJECT_ORPHANS,
    OBJECT_ROOT,
)
from affs_fuse.volume.rebuild_report import StateReport
from affs_fuse.volume.rebuild_scan import FoundNode
from affs_fuse.volume.verify_namespace import shown
from affs_fuse.volume.verify_nodes import Item

__all__ = ["KIND_DIRECTORY", "KIND_REGULAR", "Names", "Place", "Thing", "judge_names"]

Place = tuple[int, bytes]
"""(directory, name)."""

KIND_REGULAR, KIND_DIRECTORY, KIND_SYMLINK = 8, 4, 10
LOST_NAME = b"lost+found"
_AGAIN, _WITHOUT = "the daemon makes them anew", "queries of this state do without"
DEPTH_MAX = 4096


@dataclass(slots=True)
class Thing:
    """What is known of an object. born: of the leaf with its inode. kind: file type as in names,
    0 not known. links: with the births of their leaves. names: where it is, at last; a directory
    has one, but for the root."""

    inode: bool = False
    born: int = 0
    kind: int = 0
    nlink: int = 0
    size: int = 0
    entries: int = 0
    content: bool = False
    data_end: int = 0
    target: bool = False
    links: dict[Place, int] = field(default_factory=dict)
    names: list[Place] = field(default_factory=list)
    contradicted: bool = False


@dataclass(slots=True)
class Names:
    """things: those that are in the state, by number. children: by directory, name and number.
    lost: the number of the directory for lost things, 0 where none is needed."""

    things: dict[int, Thing]
    children: dict[int, dict[bytes, int]]
    lost: int

    def path(self, number: int) -> str:
        parts: list[str] = []
        while number != OBJECT_ROOT and len(parts) < DEPTH_MAX:
            thing = self.things.get(number)
            if thing is None or not thing.names:
                parts.append(f"(object {number})")
                break
            number, name = thing.names[0]
            parts.append(shown(name))
        return "/" + "/".join(reversed(parts))


def judge_names(
    items: Iterable[tuple[Item, FoundNode]],
    report: StateReport,
    lost_number: int,
    *,
    nothing_lost: bool,
) -> Names:
    """items: each with its leaf. lost_number: an object number that nothing has. nothing_lost: no
    leaf of the state is gone, so where births chose them (report.by_births) whatever does not fit
    is of a leaf that is not the state's."""
    work = _Judge(report, lost_number)
    for item, leaf in items:
        work.take(item, leaf.birth)
    if nothing_lost and report.by_births:
        work.keep_whole_ones()
    return work.judge()


@dataclass(frozen=True, slots=True)
class _Entry:
    """A directory's word for a name."""

    child: int
    kind: int
    born: int


class _Judge:
    def __init__(self, report: StateReport, lost_number: int) -> None:
        self._report = report
        self._lost_number = lost_number
        self._lost = 0
        self.things: dict[int, Thing] = {}
        self._entries: dict[Place, _Entry] = {}
        self._orphans: set[int] = set()
        self._listed: set[int] = set()
        self._declared: set[int] = set()
        self._indexed: set[int] = set()
        self._imports: set[int] = set()
        self._late: list[tuple[str, Place, int, str]] = []

    def take(self, item: Item, birth: int) -> None:
        (number, kind, offset), payload = item
        if number == OBJECT_ORPHANS:
            self._orphans.add(offset)
            return
        if number == OBJECT_COLLECTIONS:
            self._listed.add(offset)  # the list itself is made anew from the declarations
            return
        if kind in (ITEM_INDEX, ITEM_INDEX_KEYS, ITEM_INDEX_PENDING):
            self._indexed.add(number)  # indexes are built anew from the files
            return
        if number == OBJECT_IMPORTS:
            self._imports.add(offset)  # it cannot go on: what it has made may be incomplete
            return
        if kind == ITEM_COLLECTION:
            self._declared.add(number)
        thing = self.things.get(number)
        if thing is None:
            thing = self.things[number] = Thing()
        if kind == ITEM_INODE:
            inode = Inode.unpack(payload)
            thing.inode, thing.kind, thing.born = True, inode.mode >> 12, birth
            thing.nlink, thing.size = inode.nlink, inode.size
        elif kind == ITEM_PARENT:
            link, name = unpack_name(payload)
            thing.links[link.object, name] = birth
            thing.kind = thing.kind or link.kind
        elif kind == ITEM_DENTRY:
            entry, name = unpack_name(payload)
            thing.entries += 1
            thing.kind = thing.kind or KIND_DIRECTORY
            self._entries[number, name] = _Entry(entry.object, entry.kind, birth)
        elif kind == ITEM_SYMLINK:
            thing.target, thing.data_end = True, len(payload)
            thing.kind = thing.kind or KIND_SYMLINK
        elif kind in (ITEM_INLINE, ITEM_EXTENT):
            thing.content = True
            thing.kind = thing.kind or KIND_REGULAR
            length = len(payload) if kind == ITEM_INLINE else Extent.unpack(payload).length
            thing.data_end = offset + length

    def keep_whole_ones(self) -> None:
        """Only objects with an inode, only names that both sides have."""
        for number, thing in list(self.things.items()):
            if not thing.inode and number != OBJECT_ROOT:
                del self.things[number]
                self._report.lose("stale", f"(object {number})", number, detail="it has no inode")
        for number, thing in self.things.items():
            agreed = {
                place: born
                for place, born in thing.links.items()
                if place[0] in self.things
                and place in self._entries
                and self._entries[place].child == number
            }
            thing.contradicted = len(agreed) < len(thing.links)
            thing.links = agreed
        self._entries = {
            place: entry
            for place, entry in self._entries.items()
            if entry.child in self.things and place in self.things[entry.child].links
        }

    # ---- verdicts, in this order ----

    def judge(self) -> Names:
        self.things.setdefault(OBJECT_ROOT, Thing(kind=KIND_DIRECTORY))
        self.things[OBJECT_ROOT].kind = KIND_DIRECTORY
        self.things[OBJECT_ROOT].links.clear()
        self._drop_removed()
        self._accept_entries()
        self._accept_links()
        self._drop_hopeless()
        self._one_name_a_directory()
        self._reach()
        names = Names(self.things, self._children(), self._lost)
        self._tell(names)
        return names

    def _drop_removed(self) -> None:
        """Objects without a name that were still open: whoever opens the volume removes them."""
        for number, thing in list(self.things.items()):
            nameless = thing.inode and thing.nlink == 0 and number != OBJECT_ROOT
            if nameless and (number in self._orphans or not thing.links):
                del self.things[number]
                self._report.lose("removed", f"(object {number})", number)

    def _accept_entries(self) -> None:
        for place, entry in self._entries.items():
            child = entry.child
            thing = self.things.get(child)
            holder = self.things.get(place[0])
            if thing is None or child == OBJECT_ROOT:
                self._late.append(("path", place, child, "nothing of the object is there"))
                continue
            thing.kind = thing.kind or entry.kind
            if holder is None or holder.kind != KIND_DIRECTORY:
                self._late.append(("path", place, child, "what holds the name is no directory"))
            elif place in thing.links:
                thing.names.append(place)
            elif self._links_complete(thing) and thing.born >= entry.born:
                self._late.append(("stale", place, child, "the object has other names"))
            else:
                thing.names.append(place)
                self._late.append(("restored", place, child, "only the directory has the name"))

    @staticmethod
    def _links_complete(thing: Thing) -> bool:
        count = 1 if thing.kind == KIND_DIRECTORY else thing.nlink
        return thing.inode and len(thing.links) == count

    def _accept_links(self) -> None:
        for number, thing in list(self.things.items()):
            for place, born in thing.links.items():
                entry = self._entries.get(place)
                if entry is not None and entry.child == number:
                    continue
                directory = self.things.get(place[0])
                if directory is None:
                    directory = self.things[place[0]] = Thing(kind=KIND_DIRECTORY)
                if directory.kind != KIND_DIRECTORY:
                    continue
                complete = directory.inode and directory.size == directory.entries
                if complete and directory.born >= born:
                    thing.contradicted = True
                    self._late.append(("stale", place, number, "the directory lacks the name"))
                elif entry is not None:
                    thing.contradicted |= entry.born >= born
                    self._late.append(("stale", place, number, "the name means another object"))
                else:
                    thing.names.append(place)
                    self._late.append(("restored", place, number, "only its parent link is there"))

    def _drop_hopeless(self) -> None:
        """Links without target; crumbs of objects whose type nothing tells."""
        for number, thing in list(self.things.items()):
            if thing.kind == KIND_SYMLINK and not thing.target:
                reason = "the link's target is gone"
            elif not thing.kind:
                reason = "only extended attributes are there"
            else:
                continue
            del self.things[number]
            if thing.names:
                self._late += [("path", place, number, reason) for place in thing.names]
            else:
                self._report.lose("unnamed", f"(object {number})", number, detail=reason)

    def _one_name_a_directory(self) -> None:
        for number, thing in self.things.items():
            if thing.kind == KIND_DIRECTORY and len(thing.names) > 1:
                linked = [place for place in thing.names if place in thing.links]
                keep = (linked or thing.names)[0]
                for place in thing.names:
                    if place != keep:
                        self._late.append(("stale", place, number, "a directory has one name"))
                thing.names = [keep]
        self.things[OBJECT_ROOT].names = []

    def _reach(self) -> None:
        """Every thing must hang below the root: through its names, or through the directory for
        lost things. What hangs below something deleted was deleted with it."""
        verdicts: dict[int, str] = {OBJECT_ROOT: "here"}
        for number in sorted(self.things):
            if self.things[number].kind == KIND_DIRECTORY:
                self._climb(number, verdicts)
        for number, thing in sorted(self.things.items()):
            if thing.kind == KIND_DIRECTORY:
                continue
            thing.names = [place for place in thing.names if verdicts.get(place[0]) == "here"]
            if not thing.names:
                verdicts[number] = self._unnamed(number, thing)
        for number, verdict in verdicts.items():
            if verdict == "gone":
                del self.things[number]
                self._report.lose("stale", f"(object {number})", number, detail="it was deleted")

    def _climb(self, number: int, verdicts: dict[int, str]) -> None:
        chain: list[int] = []
        at = number
        while at not in verdicts:
            chain.append(at)
            thing = self.things[at]
            parent = thing.names[0][0] if thing.names else 0
            if not thing.names or parent in chain or parent not in self.things:
                verdicts[at] = self._unnamed(at, thing)
                break
            at = parent
        verdict = verdicts[at]
        for each in chain:
            verdicts.setdefault(each, verdict)

    def _unnamed(self, number: int, thing: Thing) -> str:
        """Into the directory for lost things, unless it is proven that it was deleted."""
        deleted = thing.contradicted or (thing.links and thing.inode)
        if deleted and not thing.names and self._report.by_births:
            return "gone"  # by pointers it would be a part of the state, whatever its names say
        self._need_lost_directory()
        thing.names = [(self._lost, b"#%d" % number)]
        if thing.inode or thing.content or thing.entries:
            self._late.append(("unnamed", thing.names[0], number, "no name of it is there"))
        return "here"

    def _need_lost_directory(self) -> None:
        if self._lost:
            return
        taken = {name for (parent, name) in self._entries if parent == OBJECT_ROOT}
        name, count = LOST_NAME, 1
        while name in taken:
            count += 1
            name = LOST_NAME + b".%d" % count
        self._lost = self._lost_number
        self._report.lost_directory = "/" + name.decode()

    def _children(self) -> dict[int, dict[bytes, int]]:
        if self._lost:
            name = self._report.lost_directory[1:].encode()
            self.things[self._lost] = Thing(
                kind=KIND_DIRECTORY, inode=True, names=[(OBJECT_ROOT, name)]
            )
        children: dict[int, dict[bytes, int]] = {}
        for number, thing in sorted(self.things.items()):
            thing.names = list(dict.fromkeys(thing.names))
            for parent, name in thing.names:
                children.setdefault(parent, {})[name] = number
        return children

    def _tell(self, names: Names) -> None:
        """Losses by path, now that paths are known."""
        for kind, (parent, name), number, detail in self._late:
            if parent in names.things:
                above = names.path(parent)
                path = ("" if above == "/" else above) + "/" + shown(name)
            else:
                path = f"(object {parent})/{shown(name)}"
            self._report.lose(kind, path, number, detail=detail)
        for number, thing in names.things.items():
            if not thing.inode:
                self._report.lose(
                    "attributes", names.path(number), number,
                    detail=f"its inode is gone; it is {stat.filemode(thing.kind << 12)[0]} now",
                )
        for kind, numbers, detail in (
            ("collection", self._listed - self._declared, "no part of its declaration is there"),
            ("import", self._imports, "records that it has made may be missing; begin it anew"),
            ("index", self._indexed, _AGAIN if not self._report.number else _WITHOUT),
        ):
            for number in sorted(numbers & names.things.keys()):
                self._report.lose(kind, names.path(number), number, detail=detail)
        self._report.names = sum(len(each) for each in names.children.values())
