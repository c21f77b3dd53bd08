"""What a device does to bytes that it was given: bits flip, blocks are lost, swapped or old.

Every bit of every live metadata byte is flipped, and the function that reads the structure must
refuse it; a sample of these, of the data's bits and of whole blocks goes through everything:
opening, walking all states, fsck.affs. Each damage is found on access, unless a second copy makes
up for it or nobody reads there, and in any case by the check, which names block and, of files,
state and path. Nothing wrong is ever served.
"""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache, partial

from affs_fuse.core.codec import seal
from affs_fuse.core.constants import BLOCK_SIZE, KIND_COMMIT, MAGIC_COMMIT, TREE_NAMESPACE
from affs_fuse.core.errors import StructureError
from affs_fuse.core.tree import NodeCache
from affs_fuse.core.verify import (
    verify_commit,
    verify_node,
    verify_owner,
    verify_segment_header,
    verify_superblock,
)
from affs_fuse.errors import AffsError
from affs_fuse.posix.namespace import Namespace
from affs_fuse.volume.superblock import read_superblock
from affs_fuse.volume.verify import Finding, Severity, verify_volume
from affs_fuse.volume.volume import Volume
from affs_tools.crashsim.asking import answer, answers
from affs_tools.crashsim.bounds import Violation
from affs_tools.crashsim.check import named, open_state, state_trees, walk_state
from affs_tools.crashsim.check_records import check_collections
from affs_tools.crashsim.device import Image, Recorder
from affs_tools.crashsim.explore import Base, Failure, Tally, base_of, judge_each
from affs_tools.crashsim.known_trees import TreesOf
from affs_tools.crashsim.model import Expected, Snapshot
from affs_tools.crashsim.pieces import Piece, pieces_of

__all__ = [
    "BASE", "Damage", "all_damages", "all_pieces", "explore_damages", "flip_all_bits", "metadata",
]  # fmt: skip

BASE = "damage"
Patch = tuple[int, bytes]
"""Bytes that come at an offset."""


@dataclass(frozen=True, slots=True)
class Damage:
    """pieces: what is hit. missing: part of the device is not there any more: only this many bytes
    are."""

    name: str
    pieces: tuple[Piece, ...]
    patches: tuple[Patch, ...]
    size: int | None = None


@cache
def all_pieces() -> tuple[Piece, ...]:
    return tuple(pieces_of(base_of(BASE).image))


# ---- every bit ----


def metadata() -> list[Piece]:
    """Every piece but file data."""
    return [piece for piece in all_pieces() if piece.kind != "data"]


