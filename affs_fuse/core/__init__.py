"""The Python face of the C core (`native/`): checksums, structures, bitmaps, trees.

This room alone imports the compiled module `affs_fuse._core`. What is above it sees Python types:
bytes, ints and the named tuples of `codec`; no cffi object leaves the room.
"""
