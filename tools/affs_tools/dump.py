"""dump.affs: print what is in an image, byte-true, with the project's second reader.

Reads only; never needs a mount, a daemon or the compiled module. Everything that comes from the
image is escaped before it is printed. Exit status: 0 printed, 1 the image is damaged where it was
asked, 2 usage.
"""

import argparse
import base64
import json
import os
import stat
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from affs_tools import holder
from affs_tools.reader import structures
from affs_tools.reader.collections import PART_SIZE
from affs_tools.reader.image import BLOCK, ITEM_TYPES, NODE, TREES, Image, Item, State, bitmap_bits
from affs_tools.reader.namespace import Namespace, extract
from affs_tools.reader.structures import Damage, Record
from affs_tools.reader.values import read_value, write_value
from affs_tools.text import escape, escape_name, format_time

__all__ = ["main"]

INTENTS = ("none", "system", "metadata", "small", "medium", "large", "append")
STATE_FLAGS = {1: "automatic", 2: "hidden", 4: "doomed", 8: "published"}
UUIDS = {"format_uuid", "user_uuid", "backend_uuid", "uuid", "session", "id", "object_id"}
DECODERS = {
    1: structures.INODE, 2: structures.NAME, 3: structures.XATTR, 6: structures.EXTENT,
    7: structures.NAME, 32: structures.SEGMENT, 48: structures.STATE,
    49: structures.STATE_POINTER,
}
OPERATION, SETTING, JOB, VERIFIED = 64, 65, 66, 67
VALUES = {OPERATION, SETTING, JOB, VERIFIED}
UNDO_PARTS = 2
"""Object of the keys of OPERATION items that hold what an undo needs."""
COLLECTION = 9
SETTING_KINDS = {
    1: "roles", 2: "retention", 3: "packages", 4: "hooks", 5: "tokens",
}


# ---- values for people and for programs ----


def plain(record: Record) -> Record:
    """A record as JSON can carry it: bytes in hexadecimal, texts as texts."""
    result: Record = {}
    for name, value in record.items():
        if isinstance(value, dict):
            result[name] = plain(value)
        elif name in ("label", "host") and isinstance(value, bytes):
            result[name] = value.rstrip(b"\0").decode("utf-8", "backslashreplace")
        elif name == "magic" and isinstance(value, bytes):
            result[name] = value.decode("latin-1")
        elif isinstance(value, bytes):
            result[name] = value.hex()
        else:
            result[name] = value
    return result


def show_record(title: str, record: Record | str, indent: str = "") -> Iterator[str]:
    """A record as indented lines."""
    if isinstance(record, str):
        yield f"{indent}{title}: {escape(record)}"
        return
    yield f"{indent}{title}:"
    for name, value in record.items():
        if isinstance(value, dict):
            if "birth" in value and "level" in value:
                yield f"{indent}  {name}: {show_pointer(value)}"
            elif name.startswith("open_segment"):
                if value["next_block"]:
                    intent = INTENTS[int(name[-1])] if int(name[-1]) < len(INTENTS) else "?"
                    yield f"{indent}  {name} ({intent}): {value['segment']}:{value['next_block']}"
            else:
                yield from show_record(name, value, indent + "  ")
        else:
            yield f"{indent}  {name}: {show_value(name, value)}"


def show_value(name: str, value: Any) -> str:
    if name in UUIDS and isinstance(value, bytes):
        text = value.hex()
        return "-".join((text[:8], text[8:12], text[12:16], text[16:20], text[20:]))
    if isinstance(value, bytes):
        printable = name in ("label", "host", "magic")
        return escape_name(value.rstrip(b"\0")) if printable else value.hex()
    if name.endswith("_ns"):
        return format_time(value)
    if name == "mode":
        return f"{value:#o} ({stat.filemode(value)})"
    if name in ("address", "mirror_address"):
        return show_address(value)
    if name == "checksum" or name.startswith("features"):
        return f"{value:#010x}"
    return escape(str(value))


def show_address(address: int) -> str:
    return f"{address >> 32}:{address & 0xFFFFFFFF}"


def show_pointer(pointer: Record) -> str:
    if pointer["birth"] == 0:
        return "none"
    if pointer["tree"] == TREES["namespace"]:
        where = show_address(pointer["address"])
    else:
        where = f"@{pointer['address'] & (1 << 48) - 1}"
    return (
        f"{where} birth {pointer['birth']} level {pointer['level']} crc {pointer['checksum']:08x}"
    )


def show_item(item: Item) -> str:
    kind = ITEM_TYPES.get(item.type, f"type {item.type}")
    return f"({item.object}, {kind}, {item.offset:#x}) {show_payload(item)}"


