"""The FUSE edge: translate, call, translate. The only room that knows pyfuse3.

Importing it comes before pyfuse3 can be loaded by any of its modules: only so do requests pass by
the room's own C code (native/requests, requests.py).
"""

from affs_fuse._requests import lib

if lib.affs_requests_claim():
    raise ImportError("the dynamic linker cannot make affs_fuse._requests visible")
