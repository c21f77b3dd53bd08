"""Measurements: each module prints what it measured, ratios against a reference in the same run."""
