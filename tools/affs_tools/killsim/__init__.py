"""kill -9 for real: a mounted volume under mixed load, killed at random moments, reopened, and held
against a journal kept outside of it (docs/reliability.md, "kill -9").

Command: tools/killsim.
"""
