"""Queries: a small language over files and records of one state (docs/specs/QueryLanguage.md).

A text becomes a tree (`parser`), the tree a plan bound to what its source can give (`planning`),
and the plan an execution that works in slices (`execution`). Nothing here waits: a source raises
NodeMissing or DataMissing like every operation below the runtime, and the same call is made again.
"""
