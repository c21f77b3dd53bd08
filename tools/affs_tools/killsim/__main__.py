"""`python -m affs_tools.killsim`, for tools/killsim."""

import sys

from affs_tools.killsim.main import main

if __name__ == "__main__":
    sys.exit(main())
