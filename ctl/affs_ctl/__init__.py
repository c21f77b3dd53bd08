"""Clients of a mounted AfFS volume: they talk to its control socket and nothing else."""
