"""Same seed, two fresh processes, different hash seeds: one trace, byte for byte. `python -m tests.determinism`."""
