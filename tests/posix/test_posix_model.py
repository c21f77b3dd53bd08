"""Random operations on the namespace and on a plain model beside it.

Commits, crashes, checkpoints, rollbacks and evicted caches come in between. Every outcome must be
the same (value or errno); at the end, and where a step says so, every object, time, count, byte and
attribute. Then the volume is checked as fsck.affs does: inode.blocks against the extents, free
space against what is reached.
"""

import copy
import os
import stat
from collections.abc import Callable

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from oracle.namespace import Node, PlainNamespace
from posix_harness import ROOT, Bench

from affs_fuse.posix.holes import Seek
from affs_fuse.posix.namespace import Changes, Credentials
from affs_fuse.volume.states import KeptState

NAMES = [b"a", b"b", b"c", b"\xfe" * 255]
XATTRS = [b"user.a", b"user.b", b"trusted.t", b"security.capability"]
PEOPLE = [ROOT, Credentials(1000, 1000, frozenset(), umask=0o027)]
OFFSETS = [0, 1, 100, 2047, 2048, 4095, 4096, 4097, 8192, 12_288, 70_000, 1 << 20, (4 << 20) + 5]
LENGTHS = [0, 1, 100, 2048, 4096, 4097, 12_288, 70_000, 300_000]
VALUES = [b"", b"v" * 10, b"w" * 3000, b"x" * 4400, b"y" * 65_536]
KINDS = [stat.S_IFREG, stat.S_IFIFO, stat.S_IFSOCK, stat.S_IFCHR]
MODES = [0o644, 0o755, 0o4755, 0o2755, 0o6777, 0o2644]
DAY = 86_400 * 10**9

STEPS = [
    "create", "create", "create", "mkdir", "mkdir", "mknod", "symlink", "link", "unlink", "unlink",
    "rmdir", "rename", "rename", "rename", "nameless", "open", "close", "close", "opendir",
    "write", "write", "write", "write", "write", "append", "read", "truncate", "truncate",
    "punch", "punch", "fill",
    "chmod", "chown", "times", "set_xattr", "set_xattr", "remove_xattr",
    "commit", "commit", "flush", "evict", "crash", "checkpoint", "rollback", "compare",
]  # fmt: skip

step = st.tuples(
    st.sampled_from(STEPS),
    st.integers(0, 11),
    st.integers(0, 11),
    st.integers(0, 250),
    st.integers(0, 250),
)


