"""The collections of a volume, as commands use them."""




from collections.abc import Sequence

from affs_fuse.posix.files_by_path import FilesByPath
from affs_fuse.query.schema import RecordSchema
from affs_fuse.runtime.admission import Admission
from affs_fuse.runtime.collection_evolution import CollectionEvolution
from affs_fuse.runtime.collection_reading import CollectionReading
from affs_fuse.runtime.collection_verbs import CollectionVerbs
from affs_fuse.runtime.policy import Identity
from affs_fuse.runtime.steps import Steps
from affs_fuse.runtime.trace_log import TraceLog
from affs_fuse.runtime.unique_keys import UniqueKeys

__all__ = ["Collections"]


class Collections:
    """Implements CollectionsPort. admission: what commands about records ask. Loop thread only."""

    def __init__(
        self, files: FilesByPath, steps: Steps, reading: CollectionReading, log: TraceLog
    ) -> None:
        self.admission = Admission(files, UniqueKeys(files, reading))
        verbs = CollectionVerbs(files, steps, self.admission, reading)
        evolution = CollectionEvolution(files, verbs, steps, reading, log)
        self.list, self.show, self.check = reading.list, reading.show, reading.check
        self.declare, self.undeclare = verbs.declare, verbs.undeclare
        self.put_back = verbs.put_back
        self._reading = reading
        self.evolve, self.resume = evolution.evolve, evolution.resume
        self.take_back = evolution.take_back

    async def paths(self, identity: Identity) -> Sequence[str]:
        return await self._reading.run(self._reading.paths, identity)

    async def schema_of(self, path: str, identity: Identity) -> RecordSchema | None:
        return await self._reading.run(self._reading.schema_of, path, identity)
