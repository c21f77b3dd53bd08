"""Making objects: modes, owners, times, counts, and what the directory gives."""

import errno
import os
import stat

import pytest
from posix_harness import ALICE, BOB, ROOT, Bench
from test_posix_names import failing

from affs_fuse.posix import acl
from affs_fuse.posix.namespace import Credentials
from affs_fuse.posix.xattrs import ACL_ACCESS, ACL_DEFAULT

UMASKED = Credentials(1000, 1000, frozenset(), umask=0o027)


def test_a_new_file(bench: Bench) -> None:
    bench.now += 5
    handle, made = bench.namespace.create(1, b"f", 0o666, os.O_RDWR, UMASKED)
    inode = made.inode
    assert (inode.mode, inode.uid, inode.gid) == (stat.S_IFREG | 0o640, 1000, 1000)
    assert (inode.nlink, inode.size, inode.blocks, inode.rdev, inode.parent) == (1, 0, 0, 0, 0)
    assert {inode.atime_ns, inode.mtime_ns, inode.ctime_ns, inode.btime_ns} == {bench.now}
    root = bench.find("/").inode
    assert (root.mtime_ns, root.ctime_ns, root.size, root.nlink) == (bench.now, bench.now, 1, 2)
    bench.namespace.release(handle)


def test_a_new_directory(bench: Bench) -> None:
    bench.now += 5
    made = bench.mkdir("/d", 0o1777, UMASKED)
    assert made.inode.mode == stat.S_IFDIR | 0o1750
    assert (made.inode.nlink, made.inode.size, made.inode.parent) == (2, 0, 1)
    assert (bench.find("/").inode.nlink, bench.find("/").inode.size) == (3, 1)
    assert bench.find("/").inode.mtime_ns == bench.now


@pytest.mark.parametrize("kind", [stat.S_IFIFO, stat.S_IFSOCK, stat.S_IFCHR, stat.S_IFBLK])
def test_special_files(bench: Bench, kind: int) -> None:
    number = os.makedev(8, 300)
    made = bench.namespace.mknod(1, b"n", kind | 0o666, number, UMASKED)
    device = kind in (stat.S_IFCHR, stat.S_IFBLK)
    assert made.inode.mode == kind | 0o640
    assert made.inode.rdev == (number if device else 0)
    with failing(errno.ENXIO):
        bench.namespace.open(made.number, os.O_RDONLY, ROOT)
    bench.commit()
    bench.open()
    assert bench.find("/n").inode == made.inode


def test_mknod_makes_no_directory_or_link(bench: Bench) -> None:
    for kind in (stat.S_IFDIR, stat.S_IFLNK):
        with failing(errno.EINVAL):
            bench.namespace.mknod(1, b"n", kind | 0o666, 0, ROOT)
    made = bench.namespace.mknod(1, b"n", 0o600, 0, ROOT)
    assert stat.S_ISREG(made.inode.mode)


def test_symbolic_links(bench: Bench) -> None:
    space = bench.namespace
    target = b"t" * 4095
    made = space.symlink(1, b"l", target, UMASKED)
    assert (made.inode.mode, made.inode.size) == (stat.S_IFLNK | 0o777, 4095)
    assert space.readlink(made.number) == target
    with failing(errno.ENAMETOOLONG):
        space.symlink(1, b"m", target + b"t", ROOT)
    with failing(errno.ENOENT):
        space.symlink(1, b"m", b"", ROOT)
    with failing(errno.EINVAL):
        space.readlink(1)
    with failing(errno.ELOOP):
        space.open(made.number, os.O_RDONLY, ROOT)
    with failing(errno.ESTALE):
        space.create(1, b"l", 0o644, os.O_RDWR, ROOT)


def test_what_exists_is_not_made_again(bench: Bench) -> None:
    space = bench.namespace
    bench.mkdir("/d")
    bench.write("/f", b"x")
    for name in (b"d", b"f"):
        with failing(errno.EEXIST):
            space.mkdir(1, name, 0o755, ROOT)
        with failing(errno.EEXIST):
            space.mknod(1, name, 0o100644, 0, ROOT)
        with failing(errno.EEXIST):
            space.symlink(1, name, b"t", ROOT)
        with failing(errno.EEXIST):
            space.create(1, name, 0o644, os.O_RDWR | os.O_EXCL, ROOT)
    with failing(errno.ENOTDIR):
        space.mkdir(bench.find("/f").number, b"x", 0o755, ROOT)


def test_create_of_an_existing_name_opens_it(bench: Bench) -> None:
    space = bench.namespace
    number = bench.write("/f", b"content")
    handle, found = space.create(1, b"f", 0o600, os.O_RDWR, ROOT)
    assert (found.number, found.inode.size) == (number, 7)
    assert stat.S_IMODE(found.inode.mode) == 0o644
    space.release(handle)
    handle, found = space.create(1, b"f", 0o600, os.O_RDWR | os.O_TRUNC, ROOT)
    assert found.inode.size == 0
    space.release(handle)
    with failing(errno.EISDIR):
        bench.mkdir("/d")
        space.create(1, b"d", 0o600, os.O_RDWR, ROOT)


