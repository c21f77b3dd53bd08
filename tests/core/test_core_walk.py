"""The walk over all nodes below a root."""

import pytest
from oracle.tree import Device, fill

from affs_fuse.core import constants
from affs_fuse.core.errors import StructureError
from affs_fuse.core.tree import NodeMissing, Tree, Walk

OPERATION = constants.ITEM_OPERATION


def test_walk_gives_parents_first(tree: Tree, device: Device) -> None:
    fill(tree, 30_000, 200)
    root = device.freeze(tree)
    nodes = [(node.address, node.birth, node.level) for node in device.nodes(root)]
    device.cache.drop_clean()

    def walk(level_min: int) -> list[tuple[int, int, int]]:
        found = device.collect(Walk(device.cache, root, level_min))
        return [(pointer.address, pointer.birth, pointer.level) for pointer in found]

    assert walk(1) == nodes
    assert device.cache.statistics().node_count == sum(level > 0 for *_, level in nodes)
    assert walk(0) == nodes
    assert device.cache.statistics().node_count == len(nodes)
    assert root.level == 2
    assert walk(2) == [node for node in nodes if node[2] >= 1]
    assert walk(3) == nodes[:1]


def test_walk_reads_nothing_below_what_is_pruned(tree: Tree, device: Device) -> None:
    fill(tree, 30_000, 200)
    root = device.freeze(tree)
    device.cache.drop_clean()
    walk = Walk(device.cache, root)
    found = []
    while True:
        try:
            found.append(next(walk))
        except StopIteration:
            break
        except NodeMissing as missing:
            device.load(missing.pointer)
            continue
        device.cache.drop_clean()  # between two steps, anything may go
        if found[-1].level == 1:
            walk.prune()
    assert [pointer.level for pointer in found] == [2] + [1] * (len(found) - 1)
    assert len(found) > 2
    with pytest.raises(StructureError):
        Walk(device.cache, root._replace(level=99))
