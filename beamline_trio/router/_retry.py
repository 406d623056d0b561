"""When a message that failed comes again. A pure decision.

Must not wait.
"""

from __future__ import annotations

import random

from ._outcomes import Retry


def retry_delay(policy: Retry, number: int, chance: random.Random) -> float:
    """Seconds until the delivery behind the delivery of this number (1 = the first), with the policy's jitter."""
    delays = policy.delays_seconds
    delay = delays[min(number, len(delays)) - 1]
    return delay * (1 + policy.jitter * (2 * chance.random() - 1))


def refused_delay(policy: Retry, seconds: float, chance: random.Random) -> float:
    """Seconds until a message comes again that is not to come before so many, with the policy's jitter behind them."""
    return seconds * (1 + policy.jitter * chance.random())