def test_create_of_an_existing_name_asks_for_permission(bench: Bench) -> None:
    """The kernel took the name for a new one, so it has not checked the file."""
    space = bench.namespace
    number = bench.write("/f", b"secret")
    bench.change("/f", mode=0o640, uid=1000, gid=2000)
    member = Credentials(1002, 1002, lambda: frozenset({2000}))
    for who, flags, allowed in (
        (ALICE, os.O_RDWR, True),
        (member, os.O_RDONLY, True),
        (member, os.O_WRONLY, False),
        (member, os.O_RDONLY | os.O_TRUNC, False),
        (BOB, os.O_RDONLY, False),
        (ROOT, os.O_RDWR, True),
    ):
        if allowed:
            space.release(space.create(1, b"f", 0o600, flags, who)[0])
        else:
            with failing(errno.EACCES):
                space.create(1, b"f", 0o600, flags, who)
    entries = acl.parse(
        acl.pack(
            tuple(
                acl.Entry(*entry)
                for entry in (
                    (1, 6, acl.NO_ID), (2, 4, 1001), (4, 0, acl.NO_ID), (8, 6, 2000),
                    (16, 4, acl.NO_ID), (32, 0, acl.NO_ID),
                )
            )
        )
    )  # fmt: skip
    space.setxattr(number, ACL_ACCESS, acl.pack(entries), 0, ROOT)
    space.release(space.create(1, b"f", 0o600, os.O_RDONLY, BOB)[0])
    with failing(errno.EACCES):
        space.create(1, b"f", 0o600, os.O_RDWR, BOB)
    with failing(errno.EACCES):
        space.create(1, b"f", 0o600, os.O_WRONLY, member)


def test_setgid_directories(bench: Bench) -> None:
    bench.mkdir("/d")
    bench.change("/d", mode=0o2777, gid=2000)
    space, folder = bench.namespace, bench.find("/d").number
    inner = bench.mkdir("/d/inner", 0o755, BOB).inode
    assert (inner.gid, inner.mode & stat.S_ISGID) == (2000, stat.S_ISGID)
    plain = space.mknod(folder, b"plain", 0o100664, 0, BOB).inode
    assert (plain.gid, stat.S_IMODE(plain.mode)) == (2000, 0o664)
    outsider = space.mknod(folder, b"outsider", 0o102775, 0, BOB).inode
    assert stat.S_IMODE(outsider.mode) == 0o775
    member = space.mknod(folder, b"member", 0o102775, 0, ALICE).inode
    assert stat.S_IMODE(member.mode) == 0o2775
    not_executable = space.mknod(folder, b"locks", 0o102664, 0, BOB).inode
    assert stat.S_IMODE(not_executable.mode) == 0o2664


def minimal_and_named(mask: int) -> bytes:
    entries = (
        acl.Entry(1, 7, acl.NO_ID), acl.Entry(2, 6, 1001), acl.Entry(4, 5, acl.NO_ID),
        acl.Entry(16, mask, acl.NO_ID), acl.Entry(32, 1, acl.NO_ID),
    )  # fmt: skip
    return acl.pack(entries)


def test_default_acls_are_inherited(bench: Bench) -> None:
    space, folder = bench.namespace, bench.mkdir("/d").number
    space.setxattr(folder, ACL_DEFAULT, minimal_and_named(7), 0, ROOT)
    made = space.mknod(folder, b"f", 0o100666, 0, UMASKED)
    assert stat.S_IMODE(made.inode.mode) == 0o660, "the umask does not count, the ACL and mode do"
    access = acl.parse(space.getxattr(made.number, ACL_ACCESS, ROOT))
    assert [entry.perm for entry in access] == [6, 6, 5, 6, 0]
    with failing(errno.ENODATA):
        space.getxattr(made.number, ACL_DEFAULT, ROOT)
    inner = bench.mkdir("/d/inner", 0o777, UMASKED)
    assert stat.S_IMODE(inner.inode.mode) == 0o771
    assert space.getxattr(inner.number, ACL_DEFAULT, ROOT) == minimal_and_named(7)
    assert space.getxattr(inner.number, ACL_ACCESS, ROOT) == minimal_and_named(7)
    link = space.symlink(folder, b"l", b"target", UMASKED)
    assert space.listxattr(link.number, ROOT) == []


def test_a_minimal_default_acl_makes_modes_only(bench: Bench) -> None:
    space, folder = bench.namespace, bench.mkdir("/d").number
    entries = tuple(acl.Entry(tag, perm, acl.NO_ID) for tag, perm in ((1, 6), (4, 4), (32, 0)))
    space.setxattr(folder, ACL_DEFAULT, acl.pack(entries), 0, ROOT)
    made = space.mknod(folder, b"f", 0o100777, 0, UMASKED)
    assert stat.S_IMODE(made.inode.mode) == 0o640
    assert space.listxattr(made.number, ROOT) == []


def test_link(bench: Bench) -> None:
    number = bench.write("/f", b"x")
    folder = bench.mkdir("/d").number
    bench.now += 9
    made = bench.namespace.link(number, folder, b"g")
    assert (made.number, made.inode.nlink, made.inode.ctime_ns) == (number, 2, bench.now)
    assert made.inode.mtime_ns == bench.now - 9
    assert bench.find("/d").inode.mtime_ns == bench.now
    assert bench.find("/d/g") == made
    with failing(errno.EEXIST):
        bench.namespace.link(number, folder, b"g")
    with failing(errno.EPERM):
        bench.namespace.link(folder, 1, b"h")
    bench.namespace.link(number, folder, b"h")
    bench.unlink("/f")
    assert bench.find("/d/g").inode.nlink == 2
    assert bench.read("/d/h") == b"x"


def test_a_file_without_names_gets_none(bench: Bench) -> None:
    handle = bench.open_file("/f", os.O_RDWR | os.O_CREAT)
    number = bench.find("/f").number
    bench.unlink("/f")
    with failing(errno.ENOENT):
        bench.namespace.link(number, 1, b"g")
    bench.namespace.release(handle)
