"""The collections of a volume, as commands use them."""




from affs_fuse.posix.files_by_path import FilesByPath
from affs_fuse.runtime.admission import Admission
from affs_fuse.runtime.collection_evolution import CollectionEvolution
from affs_fuse.runtime.collection_reading import CollectionReading
from affs_fuse.runtime.collection_verbs import CollectionVerbs
from affs_fuse.runtime.steps import Steps

__all__ = ["Collections"]


class Collections:
    """Implements CollectionsPort. Loop thread only."""

    def __init__(
        self, files: FilesByPath, steps: Steps, admission: Admission, reading: CollectionReading
    ) -> None:
        verbs = CollectionVerbs(files, steps, admission, reading)
        evolution = CollectionEvolution(verbs, steps, reading)
        self.list, self.show, self.check = reading.list, reading.show, reading.check
        self.declare, self.undeclare = verbs.declare, verbs.undeclare
        self.put_back = verbs.put_back
        self.evolve, self.resume = evolution.evolve, evolution.resume
