"""What a dead letter looks like: the message as it was, and beside it why, where from, and what was tried.

Headers of the original that would act on the dead letter itself (its message id, expectations, time to live, rollup)
are kept under another name, so that a replay can put them back and nothing acts before.

Must not send.
"""

from __future__ import annotations

import datetime
from enum import StrEnum
from typing import Final

from ..jetstream import Metadata
from ..protocol import Headers, frozen
from ._outcomes import one_line

HISTORY_MAX: Final = 10
_ACTING: Final = ("nats-msg-id", "nats-expected-", "nats-ttl", "nats-rollup", "nats-schedule", "nats-incr")


class DeadLetterHeader(StrEnum):
    """The headers that a dead letter has beside those of its message."""

    #: in one word, of DEAD_LETTER_REASONS
    CAUSE = "Beamline-Cause"
    #: what the handler said, or raised
    REASON = "Beamline-Reason"
    ROUTE = "Beamline-Route"
    SUBJECT = "Beamline-Subject"
    STREAM = "Beamline-Stream"
    SEQUENCE = "Beamline-Sequence"
    DELIVERIES = "Beamline-Deliveries"
    #: how a try ended; one for each that is known
    HISTORY = "Beamline-History"
    #: when it was given up, in ISO format
    TIME = "Beamline-Time"


# Of them all, in lower case; and before the name of a header of the original that would act.
DEAD_LETTER_PREFIX: Final = "beamline-"
ORIGINAL_PREFIX: Final = "Beamline-Original-"


@frozen(kw_only=True)
class Cause:
    """Why a message is given up.

    Attributes:
        reason: of DEAD_LETTER_REASONS.
        text: what the handler said, or raised; one line.
        deliveries: how often it was delivered.
        history: what was said at each try that is known here; the last ones.
    """

    reason: str
    text: str = ""
    deliveries: int = 1
    history: tuple[str, ...] = ()


def dead_letter_headers(
    route: str, subject: str, headers: Headers, metadata: Metadata, cause: Cause, wall_clock: float
) -> Headers:
    """The headers of a dead letter; its payload is that of the message."""
    built = Headers()
    for name, value in headers.items():
        lowered = name.lower()
        if lowered.startswith(DEAD_LETTER_PREFIX) and not lowered.startswith(ORIGINAL_PREFIX.lower()):
            continue  # of an earlier dead letter, which was replayed
        built.add(ORIGINAL_PREFIX + name if lowered.startswith(_ACTING) else name, value)
    built[DeadLetterHeader.CAUSE] = cause.reason
    if cause.text:
        built[DeadLetterHeader.REASON] = one_line(cause.text)
    built[DeadLetterHeader.ROUTE] = route
    built[DeadLetterHeader.SUBJECT] = subject
    built[DeadLetterHeader.STREAM] = metadata.stream
    built[DeadLetterHeader.SEQUENCE] = str(metadata.stream_sequence)
    built[DeadLetterHeader.DELIVERIES] = str(cause.deliveries)
    for line in cause.history[-HISTORY_MAX:]:
        built.add(DeadLetterHeader.HISTORY, one_line(line))
    built[DeadLetterHeader.TIME] = datetime.datetime.fromtimestamp(wall_clock, datetime.UTC).isoformat()
    return built


def dead_letter_id(metadata: Metadata, route: str) -> str:
    """The message id of a dead letter: the same however often it is tried."""
    return f"{metadata.stream}:{metadata.stream_sequence}:{route}:dlq"
