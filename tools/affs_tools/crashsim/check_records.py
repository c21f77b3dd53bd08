"""What must hold of declarations and indexes in a state: judged without the engine's own functions.

The items come out of the engine's tree, whose content is compared with the model anyway; what they
mean is read by the second reader (tools/affs_tools/reader), and what they should be is said by the
model and by record_keys.py. Invariants of an index, of every state at any time:
- it has exactly the entries that the keys of the files name, and so says its head;
- a file that does not wait stands under the key of its content, and a complete index lacks none;
- where everything was brought up to date before the commit, nothing waits and all are complete.
"""

import struct
from collections.abc import Iterator

from affs_fuse.core.tree import Tree
from affs_fuse.volume.volume import Volume
from affs_tools.crashsim.bounds import Violation
from affs_tools.crashsim.model import Collected, Collections
from affs_tools.crashsim.record_keys import key_of_content
from affs_tools.reader import collections as reader
from affs_tools.reader.image import Item
from affs_tools.reader.structures import NAME, Damage

__all__ = ["check_collections"]

DENTRY = 7


class _Items:
    """Of one tree. Errors: AffsError of damage."""

    def __init__(self, volume: Volume, tree: Tree) -> None:
        self._volume = volume
        self._tree = tree

    def of(self, number: int, kind: int) -> list[Item]:
        first, end = (number, kind, 0), (number, kind + 1, 0)
        found = self._volume.run(lambda: list(self._tree.iterate(first, end)))
        return [Item(*one) for one in found]

    def names(self, number: int) -> dict[str, int]:
        """Names of a directory, and the objects that they mean."""
        return {
            item.payload[NAME.size :].decode(): struct.unpack_from("<Q", item.payload)[0]
            for item in self.of(number, DENTRY)
        }

    def resolve(self, path: str) -> int:
        number = 1
        for name in path.strip("/").split("/") if path != "/" else ():
            number = self.names(number)[name]
        return number


def check_collections(volume: Volume, tree: Tree, wanted: Collections, what: str) -> None:
    """Errors: Violation; AffsError of damage."""
    items = _Items(volume, tree)
    found = reader.Collections(items.of)
    try:
        listed = found.directories()
        if not listed and not wanted:
            return
        numbers = {items.resolve(path): path for path in wanted}
        if listed != sorted(numbers):
            raise Violation(f"{what}: declared are {listed}, not {sorted(numbers)}")
        for number, path in numbers.items():
            for problem in _problems(found, items, number, wanted[path]):
                raise Violation(f"{what}: {path}: {problem}")
    except (Damage, struct.error, KeyError) as error:
        raise Violation(f"{what}: what is said of collections cannot be read: {error}") from error


def _problems(
    found: reader.Collections, items: _Items, number: int, wanted: Collected
) -> Iterator[str]:
    declaration = found.declaration(number)
    if declaration != wanted.declaration:
        yield f"it declares {declaration}, not {wanted.declaration}"
        return
    expressions = {one["id"]: one["expression"] for one in wanted.declaration.get("indexes", ())}
    heads = found.heads(number)
    keys, pending = found.keys(number), found.pending(number)
    if wanted.settled:
        left = sorted(set(heads) - set(expressions))
        unready = [one for one in expressions if one not in heads]
        unready += [one for one, head in heads.items() if head["built"] is not None]
        if pending or left or unready:
            yield f"{pending} wait, {unready} are not built, {left} are not gone"
    for index, head in heads.items():
        if head["dropped"] is not None:
            continue
        if index in expressions and head["expression"] != expressions[index]:
            yield f"index {index} is of {head['expression']}"
        named = sorted((row[index], file) for file, row in keys.items() if index in row)
        if found.index(number, index) != named:
            yield f"index {index} has {found.index(number, index)}, files say {named}"
    complete = {
        index
        for index, head in heads.items()
        if index in expressions and head["built"] is None and head["dropped"] is None
    }
    yield from _wrong_keys(items.names(number), keys, set(pending), wanted, expressions, complete)


def _wrong_keys(
    names: dict[str, int],
    keys: dict[int, dict[int, bytes]],
    pending: set[int],
    wanted: Collected,
    expressions: dict[int, str],
    complete: set[int],
) -> Iterator[str]:
    """Of files that do not wait."""
    contents = {names[name]: content for name, content in wanted.files.items()}
    for file in sorted((keys.keys() | contents.keys()) - pending):
        held = keys.get(file, {})
        if file not in contents:
            if complete & held.keys():
                yield f"object {file} has keys, and is no file here"
            continue
        for index, expression in expressions.items():
            right = key_of_content(expression, contents[file])
            stands = held.get(index, None if index in complete else right)
            if stands != right:
                yield f"object {file} stands under {stands!r} in index {index}, not {right!r}"
