"""Extended attributes and POSIX ACLs."""

import errno
import os
import random
import stat

import pytest
from posix_harness import ALICE, BOB, ROOT, Bench
from test_posix_names import failing

from affs_fuse.core.constants import ITEM_XATTR
from affs_fuse.posix import acl
from affs_fuse.posix.acl import GROUP, GROUP_OBJ, MASK, NO_ID, OTHER, USER, USER_OBJ, Entry
from affs_fuse.posix.permissions import EXECUTE, READ, WRITE, permitted
from affs_fuse.posix.xattrs import ACL_ACCESS, ACL_DEFAULT
from affs_fuse.volume.missing import DataMissing

LARGE = random.Random(7).randbytes(65_536)


def test_set_get_list_remove(bench: Bench) -> None:
    number, space = bench.write("/f", b"x"), bench.namespace
    names = [b"user.a", b"user.\xff", b"trusted.t", b"security.s", b"user." + b"n" * 250]
    before = bench.find("/f").inode
    for index, name in enumerate(names):
        bench.now += 3
        space.setxattr(number, name, name * index, 0, ROOT)
        assert bench.find("/f").inode.ctime_ns == bench.now
    bench.commit()
    bench.open()
    space = bench.namespace
    assert sorted(bench.run(space.listxattr, number, ROOT)) == sorted(names)
    for index, name in enumerate(names):
        assert bench.run(space.getxattr, number, name, ROOT) == name * index
    bench.now += 3
    bench.run(space.removexattr, number, names[0], ROOT)
    assert bench.find("/f").inode == before._replace(
        ctime_ns=bench.now, change=before.change + len(names) + 1, blocks=1,
        changed_commit=bench.volume.generation,
    )
    for act in (space.getxattr, space.removexattr):
        with failing(errno.ENODATA):
            act(number, names[0], ROOT)
    with failing(errno.ESTALE):
        space.getxattr(999_999, b"user.a", ROOT)
    with failing(errno.ESTALE):
        space.listxattr(999_999, ROOT)


def test_create_and_replace(bench: Bench) -> None:
    number, space = bench.write("/f", b"x"), bench.namespace
    with failing(errno.ENODATA):
        space.setxattr(number, b"user.a", b"1", os.XATTR_REPLACE, ROOT)
    space.setxattr(number, b"user.a", b"1", os.XATTR_CREATE, ROOT)
    with failing(errno.EEXIST):
        space.setxattr(number, b"user.a", b"2", os.XATTR_CREATE, ROOT)
    space.setxattr(number, b"user.a", b"3", os.XATTR_REPLACE, ROOT)
    assert space.getxattr(number, b"user.a", ROOT) == b"3"


def test_namespaces_and_limits(bench: Bench) -> None:
    number, space = bench.write("/f", b"x"), bench.namespace
    for name in (b"system.other", b"os2.x", b"plain", b"USER.x", b"system.posix_acl"):
        for act in (
            lambda name=name: space.setxattr(number, name, b"", 0, ROOT),
            lambda name=name: space.getxattr(number, name, ROOT),
            lambda name=name: space.removexattr(number, name, ROOT),
        ):
            with failing(errno.EOPNOTSUPP):
                act()
    with failing(errno.ERANGE):
        space.setxattr(number, b"user." + b"n" * 251, b"", 0, ROOT)
    with failing(errno.EINVAL):
        space.setxattr(number, b"user.", b"", 0, ROOT)
    with failing(errno.E2BIG):
        space.setxattr(number, b"user.a", LARGE + b"x", 0, ROOT)
    link = space.symlink(1, b"l", b"t", ROOT).number
    fifo = space.mknod(1, b"p", stat.S_IFIFO | 0o600, 0, ROOT).number
    for other in (link, fifo):
        with failing(errno.EPERM):
            space.setxattr(other, b"user.a", b"", 0, ROOT)
        space.setxattr(other, b"trusted.a", b"", 0, ROOT)


def test_trusted_attributes_are_for_the_privileged(bench: Bench) -> None:
    number, space = bench.write("/f", b"x"), bench.namespace
    space.setxattr(number, b"trusted.t", b"1", 0, ROOT)
    space.setxattr(number, b"user.u", b"2", 0, ALICE)
    assert space.listxattr(number, ALICE) == [b"user.u"]
    with failing(errno.ENODATA):
        space.getxattr(number, b"trusted.t", ALICE)
    for act in (
        lambda: space.setxattr(number, b"trusted.t", b"", 0, ALICE),
        lambda: space.removexattr(number, b"trusted.t", ALICE),
    ):
        with failing(errno.EPERM):
            act()