def show_payload(item: Item) -> str:
    """The payload in one line: its structure's fields, then what follows them."""
    if item.type in VALUES:
        return show_system_value(item)
    if item.type == COLLECTION and item.payload:
        return show_declaration(item)
    structure = DECODERS.get(item.type)
    if structure is None:
        return f"{len(item.payload)} bytes {item.payload[:32].hex()}"
    try:
        record = structure.decode(item.payload)
    except Damage as damage:
        return f"DAMAGED: {damage}"
    words = []
    for name, value in record.items():
        if isinstance(value, dict):
            inner = ", ".join(f"{key} {show_value(key, value[key])}" for key in value)
            words.append(f"{name} [{inner}]")
        else:
            words.append(f"{name} {show_value(name, value)}")
    rest = item.payload[structure.size :]
    if item.type in (2, 7):
        words.append(f"name '{escape_name(rest)}'")
    elif item.type == 3:
        words.append(f"name '{escape_name(rest[: record['name_length']])}'")
    elif rest:
        words.append(f"+ {len(rest)} bytes")
    return ", ".join(words)


def show_declaration(item: Item) -> str:
    """The whole of it where it has one part; `Namespace.declaration` puts several together."""
    if item.offset == 0 and len(item.payload) < PART_SIZE:
        return show_system_value(item)
    return f"part {item.offset}, {len(item.payload)} bytes"


def show_system_value(item: Item) -> str:
    try:
        return write_value(read_value(item.payload))
    except Damage as damage:
        return f"DAMAGED: {damage}"


def item_json(item: Item) -> Record:
    result: Record = {
        "object": item.object, "type": ITEM_TYPES.get(item.type, item.type), "offset": item.offset,
        "payload": item.payload.hex(),
    }
    if item.type in VALUES:
        result["value"] = show_system_value(item)
    structure = DECODERS.get(item.type)
    if structure is not None and len(item.payload) >= structure.size:
        result["fields"] = plain(structure.decode(item.payload))
    return result


def name_json(name: bytes) -> Record:
    """path, and path_b64 beside it where the name is not UTF-8."""
    try:
        return {"path": name.decode("utf-8")}
    except UnicodeDecodeError:
        return {
            "path": name.decode("utf-8", "backslashreplace"),
            "path_b64": base64.b64encode(name).decode(),
        }


# ---- what can be asked; each gives lines, or with --json objects ----


class Printer:
    """Prints lines for people or, with as_json, one JSON object a line."""

    def __init__(self, as_json: bool) -> None:
        self.as_json = as_json

    def record(self, title: str, record: Record | str) -> None:
        if self.as_json:
            value = {"damage": record} if isinstance(record, str) else plain(record)
            self.json({"what": title, **value})
        else:
            self.lines(show_record(title, record))

    def lines(self, lines: Iterator[str]) -> None:
        for line in lines:
            print(line)

    def json(self, value: Record) -> None:
        print(json.dumps(value))


def print_summary(image: Image, printer: Printer, _: argparse.Namespace) -> None:
    print_superblocks(image, printer, _)
    printer.record("newest commit", image.commit)
    print_states(image, printer, _)


def print_superblocks(image: Image, printer: Printer, _: argparse.Namespace) -> None:
    for index, copy in enumerate(image.superblocks(), 1):
        printer.record(f"superblock {index}", copy)


def print_owner(image: Image, printer: Printer, _: argparse.Namespace) -> None:
    for index, copy in enumerate(image.owners(), 1):
        printer.record(f"owner block {index}", copy)


def print_ring(image: Image, printer: Printer, arguments: argparse.Namespace) -> None:
    for which in (0, 1):
        for index, slot in enumerate(image.ring(which)):
            if slot == "empty" and not arguments.all:
                continue
            title = f"ring {which + 1} slot {index}"
            if printer.as_json or arguments.all:
                printer.record(title, slot)
            elif isinstance(slot, str):
                print(f"{title}: DAMAGED: {escape(slot)}")
            else:
                root = show_pointer(slot["namespace_root"])
                print(
                    f"{title}: seq {slot['seq']} parent {slot['parent_seq']}"
                    f" {format_time(slot['time_ns'])} namespace {root}"
                )


def print_states(image: Image, printer: Printer, _: argparse.Namespace) -> None:
    pointers = {entry["state"]: name for name, entry in image.state_pointers().items()}
    for state in image.states():
        print_state_record(printer, state, pointers.get(state.number, ""))


