"""Planted bugs in the C core: built as a mutated module in a scratch folder, and hunted by a
process that loads it instead of the right one.

As with mutants.py, a mutant is a piece of source with one thing changed; one that fits no longer
says so. The module is built without optimisation, one file anew for each mutant. A process that
dies has caught its mutant too: that is what a memory error looks like from outside.
"""

import signal
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from sysconfig import get_paths

from affs_tools.crashsim.mutants import NoFit
from affs_tools.crashsim.native_hunt import STEP_SECONDS_MAX

__all__ = ["NATIVE_MUTANTS", "NativeMutant", "changed_native", "hunt_native"]

ROOT = Path(__file__).parents[3]
NATIVE = ROOT / "native"
SECONDS_MAX = 1800
"""No hunt that is listed here takes more than a tenth of this when nothing is found."""
FLAGS = ("-std=c11", "-O1", "-g", "-fPIC", "-UNDEBUG", "-w")


@dataclass(frozen=True, slots=True)
class NativeMutant:
    """In native/src/`where` `old`, found once, becomes `new`. hunts: as of Mutant."""

    name: str
    where: str
    old: str
    new: str
    hunts: tuple[str, ...]


_CRASHES = ("one/overwrite", "one/append", "verb/undo", "reclaim/between")
_RECLAIM = ("reclaim/between", "reclaim/newest", "wide/between", "wide/newest")

NATIVE_MUTANTS = (
    NativeMutant("c-frames-not-checksummed", "codec.c",
                 "affs_frame_checksum(structure, header.length) != header.checksum", "0",
                 ("bits",)),
    NativeMutant("c-frames-checksummed-in-part", "codec.c",
                 "return affs_crc32c(crc, bytes + rest, length - rest);",
                 "return affs_crc32c(crc, bytes + rest, length - rest - 64);", ("bits",)),
    NativeMutant("c-bad-blocks-not-found", "crc32c.c",
                 "if (~function(0xFFFFFFFFU, bytes, part) != expected)", "if (0)", ("damage",)),
    NativeMutant("c-only-first-block-checked", "crc32c.c",
                 "            return index;\n        sums", "            return index;\n        "
                 "return -1;\n        sums", ("damage@zero/data",)),
    NativeMutant("c-held-blocks-ignored", "bitmap.c",
                 "return held == NULL ? word : word | extract(held, first, count);",
                 "return word;", ("one/", "large-writes", "ring-edge")),
    NativeMutant("c-bitmap-clears-too-little", "bitmap.c",
                 "bits[first / 8] ^= (uint8_t)((1U << count) - 1U);",
                 "bits[first / 8] ^= (uint8_t)((1U << (count - 1)) - 1U);", _CRASHES),
    NativeMutant("c-bitmap-finds-too-long-runs", "bitmap.c",
                 "*run = end - first;", "*run = end - first + 1;", _CRASHES),
    NativeMutant("c-pointer-not-compared", "node.c",
                 "result = compare_pointer(&node, pointer);", "result = AFFS_OK;",
                 ("damage@over/node",)),
    NativeMutant("c-order-of-keys-not-checked", "node.c",
                 "if (i > 0 && affs_slot_compare(&slot, &key) <= 0)", "if (0)",
                 ("crafted@leaf/backwards", "crafted@leaf/twice-the-same-key")),
    NativeMutant("c-items-not-verified", "node.c",
                 "int result = affs_verify_item(node->tree, &key, image + slot.data_offset, "
                 "slot.data_length);", "int result = AFFS_OK;", ("crafted",)),
    NativeMutant("c-payload-bounds-not-checked", "node.c",
                 "slot.data_offset + (unsigned)slot.data_length > AFFS_NODE_SIZE", "0",
                 ("crafted",)),
    NativeMutant("c-names-with-slash", "item.c",
                 "memchr(name, '/', length) != NULL || ", "", ("crafted@dentry/name-612f62-3",)),
    NativeMutant("c-diff-skips-what-begins-alike", "diff.c",
                 "b.kind == SUBTREE && affs_pointer_same(&a.pointer, &b.pointer)",
                 "b.kind == SUBTREE && affs_key_compare(&a.low, &b.low) == 0", _RECLAIM),
    NativeMutant("c-diff-skips-one-side", "diff.c",
                 "            skip(&diff->a);\n            skip(&diff->b);\n            continue;",
                 "            skip(&diff->b);\n            continue;", _RECLAIM),
    NativeMutant("c-diff-misses-changes", "diff.c",
                 "if (a.length == b.length && (a.length == 0 || "
                 "memcmp(a.payload, b.payload, a.length) == 0))", "if (a.length == b.length)",
                 _RECLAIM),
    NativeMutant("c-freeze-keeps-old-birth", "freeze.c",
                 "header->birth = birth;", "header->birth = header->birth ? header->birth : birth;",
                 _CRASHES),
    NativeMutant("c-freeze-parents-first", "freeze.c",
                 "            if (affs_pointer_dirty(child)) {", "            if (0) {",
                 ("wide/newest",)),
    NativeMutant("c-replaced-nodes-not-told", "btree_write.c",
                 "        dropped_add(tree, node);\n        *pointer_to", "        *pointer_to",
                 _CRASHES),
    NativeMutant("c-changes-in-place", "btree_write.c",
                 "        if (node->state == AFFS_NODE_DIRTY)\n            continue;\n"
                 "        affs_node *copy",
                 "        if (node->state == AFFS_NODE_DIRTY || !level)\n            continue;\n"
                 "        affs_node *copy", _CRASHES),
    NativeMutant("c-no-memory-not-noticed", "cache.c",
                 "        if (!node)\n            return AFFS_E_NOMEM;\n        node->state",
                 "        if (!node)\n            return AFFS_OK;\n        node->state",
                 ("memory",)),
)  # fmt: skip


