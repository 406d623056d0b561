"""How long to wait before the next pass over the servers. A pure decision."""

from __future__ import annotations

import random
from typing import Final

from ._options import ClientOptions

FIRST_JITTER_SECONDS: Final = 0.1
# Most outages are restarts of a few seconds: no client sleeps through the end of one of those. From then on the delays
# grow with the outage, by a second each second: slower, and a thousand clients would still come nearly together when it
# ends; faster, and they would sleep longer than that takes. Who sets a base of half a second or more wants that base.
EARLY_SECONDS: Final = 3.0
EARLY_DELAY_MAX_SECONDS: Final = 0.5
LATE_LESS_SECONDS: Final = 1.5


def next_delay(
    passes: int, outage_seconds: float, options: ClientOptions, rng: random.Random, *, tls: bool = False
) -> float:
    """Seconds to wait before a pass.

    Args:
        passes: how many passes this outage has seen; 0 = the first comes at once, but for a jitter that keeps a
            thousand clients of one server from coming in one instant.
        outage_seconds: how long the outage has lasted.
        options: base, cap and kind of jitter.
        rng: the client's PRNG.
        tls: whether the next server is reached over TLS.
    """
    jitter = options.reconnect_jitter
    if tls and options.reconnect_jitter_tls is not None:
        jitter = options.reconnect_jitter_tls
    base = options.reconnect_delay_seconds
    if passes == 0:
        return (
            0.0
            if jitter == "none"
            else rng.uniform(0.0, min(FIRST_JITTER_SECONDS, base, options.reconnect_delay_max_seconds))
        )
    delay = min(base * 2.0 ** min(passes - 1, 64), options.reconnect_delay_max_seconds)
    if base < EARLY_DELAY_MAX_SECONDS:
        early = outage_seconds < EARLY_SECONDS
        delay = min(delay, EARLY_DELAY_MAX_SECONDS if early else outage_seconds - LATE_LESS_SECONDS)
    if jitter == "full":
        return rng.uniform(0.0, delay)
    if jitter == "upper_half":
        return rng.uniform(delay / 2, delay)
    return delay
