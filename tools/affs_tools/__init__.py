"""Programs beside the mount: mkfs, fsck and dump, the house rules, the benchmarks."""
