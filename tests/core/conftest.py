"""A node cache, a device of frozen nodes, and an empty tree over both."""

from collections.abc import Iterator

import pytest
from oracle.tree import SALT, UUID, Device

from affs_fuse.core import constants
from affs_fuse.core.tree import NodeCache, Tree


@pytest.fixture
def cache() -> NodeCache:
    return NodeCache(1 << 30, UUID, SALT)


@pytest.fixture
def device(cache: NodeCache) -> Device:
    return Device(cache)


@pytest.fixture
def tree(cache: NodeCache) -> Iterator[Tree]:
    made = Tree(cache, constants.TREE_SYSTEM, None)
    yield made
    made.close()
