"""The living core: the engine as the one door to the volume, and the command surface all clients
talk to."""
