"""Every handler of every request, with every kind of exception below it: the kernel gets an errno,
nothing else comes out, and what nobody expected is counted and logged."""

import errno
import inspect
import os
import struct
from types import SimpleNamespace
from typing import Any, cast

import pyfuse3
import pytest
import trio
from pyfuse3 import EntryAttributes, FUSEError

from affs_fuse.errors import AffsError, Category
from affs_fuse.fuse.lookup_counts import LookupCounts
from affs_fuse.fuse.more_operations import MoreOperations
from affs_fuse.fuse.operations import Operations
from affs_fuse.fuse.requests import Header, RequestServer
from affs_fuse.fuse.writing import WRITE, Writes
from affs_fuse.posix.namespace import Credentials, Namespace
from affs_fuse.runtime.latency import Latencies

FAILURES: list[tuple[Exception, int, bool]] = [
    (ZeroDivisionError("x"), errno.EIO, True),
    (KeyError("x"), errno.EIO, True),
    (AssertionError("x"), errno.EIO, True),
    (RecursionError("x"), errno.EIO, True),
    (UnicodeDecodeError("utf-8", b"", 0, 1, "x"), errno.EIO, True),
    (struct.error("x"), errno.EIO, True),
    (ExceptionGroup("x", [ValueError("x")]), errno.EIO, True),
    (trio.ClosedResourceError("x"), errno.EIO, True),
    (MemoryError(), errno.ENOMEM, False),
    (OSError(errno.ESTALE, "x"), errno.ESTALE, False),
    (OSError("no number"), errno.EIO, False),
    (AffsError("volume.no_space", Category.NO_SPACE, "x"), errno.ENOSPC, False),
    (AffsError("volume.data_corrupt", Category.CORRUPT, "x"), errno.EIO, False),
    (FUSEError(errno.EPERM), errno.EPERM, False),
]
"""What is raised below a handler, the errno that the kernel gets, and whether that is a failure of
ours."""

HANDLERS = sorted(
    name
    for name, function in vars(Operations).items()
    if inspect.iscoroutinefunction(function) and not name.startswith("_")
)
SILENT = {"forget"}
"""Nobody waits for its answer."""


class Failing:
    """Whatever is called of it raises, awaited or not; whatever is asked of it fails alike."""

    def __init__(self, error: Exception) -> None:
        self._error = error

    def __getattr__(self, name: str) -> Any:
        return Failing(self._error)

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        raise self._error


def operations(error: Exception) -> Operations:
    failing: Any = Failing(error)
    return Operations(
        failing, failing, failing, LookupCounts(), monotonic=lambda: 0.0, latencies=Latencies()
    )


def arguments_of(function: Any) -> dict[str, Any]:
    """Something for each parameter."""
    context = SimpleNamespace(uid=1, gid=1, pid=1, umask=0)
    fields = SimpleNamespace(**{
        f"update_{name}": False for name in ("mode", "uid", "gid", "size", "atime", "mtime")
    })
    known: dict[str, Any] = {
        "ctx": context, "attr": EntryAttributes(), "fields": fields, "name": b"n",
        "name_old": b"o", "name_new": b"n", "new_name": b"n", "target": b"t", "value": b"v",
        "buf": b"b", "datasync": False, "inode_list": [(7, 1)], "token": None,
    }
    names = [name for name in inspect.signature(function).parameters if name != "self"]
    return {name: known.get(name, 1) for name in names}


def test_all_that_pyfuse3_may_call_is_there_or_says_so() -> None:
    """What is not overridden answers "not implemented", which the kernel remembers."""
    missing = {
        name
        for name, function in vars(pyfuse3.Operations).items()
        if inspect.iscoroutinefunction(function) and name not in HANDLERS
    }
    assert missing <= {"flush", "access", "poll"}
    assert len(HANDLERS) > 20