@pytest.mark.parametrize("size", [0, 1, 4079, 4080, 4338, 4339, 4096, 8192, 65_535, 65_536])
def test_values_of_every_size(bench: Bench, size: int) -> None:
    number, space = bench.write("/f", b"data"), bench.namespace
    bench.commit()
    before = bench.used_blocks()
    for value in (LARGE[:size], LARGE[::-1][:size], b"small", LARGE[:size]):
        bench.run(space.setxattr, number, b"user.a", value, 0, ROOT)
        assert bench.run(space.getxattr, number, b"user.a", ROOT) == value
        bench.commit()
        assert bench.run(space.getxattr, number, b"user.a", ROOT) == value
        assert bench.find("/f").inode.blocks == 1
    bench.run(space.removexattr, number, b"user.a", ROOT)
    bench.commit()
    assert bench.used_blocks() == before


def test_a_large_value_is_loaded_from_the_device(bench: Bench) -> None:
    number, space = bench.write("/f", b"x"), bench.namespace
    space.setxattr(number, b"user.a", LARGE, 0, ROOT)
    bench.commit()
    with pytest.raises(DataMissing):
        space.getxattr(number, b"user.a", ROOT)
    bench.unlink("/f")


def test_many_attributes(bench: Bench) -> None:
    number, space = bench.write("/f", b"x"), bench.namespace
    values = {b"user.%d" % index: LARGE[index * 7 :][: index * 11] for index in range(150)}
    for name, value in values.items():
        space.setxattr(number, name, value, 0, ROOT)
    assert set(space.listxattr(number, ROOT)) == set(values)
    for name in list(values)[::3]:
        space.removexattr(number, name, ROOT)
        del values[name]
    assert {name: space.getxattr(number, name, ROOT) for name in values} == values
    bench.unlink("/f")
    bench.finish_removals()
    item = bench.volume.working.tree.seek(number, ITEM_XATTR, 0)
    assert item is None or item[0] != number


# ---- ACLs ----


def entries(*given: tuple[int, int] | tuple[int, int, int]) -> tuple[Entry, ...]:
    return tuple(Entry(*entry) if len(entry) == 3 else Entry(*entry, NO_ID) for entry in given)


NAMED = entries((USER_OBJ, 6), (USER, 5, 1001), (GROUP_OBJ, 4), (MASK, 5), (OTHER, 0))


def test_an_acl_sets_the_mode_and_chmod_sets_the_acl(bench: Bench) -> None:
    number, space = bench.write("/f", b"x"), bench.namespace
    space.setxattr(number, ACL_ACCESS, acl.pack(NAMED), 0, ROOT)
    assert stat.S_IMODE(bench.find("/f").inode.mode) == 0o650
    assert acl.parse(space.getxattr(number, ACL_ACCESS, ROOT)) == NAMED
    bench.change("/f", mode=0o721)
    changed = acl.parse(space.getxattr(number, ACL_ACCESS, ROOT))
    assert [entry.perm for entry in changed] == [7, 5, 4, 2, 1]
    bench.change("/f", uid=7)
    assert acl.parse(space.getxattr(number, ACL_ACCESS, ROOT)) == changed
    space.removexattr(number, ACL_ACCESS, ROOT)
    assert stat.S_IMODE(bench.find("/f").inode.mode) == 0o721
    with failing(errno.ENODATA):
        space.getxattr(number, ACL_ACCESS, ROOT)


def test_an_acl_that_says_what_the_mode_says_is_not_stored(bench: Bench) -> None:
    number, space = bench.write("/f", b"x"), bench.namespace
    minimal = entries((USER_OBJ, 7), (GROUP_OBJ, 1), (OTHER, 4))
    space.setxattr(number, ACL_ACCESS, acl.pack(NAMED), 0, ROOT)
    space.setxattr(number, ACL_ACCESS, acl.pack(minimal), 0, ROOT)
    assert stat.S_IMODE(bench.find("/f").inode.mode) == 0o714
    assert space.listxattr(number, ROOT) == []
    space.setxattr(number, ACL_ACCESS, acl.pack(NAMED), 0, ROOT)
    space.setxattr(number, ACL_ACCESS, acl.pack(()), 0, ROOT)
    assert space.listxattr(number, ROOT) == []


def test_an_acl_set_from_outside_the_group_takes_setgid(bench: Bench) -> None:
    number, space = bench.write("/f", b"x"), bench.namespace
    bench.change("/f", uid=1000, gid=2000)
    bench.change("/f", mode=0o2755)
    space.setxattr(number, ACL_ACCESS, acl.pack(NAMED), 0, ALICE)
    assert stat.S_IMODE(bench.find("/f").inode.mode) == 0o2650
    bench.change("/f", gid=3000)
    bench.change("/f", mode=0o2755)
    space.setxattr(number, ACL_ACCESS, acl.pack(NAMED), 0, ALICE)
    assert stat.S_IMODE(bench.find("/f").inode.mode) == 0o650
    with failing(errno.EPERM):
        space.setxattr(number, ACL_ACCESS, acl.pack(NAMED), 0, BOB)


