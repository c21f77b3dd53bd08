"""The verbs as requests to a cut: checkpoint, publish, rollback, pin (semantics.md, "Verbs").

Each function checks its arguments and says what the next cut has to do; who calls it makes the
cut. So the runtime, which waits in workers, and the library, which does not, share the rules.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

from affs_fuse.core.constants import POINTER_UNDO, STATE_AUTOMATIC, STATE_DOOMED
from affs_fuse.errors import AffsError, Category
from affs_fuse.volume.commit import Cut, CutRequest, Keep
from affs_fuse.volume.reclaim import check_deletable, doom, next_job, waiting_for
from affs_fuse.volume.states import (
    AUTHOR_BYTES_MAX,
    MESSAGE_BYTES_MAX,
    KeptState,
    check_label,
    check_text,
)
from affs_fuse.volume.volume import Volume
from affs_fuse.volume.working import WorkingState

__all__ = [
    "Note",
    "check_deletable",
    "checkpoint_request",
    "delete",
    "pin",
    "publish_request",
    "reclaim_all",
    "restore",
    "rollback",
    "rollback_target",
    "seal_request",
    "unpin",
]

@dataclass(frozen=True, slots=True)
class Note:
    """What a person says about a state: label (unique, or ""), message, author (the session's
    identity).
    """

    label: str = ""
    message: str = ""
    author: str = ""


def checkpoint_request(volume: Volume, note: Note, *, flags: int = 0) -> CutRequest:
    """Keep the working state. Errors: state.label, state.label_taken, state.text_too_long."""
    return CutRequest(keep=_keep(volume, note, flags))


def publish_request(volume: Volume, note: Note, state: KeptState | None) -> CutRequest:
    """Keep the working state and publish it; or publish a state that is kept already.

    Errors: as checkpoint_request; state.gone.
    """
    if state is None:
        return CutRequest(keep=_keep(volume, note, 0), publish=True)
    _check_alive(state)
    return CutRequest(published=state.number)


def rollback_target(volume: Volume, text: str | None, *, undo: bool) -> KeptState:
    """What a rollback goes to: the state named, else what undo names, else the published one.

    Errors: state.not_found, state.ambiguous, state.none_published, state.nothing_to_undo.
    """
    if undo:
        target = volume.states.pointer(POINTER_UNDO)
        if target is None:
            raise AffsError(
                "state.nothing_to_undo",
                Category.NOT_FOUND,
                "there is no rollback to undo",
                hint="affsctl checkpoints lists the states that can be returned to",
            )
        return target
    return volume.find_state(text if text is not None else "published")


def seal_request(
    volume: Volume, abandoned: WorkingState, author: str, *, discard: bool
) -> CutRequest:
    """What the cut after Volume.begin_rollback does with the abandoned state.

    It is kept as an automatic state, from which `rollback --undo` returns; if nothing in it
    differs from the state it came from, and that one stays, it is what undo returns to. discard:
    kept and doomed in the same commit.
    """
    ancestor = volume.states.get(abandoned.ancestor)
    lasting = ancestor is not None and ancestor.listed
    if (lasting or discard) and not volume.changed_since_kept(abandoned):
        return CutRequest(seal=abandoned, undo=0 if discard else abandoned.ancestor)
    flags = STATE_AUTOMATIC | (STATE_DOOMED if discard else 0)
    keep = Keep(volume.new_state_id(), author=author, message="before a rollback", flags=flags)
    return CutRequest(seal=abandoned, seal_keep=keep, undo_sealed=not discard)


def rollback(
    volume: Volume,
    target: KeptState,
    *,
    author: str = "",
    discard: bool = False,
    flush: Callable[[], None] | None = None,
) -> Cut:
    """The whole rollback without an event loop: flush, switch, seal, commit."""
    if flush is not None:
        flush()
    abandoned = volume.begin_rollback(target)
    return volume.commit(None, seal_request(volume, abandoned, author, discard=discard))


def delete(volume: Volume, state: KeptState, grace_ns: int = 0) -> list[KeptState]:
    """Doom a state; gives the states for which its blocks wait. Then commit, then run reclaim jobs.
    grace_ns: how long restore() can bring it back.

    Errors: state.published, state.pinned.
    """
    _check_alive(state)
    return waiting_for(volume, doom(volume, state, grace_ns))


def restore(volume: Volume, state: KeptState) -> KeptState:
    """Bring back a deleted state. Then commit. Errors: state.reclaimed, state.label_taken."""
    if not state.restorable:
        raise AffsError(
            "state.reclaimed", Category.NOT_FOUND, f"state {state.name} is being reclaimed",
            hint="what was deleted can be restored until the date that `checkpoints --all` shows",
        )
    if state.label:
        check_label(state.label, volume.states.all())
    alive = replace(state, flags=state.flags & ~STATE_DOOMED, reclaim_ns=0)
    return _put(volume, alive)


def reclaim_all(volume: Volume, flush: Callable[[], None] | None = None) -> int:
    """Run every reclaim job that can run, without an event loop; the number of blocks freed."""
    freed = 0
    while (job := next_job(volume)) is not None:
        request = job.prepare()
        hidden = None
        if request is not None:
            hidden = volume.commit(flush, request).kept
        job.begin(hidden)
        while not volume.run(job.step):
            pass
        freed += volume.run(job.apply)
        volume.commit(flush)
    return freed


def pin(volume: Volume, state: KeptState) -> KeptState:
    """One more pin: the state cannot be deleted while it has one. Then commit."""
    _check_alive(state)
    return _put(volume, replace(state, pins=state.pins + 1))


def unpin(volume: Volume, state: KeptState) -> KeptState:
    """One pin less. Then commit. Errors: state.not_pinned."""
    if not state.pins:
        raise AffsError("state.not_pinned", Category.CONFLICT, f"state {state.name} has no pin")
    return _put(volume, replace(state, pins=state.pins - 1))


def _keep(volume: Volume, note: Note, flags: int) -> Keep:
    if note.label:
        check_label(note.label, volume.states.all())
    check_text(note.message, "message", MESSAGE_BYTES_MAX)
    check_text(note.author, "author", AUTHOR_BYTES_MAX)
    return Keep(volume.new_state_id(), note.label, note.author, note.message, flags)


def _put(volume: Volume, state: KeptState) -> KeptState:
    volume.check_writable()
    volume.states.put(state)
    volume.note_change()
    return state


def _check_alive(state: KeptState) -> None:
    if not state.listed:
        raise AffsError("state.gone", Category.NOT_FOUND, f"state {state.name} is being deleted")
