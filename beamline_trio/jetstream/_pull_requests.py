"""What a pull asks: checked, and with the time that the caller has.

Must not send.
"""

from __future__ import annotations

from typing import Final

import trio

from ..protocol import check_number, frozen
from ._fields import SECONDS_MAX
from ._wire import encode_json, nanoseconds

EXPIRES_SECONDS: Final = 30.0
HEARTBEAT_SECONDS_MIN: Final = 0.5
# A leader that is killed tells nobody: that its pulls are dead is noticed by two of these, about an election later.
HEARTBEAT_SECONDS_MAX: Final = 5.0
# The server's answer should come before the caller's own deadline does.
MARGIN_SHARE: Final = 0.1
MARGIN_SECONDS_MAX: Final = 0.25
EXPIRES_SECONDS_MIN: Final = 0.01


@frozen
class PullRequest:
    """One pull.

    Attributes:
        batch: messages at the most.
        expires_seconds: how long the server waits for them; 0 = it answers at once with what there is.
        heartbeat_seconds: how often it says that it waits; 0 = never.
        max_bytes: bytes at the most, or None.
    """

    batch: int
    expires_seconds: float
    heartbeat_seconds: float
    max_bytes: int | None = None

    def body(self) -> bytes:
        """The request."""
        fields: dict[str, int | bool] = {"batch": self.batch}
        expires = nanoseconds(self.expires_seconds)
        if expires:
            fields["expires"] = expires
        else:
            fields["no_wait"] = True
        if self.heartbeat_seconds:  # the server takes at most half, to the nanosecond
            fields["idle_heartbeat"] = min(nanoseconds(self.heartbeat_seconds), expires // 2)
        if self.max_bytes is not None:
            fields["max_bytes"] = self.max_bytes
        return encode_json(fields)


def heartbeat_of(expires_seconds: float) -> float:
    """Half of the time of the pull, from 0.5 to 5 s; none for a pull that is shorter than two of them."""
    if expires_seconds < 2 * HEARTBEAT_SECONDS_MIN:
        return 0.0
    return min(max(expires_seconds / 2, HEARTBEAT_SECONDS_MIN), HEARTBEAT_SECONDS_MAX)


def expires_from_deadline() -> float:
    """The time that the caller has, less a margin for the answer's way; 30 s where it has all the time."""
    left = max(trio.current_effective_deadline() - trio.current_time(), 0.0)
    if left >= EXPIRES_SECONDS + MARGIN_SECONDS_MAX:
        return EXPIRES_SECONDS
    return max(left - min(left * MARGIN_SHARE, MARGIN_SECONDS_MAX), EXPIRES_SECONDS_MIN)


def check_bounds(**bounds: float | None) -> None:
    """Raise ValueError, with the name, for a bound that is not above 0, or more than the server can count.

    Raises:
        TypeError: it is no number, or a number of messages or bytes is no whole one.
    """
    for name, value in bounds.items():
        check_number(name, value, above=0, most=SECONDS_MAX, whole=not name.endswith("_seconds"))
