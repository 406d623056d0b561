"""When TCP sends again what was not acknowledged, and when it gives up: Linux's figures, computed, never ticked.

The timeout begins at 0.2 s and doubles up to 120 s; after 15 times (tcp_retries2), 924.6 s after the first try, the
connection is broken. A SYN goes out again after 1, 2, 4, ... s, six times (tcp_syn_retries); 127 s after the first the
dial fails.

Must not know pipes.
"""

from __future__ import annotations

from bisect import bisect_left
from itertools import accumulate
from typing import Final

TIMEOUT_FIRST_SECONDS: Final = 0.2
_TIMEOUT_MAX_SECONDS: Final = 120.0
_TRIES: Final = 15
_TIMEOUTS: Final = [min(TIMEOUT_FIRST_SECONDS * 2**n, _TIMEOUT_MAX_SECONDS) for n in range(_TRIES + 1)]
_MOMENTS: Final = list(accumulate(_TIMEOUTS))

# The last of them is no try any more: then it gives up.
GIVE_UP_SECONDS: Final = _MOMENTS.pop()

SYN_MOMENTS_SECONDS: Final = (0.0, 1.0, 3.0, 7.0, 15.0, 31.0, 63.0)
DIAL_GIVE_UP_SECONDS: Final = 127.0


def next_try(first_try: float, now: float) -> float | None:
    """The next moment at which it is sent again, or None when no try is left."""
    index = bisect_left(_MOMENTS, now - first_try)
    return first_try + _MOMENTS[index] if index < len(_MOMENTS) else None
