"""A reader of AfFS images of its own, written from docs/specs/DiskLayout.md alone.

Plain Python, no compiled module and nothing of affs_fuse: what it reads back proves the writer and
the page. dump.affs prints with it; tests extract every file of every kept state with it.
"""
