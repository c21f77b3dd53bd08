"""What changes replaced does not stay in memory, however many commits there are."""

from volume_harness import Harness

from affs_fuse.core.tree import Tree


def test_replaced_nodes_leave_the_caches() -> None:
    harness = Harness()
    for step in range(150):
        harness.write(step % 7, 0, 1, step % 250)
        harness.commit()
    volume = harness.volume
    nodes = volume.trees.cache.statistics().node_count
    assert nodes <= 8, "system trees keep what they replaced"
    assert volume.cache.statistics().node_count <= 12
    harness.check()


def test_who_reads_an_older_commit_gets_its_nodes_again() -> None:
    harness = Harness()
    harness.write(0, 0, 1, 1)
    harness.commit()
    volume = harness.volume
    reader = volume.begin_reading()
    before = Tree(volume.cache, 1, volume.last.root, writable=False)
    items = volume.run(before.scan, (0, 0, 0), (1 << 40, 0, 0))
    for step in range(5):
        harness.write(0, 0, 1, 2 + step)
        harness.commit()
    assert volume.run(before.scan, (0, 0, 0), (1 << 40, 0, 0)) == items
    before.close()
    volume.end_reading(reader)