def print_state_record(printer: Printer, state: State, pointer: str) -> None:
    record = state.record
    flags = [name for bit, name in STATE_FLAGS.items() if record.get("flags", 0) & bit]
    texts = {"label": state.label, "author": state.author, "message": state.message}
    if printer.as_json:
        value = {"what": "state", "number": state.number, "pointer": pointer, **plain(record)}
        printer.json({**value, **texts, "flags": flags})
        return
    printer.record(f"state {state.number}" + (f" ({pointer})" if pointer else ""), record)
    for name, text in texts.items():
        if text:
            print(f"  {name}: {escape(text)}")
    if flags:
        print(f"  flags: {', '.join(flags)}")


def print_state(image: Image, printer: Printer, arguments: argparse.Namespace) -> None:
    state = image.find_state(arguments.state)
    pointers = {entry["state"]: name for name, entry in image.state_pointers().items()}
    print_state_record(printer, state, pointers.get(state.number, ""))


def tree_root(image: Image, arguments: argparse.Namespace) -> Record:
    root: Record
    if arguments.name == "namespace":
        root = image.find_state(arguments.state).root
    else:
        root = image.commit[f"{arguments.name}_root"]
    return root


def print_tree(image: Image, printer: Printer, arguments: argparse.Namespace) -> None:
    for pointer, header, content in image.nodes(tree_root(image, arguments)):
        depth = "  " * (tree_root(image, arguments)["level"] - header["level"])
        if printer.as_json:
            node = {"what": "node", "pointer": plain(pointer), "items": header["item_count"]}
            printer.json(node)
        else:
            print(f"{depth}node {show_pointer(pointer)}, {header['item_count']} items")
        if header["level"] == 0 and not arguments.nodes:
            print_items(printer, image.leaf(header, content), depth + "  ")


def print_items(printer: Printer, items: list[Item], indent: str) -> None:
    for item in items:
        if printer.as_json:
            printer.json({"what": "item", **item_json(item)})
        else:
            print(f"{indent}{show_item(item)}")


def print_node(image: Image, printer: Printer, arguments: argparse.Namespace) -> None:
    """A node by its address alone: printed as far as it makes sense, whatever state it is in."""
    word = arguments.address
    if word.startswith("@"):
        offset = int(word[1:], 0) * BLOCK
    else:
        segment, _, block = word.partition(":")
        offset = image.locate(int(segment, 0) << 32 | int(block or "0", 0))
    content = image.read(offset, NODE)
    header = structures.NODE_HEADER.decode(content)
    printer.record(f"node at byte {offset}", header)
    image.framed(structures.NODE_HEADER, b"AFR1", 5, content)
    if header["level"] == 0:
        print_items(printer, image.leaf(header, content), "  ")
        return
    for key, child in image.children(header, content):
        if printer.as_json:
            printer.json({"what": "entry", "key": list(key), "child": plain(child)})
        else:
            print(f"  {key} -> {show_pointer(child)}")


def print_segments(image: Image, printer: Printer, _: argparse.Namespace) -> None:
    bits: dict[int, int] = {}
    for item in image.items(image.commit["space_root"]):
        if ITEM_TYPES.get(item.type) == "bitmap":
            bits[item.object] = bits.get(item.object, 0) + sum(1 for _ in bitmap_bits(item.payload))
    for item in image.items(image.commit["space_root"]):
        if ITEM_TYPES.get(item.type) != "segment":
            continue
        record = structures.SEGMENT.decode(item.payload)
        header = image.segment_header(item.object)
        if printer.as_json:
            value = {"what": "segment", "number": item.object, "bits_set": bits.get(item.object)}
            printer.json({**value, **plain(record)})
            continue
        intent = INTENTS[record["intent"]] if record["intent"] < len(INTENTS) else "?"
        note = f" header: {escape(header)}" if isinstance(header, str) else ""
        print(
            f"segment {item.object}: {intent}, place {record['copies_0']['place']},"
            f" {record['used_blocks']} blocks used, bits set {bits.get(item.object, '-')},"
            f" birth {record['birth']}{note}"
        )


def print_settings(image: Image, printer: Printer, _: argparse.Namespace) -> None:
    for item in image.items(image.commit["system_root"]):
        if item.type == SETTING:
            kind = SETTING_KINDS.get(item.object, str(item.object))
            print_system_value(printer, "setting", f"{kind} {item.offset}", item)


def print_log(image: Image, printer: Printer, _: argparse.Namespace) -> None:
    for item in image.items(image.commit["system_root"]):
        if item.type == OPERATION:
            name = str(item.offset)
            if item.object == UNDO_PARTS:
                name = f"{item.offset >> 16} part {item.offset & 0xFFFF}"
            print_system_value(printer, "operation", name, item)