def test_default_acls_belong_to_directories(bench: Bench) -> None:
    number, space = bench.write("/f", b"x"), bench.namespace
    folder = bench.mkdir("/d")
    with failing(errno.EACCES):
        space.setxattr(number, ACL_DEFAULT, acl.pack(NAMED), 0, ROOT)
    space.setxattr(folder.number, ACL_DEFAULT, acl.pack(NAMED), 0, ROOT)
    assert bench.find("/d").inode.mode == folder.inode.mode
    minimal = acl.pack(entries((USER_OBJ, 7), (GROUP_OBJ, 1), (OTHER, 4)))
    space.setxattr(folder.number, ACL_DEFAULT, minimal, 0, ROOT)
    assert space.getxattr(folder.number, ACL_DEFAULT, ROOT) == minimal
    space.setxattr(folder.number, ACL_DEFAULT, acl.pack(()), 0, ROOT)
    assert space.listxattr(folder.number, ROOT) == []
    link = space.symlink(1, b"l", b"t", ROOT).number
    with failing(errno.EOPNOTSUPP):
        space.setxattr(link, ACL_ACCESS, acl.pack(NAMED), 0, ROOT)


def test_acls_are_checked_and_put_in_order() -> None:
    shuffled = acl.pack((NAMED[4], NAMED[3], NAMED[1], NAMED[0], NAMED[2]))
    assert acl.parse(shuffled) == NAMED
    several = entries(
        (USER_OBJ, 7), (USER, 1, 9), (USER, 2, 3), (GROUP_OBJ, 0), (GROUP, 4, 8), (GROUP, 4, 2),
        (MASK, 7), (OTHER, 0),
    )  # fmt: skip
    assert [entry.id for entry in acl.parse(acl.pack(several))][1:3] == [3, 9]
    assert acl.parse(acl.pack(())) == ()
    for bad in (
        b"",
        b"\2\0\0",
        acl.pack(NAMED)[:-1],
        acl.pack(NAMED[1:]),
        acl.pack((*NAMED, NAMED[0])),
        acl.pack((*NAMED, NAMED[1])),
        acl.pack(entries((USER_OBJ, 6), (USER, 5, 1001), (GROUP_OBJ, 4), (OTHER, 0))),
        acl.pack(entries((USER_OBJ, 6), (USER, 5, NO_ID), (GROUP_OBJ, 4), (MASK, 7), (OTHER, 0))),
        acl.pack(entries((USER_OBJ, 8), (GROUP_OBJ, 4), (OTHER, 0))),
        acl.pack(entries((64, 7), (USER_OBJ, 6), (GROUP_OBJ, 4), (OTHER, 0))),
    ):
        with failing(errno.EINVAL):
            acl.parse(bad)
    with failing(errno.EOPNOTSUPP):
        acl.parse(b"\3\0\0\0")


def test_access_by_acl(bench: Bench) -> None:
    bench.write("/f", b"x")
    inode = bench.find("/f").inode._replace(uid=1, gid=2000, mode=stat.S_IFREG | 0o650)
    assert acl.permitted_by(NAMED, inode, BOB, READ | EXECUTE)
    assert not acl.permitted_by(NAMED, inode, BOB, WRITE)
    assert acl.permitted_by(NAMED, inode, ALICE, READ)
    assert not acl.permitted_by(NAMED, inode, ALICE, EXECUTE), "the group's entry, not the mask"
    assert not acl.permitted_by(NAMED, inode, ALICE._replace(groups=frozenset()), READ)
    assert acl.permitted_by(NAMED, inode, ROOT, READ | WRITE | EXECUTE)
    assert not permitted(stat.S_IFREG | 0o600, 1, 1, ROOT, EXECUTE)
    assert permitted(stat.S_IFDIR | 0o600, 1, 1, ROOT, EXECUTE)


def test_an_acl_too_large_to_inherit_is_refused(bench: Bench) -> None:
    folder, space = bench.mkdir("/d").number, bench.namespace
    many = [(USER, 7, index) for index in range(600)]
    large = acl.pack(entries((USER_OBJ, 7), *many, (GROUP_OBJ, 0), (MASK, 7), (OTHER, 0)))
    with failing(errno.E2BIG):
        space.setxattr(folder, ACL_DEFAULT, large, 0, ROOT)
    fits = acl.pack(entries((USER_OBJ, 7), *many[:500], (GROUP_OBJ, 0), (MASK, 7), (OTHER, 0)))
    space.setxattr(folder, ACL_DEFAULT, fits, 0, ROOT)
    inner = bench.mkdir("/d/inner", 0o777)
    assert space.getxattr(inner.number, ACL_DEFAULT, ROOT) == fits
    assert space.getxattr(inner.number, ACL_ACCESS, ROOT) == fits
