"""What was typed in the shell, across sessions: `$XDG_STATE_HOME/affs/history`, for its owner alone
(0600), a JSON object a line.

A line that begins with a space is not kept, so a secret can stay out. Entries are appended in one
write, so several shells may share the file; beyond HISTORY_BYTES_MAX the older half goes.
"""

import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass

from affs_fuse.auv import AuvError, Value, format_json, parse
from affs_fuse.clock import Clock

__all__ = ["HISTORY_BYTES_MAX", "Entry", "History", "history_path"]

HISTORY_BYTES_MAX = 4 << 20


@dataclass(frozen=True, slots=True)
class Entry:
    """time_ns: since the epoch. session: id of the runtime's session. status: as affsctl would have
    ended with."""

    time_ns: int
    session: str
    volume: str
    line: str
    status: int

    def to_auv(self) -> dict[str, Value]:
        return {
            "time_ns": self.time_ns,
            "session": self.session,
            "volume": self.volume,
            "line": self.line,
            "status": self.status,
        }


def history_path(environment: Mapping[str, str]) -> str:
    """Where the history is, "" when there is no place for it."""
    home = environment.get("HOME", "")
    state = environment.get("XDG_STATE_HOME") or (f"{home}/.local/state" if home else "")
    return os.path.join(state, "affs", "history") if os.path.isabs(state) else ""


class History:
    """path: of the file, "" to remember in memory alone. A file that cannot be read or written
    costs the memory of other sessions, nothing else."""

    def __init__(self, path: str, clock: Clock) -> None:
        self._path = path
        self._clock = clock
        self._entries = self._load() if path else []

    def add(self, line: str, *, session: str, volume: str, status: int) -> None:
        if not line.strip() or line[0].isspace():
            return
        entry = Entry(self._clock.now_ns(), session, volume, line, status)
        self._entries.append(entry)
        if self._path:
            with suppress(OSError):  # what was typed has run; memory is all that is lost
                self._append(entry)

    def lines(self) -> list[str]:
        """Newest first; of lines that follow each other unchanged, one."""
        found: list[str] = []
        for entry in reversed(self._entries):
            if not found or found[-1] != entry.line:
                found.append(entry.line)
        return found

    def search(
        self,
        text: str = "",
        *,
        session: str = "",
        volume: str = "",
        succeeded: bool | None = None,
        limit: int = 100,
    ) -> list[Entry]:
        """Oldest first, of those that fit the newest `limit`. text: anywhere in the line, in any
        letter case. session: the beginning of its id."""
        folded = text.casefold()
        found = [
            entry
            for entry in self._entries
            if folded in entry.line.casefold()
            and entry.session.startswith(session)
            and volume in ("", entry.volume)
            and succeeded in (None, entry.status == 0)
        ]
        return found[-limit:] if limit > 0 else []

    def _load(self) -> list[Entry]:
        try:
            with open(self._path, "rb") as file:
                data = file.read()
        except OSError:
            return []
        lines = data.splitlines(keepends=True)
        if len(data) > HISTORY_BYTES_MAX:
            lines = lines[len(lines) // 2 :]
            with suppress(OSError):  # it stays long, and the next shell tries again
                self._rewrite(lines)
        return [entry for line in lines if (entry := _entry(line)) is not None]

    def _rewrite(self, lines: list[bytes]) -> None:
        temporary = f"{self._path}.{os.getpid()}"
        handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with open(handle, "wb") as file:
            file.writelines(lines)
        os.replace(temporary, self._path)

    def _append(self, entry: Entry) -> None:
        os.makedirs(os.path.dirname(self._path), mode=0o700, exist_ok=True)
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
        handle = os.open(self._path, flags, 0o600)
        try:
            os.fchmod(handle, 0o600)
            os.write(handle, format_json(entry.to_auv()).encode("utf-8") + b"\n")
        finally:
            os.close(handle)


def _entry(line: bytes) -> Entry | None:
    """None for what is no entry: another version's, or half a line."""
    try:
        fields = parse(line.rstrip(b"\n"))
        return Entry(
            int(fields["time_ns"]),
            str(fields["session"]),
            str(fields["volume"]),
            str(fields["line"]),
            int(fields["status"]),
        )
    except (AuvError, KeyError, TypeError, ValueError):
        return None