def changed_native(mutant: NativeMutant) -> str:
    """The file with the bug in it. Errors: NoFit."""
    text = (NATIVE / "src" / mutant.where).read_text()
    if text.count(mutant.old) != 1:
        found = text.count(mutant.old)
        raise NoFit(f"{mutant.name}: the text stands {found} times in {mutant.where}")
    return text.replace(mutant.old, mutant.new)


@cache
def _emitted() -> str:
    """The glue that cffi writes around the core."""
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]); import build_core;"
        " build_core.ffibuilder.emit_c_code(sys.argv[2])"
    )
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "_core.c"
        subprocess.run(
            [sys.executable, "-c", code, str(NATIVE), str(path)], check=True, cwd=ROOT,
            capture_output=True,
        )  # fmt: skip
        return path.read_text()


def _build(mutant: NativeMutant, folder: Path) -> Path:
    """The mutated module, compiled whole: a mutated header changes every file."""
    source = folder / "src"
    source.mkdir()
    for path in (NATIVE / "src").iterdir():
        (source / path.name).write_text(path.read_text())
    (source / mutant.where).write_text(changed_native(mutant))
    (folder / "_core.c").write_text(_emitted())
    module = folder / "_core.abi3.so"
    files = [str(folder / "_core.c"), *(str(path) for path in sorted(source.glob("*.c")))]
    done = subprocess.run(
        [
            "cc", *FLAGS, "-shared", "-DPy_LIMITED_API=0x03060000",
            f"-I{NATIVE / 'include'}", f"-I{source}", f"-I{get_paths()['include']}",
            *files, "-o", str(module),
        ],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        raise NoFit(f"{mutant.name} does not compile: {done.stderr[-300:]}")
    return module


def hunt_native(mutant: NativeMutant) -> str:
    """Build it and explore in a process of its own; what caught it, or "" if it lives. Errors:
    NoFit."""
    with tempfile.TemporaryDirectory(prefix="affs-mutant-") as folder:
        module = _build(mutant, Path(folder))
        command = [sys.executable, "-m", "affs_tools.crashsim.native_hunt", str(module)]
        try:
            done = subprocess.run(
                [*command, *mutant.hunts],
                capture_output=True, text=True, check=False, timeout=SECONDS_MAX,
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            return ""  # not judged in time is not caught
    if done.returncode == -signal.SIGXCPU:
        return f"a step that hangs: it took {STEP_SECONDS_MAX} s of the processor"
    if done.returncode:
        last = done.stderr.strip().splitlines()[-1:] or ["no words"]
        return f"a process that ended with {done.returncode}: {last[0]}"
    return done.stdout.strip()
