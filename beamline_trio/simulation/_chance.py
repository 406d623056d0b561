"""One seed -> any number of independent streams of chance, each with a name.

A stream is seeded by the root seed and its name alone, so that one more draw in one place changes nothing anywhere
else. Seeding by a text hashes it with SHA-512, which is the same in every process.
"""

from __future__ import annotations

import random


class Chance:
    """The root of all chance of a run.

    Args:
        seed: the one number that the run depends on.
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def stream(self, name: str) -> random.Random:
        """A fresh PRNG for this name: asked twice, it starts again."""
        return random.Random(f"{self.seed}/{name}")
