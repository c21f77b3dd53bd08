"""A process that explores with another build of the C core: `MODULE HUNT...`.

The module must be in place before anything of AfFS is imported, so this file imports nothing of it.
A state that takes too long is a violation (bounds.py), but a loop inside of C never comes back to
Python: so a step that takes STEP_SECONDS_MAX of the processor ends the process, by SIGXCPU.
"""

import resource
import sys
import time
from importlib import import_module
from importlib.util import module_from_spec, spec_from_file_location

__all__ = ["STEP_SECONDS_MAX", "load_core", "main"]

STEP_SECONDS_MAX = 200
"""A step is a workload, a damage or an image: seconds, without a bug."""


def load_core(path: str) -> None:
    """Put the module of this file in the place of affs_fuse._core."""
    spec = spec_from_file_location("affs_fuse._core", path)
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    sys.modules["affs_fuse._core"] = module
    spec.loader.exec_module(module)


def main(path: str, hunts: tuple[str, ...]) -> int:
    load_core(path)
    explore = import_module("affs_tools.crashsim.mutants").explore_until_caught
    print(explore(hunts, _begin_step))
    return 0


def _begin_step() -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_CPU)
    resource.setrlimit(
        resource.RLIMIT_CPU, (int(time.process_time()) + STEP_SECONDS_MAX, hard)
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], tuple(sys.argv[2:])))