class Pair:
    """The namespace and the model. handles: (handle, number, flags)."""

    def __init__(self) -> None:
        self.bench = Bench()
        self.plain = PlainNamespace(10**17)
        self.handles: list[tuple[int, int, int]] = []
        self.kept: list[tuple[KeptState, dict[int, Node]]] = []
        self.bench.commit()
        self.committed = self.plain.snapshot()

    @property
    def space(self):
        return self.bench.namespace

    def step(self, name: str, a: int, b: int, c: int, d: int) -> None:
        self.bench.now += 1000 if c % 40 else DAY
        self.plain.now = self.bench.now
        getattr(self, "do_" + name)(a, b, c, d)

    def both(self, real: Callable[[], object], plain: Callable[[], object]) -> object:
        """What the real one gave, after comparing outcomes; None if both failed alike."""
        expected: int | None = None
        result: object = None
        happened: int | None = None
        try:
            result = self.bench.run(real)
        except OSError as error:
            happened = error.errno
        try:
            plain()
        except OSError as error:
            expected = error.errno
        assert happened == expected
        return result

    # ---- choosing ----

    def folder(self, choice: int) -> int:
        found = [n for n, node in self.plain.nodes.items() if node.is_directory and node.nlink]
        return found[choice % len(found)]

    def name(self, folder: int, choice: int) -> bytes:
        """Half of the time one that is there."""
        there = list(self.plain.nodes[folder].entries)
        return there[choice % len(there)] if choice > 5 and there else NAMES[choice % 4]

    def object(self, choice: int) -> int:
        return list(self.plain.nodes)[choice % len(self.plain.nodes)]

    def handle(self, choice: int, writes: bool) -> tuple[int, int, int] | None:
        access = (os.O_WRONLY if writes else os.O_RDONLY, os.O_RDWR)
        fitting = [
            one
            for one in self.handles
            if one[2] & os.O_ACCMODE in access and not one[2] & os.O_DIRECTORY
        ]
        return fitting[choice % len(fitting)] if fitting else None

    # ---- names ----

    def _make(self, a: int, b: int, c: int, mode: int, real, **extra: object) -> object:
        parent, name, who = self.folder(a), NAMES[b % 4], PEOPLE[c % 2]
        made: list[int] = []

        def call() -> object:
            result = real(parent, name, who)
            attributes = result[1] if type(result) is tuple else result
            made.append(attributes.number)
            return result

        def plain() -> None:
            number = made[-1] if made else 0
            self.plain.make(parent, name, mode, who.uid, who.gid, who.umask, number, **extra)

        return self.both(call, plain)

    def do_create(self, a: int, b: int, c: int, d: int) -> None:
        flags = [os.O_RDWR, os.O_WRONLY | os.O_APPEND, os.O_RDWR | os.O_NOATIME][d % 3] | os.O_EXCL
        mode = stat.S_IFREG | MODES[d % len(MODES)]
        result = self._make(
            a, b, c, mode, lambda p, n, w: self.space.create(p, n, mode & 0o7777, flags, w)
        )
        if result is not None:
            self._opened(result[0], result[1].number, flags)

    def do_mkdir(self, a: int, b: int, c: int, d: int) -> None:
        mode = MODES[d % len(MODES)]
        self._make(a, b, c, stat.S_IFDIR | mode, lambda p, n, w: self.space.mkdir(p, n, mode, w))

    def do_mknod(self, a: int, b: int, c: int, d: int) -> None:
        mode = KINDS[d % 4] | MODES[c % len(MODES)]
        rdev = d if stat.S_ISCHR(mode) else 0
        self._make(a, b, c, mode, lambda p, n, w: self.space.mknod(p, n, mode, d, w), rdev=rdev)

    def do_symlink(self, a: int, b: int, c: int, d: int) -> None:
        target = b"t" * (1 + d)
        self._make(
            a, b, c, stat.S_IFLNK | 0o777,
            lambda p, n, w: self.space.symlink(p, n, target, w), target=target,
        )  # fmt: skip

    def do_nameless(self, a: int, b: int, c: int, d: int) -> None:
        parent, who, mode = self.folder(a), PEOPLE[c % 2], MODES[d % len(MODES)]
        handle, attributes = self.bench.run(
            self.space.create_nameless, parent, mode, os.O_RDWR, who
        )
        number = attributes.number
        self.plain.make_nameless(
            parent, stat.S_IFREG | mode, who.uid, who.gid, who.umask, number
        )
        self._opened(handle, number, os.O_RDWR)

    def do_link(self, a: int, b: int, c: int, d: int) -> None:
        number, parent, name = self.object(c), self.folder(a), NAMES[b % 4]
        self.both(
            lambda: self.space.link(number, parent, name),
            lambda: self.plain.link(number, parent, name),
        )

    def do_unlink(self, a: int, b: int, c: int, d: int) -> None:
        parent = self.folder(a)
        name = self.name(parent, b)
        self.both(lambda: self.space.unlink(parent, name), lambda: self.plain.unlink(parent, name))

    def do_rmdir(self, a: int, b: int, c: int, d: int) -> None:
        parent = self.folder(a)
        name = self.name(parent, b)
        self.both(lambda: self.space.rmdir(parent, name), lambda: self.plain.rmdir(parent, name))

    def do_rename(self, a: int, b: int, c: int, d: int) -> None:
        flags = [0, 0, 0, 1, 2, 2, 3, 4][d % 8]
        old, new = self.folder(a), self.folder(c)
        arguments = (old, self.name(old, b), new, self.name(new, d // 8 % 12), flags)
        self.both(lambda: self.space.rename(*arguments), lambda: self.plain.rename(*arguments))

    # ---- handles ----

    def _opened(self, handle: int, number: int, flags: int) -> None:
        self.handles.append((handle, number, flags))
        self.plain.open[number] = self.plain.open.get(number, 0) + 1

    def do_open(self, a: int, b: int, c: int, d: int) -> None:
        number, who = self.object(a), PEOPLE[c % 2]
        flags = [os.O_RDONLY, os.O_RDWR, os.O_WRONLY | os.O_TRUNC, os.O_RDONLY | os.O_NOATIME][
            d % 4
        ]
        if not self.plain.nodes[number].is_file:
            return
        handle = self.bench.run(self.space.open, number, flags, who)
        if flags & os.O_TRUNC:
            self.plain.truncate(number, 0, who.uid, who.gid, through_handle=True)
        if flags == os.O_RDONLY:
            self.plain.access(number)
        self._opened(handle, number, flags)

    def do_opendir(self, a: int, b: int, c: int, d: int) -> None:
        number = self.folder(a)
        handle = self.bench.run(self.space.opendir, number, ROOT)
        self.plain.access(number)
        self._opened(handle, number, os.O_DIRECTORY)

    def do_close(self, a: int, b: int, c: int, d: int) -> None:
        if self.handles:
            handle, number, _ = self.handles.pop(a % len(self.handles))
            self.space.release(handle)
            self.plain.open[number] -= 1
            self.plain.reap()

    # ---- data ----

    def do_write(self, a: int, b: int, c: int, d: int) -> None:
        chosen = self.handle(a, writes=True)
        if chosen is None:
            return
        handle, number, flags = chosen
        who = self.space.handle_of(handle).credentials
        size = len(self.plain.nodes[number].data) if number in self.plain.nodes else 0
        offset = size if flags & os.O_APPEND else [*OFFSETS, size][(b + d) % 14]
        data = bytes([1 + c % 255]) * LENGTHS[d % len(LENGTHS)]
        self.both(
            lambda: self.space.write(handle, offset, data),
            lambda: self.plain.write(number, offset, data, who.uid, who.gid),
        ) if data else None

    def do_append(self, a: int, b: int, c: int, d: int) -> None:
        """Many small ones."""
        chosen = self.handle(a, writes=True)
        if chosen is None or chosen[1] not in self.plain.nodes:
            return
        handle, number, _ = chosen
        who = self.space.handle_of(handle).credentials
        for index in range(c % 30):
            data = bytes([1 + index]) * (d + 1)
            offset = len(self.plain.nodes[number].data)
            assert self.bench.run(self.space.write, handle, offset, data) == len(data)
            self.plain.write(number, offset, data, who.uid, who.gid)

    def do_read(self, a: int, b: int, c: int, d: int) -> None:
        chosen = self.handle(a, writes=False)
        if chosen is None:
            return
        handle, number, flags = chosen
        offset, length = OFFSETS[b], LENGTHS[d % len(LENGTHS)]
        found: list[bytes] = []

        def plain() -> None:
            data = self.plain.node(number).data
            found.append(bytes(data[offset : offset + length]))
            if not flags & os.O_NOATIME:
                self.plain.access(number)

        result = self.both(lambda: self.space.read(handle, offset, length), plain)
        same = result is None or result == found[0]
        assert same, "content"

    def do_truncate(self, a: int, b: int, c: int, d: int) -> None:
        number, size, who = self.object(a), (OFFSETS + LENGTHS)[d % 22], PEOPLE[c % 2]
        through = [one[0] for one in self.handles if one[1] == number] if d % 2 else []
        handle = through[0] if through else None
        self.both(
            lambda: self.space.setattr(number, Changes(size=size), who, handle),
            lambda: self.plain.truncate(
                number, size, who.uid, who.gid, through_handle=handle is not None
            ),
        )

    def do_punch(self, a: int, b: int, c: int, d: int) -> None:
        chosen = self.handle(a, writes=True)
        if chosen is None or chosen[1] not in self.plain.nodes:
            return
        handle, number, _ = chosen
        who = self.space.handle_of(handle).credentials
        node = self.plain.nodes[number]
        offset = OFFSETS[(b + d) % len(OFFSETS)]
        end = offset + max(1, LENGTHS[c % len(LENGTHS)])
        at, last = self.bench.run(self.space.whole_blocks, handle, offset, end)
        first = at
        while at < last:
            at = self.bench.run(self.space.punch_step, handle, at, last)
        self.bench.run(self.space.zero, handle, offset, min(first, end))
        self.bench.run(self.space.zero, handle, max(last, offset), end)
        self.bench.run(self.space.resize, handle, len(node.data), who)
        count = max(0, min(end, len(node.data)) - offset)
        if count:
            node.data[offset : offset + count] = bytes(count)
        self.plain.truncate(number, len(node.data), who.uid, who.gid, through_handle=True)
        self.plain.after_writing(number, who.uid, who.gid)
        self._no_data(handle, first, min(last, len(node.data)))

    def _no_data(self, handle: int, start: int, end: int) -> None:
        """What was punched is a hole (if the file is not small)."""
        if start >= end or self.bench.run(self.space.size_of, handle) <= 2048:
            return
        found = self.bench.run(self.space.seek_step, handle, start, hole=True)
        assert found == (start, True)

    def do_fill(self, a: int, b: int, c: int, d: int) -> None:
        chosen = self.handle(a, writes=True)
        if chosen is None or chosen[1] not in self.plain.nodes:
            return
        handle, number, _ = chosen
        who = self.space.handle_of(handle).credentials
        node = self.plain.nodes[number]
        at = offset = OFFSETS[b]
        end = offset + max(1, LENGTHS[c % len(LENGTHS)])
        while at < end:
            at = self.bench.run(self.space.fill_step, handle, at, end)
        size = max(end, len(node.data))
        self.bench.run(self.space.resize, handle, size, who)
        self.plain.truncate(number, size, who.uid, who.gid, through_handle=True)
        self.plain.after_writing(number, who.uid, who.gid)
        found = self.bench.run(self.space.seek_step, handle, offset, hole=True)
        assert found.offset >= end or found.offset == size, "there is a hole in what was filled"

    # ---- attributes ----

    def do_chmod(self, a: int, b: int, c: int, d: int) -> None:
        number, mode, who = self.object(a), MODES[d % len(MODES)], PEOPLE[c % 2]
        self.both(
            lambda: self.space.setattr(number, Changes(mode=mode), who),
            lambda: self.plain.chmod(number, mode, who.uid, who.gid),
        )

    def do_chown(self, a: int, b: int, c: int, d: int) -> None:
        number, owner, group, who = (
            self.object(a),
            [0, 1000][b % 2],
            [0, 1000, 7][d % 3],
            PEOPLE[c % 2],
        )
        self.both(
            lambda: self.space.setattr(number, Changes(uid=owner, gid=group), who),
            lambda: self.plain.chown(number, owner, group, who.uid, who.gid),
        )

    def do_times(self, a: int, b: int, c: int, d: int) -> None:
        number = self.object(a)
        self.both(
            lambda: self.space.setattr(number, Changes(atime_ns=c, mtime_ns=-d), ROOT),
            lambda: self.plain.set_times(number, c, -d),
        )

    def do_set_xattr(self, a: int, b: int, c: int, d: int) -> None:
        number, name, value, flags = (
            self.object(a),
            XATTRS[b % 4],
            VALUES[d % 5],
            [0, 0, 1, 2][c % 4],
        )
        self.both(
            lambda: self.space.setxattr(number, name, value, flags, ROOT),
            lambda: self.plain.set_xattr(
                number, name, value, create=flags == 1, replace=flags == 2
            ),
        )

    def do_remove_xattr(self, a: int, b: int, c: int, d: int) -> None:
        number, name = self.object(a), XATTRS[b % 4]
        self.both(
            lambda: self.space.removexattr(number, name, ROOT),
            lambda: self.plain.remove_xattr(number, name),
        )

    # ---- states ----

    def do_commit(self, a: int, b: int, c: int, d: int) -> None:
        self.bench.commit()
        self.committed = self.plain.snapshot()

    def do_flush(self, a: int, b: int, c: int, d: int) -> None:
        """Some steps of writing ahead; others may come between them, cuts too."""
        if d & 1:
            self.bench.run(self.space.take_off, 1 + c * 4096, 1 + b % 4)
        if d & 2:
            self.bench.execute_ahead()
        if d & 4:
            self.bench.run(self.space.land, 1 + a % 4)

    def do_evict(self, a: int, b: int, c: int, d: int) -> None:
        self.bench.volume.cache.drop_clean()

    def do_crash(self, a: int, b: int, c: int, d: int) -> None:
        self.bench.open()
        self.handles.clear()
        self.plain.open.clear()
        self.plain.restore(self.committed)
        self.bench.finish_removals()

    def do_checkpoint(self, a: int, b: int, c: int, d: int) -> None:
        self.kept.append((self.bench.checkpoint(), self.plain.snapshot()))
        self.committed = self.plain.snapshot()

    def do_rollback(self, a: int, b: int, c: int, d: int) -> None:
        if self.kept:
            state, nodes = self.kept[a % len(self.kept)]
            self.bench.rollback(state)
            self.plain.restore(nodes)
            self.bench.finish_removals()
            self.committed = copy.deepcopy(nodes)

    # ---- comparing ----

    def do_compare(self, a: int, b: int, c: int, d: int) -> None:
        self.bench.finish_removals()
        assert self.bench.volume.working.object_count == len(self.plain.nodes)
        for number, node in self.plain.nodes.items():
            self._compare(number, node)
        with_views = [state for state, _ in self.kept]
        assert self.bench.volume.states.listed() or not with_views

    def _compare(self, number: int, node: Node) -> None:
        inode = self.bench.run(self.space.getattr, number).inode
        assert (inode.mode, inode.uid, inode.gid, inode.nlink) == (
            node.mode, node.uid, node.gid, node.nlink,
        )  # fmt: skip
        assert (inode.size, inode.rdev, inode.parent) == (node.size, node.rdev, node.parent)
        times = (inode.atime_ns, inode.mtime_ns, inode.ctime_ns, inode.btime_ns)
        assert times == (node.atime, node.mtime, node.ctime, node.btime)
        names = self.bench.run(self.space.listxattr, number, ROOT)
        found = {name: self.bench.run(self.space.getxattr, number, name, ROOT) for name in names}
        assert found == node.xattrs
        if node.is_directory:
            self._compare_entries(number, node)
        elif node.is_file:
            handle = self.bench.run(self.space.open, number, os.O_RDONLY | os.O_NOATIME, ROOT)
            same = self.bench.run(self.space.read, handle, 0, 1 << 24) == node.data
            assert same, "content"  # without the bytes: pytest's account of megabytes has no end
            self._compare_holes(handle, node.data)
            self.space.release(handle)
        elif stat.S_ISLNK(node.mode):
            assert self.bench.run(self.space.readlink, number) == node.target
            self.plain.access(number)

    def _compare_holes(self, handle: int, data: bytearray) -> None:
        """What is called a hole is zero, and holes and data take turns."""
        at, hole = 0, False
        while at < len(data):
            found = Seek(len(data), found=True)
            if hole or any(data[at:]):
                found = self.bench.run(self.space.seek_step, handle, at, hole=hole)
            assert found.found
            assert hole or not any(data[at : found.offset])
            at, hole = found.offset, not hole

    def _compare_entries(self, number: int, node: Node) -> None:
        handle = self.bench.run(self.space.opendir, number, ROOT)
        self.plain.access(number)
        entries, cookie = {}, 0
        while part := self.bench.run(self.space.readdir, handle, cookie, 3):
            entries.update((name, attributes.number) for name, attributes, _ in part)
            cookie = part[-1][2]
        self.space.release(handle)
        if node.nlink:
            assert entries.pop(b".") == number
            assert entries.pop(b"..") == node.parent
        assert entries == node.entries
        for name, child in entries.items():
            assert self.bench.run(self.space.lookup, number, name).number == child


@settings(
    max_examples=50,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(st.lists(step, min_size=60, max_size=90))
def test_against_the_model(steps: list[tuple[str, int, int, int, int]]) -> None:
    pair = Pair()
    try:
        check(pair, steps)
    finally:
        # The tracebacks of examples that fail keep them alive while hypothesis makes them smaller.
        pair.bench.device.content = bytearray()


def check(pair: Pair, steps: list[tuple[str, int, int, int, int]]) -> None:
    for one in steps:
        pair.step(*one)
    pair.do_compare(0, 0, 0, 0)
    for handle, number, _ in pair.handles:
        pair.space.release(handle)
        pair.plain.open[number] -= 1
    pair.plain.reap()
    pair.bench.check()
    pair.do_compare(0, 0, 0, 0)
    pair.bench.open()
    pair.do_compare(0, 0, 0, 0)