@pytest.mark.parametrize("name", HANDLERS)
async def test_no_exception_leaves_a_handler(name: str) -> None:
    function = getattr(Operations, name)
    for error, number, ours in FAILURES:
        made = operations(error)
        call = getattr(made, name)(**arguments_of(function))
        if name in SILENT:
            await call
            assert made.statistics().failures == 1
            continue
        with pytest.raises(FUSEError) as caught:
            await call
        assert caught.value.errno == number, f"{name}: {error!r}"
        assert made.statistics().failures == int(ours), f"{name}: {error!r}"


@pytest.mark.parametrize("name", HANDLERS)
async def test_cancelling_is_not_taken_for_a_failure(name: str) -> None:
    """The only thing that may pass is what trio ends tasks with."""
    made = operations(ValueError("never raised"))

    async def wait(*arguments: Any, **named: Any) -> None:
        await trio.sleep_forever()

    made._run = wait  # type: ignore[assignment]
    engine: Any = SimpleNamespace(run_and_clean=wait, write=wait, release=wait, sync=wait)
    made._engine = engine
    made.author = lambda uid, pid: 0
    opened: Any = SimpleNamespace(credentials=Credentials(0, 0))
    made._namespace = cast(Any, SimpleNamespace(
        **{name: None for name in dir(Namespace) if name[0] != "_"}
        | {"handle_of": lambda handle: opened}
    ))  # fmt: skip
    if name in ("statfs", *SILENT):
        return  # they do not wait
    with trio.move_on_after(0.01) as scope:
        await getattr(made, name)(**arguments_of(getattr(Operations, name)))
    assert scope.cancelled_caught
    assert made.statistics().failures == 0


NOBODY: Any = Failing(ValueError())
MORE = sorted(
    handler.__name__
    for handler in MoreOperations(NOBODY, NOBODY, LookupCounts(), 1.0, NOBODY).handlers.values()
)


@pytest.mark.parametrize("name", MORE)
@pytest.mark.parametrize("body", [b"", bytes(64)], ids=["empty", "zeros"])
async def test_no_exception_leaves_a_request_that_pyfuse3_does_not_know(
    name: str, body: bytes
) -> None:
    """A body that is too short is one more failure of the kind."""
    for error, number, _ in FAILURES:
        failing: Any = Failing(error)
        made = operations(error)
        handlers = MoreOperations(failing, failing, LookupCounts(), 1.0, failing).handlers
        opcode = next(code for code, one in handlers.items() if one.__name__ == name)
        server = RequestServer(handlers, failing, made, lambda: 0.0, channel=True)
        reader, writer = os.pipe()
        try:
            await server._answer(writer, Header(opcode, 9, 1, 0, 0, 1), body)
            length, failed, unique = struct.unpack("<IiQ", os.read(reader, 4096))
        finally:
            os.close(reader)
            os.close(writer)
        assert (length, unique) == (16, 9)
        assert -failed in (number, errno.EIO, errno.EINVAL)
        assert failed < 0


WRITE_BODY = struct.pack("<QQIIQII", 1, 0, 1, 0, 0, 0, 0) + b"x"


@pytest.mark.parametrize("body", [WRITE_BODY, WRITE_BODY[:-1], WRITE_BODY[:39], b""])
async def test_no_exception_leaves_a_write(body: bytes) -> None:
    """Neither the attempt in the same turn nor the task after it."""
    for error, number, _ in FAILURES:
        failing: Any = Failing(error)
        made = operations(error)
        writes = Writes(failing, failing, failing, made, lambda: True)
        server = RequestServer(
            {WRITE: writes.write}, writes.take, made, lambda: 0.0, channel=True
        )
        reader, writer = os.pipe()
        request = struct.pack("<IIQQIIII", 40 + len(body), WRITE, 9, 1, 0, 0, 1, 0) + body
        try:
            async with trio.open_nursery() as nursery:
                server._nursery = nursery
                assert server.take_write(writer, request) < 0
            length, failed, unique = struct.unpack("<IiQ", os.read(reader, 4096))
        finally:
            os.close(reader)
            os.close(writer)
        assert (length, unique) == (16, 9)
        assert -failed in (number, errno.EIO, errno.EINVAL)
        assert failed < 0
