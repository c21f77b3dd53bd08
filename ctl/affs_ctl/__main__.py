"""`python -m affs_ctl` is affsctl."""

import sys

from affs_ctl.cli import main

if __name__ == "__main__":
    sys.exit(main())
