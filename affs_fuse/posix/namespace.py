"""The facade: every operation of the mount as a plain synchronous function.

Inode numbers are object numbers (root: 1); above bit 48 stands the number of a view of a kept
state (views.py), where every change is EROFS. Names and values are bytes, times nanoseconds.

Rules for callers:
- NodeMissing and DataMissing mean: load, and call again. Nothing was changed.
- Errors are OSError (errno) and AffsError (volume.no_space, volume.read_only, device.io, ...).
- The kernel has checked permissions, sticky bits and ACLs; this does what it leaves to the
  filesystem.
- flush_all() is called in the turn of every cut. It gives all buffered data a place and needs no
  data blocks; should a node have been evicted since the write, it raises NodeMissing with some
  files done, and is called again. To be sure, run it once more right before the cut.
- remove_step() is called while removals_pending, a bounded part each time.
"""

import errno
import os
import stat
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass

from affs_fuse.core.checksum import Buffer
from affs_fuse.core.codec import Inode
from affs_fuse.core.constants import BLOCK_SHIFT, OBJECT_BITS, OBJECT_ROOT
from affs_fuse.core.tree import NodeMissing
from affs_fuse.errors import AffsError
from affs_fuse.posix import changing, holes, inodes, linking, making, names, reading, xattrs
from affs_fuse.posix.access import allows
from affs_fuse.posix.attributes import ATIME_POLICIES, Attributes, Changes, atime_due, reported
from affs_fuse.posix.changing import Writing
from affs_fuse.posix.context import Context
from affs_fuse.posix.errors import posix_error
from affs_fuse.posix.files_by_path import FilesByPath
from affs_fuse.posix.handles import Handle, Handles
from affs_fuse.posix.holes import Seek
from affs_fuse.posix.permissions import READ, WRITE, Credentials
from affs_fuse.posix.reading import READDIR_ENTRIES
from affs_fuse.posix.renaming import RENAME_EXCHANGE, RENAME_NOREPLACE, rename
from affs_fuse.posix.views import DoorOwner, Views
from affs_fuse.volume.reserve import RoomKind
from affs_fuse.volume.statistics import StatFs
from affs_fuse.volume.volume import Volume
from affs_fuse.volume.working import WorkingState

__all__ = [
    "RENAME_EXCHANGE",
    "RENAME_NOREPLACE",
    "Attributes",
    "Changes",
    "Credentials",
    "DoorOwner",
    "Namespace",
    "NamespaceStatistics",
]


@dataclass(frozen=True, slots=True)
class NamespaceStatistics:
    """handles: open ones. open_objects: objects they are open on. orphans: objects without a name.
    buffered_files, dirty_bytes: what the next flush has to place."""

    handles: int
    open_objects: int
    orphans: int
    buffered_files: int
    dirty_bytes: int


def _unknown(number: int) -> bool:
    return False


