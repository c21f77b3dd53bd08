"""One file and its model: every step changes both, and what is read must be what the model has.

The model is the content as bytes. It keeps besides: what the last acknowledged commit holds (with
the commit timer off a killed daemon must come back with exactly that), and the contents of the
kept states. `identity` counts the files that have had the name, since replacing a file by rename
leaves the open handles on the former one.
"""

import errno
import mmap
import os
from contextlib import suppress
from dataclasses import dataclass, field

from affs_tools.exercise.ground import Ground, drop_caches, fallocate
from affs_tools.exercise.steps import DifferenceError, Settings, Step, stamped

__all__ = ["FileRun"]

PAGE = 4096
KEEP_SIZE, PUNCH_HOLE, ZERO_RANGE = 1, 2, 16
"""Modes of fallocate(2)."""
KEPT_MAX = 8
"""Checkpoints that the exercise keeps; older ones it deletes."""
NOT_HERE = (errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL, errno.EXDEV)


@dataclass(frozen=True, slots=True)
class State:
    """What the file was at a moment."""

    content: bytes
    identity: int


@dataclass(slots=True)
class Handles:
    """What the exercise has open. shared: a mapping, as long as the file was when it was made."""

    both: list[int] = field(default_factory=list)
    append: int = -1
    direct: int = -1
    shared: mmap.mmap | None = None


