"""mount.affs and its kin: options, wiring, signals. The composition root; owns the one nursery."""