class Namespace:
    """The namespace of one open volume. Only the engine's thread calls it.

    relatime: "relatime", "noatime" or "strictatime". referenced(number): does the kernel still
    know this object (a lookup count above 0)? Without a kernel, nothing is referenced, and an
    object goes with its last name or handle. door: who may look at kept states.
    """

    def __init__(
        self,
        volume: Volume,
        *,
        relatime: str = "relatime",
        referenced: Callable[[int], bool] = _unknown,
        door: DoorOwner | None = None,
    ) -> None:
        assert relatime in ATIME_POLICIES
        self._volume = volume
        self._relatime = relatime
        self._referenced = referenced
        self._handles = Handles()
        self._context = Context(volume, volume.working, self._handles, referenced)
        self._former: Context | None = None
        self._diverted: frozenset[int] = frozenset()
        self._renewed: dict[int, int] = {}
        self.views = Views(volume, door or DoorOwner())
        self.files = FilesByPath(lambda: self._context, self._let_go)
        volume.buffers_are_flushed_by(self.flush_all)

    # ---- looking ----

    def lookup(self, parent: int, name: bytes) -> Attributes:
        """`.` and `..` too. Errors: ENOENT, ENOTDIR, ENAMETOOLONG, EINVAL, ESTALE."""
        if parent >> OBJECT_BITS:
            if parent == self.views.door().number and name == b"..":
                return self.getattr(OBJECT_ROOT)
            return self.views.lookup(parent, name)
        if name == names.DOOR and parent == OBJECT_ROOT:
            return self.views.door()
        context = self._context
        number, inode = reading.lookup(context.tree, context.hash_key, parent, name)
        return self._report(number, inode)

    def getattr(self, number: int) -> Attributes:
        """Errors: ESTALE."""
        if number >> OBJECT_BITS:
            return self.views.getattr(number)
        return self._report(number, inodes.load(self._context.tree, number))

    def readlink(self, number: int) -> bytes:
        """Errors: EINVAL if it is no symbolic link, ESTALE."""
        if number >> OBJECT_BITS:
            return self.views.read_link(number)
        target = reading.read_link(self._context.tree, number)
        self._note_access(number)
        return target

    def statfs(self) -> StatFs:
        return self._volume.statfs()

    def _report(self, number: int, inode: Inode) -> Attributes:
        context = self._context
        if self._renewed and number in self._renewed:
            inode = inode._replace(generation=inode.generation + self._renewed[number])
        opened = self._handles.of(number)
        if opened is not None and opened.size_told != inode.size:
            opened.size_before, opened.size_told = opened.size_told, inode.size
        return reported(number, inode, context.data.buffered_blocks(number))

    # ---- names ----

    def mkdir(self, parent: int, name: bytes, mode: int, credentials: Credentials) -> Attributes:
        """mode: permission bits, the umask not yet applied. Errors: as making.make."""
        self._check_working(parent, name)
        return making.make(self._context, parent, name, stat.S_IFDIR | mode & 0o7777, credentials)

    def mknod(
        self, parent: int, name: bytes, mode: int, rdev: int, credentials: Credentials
    ) -> Attributes:
        """mode: type (file, fifo, socket, device) and permission bits. Errors: EINVAL for another
        type; as making.make.
        """
        self._check_working(parent, name)
        if not stat.S_IFMT(mode):
            mode |= stat.S_IFREG
        if stat.S_IFMT(mode) not in making.NODE_TYPES:
            raise posix_error(errno.EINVAL, "mknod makes files, fifos, sockets and devices")
        return making.make(self._context, parent, name, mode, credentials, rdev=rdev)

    def symlink(
        self, parent: int, name: bytes, target: bytes, credentials: Credentials
    ) -> Attributes:
        """Errors: as making.make; ENAMETOOLONG for a target of more than 4095 bytes."""
        self._check_working(parent, name)
        mode = stat.S_IFLNK | 0o777
        return making.make(self._context, parent, name, mode, credentials, target=target)

    def link(self, number: int, parent: int, name: bytes) -> Attributes:
        """Errors: as linking.link."""
        self._check_working(number)
        self._check_working(parent, name)
        return linking.link(self._context, number, parent, name)

    def unlink(self, parent: int, name: bytes) -> None:
        """Errors: as linking.unlink."""
        self._check_working(parent, name)
        self._let_go(linking.unlink(self._context, parent, name))

    def rmdir(self, parent: int, name: bytes) -> None:
        """Errors: as linking.rmdir."""
        self._check_working(parent, name)
        self._let_go(linking.rmdir(self._context, parent, name))

    def rename(
        self, old_parent: int, old_name: bytes, new_parent: int, new_name: bytes, flags: int = 0
    ) -> None:
        """flags: RENAME_NOREPLACE, RENAME_EXCHANGE, else EINVAL. Errors: as renaming.rename."""
        self._check_working(old_parent, old_name)
        self._check_working(new_parent, new_name)
        self._let_go(rename(self._context, old_parent, old_name, new_parent, new_name, flags))

    def _check_working(self, number: int, name: bytes = b".") -> None:
        if number >> OBJECT_BITS:
            names.check_name(name)
            raise posix_error(errno.EROFS, "kept states do not change")

    # ---- attributes ----

    def setattr(
        self,
        number: int,
        changes: Changes,
        credentials: Credentials,
        handle: int | None = None,
    ) -> Attributes:
        """handle: of ftruncate and its like. Errors: as changing.change; EROFS, EBADF."""
        self._check_working(number)
        attributes = changing.change(
            self._context, number, changes, credentials, stamp=handle is not None
        )
        if not self._renewed:
            return attributes
        return self._report(number, inodes.load(self._context.tree, number))

    def getxattr(self, number: int, name: bytes, credentials: Credentials) -> bytes:
        """Errors: as xattrs.get_value."""
        if number >> OBJECT_BITS:
            return self.views.get_xattr(number, name, credentials)
        context = self._context
        return xattrs.get_value(
            context.tree, context.hash_key, number, name, credentials, context.data
        )

    def setxattr(
        self, number: int, name: bytes, value: bytes, flags: int, credentials: Credentials
    ) -> None:
        """flags: os.XATTR_CREATE, os.XATTR_REPLACE. Errors: as xattrs.set_value."""
        self._check_working(number)
        xattrs.set_value(self._context, number, name, value, flags, credentials)

    def listxattr(self, number: int, credentials: Credentials) -> list[bytes]:
        """Errors: ESTALE."""
        if number >> OBJECT_BITS:
            return self.views.list_xattrs(number, credentials)
        return xattrs.list_names(self._context.tree, number, credentials)

    def removexattr(self, number: int, name: bytes, credentials: Credentials) -> None:
        """Errors: as xattrs.remove_value."""
        self._check_working(number)
        xattrs.remove_value(self._context, number, name, credentials)

    # ---- open files ----

    def create(
        self, parent: int, name: bytes, mode: int, flags: int, credentials: Credentials
    ) -> tuple[int, Attributes]:
        """(handle, attributes) of a new regular file, or, without O_EXCL, of the one that has this
        name.

        mode: permission bits, the umask not yet applied; flags: of open(2). Errors: as making.make
        and open; EACCES where the file exists and may not be opened so (the kernel has not checked
        that).
        """
        self._check_working(parent, name)
        mode = stat.S_IFREG | mode & 0o7777
        try:
            made = making.make(self._context, parent, name, mode, credentials)
        except FileExistsError:
            if flags & os.O_EXCL or name in names.DOTS:
                raise
            return self._open_existing(parent, name, flags, credentials)
        handle = self._handles.open(made.number, flags, credentials)
        self._handles.get(handle).object.plain = True
        return handle, made

    def create_nameless(
        self, parent: int, mode: int, flags: int, credentials: Credentials
    ) -> tuple[int, Attributes]:
        """(handle, attributes) of a new regular file without a name, which `link` may give it.
        Errors: as making.make_nameless; EROFS.
        """
        self._check_working(parent)
        mode = stat.S_IFREG | mode & 0o7777
        made = making.make_nameless(self._context, parent, mode, credentials)
        handle = self._handles.open(made.number, flags, credentials)
        opened = self._handles.get(handle).object
        opened.plain = opened.nameless = True
        return handle, made

    def _open_existing(
        self, parent: int, name: bytes, flags: int, credentials: Credentials
    ) -> tuple[int, Attributes]:
        context = self._context
        number, inode = reading.lookup(context.tree, context.hash_key, parent, name)
        if stat.S_ISLNK(inode.mode):
            raise posix_error(errno.ESTALE, "the name is a symbolic link, look it up again")
        reading.check_file(inode)
        wanted = {os.O_RDONLY: READ, os.O_WRONLY: WRITE}.get(flags & os.O_ACCMODE, READ | WRITE)
        if flags & os.O_TRUNC:
            wanted |= WRITE
        if not self._permitted(number, inode, credentials, wanted):
            raise posix_error(errno.EACCES)
        return self.open(number, flags, credentials), self.getattr(number)

    def _permitted(self, number: int, inode: Inode, credentials: Credentials, wanted: int) -> bool:
        context = self._context
        return allows(context.tree, context.hash_key, number, inode, credentials, wanted)

    def open(self, number: int, flags: int, credentials: Credentials) -> int:
        """A handle on a regular file; O_TRUNC is done. Errors: EISDIR, ELOOP, ENXIO, EROFS, ESTALE;
        volume.no_space, volume.read_only."""
        writes = flags & os.O_ACCMODE != os.O_RDONLY or flags & os.O_TRUNC
        if number >> OBJECT_BITS:
            reading.check_file(self.views.getattr(number).inode)
            if writes:
                self._check_working(number)
            self.views.open(number)
            return self._handles.open(number, flags, credentials)
        inode = inodes.load(self._context.tree, number)
        reading.check_file(inode)
        if writes:
            self._volume.check_writable()
        if flags & os.O_TRUNC:
            changing.change(self._context, number, Changes(size=0), credentials, stamp=True)
            inode = inodes.load(self._context.tree, number)
        # What only reads does so next, perhaps from the kernel's pages; the rest, when it asks.
        reads = flags & os.O_ACCMODE == os.O_RDONLY and not flags & (os.O_NOATIME | os.O_TRUNC)
        moved = reads and self._note_access_of(number, inode)
        handle = self._handles.open(number, flags, credentials, inode.size)
        self._handles.get(handle).access_moved = moved
        return handle

    def opendir(self, number: int, credentials: Credentials) -> int:
        """A handle for readdir. Errors: ENOTDIR, ESTALE."""
        if number >> OBJECT_BITS:
            if not stat.S_ISDIR(self.views.getattr(number).inode.mode):
                raise posix_error(errno.ENOTDIR)
            self.views.open(number)
        else:
            self._note_access_of(number, inodes.load_directory(self._context.tree, number))
        return self._handles.open(number, os.O_RDONLY | os.O_DIRECTORY, credentials)

    def release(self, handle: int) -> None:
        """Close a handle of open, create or opendir. Errors: EBADF."""
        number, last = self._handles.close(handle)
        if number >> OBJECT_BITS:
            self.views.release(number)
        elif last and number in self._context.orphans.numbers:
            self._let_go(number)

    releasedir = release

    def read(self, handle: int, offset: int, size: int) -> bytes:
        """Fewer bytes than asked for only at the end of the file. Errors: EBADF, ESTALE."""
        opened = self._handles.get(handle)
        number = opened.number
        if not opened.readable:
            raise posix_error(errno.EBADF, "not open for reading")
        if number >> OBJECT_BITS:
            return self.views.read(number, offset, size)
        context = self._context
        inode = inodes.load(context.tree, number)
        data = context.data.read(number, inode, offset, size)
        if not opened.noatime:
            self._note_access_of(number, inode)
        return data

    def write(
        self, handle: int, offset: int, data: Buffer, told: Writing | None = None
    ) -> int:
        """As changing.write: all of `data`. Errors: EBADF too."""
        opened = self._writing(handle)
        context = self._context
        if opened.number in self._diverted and self._former is not None:
            context = self._former
        return changing.write(context, opened, offset, data, told)

    # ---- holes: a part of the work each, see holes.py ----

    def seek_step(self, handle: int, offset: int, *, hole: bool) -> Seek:
        """As holes.seek_step. Errors: EBADF, ENXIO (an offset beyond the data), ESTALE."""
        number = self._handles.get(handle).number
        if number >> OBJECT_BITS:
            data, number, inode = self.views.data_of(number)
        else:
            data, inode = self._context.data, inodes.load(self._context.tree, number)
        if not 0 <= offset < inode.size:
            raise posix_error(errno.ENXIO, "beyond the end of the file")
        found = holes.seek_step(data, number, inode, offset, hole=hole)
        if not hole and found.found and found.offset >= inode.size:
            raise posix_error(errno.ENXIO, "no data from here on")
        return found

    def size_of(self, handle: int) -> int:
        """Of the file that a handle that can write is open on, in bytes. Errors: EBADF, ESTALE."""
        return inodes.load(self._context.tree, self._writing(handle).number).size

    def whole_blocks(self, handle: int, offset: int, end: int) -> tuple[int, int]:
        """As holes.whole_blocks. Errors: EBADF, ESTALE."""
        number = self._writing(handle).number
        return holes.whole_blocks(inodes.load(self._context.tree, number), offset, end)

    def punch_step(self, handle: int, start: int, end: int) -> int:
        """As holes.punch_step. Errors: EBADF too."""
        return holes.punch_step(self._context, self._writing(handle), start, end)

    def zero(self, handle: int, start: int, end: int) -> None:
        """As holes.zero. Errors: EBADF too."""
        holes.zero(self._context, self._writing(handle), start, end)

    def fill_step(self, handle: int, start: int, end: int) -> int:
        """As holes.fill_step. Errors: EBADF too."""
        return holes.fill_step(self._context, self._writing(handle), start, end)

    def require_room(self, length: int) -> None:
        """Errors: volume.no_space unless so many bytes more could be written now."""
        blocks = max(0, length) >> BLOCK_SHIFT
        self._volume.reserve_data(blocks)
        self._volume.release_data(blocks)

    def resize(self, handle: int, size: int, credentials: Credentials) -> None:
        """As ftruncate, which moves the times also to the same size."""
        number = self._writing(handle).number
        changing.change(self._context, number, Changes(size=size), credentials, stamp=True)

    def _writing(self, handle: int) -> Handle:
        opened = self._handles.get(handle)
        if not opened.writable:
            raise posix_error(errno.EBADF, "not open for writing")
        return opened

    def readdir(
        self, handle: int, cookie: int, count: int = READDIR_ENTRIES
    ) -> list[tuple[bytes, Attributes, int]]:
        """(name, attributes, cookie to go on from) of at most `count` entries after `cookie` (0:
        from the start), `.` and `..` first; [] at the end. Errors: EBADF, ENOTDIR, ESTALE.
        """
        opened = self._handles.get(handle)
        number, listing = opened.number, opened.listing
        if listing is None:
            raise posix_error(errno.ENOTDIR)
        if number >> OBJECT_BITS:
            children = self.views.list_directory(number, cookie, count, listing)
            return [
                (child.name, reported(child.number, child.inode, 0), child.cookie)
                for child in children
            ]
        children = reading.list_directory(self._context.tree, number, cookie, count, listing)
        return [
            (child.name, self._report(child.number, child.inode), child.cookie)
            for child in children
        ]

    def handle_of(self, handle: int) -> Handle:
        """Errors: EBADF."""
        return self._handles.get(handle)

    def open_objects(self) -> list[int]:
        """Objects with an open handle (views' numbers too)."""
        return self._handles.numbers()

    def inodes_open_for_writing(self) -> list[int]:
        """Objects with a handle that may write, or through which a mapping may."""
        return self._handles.writable()

    def is_mapped_perhaps(self, handle: int) -> bool:
        """Whether the kernel may hold pages of the file that a mapping wrote. Errors: EBADF."""
        return self._handles.get(handle).object.mappers > 0

    def handle_count(self, number: int) -> int:
        return self._handles.count(number)

    def _note_access(self, number: int) -> None:
        if self._relatime != "noatime":
            self._note_access_of(number, inodes.load(self._context.tree, number))

    def _note_access_of(self, number: int, inode: Inode) -> bool:
        """Move the access time if the policy says so and there is room; whether it moved."""
        now = self._volume.clock.now_ns()
        if self._volume.read_only or not atime_due(inode, now, self._relatime):
            return False
        try:
            self._volume.reserve_metadata(RoomKind.NORMAL)
        except AffsError:
            return False
        inodes.save(self._context.tree, number, inode._replace(atime_ns=now))
        return True

    # ---- objects that go ----

    def forget(self, number: int) -> None:
        """The kernel's lookup count of this number is 0. Never fails; what cannot go now goes
        later.
        """
        if number >> OBJECT_BITS:
            self.views.forget(number)
        elif number in self._context.orphans.numbers and self._handles.of(number) is None:
            self._remove_soon(number)

    @property
    def removals_pending(self) -> bool:
        """Is there something for remove_step()?"""
        return self._context.orphans.pending

    def remove_step(self) -> bool:
        """Take away a bounded part of what nobody uses any more; is more left? Errors: volume.*."""
        return self._context.orphans.step()

    def load_orphans(self) -> None:
        """Learn which objects have no name: after opening a volume for writing, and after a
        rollback. What nobody uses goes with the next steps.
        """
        for number in self._context.orphans.load():
            if not self._context.in_use(number):
                self._context.orphans.release(number)

    def _let_go(self, number: int) -> None:
        """An object lost its last name or handle (0: none did)."""
        if number and not self._context.in_use(number):
            self._remove_soon(number)

    def _remove_soon(self, number: int) -> None:
        orphans = self._context.orphans
        orphans.release(number)
        with suppress(NodeMissing, AffsError, MemoryError):  # it waits for remove_step() then
            self._volume.attempt(orphans.remove_part, number)

    # ---- buffered data ----

    @property
    def dirty_bytes(self) -> int:
        """Bytes in write buffers, in whole blocks."""
        former = self._former.data.dirty_bytes if self._former is not None else 0
        return self._context.data.dirty_bytes + former

    def flush_all(self) -> None:
        """Give all buffered data its place (see the rules above). Errors: volume.no_space,
        device.*.
        """
        for context in self._contexts():
            for number in context.data.buffered_files():
                context.data.placing.flush(number)
        if self._former is not None and not self._diverted:
            self._former = None

    def take_off(self, bytes_max: int, files_max: int) -> int:
        """Launch about `bytes_max` of what is buffered, the longest waiting files first; how many
        bytes. Errors: as Placing.take_off()."""
        begun = files = 0
        for context in self._contexts():
            for number in context.data.buffered_files():
                if begun >= bytes_max or files >= files_max:
                    return begun
                taken = context.data.placing.take_off(number, bytes_max - begun)
                begun += taken
                files += taken > 0
        return begun

    def land(self, count_max: int) -> int:
        """Of what was launched and has been written: see FileData.land."""
        return sum(context.data.placing.land(count_max) for context in self._contexts())

    def _contexts(self) -> list[Context]:
        """Those that may have buffered data: the state that a rollback left comes first."""
        return [self._context] if self._former is None else [self._former, self._context]

    # ---- rollback ----

    def switch(self, state: WorkingState) -> None:
        """The mount shows another state from now on. Handles stay; where their object is not in it
        they give ESTALE. Buffered data still belongs to the former state; flush_all() puts it
        there.
        """
        assert self._former is None, "what the last rollback left is not flushed yet"
        self._former = self._context
        self._context = Context(self._volume, state, self._handles, self._referenced)
        self._handles.doubt()

    def divert(self, abandoned: WorkingState, numbers: Iterable[int]) -> None:
        """Until stop_diverting(), writes to these files go to the state that switch() left: the
        kernel had accepted them before. All else sees the new state.
        """
        assert self._former is not None
        assert self._former.state is abandoned
        self._diverted = frozenset(numbers)

    def stop_diverting(self) -> None:
        self._diverted = frozenset()
        self._handles.doubt()

    def renew_generations(self, numbers: Iterable[int]) -> None:
        """Directories that come back from the dead get another generation: new to the kernel."""
        for number in numbers:
            self._renewed[number] = self._renewed.get(number, 0) + 1

    # ---- figures ----

    def statistics(self) -> NamespaceStatistics:
        context = self._context
        return NamespaceStatistics(
            handles=len(self._handles),
            open_objects=len(self._handles.numbers()),
            orphans=len(context.orphans.numbers),
            buffered_files=len(context.data.buffered_files()),
            dirty_bytes=self.dirty_bytes,
        )
