"""The crash simulator: every state that a device may show after power loss, judged by a model.

docs/reliability.md says what is simulated and what came out. device: bytes that can be taken back,
and a log of what was written between barriers. model: the oracle, plain Python. session: one
workload run against engine and model. states: which states a log may leave. check: what must hold
in each. explore, faults, mutants: the campaigns.
"""
