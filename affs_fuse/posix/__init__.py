"""The namespace: files, directories and their data over the namespace tree. No FUSE, no trio.

Every operation is a plain synchronous function that looks up all it needs before its first change,
because a look-up may raise NodeMissing or DataMissing; the caller then loads what is missing and
calls it again from its beginning (architecture.md). Failures are OSError with a POSIX errno, or
AffsError.
"""
