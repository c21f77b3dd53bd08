"""Random use of a mounted volume, judged byte for byte: one file, and a tree under many processes.

A run is a list of steps that the seed alone determines. `ground` is where they are done (a volume
of the run's own, or any directory), `file_*` and `tree_*` are the two kinds of exercise,
`campaign` runs, writes the log, and makes a failing list of steps shorter.
"""
