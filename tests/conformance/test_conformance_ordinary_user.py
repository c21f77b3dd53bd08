"""The conformance tests that need no root, by an ordinary user on a mount of that user's own.

The mount is made through fusermount3, for this user alone. Each case runs in a process of that
user; the test functions are those of the other files of this folder, which ext4 has proven there.
"""

import importlib
import inspect
import itertools
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from types import CodeType
from typing import Any, NamedTuple

import pytest
from mounted import Mounted
from posix_kit import KINDS_OF_ENTRY, in_child, memory_folder

NOBODY = 65534
"""fusermount3 wants a user with a name."""
FILES = (
    "attributes", "acl", "data", "directory", "holes", "locks", "making", "mmap", "nameless",
    "names", "open", "removing", "rename", "statx", "watch", "xattr",
)  # fmt: skip
OF_ROOT = {"as_user", "chown", "lchown", "fchown", "makedev", "setresuid"}
"""A function that uses one of these needs root."""
TEXTS_OF_ROOT = ("trusted.", "security.", "mount")
LEFT_OUT = {
    "test_a_named_user_is_let_in": "acts as others",
    "test_a_named_user_is_kept_out": "acts as others",
    "test_a_named_group": "acts as others",
    "test_any_group_that_fits_gives_its_right": "acts as others",
    "test_the_mask_limits": "acts as others",
    "test_default_acl_is_inherited": "the umask applies (docs/limits.md, POSIX)",
    "test_a_minimal_default_acl_replaces_the_umask": "the umask applies (docs/limits.md, POSIX)",
    "test_types_and_numbers": "makes device nodes",
    "test_creates_with_mode_and_owner": "expects root's files",
    "test_handles_by_name": "open_by_handle_at is root's",
    "test_a_prefix_is_no_name": "of namespaces that are root's",
    "test_appending_from_several_processes": "starts Python, which may lie where only root can go",
    "test_entries_stay_seen_while_others_come_and_go": "starts Python",
    "test_flock_between_processes_ends_with_the_process": "starts Python",
    "test_a_counter_under_a_lock": "starts Python",
}
"""What needs root in ways that its code does not show."""
HEAVY = {
    "test_a_very_fragmented_file", "test_removing_while_reading", "test_renaming_while_reading",
    "test_crossing_renames_make_no_loop", "test_each_name_once", "test_many_links",
    "test_shrunk_and_holed_before_it_gets_its_name", "test_fifteen_hundred_subdirectories",
}  # fmt: skip
"""A third of the time of all, by number of calls; nothing in them depends on who mounted."""
KINDS = [kind for kind in KINDS_OF_ENTRY if kind not in ("character", "block")]


class Case(NamedTuple):
    """A test function, what its parameters are, and a name for people."""

    function: Callable[..., None]
    values: dict[str, Any]
    name: str


def names_in(code: CodeType) -> Iterator[str]:
    """Names that a function's code uses, and texts in it."""
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from names_in(constant)
        elif isinstance(constant, str):
            yield constant


def needs_root(function: Callable[..., None]) -> bool:
    used = list(names_in(function.__code__))
    return bool(OF_ROOT & set(used)) or any(
        text in name for name in used for text in TEXTS_OF_ROOT
    )


def cases_of(function: Callable[..., None]) -> Iterator[Case]:
    """One for each combination of its parameters, as pytest would make them."""
    wanted = set(inspect.signature(function).parameters) - {"place"}
    axes: list[list[dict[str, Any]]] = []
    if "kind" in wanted:
        axes.append([{"kind": kind} for kind in KINDS])
    for mark in getattr(function, "pytestmark", []):
        if mark.name == "parametrize":
            names, values = mark.args
            keys = names.split(",") if isinstance(names, str) else list(names)
            rows = [value if len(keys) > 1 else (value,) for value in values]
            axes.append([dict(zip(keys, row, strict=True)) for row in rows])
    for number, row in enumerate(itertools.product(*axes)):
        values = {key: value for part in row for key, value in part.items()}
        if set(values) == wanted:
            yield Case(function, values, f"{function.__name__}-{number}")


def all_cases() -> list[Case]:
    found = []
    for name in FILES:
        module = importlib.import_module(f"test_conformance_{name}")
        for word, function in vars(module).items():
            if not word.startswith("test_") or word in HEAVY or word in LEFT_OUT:
                continue
            if needs_root(function):
                continue
            if "place" in inspect.signature(function).parameters:
                found += cases_of(function)
    return found


CASES = all_cases()


def become() -> None:
    os.umask(0o022)
    os.setgroups([])
    os.setgid(NOBODY)
    os.setuid(NOBODY)


def in_an_empty_place(root: Path, case: Case) -> None:
    """In a child process."""
    place = Path(tempfile.mkdtemp(prefix="t", dir=root))
    os.chdir(place)
    try:
        case.function(place=place, **case.values)
    finally:
        os.chdir(root)
        shutil.rmtree(place)


@pytest.fixture(scope="module")
def own_mount() -> Iterator[Path]:
    folder = memory_folder()
    with Mounted(folder, user=NOBODY, size_bytes=512 << 20) as mounted:
        yield mounted.directory
    shutil.rmtree(folder)


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_without_root(case: Case, own_mount: Path) -> None:
    in_child(lambda: in_an_empty_place(own_mount, case), become)


def test_root_itself_is_kept_out(own_mount: Path) -> None:
    with pytest.raises(PermissionError):
        os.listdir(own_mount)


def test_there_are_many() -> None:
    """Of what this file takes from the others, so that nothing is lost by a change of theirs."""
    assert len(CASES) > 450
