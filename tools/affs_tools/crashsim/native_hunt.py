"""A process that explores with another build of the C core: `MODULE HUNT...`.

The module must be in place before anything of AfFS is imported, so this file imports nothing of it.
"""

import sys
from importlib import import_module
from importlib.util import module_from_spec, spec_from_file_location


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
    print(import_module("affs_tools.crashsim.mutants").explore_until_caught(hunts))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], tuple(sys.argv[2:])))
