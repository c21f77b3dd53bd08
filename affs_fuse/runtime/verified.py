"""What verifications have left behind: their results, known damage, and the age of what is sound.

Over volume.verified, with the rules. Invariants: a segment's date is the beginning of the last
whole verification that found all of it sound; nothing is put into a volume that takes no writes.
"""

from typing import Any

from affs_fuse.volume.scrub_pass import ScopeKind, ScrubPass
from affs_fuse.volume.verified import DAMAGE_MAX, VerifiedStore
from affs_fuse.volume.volume import Volume

__all__ = ["Verified"]

Plain = dict[str, Any]

MINUTE_NS = 60 * 10**9
SUMMARY_EVERY_S = 30.0
"""Segments are looked through that often at most: there may be many."""

LOOKED_THROUGH_AT_ONCE = 4096


class Verified:
    """Of one volume. Loop thread only."""

    def __init__(self, volume: Volume) -> None:
        self._volume = volume
        self._store = VerifiedStore(volume.trees.system)
        self._number = 0
        self._summary: Plain | None = None
        self._summary_at = 0.0

    def next_number(self) -> int:
        """Of the next verification, also on a volume that keeps no results."""
        self._number = max(self._number + 1, self._store.next_number())
        return self._number

    def cursor(self) -> Plain | None:
        """None where it could not be put forward."""
        return None if self._volume.read_only else self._store.cursor()

    def put_cursor(self, scrub: ScrubPass) -> None:
        if not self._volume.read_only:
            self._store.put_cursor(scrub.to_auv())

    def clear_cursor(self) -> None:
        if not self._volume.read_only:
            self._store.clear_cursor()

    def damage(self) -> list[Plain]:
        return self._store.damage()

    def results(self) -> list[Plain]:
        """The newest first."""
        return self._store.results()

    def put_damage(self, entry: Plain) -> None:
        self._summary = None
        if self._volume.read_only:
            return
        kept = dict(entry)
        for key in ("states", "paths"):
            if key in kept:
                kept[key] = _fitting(kept[key])
        kept["path"], kept["message"] = kept["path"][:256], kept["message"][:256]
        self._store.put_damage(kept)

    def end(
        self, scrub: ScrubPass, outcome: str, code: str, *, bytes_read: int, medium: str
    ) -> Plain:
        """Keep the result of a verification that has ended; the result."""
        volume, scope = self._volume, scrub.scope
        result = self.result_of(scrub, outcome, code, bytes_read=bytes_read, medium=medium)
        self._summary = None
        if volume.read_only:
            return result
        self._store.clear_cursor()
        self._store.add_result(scrub.number, result)
        if outcome == "done" and scope.kind is ScopeKind.VOLUME:
            self._store.drop_damage_before(scrub.number)
            self._date(scrub)
        if outcome == "done" and scrub.known is not None:
            self._store.drop_damage_before(scrub.number, scrub.known.settled)
        return result

    def result_of(
        self, scrub: ScrubPass, outcome: str, code: str, *, bytes_read: int, medium: str
    ) -> Plain:
        """As it is now."""
        totals, scope = scrub.totals, scrub.scope
        return {
            "number": scrub.number, "scope": str(scope.kind), "path": scope.path[:1024],
            "state": scope.name, "outcome": outcome, "code": code, "author": scrub.author,
            "started_ns": scrub.started_ns, "ended_ns": self._volume.clock.now_ns(),
            "seq": scrub.until, "nodes": totals.nodes, "data_blocks": totals.data_blocks,
            "bytes": bytes_read, "damage": totals.damage, "unstable": totals.unstable,
            "medium": medium,
        }

    def _date(self, scrub: ScrubPass) -> None:
        """All that is in use was read: give it the date, but for what is damaged."""
        damage = self._store.damage()
        if len(damage) >= DAMAGE_MAX or scrub.totals.damage > DAMAGE_MAX:
            return
        _, known = self._store.dates()
        minutes = scrub.started_ns // MINUTE_NS
        bad = {entry.get("segment") for entry in damage}
        dates = {}
        for number, segment in self._volume.space.segments.items():
            if number not in bad and segment.birth <= scrub.until:
                dates[number] = minutes
            elif number in bad and number in known:
                dates[number] = known[number]
        self._store.put_dates(scrub.until, dates)

    def summary(self) -> Plain:
        """For `status`. oldest_ns: the oldest date of a segment in use, None where none has one;
        never: segments in use that have none; damage: entries that are known."""
        volume = self._volume
        now = volume.clock.monotonic()
        many = len(volume.space.segments) > LOOKED_THROUGH_AT_ONCE
        if self._summary is not None and many and now - self._summary_at < SUMMARY_EVERY_S:
            return self._summary
        seq, dates = self._store.dates()
        oldest, never, count = None, 0, 0
        for number, segment in volume.space.segments.items():
            if not segment.used:
                continue
            count += 1
            date = dates.get(number)
            if date is None or segment.birth > seq:
                never += 1
            elif oldest is None or date < oldest:
                oldest = date
        self._summary_at = now
        self._summary = {
            "oldest_ns": None if oldest is None else oldest * MINUTE_NS,
            "segments": count,
            "never": never,
            "damage": len(self._store.damage()),
        }
        return self._summary


def _fitting(texts: list[str]) -> list[str]:
    """As many as an item has room for."""
    kept, size = [], 0
    for text in texts:
        size += len(text.encode()) + 5
        if size > 1500:
            break
        kept.append(text)
    return kept