VERIFIED_KINDS = {1: "result", 2: "damage", 3: "dates"}


def print_verified(image: Image, printer: Printer, _: argparse.Namespace) -> None:
    for item in image.items(image.commit["system_root"]):
        if item.type == JOB:
            print_system_value(printer, "job", f"job {item.object}", item)
        if item.type == VERIFIED:
            kind = VERIFIED_KINDS.get(item.object, str(item.object))
            print_system_value(printer, kind, f"{kind} {item.offset}", item)


def print_system_value(printer: Printer, what: str, name: str, item: Item) -> None:
    """In JSON the value is a String with its AJIS text: not every value is one of JSON's."""
    if printer.as_json:
        printer.json({"what": what, "name": name, "value": show_system_value(item)})
    else:
        print(f"{name}: {show_system_value(item)}")


def print_files(image: Image, printer: Printer, arguments: argparse.Namespace) -> None:
    namespace = Namespace(image, image.find_state(arguments.state))
    for entry in namespace.entries():
        inode = entry.inode
        if printer.as_json:
            printer.json({**name_json(entry.path), "object": entry.object, **plain(inode)})
        else:
            print(
                f"{stat.filemode(inode['mode'])} {inode['nlink']:3} {inode['uid']}:{inode['gid']}"
                f" {inode['size']:12} {format_time(inode['mtime_ns'])} {entry.object:8}"
                f" /{escape_name(entry.path)}"
            )


def run_extract(image: Image, printer: Printer, arguments: argparse.Namespace) -> None:
    for line in extract(image, image.find_state(arguments.state), arguments.directory):
        print(f"dump.affs: not set: {escape(line)}", file=sys.stderr)


# ---- the command line ----

Action = Callable[[Image, Printer, argparse.Namespace], None]


def make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="dump.affs",
        description="Print what is in an AfFS image; without WHAT a summary.",
        epilog="STATE is working, published, a state's number or label, or a prefix of its id.",
    )
    parser.add_argument("--json", action="store_true", help="one JSON object a line")
    parser.add_argument("--force", action="store_true", help="also while the volume is mounted")
    parser.add_argument("file", metavar="FILE", help="volume file or block device")
    parser.set_defaults(action=print_summary)
    what = parser.add_subparsers(metavar="WHAT", title="what to print")

    def add(name: str, action: Action, text: str) -> argparse.ArgumentParser:
        command = what.add_parser(name, help=text, description=text)
        command.set_defaults(action=action)
        return command

    add("superblocks", print_superblocks, "both superblocks")
    ring = add("ring", print_ring, "the commit records of both rings")
    ring.add_argument("--all", action="store_true", help="every field, empty slots too")
    add("owner", print_owner, "both owner blocks")
    add("states", print_states, "the kept states")
    state = add("state", print_state, "one kept state")
    state.add_argument("state", metavar="STATE")
    tree = add("tree", print_tree, "the nodes and items of a tree")
    tree.add_argument("name", choices=sorted(TREES))
    tree.add_argument("--state", default="working", help="whose namespace (default: working)")
    tree.add_argument("--nodes", action="store_true", help="nodes only, no items")
    node = add("node", print_node, "one node by its address")
    node.add_argument("address", metavar="ADDRESS", help="SEGMENT:BLOCK, or @BLOCK of the device")
    add("settings", print_settings, "the settings of the volume")
    add("log", print_log, "the operation log")
    add("verified", print_verified, "what verifications have found, and the cursor of one")
    add("segments", print_segments, "the segment table")
    files = add("files", print_files, "the files of a state")
    files.add_argument("state", metavar="STATE", nargs="?", default="working")
    copy = add("extract", run_extract, "copy every file of a state into a new directory")
    copy.add_argument("state", metavar="STATE")
    copy.add_argument("directory", metavar="DIRECTORY", type=Path)
    return parser


def main(arguments: list[str] | None = None) -> int:
    options = make_parser().parse_args(arguments)
    try:
        user = holder.lock_holder(options.file)
        if user and not options.force:
            print(
                f"dump.affs: {options.file}: {user} has it open for writing; unmount it first,"
                " or say --force and get what is true for a moment",
                file=sys.stderr,
            )
            return 1
        with Image(options.file) as image:
            options.action(image, Printer(options.json), options)
            sys.stdout.flush()
    except (Damage, ValueError) as error:
        print(f"dump.affs: {options.file}: {escape(str(error))}", file=sys.stderr)
        return 1
    except BrokenPipeError:  # head(1) has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        print(f"dump.affs: {options.file}: {error.strerror}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
