"""`python -m affs_tools.siege`, for tools/siege."""

import sys

from affs_tools.siege.main import main

if __name__ == "__main__":
    sys.exit(main())
