"""A namespace over a volume on a memory device, with paths for people and a clock to set.

`Bench.check()` is what every test may end with: the volume is committed and checked as fsck.affs
does, every data block included, so counts of links, entries and blocks, free space and reachability
hold.
"""

import os
import random
from dataclasses import dataclass, field
from functools import cache

from affs_fuse.clock import Clock
from affs_fuse.device.memory import MemoryDevice
from affs_fuse.posix.namespace import Attributes, Changes, Credentials, Namespace
from affs_fuse.volume import verbs
from affs_fuse.volume.mkfs import MkfsOptions, format_device
from affs_fuse.volume.opening import OpenOptions
from affs_fuse.volume.states import KeptState
from affs_fuse.volume.verify import Severity, verify_volume
from affs_fuse.volume.volume import Volume

ROOT = Credentials(0, 0)
ALICE = Credentials(1000, 1000, frozenset({1000, 2000}))
BOB = Credentials(1001, 1001, frozenset({1001}))


@cache
def _formatted(size_bytes: int) -> bytes:
    """The bytes of a fresh volume; making one takes longer than most tests."""
    device = MemoryDevice(size_bytes)
    clock = Clock(lambda: 10**17, lambda: 1e8)
    format_device(device, MkfsOptions(), clock=clock, entropy=random.Random(5).randbytes)
    return bytes(device.content)


@dataclass
class Bench:
    """now: what the clock says, in ns. relatime, known: as Namespace takes them (known: what the
    kernel is supposed to remember)."""

    size_bytes: int = 64 << 20
    cache_bytes: int = 1 << 20
    relatime: str = "relatime"
    now: int = 10**18
    known: set[int] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.random = random.Random(6)
        self.clock = Clock(lambda: self.now, lambda: self.now / 1e9)
        self.device = MemoryDevice(content=bytearray(_formatted(self.size_bytes)))
        self.open()

    def open(self) -> None:
        """Open the volume again; what was not committed is gone."""
        self.volume = Volume.open(
            "",
            OpenOptions(
                device=self.device,
                clock=self.clock,
                entropy=self.random.randbytes,
                cache_bytes=self.cache_bytes,
            ),
        )
        self.namespace = Namespace(
            self.volume, relatime=self.relatime, referenced=self.known.__contains__
        )
        self.run(self.namespace.load_orphans)

    def run(self, function, *args, **kwargs):
        return self.volume.run(function, *args, **kwargs)

    def commit(self) -> None:
        self.run(self.namespace.flush_all)
        self.volume.commit(self.namespace.flush_all)

    def write_ahead(self, bytes_max: int = 1 << 40) -> None:
        """About so much of what is buffered is on the device, and its items are in the tree."""
        launched = 0
        while launched < bytes_max:
            taken = self.run(self.namespace.take_off, bytes_max - launched, 1 << 20)
            if not taken:
                break
            launched += taken
        self.execute_ahead()
        while self.run(self.namespace.land, 16):
            pass

    def execute_ahead(self) -> None:
        """What was launched is written."""
        batch = self.volume.flights.take_batch()
        if batch is not None:
            batch.execute()
            self.volume.end_batch(batch)

    def checkpoint(self, label: str = "") -> KeptState:
        self.run(self.namespace.flush_all)
        request = verbs.checkpoint_request(self.volume, verbs.Note(label))
        cut = self.volume.commit(self.namespace.flush_all, request)
        assert cut.kept is not None
        return cut.kept

    def publish(self) -> KeptState:
        self.run(self.namespace.flush_all)
        request = verbs.publish_request(self.volume, verbs.Note(), None)
        cut = self.volume.commit(self.namespace.flush_all, request)
        assert cut.kept is not None
        return cut.kept

    def rollback(self, target: KeptState) -> None:
        """As the runtime does it, but for what it tells the kernel."""
        abandoned = self.volume.begin_rollback(target)
        self.namespace.switch(self.volume.working)
        self.run(self.namespace.flush_all)
        request = verbs.seal_request(self.volume, abandoned, "", discard=False)
        self.volume.commit(self.namespace.flush_all, request)
        self.run(self.namespace.load_orphans)

    def finish_removals(self) -> None:
        while self.namespace.removals_pending:
            self.run(self.namespace.remove_step)

    def check(self) -> None:
        """Commit, and let everything be held against everything."""
        self.finish_removals()
        self.commit()
        statistics = self.volume.statistics()
        assert self.namespace.dirty_bytes == 0
        assert statistics.reserved_blocks == 0
        self.verify()

    def verify(self) -> None:
        """What fsck.affs --data says about the last commit."""
        report = verify_volume(self.device, data=True)
        bad = [one for one in report.findings if one.severity is not Severity.NOTE]
        assert not bad, bad

    # ---- paths ----

    def find(self, path: str) -> Attributes:
        found = self.run(self.namespace.getattr, 1)
        for part in path.encode().split(b"/"):
            if part:
                found = self.run(self.namespace.lookup, found.number, part)
        return found

    def place(self, path: str) -> tuple[int, bytes]:
        """(directory, name)."""
        parent, _, name = path.rpartition("/")
        return self.find(parent).number, name.encode()

    def mkdir(self, path: str, mode: int = 0o755, who: Credentials = ROOT) -> Attributes:
        return self.run(self.namespace.mkdir, *self.place(path), mode, who)

    def open_file(self, path: str, flags: int = os.O_RDWR, who: Credentials = ROOT) -> int:
        if flags & os.O_CREAT:
            return self.run(self.namespace.create, *self.place(path), 0o644, flags, who)[0]
        return self.run(self.namespace.open, self.find(path).number, flags, who)

    def write(
        self, path: str, data: bytes, offset: int = 0, flags: int = 0, who: Credentials = ROOT
    ) -> int:
        """Write into a file, made if it is not there; its number."""
        parent, name = self.place(path)
        try:
            number = self.run(self.namespace.lookup, parent, name).number
            handle = self.run(self.namespace.open, number, os.O_RDWR | flags, who)
        except FileNotFoundError:
            handle = self.open_file(path, os.O_RDWR | os.O_CREAT | flags, who)
        assert self.run(self.namespace.write, handle, offset, data) == len(data)
        self.namespace.release(handle)
        return self.find(path).number

    def read(self, path: str, offset: int = 0, size: int = 1 << 30) -> bytes:
        handle = self.open_file(path, os.O_RDONLY | os.O_NOATIME)
        data = self.run(self.namespace.read, handle, offset, size)
        self.namespace.release(handle)
        return data

    def change(self, path: str, who: Credentials = ROOT, **changes: int) -> Attributes:
        return self.run(self.namespace.setattr, self.find(path).number, Changes(**changes), who)

    def unlink(self, path: str) -> None:
        self.run(self.namespace.unlink, *self.place(path))

    def rename(self, old: str, new: str, flags: int = 0) -> None:
        self.run(self.namespace.rename, *self.place(old), *self.place(new), flags)

    def names(self, path: str = "/") -> list[bytes]:
        """All names of a directory but `.` and `..`, read in small parts."""
        handle = self.run(self.namespace.opendir, self.find(path).number, ROOT)
        found, cookie = [], 0
        while part := self.run(self.namespace.readdir, handle, cookie, 7):
            found += [name for name, _, _ in part]
            cookie = part[-1][2]
        self.namespace.release(handle)
        assert found[:2] == [b".", b".."]
        return found[2:]

    def used_blocks(self) -> int:
        """Data and namespace blocks that the last commit reaches."""
        return self.volume.statistics().used_blocks
