"""What is damaged, in the words of whoever has to act: paths and kept states for blocks and nodes.

Looking a name up may meet the damage itself; then the number of the object has to do. Nothing here
raises for what a volume holds.
"""

from contextlib import suppress

from affs_fuse.core.codec import Extent, Name
from affs_fuse.core.constants import ITEM_DENTRY, ITEM_EXTENT
from affs_fuse.core.tree import Tree
from affs_fuse.errors import AffsError
from affs_fuse.runtime.differences import Paths
from affs_fuse.runtime.loader import Loader
from affs_fuse.volume.scrub import Damage
from affs_fuse.volume.verify_namespace import shown
from affs_fuse.volume.verify_nodes import Key, last_object
from affs_fuse.volume.volume import Volume

__all__ = [
    "NAMES_MAX", "NodeNames", "names_of_object", "path_of_object", "path_text", "states_with",
]  # fmt: skip

NAMES_MAX = 8
"""Of objects in one damaged node: enough to know where to look."""

STATES_MAX = 32


def path_text(path: bytes) -> str:
    """From the root, without anything that a terminal would obey; long ones are cut."""
    text = "/" + shown(path)
    return text if len(text) <= 1024 else text[:1021] + "..."


async def path_of_object(loader: Loader, tree: Tree, number: int) -> str:
    """One path of an object, or its number where none can be had."""
    paths = Paths(tree)
    with suppress(AffsError):
        place = await loader.run(paths.first_place, number)
        if place is not None:
            return path_text(await loader.run(paths.of_place, place))
        if number == 1:
            return "/"
    return f"(object {number})"


async def names_of_object(
    volume: Volume, loader: Loader, tree: Tree, number: int
) -> dict[str, str]:
    """Of damage that an operation met: path and state, as far as they can be told."""
    root = tree.root
    states = (state.name for state in volume.states.listed() if state.root == root)
    name = "working" if tree is volume.working.tree else next(states, "")
    return {"path": await path_of_object(loader, tree, number), "state": name}


async def states_with(loader: Loader, volume: Volume, damage: Damage) -> list[str]:
    """The states that have the damaged data block, "working" among them; the newest first."""
    found: list[str] = []
    if await _has(loader, volume.working.tree, damage):
        found.append("working")
    for state in reversed(volume.states.listed()):
        if len(found) >= STATES_MAX:
            break
        number = state.number
        volume.hold(number)
        tree = volume.open_state(state)
        try:
            if await _has(loader, tree, damage):
                found.append(state.name)
        finally:
            tree.close()
            volume.release_hold(number)
    return found


async def _has(loader: Loader, tree: Tree, damage: Damage) -> bool:
    number, kind, offset = damage.low
    at = damage.data_offset if kind == ITEM_EXTENT else offset
    try:
        item = await loader.run(tree.seek, number, kind, at, True)
    except AffsError:
        return False
    if item is None or item[:2] != (number, kind):
        return False
    if kind != ITEM_EXTENT:
        return item[2] == offset
    extent = Extent.unpack(item[3])
    return extent.address <= damage.address < extent.address + extent.blocks


class NodeNames:
    """Collects, from the directory entries that a scan meets, the names of objects of which items
    lie in damaged nodes."""

    def __init__(self, damaged: list[Damage]) -> None:
        self._ranges = [(one.low[0], last_object(one.high), one) for one in damaged]
        self.found: dict[int, list[tuple[int, bytes]]] = {id(one): [] for one in damaged}

    def look_at(self, key: Key, payload: bytes) -> None:
        """An item of the state (TreeScan.on_item)."""
        if key[1] != ITEM_DENTRY:
            return
        entry = Name.unpack(payload)
        for low, high, damage in self._ranges:
            names = self.found[id(damage)]
            if low <= entry.object <= high and len(names) < NAMES_MAX:
                names.append((key[0], payload[Name.SIZE :]))

    async def paths(self, loader: Loader, tree: Tree, damage: Damage) -> list[str]:
        """Of the objects of one damaged node."""
        paths = Paths(tree)
        texts = []
        for place in self.found[id(damage)]:
            try:
                texts.append(path_text(await loader.run(paths.of_place, place)))
            except AffsError:
                texts.append(f"(directory {place[0]})/{shown(place[1])}")
        return sorted({*texts})
