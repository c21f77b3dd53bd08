"""`python -m affs_tools.crashsim`, for tools/crashsim."""

import sys

from affs_tools.crashsim.main import main

if __name__ == "__main__":
    sys.exit(main())
