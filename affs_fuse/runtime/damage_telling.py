"""Telling of damage that a verification has found: kept, logged, an event, with names.

Invariant: what was found is kept (`note`) before the cursor can be past it; names come later, since
looking for them may take a while, and are told once they are known.
"""

import logging
from collections.abc import Callable
from typing import Any

from affs_fuse.core.constants import TREE_NAMESPACE
from affs_fuse.core.tree import Tree
from affs_fuse.runtime.damage_names import NodeNames, path_of_object, states_with
from affs_fuse.runtime.events import EventBus
from affs_fuse.runtime.governor import SLICE_S
from affs_fuse.runtime.loader import Loader
from affs_fuse.runtime.verification_run import MediumReader, Run
from affs_fuse.runtime.verified import Verified
from affs_fuse.volume.scrub import Damage, TreeScan
from affs_fuse.volume.scrub_indexes import INDEX
from affs_fuse.volume.scrub_pass import WORKING
from affs_fuse.volume.verify_nodes import FIRST_KEY, last_object
from affs_fuse.volume.volume import Volume

__all__ = ["DamageTeller"]

_log = logging.getLogger("affs.verify")

Plain = dict[str, Any]

LOGGED_MAX = 100
FOUND_KEPT_MAX = 1000


class DamageTeller:
    """released: told when a state that was held no longer is. Loop thread only."""

    def __init__(
        self,
        volume: Volume,
        loader: Loader,
        events: EventBus,
        reader: MediumReader,
        verified: Verified,
        released: Callable[[], None],
    ) -> None:
        self._volume = volume
        self._loader = loader
        self._events = events
        self._reader = reader
        self._verified = verified
        self._released = released

    async def name(self, run: Run) -> None:
        """Tell of what was found since: of data at once, of nodes when their state is through,
        since their names are looked for in all of it."""
        nodes: dict[int, list[Damage]] = {}
        later = []
        for state, damage in run.unnamed:
            if damage.tree != TREE_NAMESPACE:
                self.tell(run, damage, {})
            elif damage.data_offset >= 0:
                await self._tell_data(run, state, damage)
            elif damage.code == INDEX:
                await self._tell_index(run, state, damage)
            elif run.scrub.state == state and not run.scrub.done:
                later.append((state, damage))
            else:
                nodes.setdefault(state, []).append(damage)
        run.unnamed = later
        for state, damaged in nodes.items():
            await self._tell_nodes(run, state, damaged)

    async def _tell_data(self, run: Run, state: int, damage: Damage) -> None:
        name = run.scrub.state_name(state)
        with self._opened(state) as tree:
            path = await path_of_object(self._loader, tree, damage.low[0])
        states = await states_with(self._loader, self._volume, damage)
        self._released()
        self.tell(run, damage, {
            "path": path, "offset": damage.data_offset, "state": name, "states": states,
        })

    async def _tell_index(self, run: Run, state: int, damage: Damage) -> None:
        name = run.scrub.state_name(state)
        with self._opened(state) as tree:
            path = await path_of_object(self._loader, tree, damage.low[0])
        self.tell(run, damage, {"path": path, "state": name})

    async def _tell_nodes(self, run: Run, state: int, damaged: list[Damage]) -> None:
        name = run.scrub.state_name(state)
        with self._opened(state) as tree:
            names = NodeNames(damaged)
            await self._search(run, state, names)
            for damage in damaged:
                paths = await names.paths(self._loader, tree, damage)
                more: Plain = {"state": name, "paths": paths}
                if paths:
                    more["path"] = paths[0]
                self.tell(run, damage, more)

    async def _search(self, run: Run, state: int, names: NodeNames) -> None:
        """Look through the directory entries of a state, in slices."""
        volume, key = self._volume, FIRST_KEY
        done = False
        while not done and not run.stop.is_set():
            before = self._reader.times()
            reader = volume.begin_reading(durable=True)
            try:
                record = run.scrub.durable_record()
                kept = volume.states.get(state)
                if state != WORKING and kept is None:
                    return
                root = record.namespace_root if kept is None else kept.root
                scan = TreeScan(
                    root, volume.space, run.scrub.memory, start=key, data=False,
                    on_item=names.look_at,
                )
                end = volume.clock.monotonic() + SLICE_S
                while not scan.done and volume.clock.monotonic() < end:
                    await self._reader.batch(scan, None)
                key, done = scan.position, scan.done
            finally:
                volume.end_reading(reader)
            await self._reader.pause(run, before)

    def _opened(self, state: int) -> "_OpenedState":
        return _OpenedState(self._volume, state, self._released)

    def _entry(self, run: Run, damage: Damage, state: str) -> Plain:
        """What is known without looking anything up."""
        entry: Plain = {
            "code": damage.code, "message": damage.message, "path": "", "state": state,
            "block": damage.block, "segment": damage.segment, "run": run.scrub.number,
            "found_ns": self._volume.clock.now_ns(),
        }
        if damage.tree == TREE_NAMESPACE:
            last = run.scrub.durable_record().next_object - 1
            low, high = damage.low[0], last_object(damage.high)
            entry["objects"] = [low, max(low, min(high, last))]
            entry["path"] = "(object {})".format(" to ".join(map(str, entry["objects"])))
        return entry

    def note(self, run: Run, state: int, damage: Damage) -> None:
        """Keep it at once, together with the cursor that is past it: naming may take a while."""
        run.unnamed.append((state, damage))
        entry = self._entry(run, damage, self._state_name(run, state, damage))
        self._verified.put_damage({**entry, "unnamed": True})

    def _state_name(self, run: Run, state: int, damage: Damage) -> str:
        return run.scrub.state_name(state) if damage.tree == TREE_NAMESPACE else ""

    def tell(self, run: Run, damage: Damage, more: Plain) -> None:
        entry = {**self._entry(run, damage, ""), **more}
        self._verified.put_damage(entry)
        if len(run.found) < FOUND_KEPT_MAX:
            run.found.append(entry)
        if len(run.found) <= LOGGED_MAX:
            _log.error("%s: %s", damage.code, damage.message, extra={"fields": {
                key: entry.get(key, "") for key in ("block", "path", "state")
            }})
        self._events.publish("corruption", **entry)
        run.move()


class _OpenedState:
    """The tree of a state for looking names up; an empty one where it has gone."""

    def __init__(self, volume: Volume, state: int, released: Callable[[], None]) -> None:
        self._volume = volume
        self._released = released
        self._number = 0
        kept = volume.states.get(state)
        self._own = True
        if state == WORKING:
            self._own, self._tree = False, volume.working.tree
        elif kept is not None:
            volume.hold(state)
            self._number = state
            self._tree = volume.open_state(kept)
        else:
            self._tree = Tree(volume.cache, TREE_NAMESPACE, None, writable=False)

    def __enter__(self) -> Tree:
        return self._tree

    def __exit__(self, *_: object) -> None:
        if self._own:
            self._tree.close()
        if self._number:
            self._volume.release_hold(self._number)
            self._released()
