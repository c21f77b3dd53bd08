"""Giving up what root's daemon does not need once it has mounted (docs/security.md).

capabilities(7), by prctl(2) and capset(2). The daemon stays the user root, whose files it may go on
using, and keeps of root's capabilities only those that one of its tasks takes. Invariants:
- It happens before the process has a second thread: the kernel keeps capabilities by thread.
- Where no program of a hook can run, nothing that is given up comes back, not by exec either.
- A daemon of another user is left as it is: it has none to give up, and fusermount3, by which it
  unmounts, is a set-user-ID program.
"""

import ctypes
import os
import struct
from collections.abc import Iterable

from affs_fuse.fuse.mount_table import mount_entry_of

__all__ = ["CAPABILITIES", "give_up_capabilities", "hides_processes", "wanted_capabilities"]

CAPABILITIES = {"dac_override": 1, "dac_read_search": 2, "sys_ptrace": 19}
"""Those that may be kept, by their numbers (linux/capability.h)."""

_VERSION_3 = 0x20080522
_HEADER = struct.Struct("<Ii")
_SETS = struct.Struct("<6I")
"""effective, permitted and inheritable, of the capabilities below 32 and of those above."""

_PR_CAPBSET_READ, _PR_CAPBSET_DROP = 23, 24
_PR_SET_NO_NEW_PRIVS = 38
_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL = 47, 4

_libc = ctypes.CDLL(None, use_errno=True)


def wanted_capabilities(places: Iterable[str]) -> frozenset[str]:
    """What this mount's daemon takes. places: what it opens or makes for writing later on.

    dac_read_search: to find moved directories in its own mount, whoever may enter them, and to open
    the volume again (past the page cache; after its owner published). dac_override: where root as a
    mere user could not write to its places. sys_ptrace: to read the groups of who asks where /proc
    hides other users' processes.
    """
    wanted = {"dac_read_search"}
    if not all(_is_roots(place) for place in places):
        wanted.add("dac_override")
    proc = mount_entry_of("/proc")
    if proc is not None and hides_processes(proc.options):
        wanted.add("sys_ptrace")
    return frozenset(wanted)


def _is_roots(path: str) -> bool:
    """Whether root may write there without any capability."""
    effective, permitted, inheritable = _capabilities()
    _set(0, permitted, inheritable)
    try:
        return os.access(path, os.W_OK, effective_ids=True)
    finally:
        _set(effective, permitted, inheritable)


def hides_processes(options: str) -> bool:
    """Whether /proc, mounted with these options, shows a user nobody else's processes."""
    words = dict(word.partition("=")[::2] for word in options.split(","))
    return words.get("hidepid", "off") not in ("0", "off")


def give_up_capabilities(kept: frozenset[str], *, for_good: bool) -> frozenset[str]:
    """All but these, as far as they were there; those that are left. for_good: programs that are
    executed do not get them back, nor any by being set-user-ID. Errors: OSError."""
    _, permitted, _ = _capabilities()
    left = permitted & sum(1 << CAPABILITIES[name] for name in kept)
    _prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL)
    if for_good:
        number = 0
        while _libc.prctl(_PR_CAPBSET_READ, number, 0, 0, 0) >= 0:
            if not left >> number & 1:
                _prctl(_PR_CAPBSET_DROP, number)
            number += 1
        _prctl(_PR_SET_NO_NEW_PRIVS, 1)
    _set(left, left, 0)
    return frozenset(name for name, number in CAPABILITIES.items() if left >> number & 1)


def _capabilities() -> tuple[int, int, int]:
    """Effective, permitted and inheritable, as bits."""
    sets = ctypes.create_string_buffer(_SETS.size)
    _check(_libc.capget(_HEADER.pack(_VERSION_3, 0), sets))
    low = _SETS.unpack(sets.raw)
    return low[0] | low[3] << 32, low[1] | low[4] << 32, low[2] | low[5] << 32


def _set(effective: int, permitted: int, inheritable: int) -> None:
    low = [each & 0xFFFFFFFF for each in (effective, permitted, inheritable)]
    high = [each >> 32 for each in (effective, permitted, inheritable)]
    _check(_libc.capset(_HEADER.pack(_VERSION_3, 0), _SETS.pack(*low, *high)))


def _prctl(*arguments: int) -> None:
    _check(_libc.prctl(*arguments, *[0] * (5 - len(arguments))))


def _check(result: int) -> None:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
