"""What kept states alone hold, and what deleting one would free, against sets of blocks."""

import random

import pytest
from posix_harness import Bench

from affs_fuse.core.constants import NODE_BLOCKS, TREE_NAMESPACE
from affs_fuse.core.tree import Diff, Tree
from affs_fuse.volume import verbs
from affs_fuse.volume.ledger import Term, TermCount, frees_term, kept_terms
from affs_fuse.volume.reclaim import extents_of

STEPS = 60


def blocks_of(bench: Bench, tree: Tree) -> set[int]:
    """Every block that a state refers to, one by one."""
    found: set[int] = set()
    differences = Diff(tree, Tree(bench.volume.cache, TREE_NAMESPACE, None, writable=False))
    while (event := bench.run(next, differences, None)) is not None:
        if event.node is not None:
            found.update(range(event.node.address, event.node.address + NODE_BLOCKS))
        else:
            for address, blocks, _ in extents_of(event.type, event.a):
                found.update(range(address, address + blocks))
    return found


def working_tree(bench: Bench) -> Tree:
    return Tree(bench.volume.cache, TREE_NAMESPACE, bench.volume.last.root, writable=False)


def count(bench: Bench, term: Term) -> int:
    counted = TermCount(bench.volume, term, working_tree(bench))
    while not bench.run(counted.step):
        pass
    return counted.blocks()


def check(bench: Bench) -> None:
    bench.commit()
    volume = bench.volume
    live = blocks_of(bench, working_tree(bench))
    of_states = [blocks_of(bench, volume.open_state(state)) for state in volume.states.all()]
    kept = set().union(*of_states) - live
    assert sum(count(bench, term) for term in kept_terms(volume)) == len(kept)
    assert volume.space.used_blocks == len(kept) + len(live)


def delete(bench: Bench, label: str) -> None:
    """What is said to be freed is freed."""
    volume = bench.volume
    bench.commit()
    state = volume.states.resolve(label)
    term = frees_term(volume, state)
    expected = count(bench, term) if term is not None else 0
    waits = bool(verbs.delete(volume, state))
    volume.note_change()
    bench.commit()
    freed = verbs.reclaim_all(volume, bench.namespace.flush_all)
    assert waits == (term is None)
    # The comparison of the job keeps a hidden state, whose own nodes go as well.
    assert freed >= expected
    assert not freed or term is not None


@pytest.mark.parametrize("seed", range(4))
def test_against_sets_of_blocks(bench: Bench, seed: int) -> None:
    chance = random.Random(seed)
    labels: list[str] = []
    for step in range(STEPS):
        choice = chance.randrange(10)
        name = f"/f{chance.randrange(8)}"
        if choice < 5:
            bench.write(name, chance.randbytes(chance.choice([100, 5000, 70_000])))
        elif choice < 7:
            labels.append(f"s{step}")
            bench.checkpoint(labels[-1])
        elif choice == 7 and labels:
            bench.rollback(bench.volume.states.resolve(chance.choice(labels)))
        elif choice == 8 and len(labels) > 2:
            delete(bench, labels.pop(chance.randrange(len(labels))))
        check(bench)
    assert labels
