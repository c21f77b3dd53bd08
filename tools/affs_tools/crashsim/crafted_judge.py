"""What a crafted image may do: be refused, give errors that have a name, or be served as it says.

It may not: raise anything else, run for ever, take memory without bound, or be clean by the check
and unreadable all the same.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial

from affs_fuse.core.codec import Pointer
from affs_fuse.core.constants import OBJECT_BITS
from affs_fuse.errors import AffsError, Category
from affs_fuse.posix.namespace import Changes, Namespace
from affs_fuse.query.index_values import keys_of_content
from affs_fuse.volume import verbs
from affs_fuse.volume.verify import verify_volume
from affs_fuse.volume.volume import Volume
from affs_tools.crashsim.asking import answer, answers
from affs_tools.crashsim.bounds import Violation, with_memory
from affs_tools.crashsim.check import open_state, state_trees
from affs_tools.crashsim.device import Image, Recorder
from affs_tools.crashsim.known_trees import read_with
from affs_tools.crashsim.record_steps import RecordSteps
from affs_tools.crashsim.session import ROOT
from affs_tools.fsck_indexes import index_problems

__all__ = ["Honest", "honest_trees", "judge_crafted"]

MEMORY_BYTES_MAX = 256 << 20
"""More than what a process has before; all nodes of the image are two megabytes."""
PATHS_MAX = 1500
DEPTH_MAX = 40
READ_MAX = 1 << 18
READDIR_COUNT = 64
NAME_MAX = 255
TURNS_MAX = 1000


Honest = frozenset[tuple[Pointer, object]]
"""The trees of the volume before anything was told: roots, and what they are read with. A root has
the checksums of all below it, and a lie below a root is told up to there; so a tree of which this
is as it was has no lie in it."""


def honest_trees(image: Image) -> Honest:
    """Before anything is told. The image stays as it is."""
    mark = image.mark()
    volume = open_state(Recorder(image))
    image.revert(mark)
    roots = [volume.last.root, *(state.root for state in volume.states.all())]
    return frozenset((root, read_with(volume)) for root in roots)


def judge_crafted(
    image: Image, honest: Honest, *, may_hide: bool = False, of_index: bool = False
) -> str:
    """What became of it; only trees that are not honest are read. may_hide: the lie cannot be told
    from the truth before it does harm. of_index: files and names are as they were. The image is
    changed. Errors: Violation."""
    with with_memory(MEMORY_BYTES_MAX):
        return _judge(image, honest, may_hide=may_hide, of_index=of_index)


def _judge(image: Image, honest: Honest, *, may_hide: bool, of_index: bool) -> str:
    clean = not _checked(image, honest)
    try:
        volume = open_state(Recorder(image))
    except AffsError as error:
        if clean and error.code != "volume.feature":
            raise Violation(f"the check finds nothing, and it is refused: {error}") from error
        return "refused"
    told = partial(_is_told, volume, honest)
    damaged = _walk(volume, told)
    if clean and damaged:
        raise Violation(f"the check finds nothing, but: {damaged[0]!r}")
    if told(volume.last.root):
        _ask(volume, clean=clean, of_index=of_index)
    used = _use(volume)
    if clean and not volume.read_only and not may_hide:
        _must_stay_clean(image, honest)
    found = "found" if not clean else "clean"
    return f"opened, {found}" + (", errors" if damaged or used else "")


def _checked(image: Image, honest: Honest) -> list[str]:
    """What fsck.affs --data finds; where all else is in order, indexes are held against records: of
    the working state as there, and of kept ones too, since they are rolled back to."""
    try:
        report = verify_volume(image, data=True)
        if not report.clean:
            return [str(one) for one in report.findings]
        volume = open_state(Recorder(image), read_only=True)
        return [
            problem
            for tree in state_trees(volume).values()
            if tree.root is None or _is_told(volume, honest, tree.root)
            for _, problem in index_problems(volume, tree)
        ]
    except (AffsError, OSError) as error:
        return [str(error)]


def _must_stay_clean(image: Image, honest: Honest) -> None:
    found = _checked(image, honest)
    if found:
        raise Violation(f"it was clean before it was used: {found[:3]}")


def _ask(volume: Volume, *, clean: bool, of_index: bool) -> None:
    """An index may lie, but then the check says so; and it never makes up a row. Errors:
    Violation."""
    with suppress(AffsError, OSError):
        for line, found in answers(volume, volume.working.tree):
            right = answer(volume, volume.working.tree, line, indexes=False)
            if found.damaged or right.damaged or found.text == right.text:
                continue
            if clean:
                raise Violation(f"the check finds nothing, but {line!r} gives {found.text}")
            if of_index and " where " in line and not set(found.rows) <= set(right.rows):
                raise Violation(f"{line!r} gives {found.text}, which is not all there")


# ---- reading all of it ----


def _is_told(volume: Volume, honest: Honest, root: Pointer) -> bool:
    return (root, read_with(volume)) not in honest


def _walk(volume: Volume, told: Callable[[Pointer], bool]) -> list[AffsError]:
    """Every state that lies are told of, as far as the bounds go; the damage that was met."""
    namespace = Namespace(volume, relatime="noatime")
    damaged: list[AffsError] = []
    if told(volume.last.root):
        with _damage(damaged):
            _walk_below(volume, namespace, 1, damaged)
    with _damage(damaged):
        door = volume.run(namespace.lookup, 1, b".affs").number
        shelf = volume.run(namespace.lookup, door, b"checkpoints").number
        for state in volume.states.listed()[:20]:
            with _damage(damaged):
                root = volume.run(namespace.lookup, shelf, state.hex_id.encode()).number
                if told(state.root):
                    _walk_below(volume, namespace, root, damaged)
    namespace.views.close()
    return damaged


@contextmanager
def _damage(damaged: list[AffsError]) -> Iterator[None]:
    """Errors that have a name are what a crafted image may give; damage is noted."""
    try:
        yield
    except AffsError as error:
        if error.category in (Category.CORRUPT, Category.IO):
            damaged.append(error)
    except OSError:
        return


def _walk_below(
    volume: Volume, namespace: Namespace, root: int, damaged: list[AffsError]
) -> None:
    stack = [(root, 0)]
    for _ in range(PATHS_MAX):
        if not stack:
            return
        number, depth = stack.pop()
        with _damage(damaged):
            children = _look(volume, namespace, number)
            if depth < DEPTH_MAX:
                stack += [(child, depth + 1) for child in children]


def _look(volume: Volume, namespace: Namespace, number: int) -> list[int]:
    """Reads one object; of a directory what is in it."""
    children: list[int] = []
    inode = volume.run(namespace.getattr, number).inode
    for name in volume.run(namespace.listxattr, number, ROOT):
        volume.run(namespace.getxattr, number, name, ROOT)
    kind = inode.mode & 0o170000
    if kind == 0o120000:
        volume.run(namespace.readlink, number)
    elif kind == 0o100000:
        handle = volume.run(namespace.open, number, os.O_RDONLY | os.O_NOATIME, ROOT)
        for at in {0, max(0, inode.size - READ_MAX), inode.size // 2}:
            volume.run(namespace.read, handle, at, READ_MAX)
        namespace.release(handle)
    elif kind == 0o040000:
        handle = volume.run(namespace.opendir, number, ROOT)
        cookie = 0
        for _ in range(PATHS_MAX):
            part = volume.run(namespace.readdir, handle, cookie, READDIR_COUNT)
            for name, one, _ in part:
                if name not in (b".", b".."):
                    children.append(one.number)
                    if not name or b"/" in name or b"\0" in name or len(name) > NAME_MAX:
                        raise Violation(f"a directory shows the name {name!r}")
            if not part or part[-1][2] <= cookie:
                break
            cookie = part[-1][2]
        namespace.releasedir(handle)
    return children


# ---- using it ----


def _use(volume: Volume) -> bool:
    """Change a little of everything, commit, keep, roll back, reclaim; were there errors?"""
    namespace = Namespace(volume, relatime="noatime")
    errors: list[Exception] = []

    def attempt(function: Callable[..., object], *arguments: object) -> None:
        try:
            function(*arguments)
        except (AffsError, OSError) as error:
            errors.append(error)

    attempt(volume.run, namespace.load_orphans)
    names = [b"a", b"b", b"c", b"new", b"d1", b"d4"]
    attempt(volume.run, namespace.mkdir, 1, b"made", 0o755, ROOT)
    for name in names:
        attempt(_change, volume, namespace, name)
    for use in _uses_of_records(volume, namespace):
        attempt(volume.run, use)
    attempt(_take_in, volume, namespace)
    attempt(volume.commit, namespace.flush_all)
    attempt(_clean, volume, namespace)
    attempt(_keep, volume)
    for state in volume.states.listed()[:2]:
        attempt(verbs.rollback, volume, state)
        namespace = Namespace(volume, relatime="noatime")
    for state in volume.states.listed()[:4]:
        attempt(verbs.delete, volume, state)
    attempt(volume.commit)
    attempt(verbs.reclaim_all, volume)
    attempt(volume.commit)
    with suppress(AffsError):
        volume.statfs()
    return bool(errors)


def _uses_of_records(volume: Volume, namespace: Namespace) -> Iterator[Callable[[], None]]:
    """Of what damage.BASE has."""
    records = RecordSteps(volume, namespace, ROOT)
    yield partial(records.batch, [("create", "/r/made", b'{"n": 3}')])
    yield partial(records.batch, [("replace", "/r/1", b'{"n": 4}')])
    yield partial(records.batch, [("remove", "/r/2")])
    yield partial(records.evolve, "/r", ["rename", "n", "number"])
    yield partial(records.index, "/r", ["n", "number"])
    yield partial(records.declare, "/s", {"fields": {}})


def _take_in(volume: Volume, namespace: Namespace) -> None:
    work = namespace.files.index_work(keys_of_content)
    for _ in range(TURNS_MAX):
        if volume.run(work.step, lambda: True) is None:
            return
    raise Violation("indexes are never up to date")


def _keep(volume: Volume) -> None:
    volume.commit(None, verbs.checkpoint_request(volume, verbs.Note("kept")))


def _change(volume: Volume, namespace: Namespace, name: bytes) -> None:
    found = volume.run(namespace.lookup, 1, name)
    number = found.number
    if number >> OBJECT_BITS:
        return
    volume.run(namespace.setattr, number, Changes(mode=0o700), ROOT)
    volume.run(namespace.setxattr, number, b"user.made", b"x" * 300, 0, ROOT)
    if found.inode.mode & 0o170000 == 0o040000:
        handle, _ = volume.run(namespace.create, number, b"inside", 0o600, os.O_RDWR, ROOT)
    else:
        handle = volume.run(namespace.open, number, os.O_RDWR, ROOT)
    volume.run(namespace.write, handle, 100, b"y" * 9000)
    volume.run(namespace.release, handle)
    volume.run(namespace.rename, 1, name, 1, name + b"2", 0)
    entries = volume.run(namespace.readdir, volume.run(namespace.opendir, 1, ROOT), 0, 8)
    for entry, one, _ in entries[2:5]:
        if one.inode.mode & 0o170000 == 0o100000 and not one.number >> OBJECT_BITS:
            volume.run(namespace.setattr, one.number, Changes(size=5000), ROOT)
            volume.run(namespace.unlink, 1, entry)


def _clean(volume: Volume, namespace: Namespace) -> None:
    for _ in range(1000):
        if not namespace.removals_pending:
            return
        volume.run(namespace.remove_step)
