"""`python -m affs_tools.exercise`, for tools/exercise."""

import sys

from affs_tools.exercise.main import main

if __name__ == "__main__":
    sys.exit(main())
