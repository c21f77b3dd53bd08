"""What kept states hold, counted while a mount is on its way from one state to the next."""

from volume_harness import Harness

from affs_fuse.volume import verbs
from affs_fuse.volume.ledger import kept_terms


def test_the_state_that_is_shown_may_be_gone() -> None:
    harness = Harness()
    for step in range(2):
        harness.write(0, 0, 1, step)
        note = verbs.Note(f"s{step}")
        harness.volume.commit(None, verbs.checkpoint_request(harness.volume, note))
    volume = harness.volume
    older, newer = volume.states.all()
    assert [term.state for term in kept_terms(volume)] == [older.number, newer.number]
    volume.working.ancestor = 99  # deleted by the daemon that writes
    assert [term.state for term in kept_terms(volume)] == [older.number, newer.number]
