"""What the outside world gives besides bytes: wall clock, chance, identifiers. A simulation gives its own.

The one place of the library that touches `time` and `random`; elapsed time is trio's clock everywhere.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import Final

import attrs

from ..protocol import frozen

_ALPHABET: Final = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_IDENTIFIER_LENGTH: Final = 22


@frozen(kw_only=True)
class Environment:
    """Wall clock and chance of one client.

    Attributes:
        random: the client's PRNG: jitter, server order, identifiers.
        wall_clock: seconds since the epoch.
    """

    random: random.Random = attrs.field(factory=random.SystemRandom)
    wall_clock: Callable[[], float] = time.time

    def new_identifier(self) -> str:
        """22 characters of [0-9A-Za-z], unique for all that matters (131 bits)."""
        return "".join(self.random.choices(_ALPHABET, k=_IDENTIFIER_LENGTH))
