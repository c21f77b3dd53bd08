"""What AfFS reaches on this machine, each figure beside one that says what the machine can do.

`tools/bench` runs it. Machines differ and drift, so figures are ratios of two measurements of one
run, taken in turns; docs/performance.md keeps the last full table.
"""