def flip_all_bits(piece: Piece, tally: Tally) -> None:
    """Each bit of a piece of metadata in turn, against the function that everybody reads it by."""
    image = base_of(BASE).image
    superblock = read_superblock(image)
    uuid, salt = superblock.format_uuid, superblock.salt
    block = bytearray(image.content[piece.offset : piece.offset + piece.length])
    cache = NodeCache(0, uuid, salt)
    for bit in range(piece.length * 8):
        block[bit // 8] ^= 1 << bit % 8
        if _accepted(piece, block, uuid, salt, cache if bit % 2 else None):
            message = f"bit {bit} of {piece} is flipped, and it is taken for good"
            tally.failures.append(Failure(f"damage@bit{piece.offset}.{bit}", message))
        block[bit // 8] ^= 1 << bit % 8
        tally.states += 1


def _accepted(
    piece: Piece, block: bytearray, uuid: bytes, salt: bytes, cache: NodeCache | None
) -> bool:
    """Is it taken for good? cache: nodes go through this one, as for the engine; None: as for the
    check."""
    try:
        if piece.kind == "superblock":
            verify_superblock(block)
        elif piece.kind == "owner":
            verify_owner(block)
        elif piece.kind == "record":
            verify_commit(block, uuid)
        elif piece.kind == "segment header":
            verify_segment_header(block, uuid)
        elif cache is not None and piece.pointer is not None:
            cache.install(piece.pointer, block)
        else:
            assert piece.pointer is not None
            verify_node(block, uuid, salt, piece.pointer.pack())
    except StructureError:
        return False
    return True


# ---- what is done to blocks ----


@cache
def all_damages(flips_per_piece: int) -> tuple[Damage, ...]:
    """The same each time."""
    return tuple(_damages(1, flips_per_piece))


def _damages(seed: int, flips_per_piece: int) -> Iterator[Damage]:
    """Flipped bits (a seeded sample), and what happens to whole blocks."""
    content = base_of(BASE).image.content
    pieces = list(all_pieces())
    chance = random.Random(seed)
    for piece in pieces:
        old = bytes(content[piece.offset : piece.offset + piece.length])
        for bit in sorted(chance.sample(range(piece.length * 8), flips_per_piece)):
            byte = bytes([old[bit // 8] ^ 1 << bit % 8])
            yield Damage(f"flip{piece.offset}.{bit}", (piece,), ((piece.offset + bit // 8, byte),))
        changed = {
            "zero": bytes(piece.length),
            "ones": b"\xff" * piece.length,
            "head": bytes(512) + old[512:],
            "tail": old[:512] + bytes(piece.length - 512),
            "random": chance.randbytes(piece.length),
        }
        for name, new in changed.items():
            if new != old:
                yield Damage(f"{name}{piece.offset}", (piece,), ((piece.offset, new),))
    yield from _exchanges(pieces, content)
    yield from _cuts(pieces, len(content))
    yield _two_records(pieces, content)


def _exchanges(pieces: list[Piece], content: bytearray) -> Iterator[Damage]:
    """Every two pieces of one size change places, or one stands in both: an older commit's version
    of a node among them, since all states share one volume."""
    for index, one in enumerate(pieces):
        for other in pieces[index + 1 :]:
            if one.length != other.length or one.kind != other.kind:
                continue
            a = bytes(content[one.offset : one.offset + one.length])
            b = bytes(content[other.offset : other.offset + other.length])
            if a == b:
                continue
            name = f"{one.offset}.{other.offset}"
            swap = ((one.offset, b), (other.offset, a))
            yield Damage(f"swap{name}", (one, other), swap)
            yield Damage(f"over{name}", (one,), ((one.offset, b),))
            yield Damage(f"under{name}", (other,), ((other.offset, a),))


def _cuts(pieces: list[Piece], size: int) -> Iterator[Damage]:
    """The file ends before, in and after each piece, and at sizes that mean something."""
    ends = {0, 1, 4095, 4096, 8192, 12288, 65536, 1 << 20, 33 << 20, 34 << 20, size - 1}
    for piece in pieces:
        ends |= {piece.offset, piece.offset + 512, piece.offset + piece.length}
    for end in sorted(ends):
        hit = tuple(piece for piece in pieces if piece.offset + piece.length > end)
        yield Damage(f"cut{end}", hit, (), size=end)


def _two_records(pieces: list[Piece], content: bytearray) -> Damage:
    """The newest commit has two different records, each of them good."""
    hit = [piece for piece in pieces if piece.kind == "record" and piece.needed]
    block = bytearray(content[hit[1].offset : hit[1].offset + BLOCK_SIZE])
    block[56] ^= 1  # its time
    seal(block, MAGIC_COMMIT, KIND_COMMIT)
    return Damage("two-records", (), ((hit[1].offset, bytes(block)),))


# ---- the judge ----


def explore_damages(chosen: Sequence[Damage], tally: Tally) -> None:
    """Each damage alone."""
    base = base_of(BASE)
    _right_answers()  # before anything is damaged
    judges = [(f"damage@{damage.name}", partial(_judge, base, damage)) for damage in chosen]
    judge_each(base.image, tally, judges)


def _judge(base: Base, damage: Damage) -> str:
    """What became of it. Errors: Violation."""
    if damage.size is not None:
        image = Image(0)
        image.content = bytearray(base.image.content[: damage.size])
    else:
        image = base.image
        for offset, data in damage.patches:
            image.put(offset, data)
    mark = image.mark()
    outcome = _access(image, base)
    image.revert(mark)
    needed = any(piece.needed and piece.copies == 1 for piece in damage.pieces)
    if outcome == "served" and (needed or damage.size is not None or not damage.pieces):
        raise Violation("all of it is served as if nothing had happened")
    _must_be_found(image, damage)
    return f"{damage.name.rstrip('0123456789.')}: {outcome}"


@cache
def _right_answers() -> dict[tuple[int, str], str]:
    """Of the undamaged volume: (seq of a kept state, 0 for the working one; question)."""
    image = base_of(BASE).image
    mark = image.mark()
    volume = open_state(Recorder(image))
    trees, found = TreesOf(volume, believe=False), {}
    for seq, tree in state_trees(volume).items():
        assert tree.root is not None, "asked right after opening"
        trees.get(tree.root).answered = True
        for line, one in answers(volume, tree):
            assert one.text == answer(volume, tree, line, indexes=False).text
            found[seq, line] = one.text
    image.revert(mark)
    assert found, "the volume has indexes"
    return found


def _access(image: Image, base: Base) -> str:
    try:
        volume = open_state(Recorder(image))
    except AffsError as error:
        return f"refused ({error.code})"
    seq = volume.durable_seq
    if seq not in base.expected:
        raise Violation(f"commit {seq} was opened, which was never made")
    damaged = compare_what_is_left(volume, base.expected[seq])
    if damaged:
        return f"error ({damaged[0].code})"
    if seq < base.durable:
        if not volume.read_only:
            raise Violation("an older commit is served, and may be written to")
        return "fell back"
    return "served"


def compare_what_is_left(volume: Volume, wanted: Expected) -> list[AffsError]:
    """Whatever can be read of any state is what it should be; the errors of the rest. Errors:
    Violation."""
    namespace = Namespace(volume, relatime="noatime")
    damaged: dict[str, AffsError] = {}
    _is_part(walk_state(volume, namespace, 1, damaged), wanted.tree, damaged)
    errors = list(damaged.values())
    states = {state.seq: state for state in volume.states.listed()}
    if states.keys() != wanted.kept.keys():
        raise Violation(f"kept are {sorted(states)}, not {sorted(wanted.kept)}")
    if states:
        door = volume.run(namespace.lookup, 1, b".affs").number
        shelf = volume.run(namespace.lookup, door, b"checkpoints").number
        for seq, state in states.items():
            damaged = {}
            try:
                root = volume.run(namespace.lookup, shelf, state.hex_id.encode()).number
            except AffsError as error:
                errors.append(error)
                continue
            _is_part(walk_state(volume, namespace, root, damaged), wanted.kept[seq], damaged)
            errors += damaged.values()
        namespace.views.close()
    return errors + _compare_records(volume, wanted)


def _compare_records(volume: Volume, wanted: Expected) -> list[AffsError]:
    """What is said of collections and answered by indexes is right, or an error. Errors:
    Violation."""
    errors: list[AffsError] = []
    right = _right_answers()
    trees = TreesOf(volume, believe=True)
    for seq, tree in state_trees(volume).items():
        what = named(seq)
        try:
            assert tree.root is not None, "asked right after opening"
            if trees.get(tree.root).answered:
                continue  # nothing of it is damaged
            check_collections(volume, tree, wanted.collections.get(seq, {}), what)
            found = list(answers(volume, tree)) if volume.durable_seq == _newest() else []
        except AffsError as error:
            errors.append(error)
            continue
        for line, one in found:
            if not one.damaged and one.text != right[seq, line]:
                raise Violation(f"{what}: {line!r} gives {one.text} by index {one.asked!r}")
    return errors


def _newest() -> int:
    return base_of(BASE).durable


def _is_part(found: Snapshot, wanted: Snapshot, damaged: dict[str, AffsError]) -> None:
    """same_as is left out where something is missing: the first path of an object may be."""
    for path in found.keys() | wanted.keys():
        one, other = found.get(path), wanted.get(path)
        if one is None and any(_is_below(path, lost) for lost in damaged):
            continue
        if damaged and one is not None and other is not None:
            one, other = one._replace(same_as=""), other._replace(same_as="")
        if one != other:
            raise Violation(f"{path} shows {one}, not {other}")


def _is_below(path: str, above: str) -> bool:
    return path == above or path.startswith(above.rstrip("/") + "/")


def _must_be_found(image: Image, damage: Damage) -> None:
    """By the check, with the block, and of files' data with state and path. Errors: Violation."""
    try:
        report = verify_volume(image, data=True)
    except AffsError:
        return  # a refusal names what it refuses
    found = [one for one in report.findings if one.severity is not Severity.NOTE]
    if not found:
        raise Violation("the check finds nothing")
    for piece in damage.pieces:
        named = [one for one in found if one.block == piece.block]
        if not named and not _hidden(piece, found):
            raise Violation(f"the check does not name {piece}: {[str(one) for one in found][:3]}")
        for one in named:
            if piece.kind == "data" and not (one.path and one.state):
                raise Violation(f"a finding without path or state: {one}")
            inside = piece.pointer is not None and piece.pointer.tree == TREE_NAMESPACE
            if inside and not one.state:
                raise Violation(f"a finding without state: {one}")


def _hidden(piece: Piece, found: list[Finding]) -> bool:
    """Is the way to this piece damaged too, or is it taken for one that was never written?"""
    others = {one.block for one in found}
    return piece.kind in ("node", "data") and bool(others - {piece.block, ""})
