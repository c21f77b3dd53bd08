"""The engine: superblock, ring, segments, space, transactions, kept states, recovery. No FUSE, no
trio.

`with Volume.open(path) as volume:` needs no mount, no socket and no event loop. Everything here is
plain synchronous code; what may wait for a device is apart from what decides (architecture.md).
"""
