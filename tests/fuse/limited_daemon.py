"""mount.affs under a small `ulimit -n`, soft and hard.

    python limited_daemon.py VOLUME DIRECTORY ...
"""

import resource
import sys

from affs_fuse.daemon.main import main

if __name__ == "__main__":
    resource.setrlimit(resource.RLIMIT_NOFILE, (128, 128))
    sys.exit(main())
