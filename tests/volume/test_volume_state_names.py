"""A state that is misspelled: the error says which may have been meant."""

import pytest
from volume_harness import Harness

from affs_fuse.errors import AffsError
from affs_fuse.volume import verbs


def test_a_slip_of_the_finger() -> None:
    harness = Harness()
    for label in ("nightly", "before-upgrade"):
        request = verbs.checkpoint_request(harness.volume, verbs.Note(label, "", ""))
        harness.volume.commit(None, request)
    with pytest.raises(AffsError) as caught:
        harness.volume.states.resolve("nigthly")
    assert caught.value.hint == "did you mean nightly?"
    assert caught.value.details == {"candidates": ["nightly"]}
    with pytest.raises(AffsError) as caught:
        harness.volume.states.resolve("something else")
    assert "checkpoints lists them" in caught.value.hint
    assert caught.value.details == {}
