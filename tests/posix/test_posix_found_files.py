"""What is kept of files that were looked up in a state: by its root, and bounded."""

from affs_fuse.core.codec import NO_POINTER, Inode
from affs_fuse.posix import found_files
from affs_fuse.posix.found_files import FILES_MAX, STATES_MAX, FoundFile, FoundFiles

INODE = Inode(0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, bytes(16), 0, 0)


def root(address: int, birth: int) -> found_files.Pointer:
    return NO_POINTER._replace(address=address, birth=birth)


def file(number: int) -> FoundFile:
    return FoundFile(INODE, [(1, str(number).encode())], None)


def test_what_is_known_comes_up_to_the_first_that_is_not() -> None:
    known = FoundFiles().of(root(1, 1))
    known.add([(1, file(1)), (2, None), (3, file(3))])
    assert known.first([1, 2, 3]) == [file(1), None, file(3)]
    assert known.first([3, 4, 1]) == [file(3)]
    assert known.first([4, 1]) == []


def test_states_are_told_apart_by_address_and_birth() -> None:
    states = FoundFiles()
    states.of(root(1, 1)).add([(7, file(7))])
    assert states.of(root(1, 2)).first([7]) == []
    assert states.of(root(2, 1)).first([7]) == []
    assert states.of(root(1, 1)).first([7]) == [file(7)]


def test_states_and_files_are_few() -> None:
    states = FoundFiles()
    states.of(root(1, 1)).add([(7, file(7))])
    for birth in range(2, STATES_MAX + 1):
        states.of(root(1, birth))
    assert states.of(root(1, 1)).first([7]), "asked for just now, so it stays"
    states.of(root(1, 100))
    states.of(root(1, 101))
    assert states.of(root(1, 1)).first([7])
    assert len(states) == STATES_MAX
    known = states.of(root(9, 9))
    for number in range(3 * FILES_MAX):
        known.add([(number, file(number))])
        assert len(known) <= FILES_MAX
