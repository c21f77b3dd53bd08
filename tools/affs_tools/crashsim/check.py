"""What must hold in every state that a crash may leave: the judge.

A state is opened in process, walked whole, compared with what the model said of the commit that was
opened, and gone on with: free space equals what can be reached, the same bytes give the same
recovery, one more commit works and is found again.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise

from affs_fuse.core.codec import Pointer
from affs_fuse.core.constants import (
    BLOCK_SIZE,
    INTENT_SYSTEM,
    POINTER_UNDO,
    RING_SLOTS,
    TREE_NAMESPACE,
)
from affs_fuse.core.tree import Tree
from affs_fuse.errors import AffsError
from affs_fuse.posix.namespace import Namespace
from affs_fuse.query.index_values import keys_of_content
from affs_fuse.volume import layout, verbs
from affs_fuse.volume.opening import OpenOptions
from affs_fuse.volume.ring import read_ring, read_slot
from affs_fuse.volume.settings import SettingKind
from affs_fuse.volume.states import KeptState
from affs_fuse.volume.superblock import read_superblock
from affs_fuse.volume.verify import Severity, verify_volume
from affs_fuse.volume.volume import Volume
from affs_tools.crashsim.asking import answer, answers
from affs_tools.crashsim.bounds import Violation
from affs_tools.crashsim.check_records import check_collections
from affs_tools.crashsim.device import Event, Image, Mark, Recorder, Write
from affs_tools.crashsim.known_trees import TreesOf
from affs_tools.crashsim.model import Entry, Expected, Snapshot, content_key
from affs_tools.crashsim.session import ROOT, TIME_NS, Time, open_options, reuse_soon
from affs_tools.fsck_indexes import index_problems

__all__ = [
    "Verdict", "Violation", "judge", "judge_damaged", "named", "open_state", "state_trees",
    "walk_state",
]  # fmt: skip

KINDS = {0o040000: "d", 0o100000: "f", 0o120000: "l", 0o010000: "p"}
READDIR_COUNT = 64


@dataclass(frozen=True, slots=True)
class Verdict:
    """seq: of the commit that was opened. outcome: "served", or for damage what was said of it."""

    seq: int
    outcome: str = "served"


def open_state(device: Image | Recorder, **more: object) -> Volume:
    """Open as a daemon would after the power is back. Errors: AffsError."""
    options: OpenOptions = open_options(device, Time(TIME_NS + 10**15).clock(), 99, **more)
    return Volume.open("", options)


def judge(
    device: Image, expected: dict[int, Expected], durable: int, begun: int, *, thorough: bool
) -> Verdict:
    """A state that an honest device may show. Writes to the device. Errors: Violation."""
    recorder = Recorder(device)
    volume = _open(recorder)
    allowed = {durable, begun} if begun in expected else {durable}
    if volume.durable_seq not in allowed:
        raise Violation(f"commit {volume.durable_seq} was opened, not one of {sorted(allowed)}")
    if volume.read_only:
        raise Violation(f"it opened read-only: {volume.read_only_reason}")
    wanted = expected[volume.durable_seq]
    seq = volume.durable_seq
    trees = TreesOf(volume, believe=not thorough)
    _compare_all(volume, wanted, trees)
    _check_space(volume, trees)
    if thorough:
        past = {known: one for known, one in expected.items() if known <= seq}
        _fall_back(device, past)
        _go_on(device, volume, wanted)
        _fall_back(device, past)
    return Verdict(seq)


def judge_damaged(
    device: Image, expected: dict[int, Expected], durable: int, begun: int, *, thorough: bool
) -> Verdict:
    """A state that only a device that lied about a barrier can show: it may be refused, an earlier
    commit may be opened, reading may fail, but nothing wrong may be served. Errors: Violation."""
    try:
        volume = open_state(Recorder(device))
    except AffsError as error:
        return Verdict(0, f"refused: {error.code}")
    seq = volume.durable_seq
    if seq not in expected:
        raise Violation(f"commit {seq} was opened, which was never made")
    if seq < durable and not volume.read_only and volume.report.newest_seq >= durable:
        raise Violation(f"commit {seq} was opened for writing past a newer one that verifies")
    outcome = "served" if seq >= durable else "fallen back"
    try:
        _compare_all(volume, expected[seq], TreesOf(volume, believe=not thorough))
    except AffsError as error:
        outcome = f"damage found: {error.code}"
    if volume.read_only and thorough:
        _recover_previous(device, expected, seq)
    return Verdict(seq, outcome)


def _fall_back(device: Image, expected: dict[int, Expected]) -> None:
    """Without the newest record, and without the newest two, the commit before them is found whole
    (disk-layout.md, "When a block may be reused")."""
    records = read_ring(device, read_superblock(device).format_uuid).records
    mark = device.mark()
    for newest, older in pairwise(records[:3]):
        for region in range(len(layout.REGIONS)):
            device.put(layout.ring_offset(region, newest.seq), bytes(BLOCK_SIZE))
        if newest.parent_seq != older.seq or older.seq not in expected:
            break
        inner = device.mark()
        volume = _open(device)
        if volume.durable_seq != older.seq or volume.read_only:
            raise Violation(f"fell back to {volume.durable_seq}, not {older.seq}")
        try:
            _compare_all(volume, expected[older.seq], TreesOf(volume, believe=True))
        except AffsError as error:
            raise Violation(f"fell back to {older.seq}, where {error.message}") from error
        device.revert(inner)
    device.revert(mark)


def _open(device: Image | Recorder) -> Volume:
    try:
        return open_state(device)
    except AffsError as error:
        raise Violation(f"it cannot be opened: {error.code}: {error.message}") from error


def recovery_log(device: Image, **more: object) -> list[Event]:
    """What opening writes, undone again. Errors: AffsError."""
    mark = device.mark()
    recorder = Recorder(device)
    try:
        open_state(recorder, **more)
        return [event for event in recorder.log if not isinstance(event, Mark)]
    finally:
        device.revert(mark)


def _recover_previous(device: Image, expected: dict[int, Expected], seq: int) -> None:
    """Allowed to write past the damage: the abandoned commits never come back, wherever the burying
    is interrupted."""
    mark = device.mark()
    log = recovery_log(device, recover_previous=True)
    if log != recovery_log(device, recover_previous=True):
        raise Violation("recovering twice from the same bytes wrote different bytes")
    wanted = expected[seq]
    for end in range(len(log) + 1):
        for event in log[:end]:
            if isinstance(event, Write):
                device.put(event.offset, event.data)
        inner = device.mark()
        opened = 0
        for _ in range(2):
            volume = open_state(device, recover_previous=True)
            _compare_tolerant(volume, wanted)
            if volume.durable_seq < opened:
                raise Violation("recovering again opened an older commit")
            opened = volume.durable_seq
        device.revert(inner)
        device.revert(mark)


def _compare_tolerant(volume: Volume, wanted: Expected) -> None:
    try:
        _compare_all(volume, wanted, TreesOf(volume, believe=True))
    except AffsError:
        return  # damage below the root is said, not served


def _go_on(device: Image, volume: Volume, wanted: Expected) -> None:
    """Clean, reclaim, one more change, one more commit; then open again and find all that."""
    namespace = Namespace(volume, relatime="noatime")
    _compare_answers(volume, wanted)
    reuse_soon(volume)
    volume.run(namespace.load_orphans)
    while namespace.removals_pending:
        volume.run(namespace.remove_step)
    wanted = _bring_indexes_up_to_date(volume, namespace, wanted)
    verbs.reclaim_all(volume, namespace.flush_all)
    made = _try_to_make(volume, namespace)
    volume.commit(namespace.flush_all)
    _check_space(volume, TreesOf(volume, believe=True))
    stuck = [
        state.seq
        for state in volume.states.all()
        if not state.listed and not _branches(volume, state)
    ]
    if stuck:
        raise Violation(f"deleted states stay: {stuck}")
    report = verify_volume(device, data=True)
    errors = [str(one) for one in report.findings if one.severity is Severity.ERROR]
    if errors:
        raise Violation(f"fsck finds: {errors[:3]}")
    rings = [read_slot(device, volume.superblock.format_uuid, n, volume.durable_seq % RING_SLOTS)
             for n in range(len(layout.REGIONS))]  # fmt: skip
    if rings[0].image != rings[1].image or rings[0].record is None:
        raise Violation(f"commit {volume.durable_seq} is not in both rings")
    again = _open(device)
    if again.durable_seq != volume.durable_seq:
        raise Violation(f"commit {volume.durable_seq} was made, {again.durable_seq} is opened")
    tree = dict(wanted.tree)
    if made is not None:
        tree["/"] = tree["/"]._replace(
            size=tree["/"].size + 1, nlink=tree["/"].nlink + 1, mtime_ns=made.mtime_ns
        )
        tree["/after"] = made
    trees = TreesOf(again, believe=True)
    _compare_all(again, replace(wanted, tree=tree), trees)
    _compare_answers(again, wanted)
    _check_space(again, trees)


def _bring_indexes_up_to_date(
    volume: Volume, namespace: Namespace, wanted: Expected
) -> Expected:
    """Take in what waits for indexes, if there is room for that; what must show then."""
    work = namespace.files.index_work(keys_of_content)
    try:
        while volume.run(work.step, lambda: True) is not None:
            pass
    except AffsError as error:
        if error.code != "volume.no_space":
            raise
        return wanted
    now = {path: one._replace(settled=True) for path, one in wanted.collections[0].items()}
    return replace(wanted, collections={**wanted.collections, 0: now})


def _branches(volume: Volume, state: KeptState) -> bool:
    """Do two or more states descend from it?"""
    children = volume.states.children(state.number)
    return len(children) + (volume.working.ancestor == state.number) > 1


def _try_to_make(volume: Volume, namespace: Namespace) -> Entry | None:
    try:
        inode = volume.run(namespace.mkdir, 1, b"after", 0o755, ROOT).inode
    except AffsError as error:
        if error.code == "volume.no_space":
            return None
        raise
    return Entry("d", 0o755, 0, 0, 2, 0, inode.mtime_ns, b"", (), "/after")


# ---- comparing ----


def _compare_all(volume: Volume, wanted: Expected, trees: TreesOf) -> None:
    """The working state and every kept state. Errors: Violation; AffsError of damage."""
    namespace = Namespace(volume, relatime="noatime")

    def compare(seq: int, root: Pointer, find: Callable[[], int], snapshot: Snapshot) -> None:
        known = trees.get(root)
        if known.shown is None:
            known.shown = walk_state(volume, namespace, find())
        _compare(known.shown, snapshot, named(seq))
        declared = wanted.collections.get(seq, {})
        if known.collections != declared:
            tree = Tree(volume.cache, TREE_NAMESPACE, root, writable=False)
            check_collections(volume, tree, declared, named(seq))
            tree.close()
            known.collections = declared

    root = volume.working.tree.root
    assert root is not None, "compared right after opening"
    compare(0, root, lambda: 1, wanted.tree)
    listed = {state.seq: state for state in volume.states.listed()}
    if sorted(listed) != sorted(wanted.kept):
        raise Violation(f"kept are {sorted(listed)}, not {sorted(wanted.kept)}")
    _compare_pointers(volume, wanted, {seq: state.label for seq, state in listed.items()})
    for seq, state in listed.items():
        find = partial(_kept_root, volume, namespace, state)
        compare(seq, state.root, find, wanted.kept[seq])
    namespace.views.close()


def _kept_root(volume: Volume, namespace: Namespace, state: KeptState) -> int:
    door = volume.run(namespace.lookup, 1, b".affs").number
    shelf = volume.run(namespace.lookup, door, b"checkpoints").number
    return volume.run(namespace.lookup, shelf, state.hex_id.encode()).number


def _compare_pointers(volume: Volume, wanted: Expected, labels: dict[int, str]) -> None:
    """What is said about states. Errors: Violation."""
    if labels != wanted.labels:
        raise Violation(f"labels are {labels}, not {wanted.labels}")
    published = volume.states.published
    if (published.seq if published is not None else 0) != wanted.published:
        raise Violation(f"published is {published and published.seq}, not {wanted.published}")
    undo = volume.states.pointer(POINTER_UNDO)
    if (undo.seq if undo is not None else 0) != (wanted.undo if wanted.undo in wanted.kept else 0):
        raise Violation(f"undo goes to {undo and undo.seq}, not {wanted.undo}")
    settings = {
        (kind, number): value
        for kind in SettingKind
        for number, value in volume.settings.items(kind)
    }
    if settings != wanted.settings:
        raise Violation(f"settings are {settings}, not {wanted.settings}")


def state_trees(volume: Volume) -> dict[int, Tree]:
    """Of the working state (0), and of the kept ones by the seq of their commit."""
    kept = {state.seq: volume.open_state(state) for state in volume.states.listed()}
    return {0: volume.working.tree, **kept}


def named(seq: int) -> str:
    return f"kept state {seq}" if seq else "the working state"


def _compare_answers(volume: Volume, wanted: Expected) -> None:
    """By the engine's own check every index says what the records say, and asking it gives what
    reading gives, in each state: asked once of the same bytes. Errors: Violation."""
    trees = TreesOf(volume, believe=True)
    for seq, tree in state_trees(volume).items():
        assert tree.root is not None, "asked right after opening"
        known = trees.get(tree.root)
        if wanted.collections.get(seq) and not known.answered:
            known.answered = True
            what = named(seq)
            for path, problem in index_problems(volume, tree):
                raise Violation(f"{what}: an index of {path}: {problem}")
            for line, found in answers(volume, tree):
                right = answer(volume, tree, line, indexes=False)
                if found.text != right.text:
                    told = f"{found.text} by index {found.asked}"
                    raise Violation(f"{what}: {line!r} gives {told}, not {right.text}")


def _compare(found: Snapshot, wanted: Snapshot, what: str) -> None:
    if found == wanted:
        return
    for path in sorted(found.keys() | wanted.keys()):
        if found.get(path) != wanted.get(path):
            raise Violation(f"{what}: {path} shows {found.get(path)}, not {wanted.get(path)}")


def walk_state(
    volume: Volume, namespace: Namespace, root: int, damaged: dict[str, AffsError] | None = None
) -> Snapshot:
    """Everything below a root directory, every byte read. damaged: gets what cannot be read, by
    path; without it that is an error. Errors: AffsError of damage."""
    found: Snapshot = {}
    first: dict[int, str] = {}
    stack = [("/", root)]
    while stack:
        path, number = stack.pop()
        try:
            found[path], children = _look(volume, namespace, path, number, first)
        except AffsError as error:
            if damaged is None:
                raise
            damaged[path] = error
            continue
        stack += children
    return found


def _look(
    volume: Volume, namespace: Namespace, path: str, number: int, first: dict[int, str]
) -> tuple[Entry, list[tuple[str, int]]]:
    """One object, and of a directory what is in it: (path, number)."""
    children: list[tuple[str, int]] = []
    inode = volume.run(namespace.getattr, number).inode
    kind = KINDS[inode.mode & 0o170000]
    content = b""
    if kind == "d":
        base = path.rstrip("/")
        for name, child in sorted(_entries(volume, namespace, number), reverse=True):
            children.append((f"{base}/{name}", child))
    elif kind == "l":
        content = volume.run(namespace.readlink, number)
    elif kind == "f":
        handle = volume.run(namespace.open, number, os.O_RDONLY | os.O_NOATIME, ROOT)
        content = content_key(volume.run(namespace.read, handle, 0, inode.size))
        namespace.release(handle)
    names = volume.run(namespace.listxattr, number, ROOT)
    first.setdefault(number, path)
    entry = Entry(
        kind, inode.mode & 0o7777, inode.uid, inode.gid, inode.nlink, inode.size,
        inode.mtime_ns, content,
        tuple((name, volume.run(namespace.getxattr, number, name, ROOT))
              for name in sorted(names)),
        first[number],
    )  # fmt: skip
    return entry, children


def _entries(volume: Volume, namespace: Namespace, number: int) -> list[tuple[str, int]]:
    handle = volume.run(namespace.opendir, number, ROOT)
    found: list[tuple[str, int]] = []
    cookie = 0
    while part := volume.run(namespace.readdir, handle, cookie, READDIR_COUNT):
        found += [(name.decode(), one.number) for name, one, _ in part if name not in (b".", b"..")]
        cookie = part[-1][2]
    namespace.releasedir(handle)
    return found


# ---- space ----


def _check_space(volume: Volume, trees: TreesOf) -> None:
    """The allocator says exactly what the working state and the kept states reach."""
    live: dict[int, int] = {}
    roots = [volume.working.tree.root, *(state.root for state in volume.states.all())]
    for root in roots:
        assert root is not None, "compared right after opening or a commit"
        for number, bits in trees.get(root).live.items():
            live[number] = live.get(number, 0) | bits
    for segment in volume.space.segments.values():
        if segment.intent == INTENT_SYSTEM:
            continue
        used = int.from_bytes(segment.bits, "little") & ~1
        wanted = live.pop(segment.number, 0)
        if used != wanted:
            raise Violation(
                f"segment {segment.number}: leaked {_blocks(used & ~wanted)}, in use but free"
                f" {_blocks(wanted & ~used)}"
            )
        if used.bit_count() != segment.used:
            raise Violation(f"segment {segment.number} counts {segment.used}")
    if live:
        raise Violation(f"segments {sorted(live)} are in use and not known")


def _blocks(bits: int) -> list[int]:
    return [block for block in range(bits.bit_length()) if bits >> block & 1][:8]
