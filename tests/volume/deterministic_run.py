"""One volume made by a seed: `python deterministic_run.py SEED CACHE` prints the sum of its bytes,
and how many nodes the cache evicted.

A program of its own, so that a test can run it under other hash seeds and look at what it prints.
Everything that chance or time decides is an argument.
"""

import hashlib
import random
import sys

from affs_fuse.clock import Clock
from affs_fuse.device.memory import MemoryDevice
from affs_fuse.errors import AffsError
from affs_fuse.posix.namespace import Credentials, Namespace
from affs_fuse.volume import verbs
from affs_fuse.volume.mkfs import MkfsOptions, format_device
from affs_fuse.volume.opening import OpenOptions
from affs_fuse.volume.owner import Host
from affs_fuse.volume.volume import Volume

ROOT = Credentials(0, 0)
STEPS = 2500
NAMES = 1500


class Run:
    """A volume in memory, and what is done to it."""

    def __init__(self, seed: int, cache_bytes: int) -> None:
        self.chance = random.Random(seed)
        self.now_ns = 10**18
        self.device = MemoryDevice(64 << 20)
        clock = Clock(self.tick, lambda: self.now_ns / 1e9)
        entropy = random.Random(seed + 1).randbytes
        format_device(self.device, MkfsOptions(), clock=clock, entropy=entropy)
        self.volume = Volume.open(
            "",
            OpenOptions(
                device=self.device, clock=clock, entropy=entropy, cache_bytes=cache_bytes,
                host=Host(b"machine".ljust(16), b"boot".ljust(16), 1, "run"),
            ),
        )
        self.namespace = Namespace(self.volume)

    def tick(self) -> int:
        self.now_ns += 1000
        return self.now_ns

    def write(self, name: bytes) -> None:
        volume, namespace = self.volume, self.namespace
        handle, _ = volume.run(namespace.create, 1, name, 0o644, 2, ROOT)
        data = self.chance.randbytes(self.chance.choice([10, 3000, 9000, 60_000]))
        volume.run(namespace.write, handle, self.chance.randrange(20_000), data)
        volume.run(namespace.release, handle)

    def remove(self, name: bytes) -> None:
        try:
            self.volume.run(self.namespace.unlink, 1, name)
        except OSError:
            return
        while self.namespace.removals_pending:
            self.volume.run(self.namespace.remove_step)

    def write_ahead(self) -> None:
        volume, namespace = self.volume, self.namespace
        volume.run(namespace.take_off, 1 << 20, 64)
        batch = volume.flights.take_batch()
        if batch is not None:
            batch.execute()
            volume.end_batch(batch)
        volume.run(namespace.land, 64)

    def verb(self) -> None:
        volume, namespace = self.volume, self.namespace
        states = volume.states.listed()
        if len(states) < 4:
            volume.commit(namespace.flush_all, verbs.checkpoint_request(volume, verbs.Note()))
            return
        state = states[self.chance.randrange(len(states))]
        try:
            verbs.delete(volume, state)
        except AffsError:
            return
        volume.note_change()
        volume.commit(namespace.flush_all)
        verbs.reclaim_all(volume, namespace.flush_all)

    def run(self) -> tuple[str, int]:
        for _ in range(STEPS):
            choice = self.chance.randrange(40)
            name = b"name %d" % self.chance.randrange(NAMES)
            if choice < 20:
                self.write(name)
            elif choice < 36:
                self.remove(name)
            elif choice < 38:
                self.write_ahead()
            elif choice == 38:
                self.volume.commit(self.namespace.flush_all)
            else:
                self.verb()
        self.volume.commit(self.namespace.flush_all)
        self.volume.close()
        evictions = self.volume.cache.statistics().evictions
        return hashlib.sha256(self.device.content).hexdigest(), evictions


if __name__ == "__main__":
    print(*Run(int(sys.argv[1]), int(sys.argv[2])).run())
