"""What becomes of a message that is not done: given up with an answer, or asked for again.

One rule for all three inputs: what is permanent is answered, dead-lettered and acked; what is temporary is naked with a
delay, and given up in the same way when no try is left. Must not send.
"""

from __future__ import annotations

import attrs

from .building import build_error
from .errors import Later, Refusal
from .messages import ErrorResponse
from .validation import context_of


@attrs.frozen
class Refused:
    """Given up: this answer, then the dead letter for this reason, then the ack."""

    response: ErrorResponse
    reason: str


@attrs.frozen
class Postponed:
    """To come again after so many seconds (None: as the route's retry says)."""

    seconds: float | None
    reason: str


def fate_of(error: Refusal | Later, payload: bytes, *, last_try: bool) -> Refused | Postponed:
    """What becomes of a message.

    Args:
        payload: of the message; what it says of itself goes into the answer.
        last_try: it will not be delivered again.
    """
    reason = f"{error.code}: {error.message}"
    if isinstance(error, Later) and not last_try:
        return Postponed(error.seconds, reason)
    details = error.details if isinstance(error, Refusal) else None
    return Refused(build_error(error.code, error.message, details, context_of(payload)), reason)