class FileRun:
    """Does steps. The ground has been started. DifferenceError from every method."""

    def __init__(self, ground: Ground, settings: Settings) -> None:
        self._ground = ground
        self._limit = settings.size
        self._path = ground.directory / "file"
        self._content = bytearray()
        self._identity = 0
        self._files = 0
        self._kept: dict[str, State] = {}
        self._published = ""
        self._undo: State | None = None
        self._path.write_bytes(b"")
        self._handles = Handles()
        self._open()
        if ground.verbs:
            self._do_publish({})
        self._durable = self._now()

    def do(self, step: Step) -> None:
        """One step. A system call that fails is a difference too."""
        try:
            getattr(self, f"_do_{step['do']}")(step)
            size = os.fstat(self._handles.both[0]).st_size
        except OSError as error:
            raise DifferenceError(f"{error}") from error
        if size != len(self._content):
            raise DifferenceError(f"size {size}, expected {len(self._content)}")

    def finish(self) -> None:
        """The last look, from the path, past the cache."""
        self._close()
        if self._ground.verbs:
            self._ground.reopen()
        self._open()
        self.check()
        self._close()

    # ---- looking ----

    def check(self) -> None:
        """All bytes, through a handle and through the mapping."""
        length = len(self._content)
        self._compare(os.pread(self._handles.both[1], length + PAGE, 0), 0, length + PAGE)
        shared = self._handles.shared
        if shared is not None:
            count = min(len(shared), length)
            self._compare(shared[:count], 0, count, "mapped ")

    def _compare(self, found: bytes, at: int, count: int, how: str = "") -> None:
        compare(found, bytes(self._content[at : at + count]), at, how)

    def _do_verify(self, step: Step) -> None:
        self.check()

    def _do_read(self, step: Step) -> None:
        at, count = step["at"], step["count"]
        self._compare(os.pread(self._handles.both[step["handle"]], count, at), at, count)

    def _do_direct_read(self, step: Step) -> None:
        at, count = step["at"], step["count"]
        if self._handles.direct < 0:
            return
        with mmap.mmap(-1, count) as buffer:
            length = os.preadv(self._handles.direct, [buffer], at)
            self._compare(buffer[:length], at, count, "direct ")

    def _do_holes(self, step: Step) -> None:
        """Outside of what SEEK_DATA and SEEK_HOLE call data, all is zero."""
        at, size, handle = 0, len(self._content), self._handles.both[0]
        while at < size:
            try:
                data = os.lseek(handle, at, os.SEEK_DATA)
            except OSError as error:
                if error.errno != errno.ENXIO:
                    raise
                data = size
            if any(self._content[at:data]):
                raise DifferenceError(f"[{at}, {data}) is no hole")
            at = os.lseek(handle, data, os.SEEK_HOLE) if data < size else size

    # ---- changing ----

    def _put(self, at: int, data: bytes) -> None:
        if data:
            self._grow(at)
            self._content[at : at + len(data)] = data

    def _grow(self, size: int) -> None:
        self._content.extend(bytes(max(0, size - len(self._content))))

    def _do_write(self, step: Step) -> None:
        at = step["at"]
        data = stamped(step["stamp"], min(step["count"], self._limit - at))
        written = os.pwrite(self._handles.both[step["handle"]], data, at)
        self._put(at, data[:written])

    def _do_append(self, step: Step) -> None:
        data = stamped(step["stamp"], step["count"])
        data = data[: max(0, self._limit - len(self._content))]
        written = os.write(self._handles.append, data)
        self._put(len(self._content), data[:written])

    def _do_direct_write(self, step: Step) -> None:
        at = step["at"]
        count = min(step["count"], self._limit - at) & -PAGE
        if self._handles.direct < 0 or count <= 0:
            return
        with mmap.mmap(-1, count) as buffer:
            buffer[:] = stamped(step["stamp"], count)
            written = os.pwritev(self._handles.direct, [buffer], at)
            self._put(at, buffer[:written])

    def _do_truncate(self, step: Step) -> None:
        size = step["size"]
        if step["handle"]:
            os.truncate(self._path, size)
        else:
            os.ftruncate(self._handles.both[0], size)
        del self._content[size:]
        self._grow(size)

    def _do_allocate(self, step: Step) -> None:
        at, count = step["at"], min(step["count"], self._limit - step["at"])
        if not step.get("keep_size"):
            os.posix_fallocate(self._handles.both[0], at, count)
            self._grow(at + count)
        else:
            self._fallocate(KEEP_SIZE, at, count)

    def _do_punch(self, step: Step) -> None:
        at, count = step["at"], step["count"]
        if self._fallocate(PUNCH_HOLE | KEEP_SIZE, at, count):
            self._zero(at, count)

    def _do_zero(self, step: Step) -> None:
        at, count = step["at"], min(step["count"], self._limit - step["at"])
        if self._fallocate(ZERO_RANGE | (KEEP_SIZE if step["keep_size"] else 0), at, count):
            self._zero(at, count)
            if not step["keep_size"]:
                self._grow(at + count)

    def _fallocate(self, mode: int, at: int, count: int) -> bool:
        """False where the filesystem has no such mode."""
        try:
            fallocate(self._handles.both[0], mode, at, count)
        except OSError as error:
            if error.errno not in NOT_HERE:
                raise
            return False
        return True

    def _zero(self, at: int, count: int) -> None:
        """Within the size."""
        count = max(0, min(count, len(self._content) - at))
        self._content[at : at + count] = bytes(count)

    def _do_copy(self, step: Step) -> None:
        """Within the file, by copy_file_range where it can."""
        source, to, handle = step["at"], step["to"], self._handles.both[0]
        count = min(step["count"], self._limit - to, len(self._content) - source, abs(source - to))
        if count <= 0:
            return
        try:
            copied = os.copy_file_range(handle, handle, count, source, to)
        except OSError as error:
            if error.errno not in NOT_HERE:
                raise
            copied = os.pwrite(handle, os.pread(handle, count, source), to)
        self._put(to, bytes(self._content[source : source + copied]))

    def _do_replace(self, step: Step) -> None:
        """As editors save: a copy under another name, then renamed over the file."""
        copy = self._path.with_name("copy")
        copy.write_bytes(self._path.read_bytes())
        os.rename(copy, self._path)
        self._files += 1
        self._identity = self._files
        self._do_reopen(step)

    # ---- mappings ----

    def _do_map_write(self, step: Step) -> None:
        """Into a mapping that stays; only inside the file."""
        if self._handles.shared is None:
            if not self._content:
                return
            self._handles.shared = mmap.mmap(self._handles.both[0], len(self._content))
        shared, at = self._handles.shared, step["at"]
        count = min(step["count"], min(len(shared), len(self._content)) - at)
        if count > 0:
            shared[at : at + count] = data = stamped(step["stamp"], count)
            self._put(at, data)

    def _do_map_sync(self, step: Step) -> None:
        shared = self._handles.shared
        if shared is not None:
            shared.flush()
            self._durable = self._now()

    def _do_map_drop(self, step: Step) -> None:
        if self._handles.shared is not None:
            self._handles.shared.close()
            self._handles.shared = None

    def _do_private(self, step: Step) -> None:
        """What is written into a private mapping is seen there and nowhere else."""
        length, at = len(self._content), step["at"]
        if at >= length:
            return
        handle = self._handles.both[0]
        with mmap.mmap(handle, length, flags=mmap.MAP_PRIVATE) as private:
            data = stamped(step["stamp"], min(step["count"], length - at))
            private[at : at + len(data)] = data
            compare(private[at : at + len(data)], data, at, "private ")
            self._compare(private[:at], 0, at, "private ")
        self._compare(os.pread(handle, len(data), at), at, len(data))

    # ---- opening, syncing, forgetting ----

    def _open(self) -> None:
        open_ = self._handles
        open_.both = [os.open(self._path, os.O_RDWR) for _ in range(2)]
        open_.append = os.open(self._path, os.O_WRONLY | os.O_APPEND)
        try:
            open_.direct = os.open(self._path, os.O_RDWR | os.O_DIRECT)
        except OSError as error:
            if error.errno not in NOT_HERE:
                raise

    def _close(self, *, dead: bool = False) -> None:
        """dead: what the handles belong to is gone, so close may say so."""
        open_, self._handles = self._handles, Handles()
        if open_.shared is not None:
            open_.shared.close()
        for handle in (*open_.both, open_.append, open_.direct):
            if handle < 0:
                continue
            if dead:
                with suppress(OSError):
                    os.close(handle)
            else:
                os.close(handle)

    def _do_reopen(self, step: Step) -> None:
        self._close()
        self._open()

    def _do_fsync(self, step: Step) -> None:
        os.fsync(self._handles.both[0])
        self._durable = self._now()

    def _do_fdatasync(self, step: Step) -> None:
        os.fdatasync(self._handles.both[1])
        self._durable = self._now()

    def _do_forget(self, step: Step) -> None:
        os.posix_fadvise(self._handles.both[0], 0, 0, os.POSIX_FADV_DONTNEED)

    def _do_drop_caches(self, step: Step) -> None:
        drop_caches()

    # ---- verbs ----

    def _now(self) -> State:
        return State(bytes(self._content), self._identity)

    def _do_commit(self, step: Step) -> None:
        self._ground.command("commit")
        self._durable = self._now()

    def _do_checkpoint(self, step: Step) -> None:
        self._keep(self._ground.command("checkpoint")["id"])

    def _do_publish(self, step: Step) -> None:
        self._published = self._ground.command("publish")["id"]
        self._keep(self._published)

    def _keep(self, state: str) -> None:
        self._durable = self._kept[state] = self._now()
        if len(self._kept) > KEPT_MAX:
            oldest = next(name for name in self._kept if name != self._published)
            self._ground.command("delete", state=oldest, yes=True)
            del self._kept[oldest]

    def _do_rollback(self, step: Step) -> None:
        """Number 0 is the published state, as `rollback` alone means it."""
        names = [*self._kept]
        name = names[step["state"] % len(names)] if step["state"] else self._published
        arguments = {"state": name} if step["state"] else {}
        self._roll_to(self._kept[name], **arguments)

    def _do_undo(self, step: Step) -> None:
        if self._undo is not None:
            self._roll_to(self._undo, undo=True)

    def _roll_to(self, target: State, **arguments: object) -> None:
        former = self._now()
        answer = self._ground.command("rollback", **arguments)
        self._undo = former if answer["abandoned"] else None
        self._adopt(target)
        self._durable = target
        if former.identity != target.identity:
            self._close(dead=True)
            self._open()
        self.check()

    def _adopt(self, state: State) -> None:
        self._content, self._identity = bytearray(state.content), state.identity

    def _do_view(self, step: Step) -> None:
        """A kept state as it shows under .affs."""
        names = [*self._kept]
        name = names[step["state"] % len(names)]
        shown = self._ground.directory / ".affs" / "checkpoints" / name / "file"
        compare(shown.read_bytes(), self._kept[name].content, 0, f"state {name} ")

    def _do_restart(self, step: Step) -> None:
        self._close()
        self._ground.reopen()
        self._open()
        self._durable = self._now()
        self.check()

    def _do_kill(self, step: Step) -> None:
        """Back comes what was committed last, not more and not less."""
        self._ground.kill()
        self._close(dead=True)
        self._adopt(self._durable)
        self._open()
        self.check()


def compare(found: bytes, expected: bytes, at: int, how: str) -> None:
    """DifferenceError that says where the first and the last difference are, and what is there."""
    if found == expected:
        return
    if len(found) != len(expected):
        raise DifferenceError(
            f"{how}read at {at}: {len(found)} bytes, expected {len(expected)}"
        )
    wrong = [index for index in range(len(found)) if found[index] != expected[index]]
    first, last = wrong[0], wrong[-1]
    raise DifferenceError(
        f"{how}read at {at}, {len(found)} bytes: {len(wrong)} differ, from {at + first} to "
        f"{at + last}: {found[first : first + 8].hex()} instead of "
        f"{expected[first : first + 8].hex()}"
    )
