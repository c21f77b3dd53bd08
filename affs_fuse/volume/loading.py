"""What workers do for the engine beside writing: loading what an operation missed (a node, or data
blocks), and setting room aside on the host. Made by Volume.begin_load and Volume.begin_prepare."""

from dataclasses import dataclass

from affs_fuse.core.constants import NODE_SIZE
from affs_fuse.core.errors import StructureError
from affs_fuse.core.tree import NodeCache, NodeMissing
from affs_fuse.device.device import Device, device_error
from affs_fuse.errors import AffsError, Category
from affs_fuse.volume.data import ReadPlan
from affs_fuse.volume.layout import Geometry
from affs_fuse.volume.missing import DataMissing

__all__ = ["Load", "Preparation"]


@dataclass(slots=True, eq=False)
class Load:
    """attempt() on the engine's thread or execute() in a worker; then Volume.end_load, always."""

    missing: NodeMissing | DataMissing
    plan: ReadPlan | None
    device: Device
    offset: int
    data: list[bytes] | None = None
    error: AffsError | MemoryError | None = None

    def attempt(self) -> bool:
        """Without waiting: did it work?"""
        try:
            if self.plan is not None:
                self.data = self.plan.attempt()
            else:
                image = self.device.try_read(self.offset, NODE_SIZE)
                self.data = None if image is None else [image]
        except (AffsError, MemoryError) as error:
            self.error = error
        return self.data is not None or self.error is not None

    def execute(self) -> None:
        """In a worker. An error is kept for end_load."""
        try:
            if self.plan is not None:
                self.data = self.plan.execute()
                return
            image, result = self.device.read(self.offset, NODE_SIZE)
            if result.ok:
                self.data = [image]
            else:
                self.error = device_error("reading", self.device.identity, self.offset, result)
        except (AffsError, MemoryError) as error:
            self.error = error

    def take(self) -> list[bytes]:
        """What was loaded. Raises the error that was kept."""
        if self.error is not None:
            raise self.error
        assert self.data is not None, "neither attempted nor executed"
        return self.data

    def install(self, cache: NodeCache, image: bytes) -> None:
        """Put a node into the cache. Errors: volume.node_corrupt."""
        assert isinstance(self.missing, NodeMissing)
        pointer = self.missing.pointer
        try:
            cache.install(pointer, image)
        except StructureError as error:
            raise AffsError(
                "volume.node_corrupt",
                Category.CORRUPT,
                f"tree node at byte {self.offset} of {self.device.identity.path}: {error.message}",
                hint="run fsck.affs on the unmounted volume; affsctl rollback may lead around it",
                details={"offset": self.offset, "birth": pointer.birth, "reason": error.reason},
            ) from error


@dataclass(slots=True, eq=False)
class Preparation:
    """One place to be set aside on the host; execute() in a worker, then Volume.end_prepare."""

    device: Device
    place: int
    geometry: Geometry
    done: bool = False

    def execute(self) -> None:
        """In a worker: fallocate the place, which may take long on a slow host."""
        offset = self.geometry.place_offset(self.place)
        self.done = self.device.allocate(offset, self.geometry.segment_size).ok
