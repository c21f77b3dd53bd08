"""What a verification is asked for, in words, and as a scope that survives a restart."""

import stat

from affs_fuse.core.codec import Inode
from affs_fuse.core.constants import ITEM_INODE, OBJECT_ROOT
from affs_fuse.core.tree import Tree
from affs_fuse.errors import AffsError, Category
from affs_fuse.posix.directory import DT_DIRECTORY, locate
from affs_fuse.query.paths import path_bytes
from affs_fuse.runtime.loader import Loader
from affs_fuse.volume.scrub_pass import WORKING, Scope, ScopeKind
from affs_fuse.volume.volume import Volume

__all__ = ["PATH_BYTES_MAX", "described", "resolve_scope"]

PATH_BYTES_MAX = 1024
"""Of a path to verify: it has to fit the cursor."""


async def resolve_scope(
    loader: Loader, volume: Volume, path: str, state: str | None, since: str | None,
    *, errors_only: bool,
) -> Scope:
    """path: "" for all. state: None for the working one. Errors: state.not_found,
    state.ambiguous, state.none_published; verification.path; command.contradiction."""
    if errors_only:
        if path or state is not None or since is not None:
            raise _contradiction("--errors-only goes with neither a path nor --state nor --since")
        return Scope(ScopeKind.KNOWN)
    if since is not None:
        if path or state is not None:
            raise _contradiction("--since goes with neither a path nor --state")
        kept = volume.find_state(since)
        return Scope(ScopeKind.SINCE, kept.number, kept.seq, name=kept.name)
    chosen = None
    if state is not None and state != "working":
        chosen = volume.find_state(state)
    number, name = (chosen.number, chosen.name) if chosen is not None else (WORKING, "working")
    if path:
        found, directory = await _find(loader, volume, number, path, name)
        return Scope(
            ScopeKind.PATH, number, number=found, directory=directory, path=path, name=name
        )
    if state is not None:
        return Scope(ScopeKind.STATE, number, name=name)
    return Scope(ScopeKind.VOLUME)


async def _find(
    loader: Loader, volume: Volume, state: int, path: str, name: str
) -> tuple[int, bool]:
    """The object that a path names, and whether it is a directory. No link is followed."""
    encoded = path_bytes(path)
    if len(encoded) > PATH_BYTES_MAX:
        raise AffsError(
            "verification.path", Category.NOT_FOUND,
            f"a path of more than {PATH_BYTES_MAX} bytes cannot be verified by itself",
            hint="verify a directory above it",
        )
    if state == WORKING:
        return await _walk(loader, volume, volume.working.tree, encoded, name)
    volume.hold(state)
    tree = volume.open_state(volume.states[state])
    try:
        return await _walk(loader, volume, tree, encoded, name)
    finally:
        tree.close()
        volume.release_hold(state)


async def _walk(
    loader: Loader, volume: Volume, tree: Tree, path: bytes, name: str
) -> tuple[int, bool]:
    at, directory = OBJECT_ROOT, True
    for part in path.split(b"/"):
        if part in (b"", b"."):
            continue
        entry = None
        if directory and part != b"..":
            _, entry = await loader.run(locate, tree, volume.hash_key, at, part)
        if entry is None:
            raise AffsError(
                "verification.path", Category.NOT_FOUND,
                f"there is no {path.decode('utf-8', 'replace')} in {name}",
                hint="give the path as seen from the mount, without links: /dir/file",
            )
        at, directory = entry.object, entry.kind == DT_DIRECTORY
    payload = await loader.run(tree.get, at, ITEM_INODE, 0)
    if payload is not None:
        directory = stat.S_ISDIR(Inode.unpack(payload).mode)
    return at, directory


def described(scope: Scope) -> str:
    """For people."""
    if scope.kind is ScopeKind.VOLUME:
        return "the volume"
    if scope.kind is ScopeKind.KNOWN:
        return "what is known to be damaged"
    if scope.kind is ScopeKind.SINCE:
        return f"what is newer than {scope.name}"
    if scope.kind is ScopeKind.STATE:
        return f"the state {scope.name}"
    return f"{scope.path} of {scope.name}"


def _contradiction(message: str) -> AffsError:
    return AffsError("command.contradiction", Category.INVALID, message)
