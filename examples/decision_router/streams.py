"""The subjects of the decision router, and the streams behind them.

Who operates it makes the streams, once; the router needs them to be there. Ids of assignments and usage events are
remembered for an hour, as everything else is: within it each of them is stored once, whoever publishes it again.
"""

from __future__ import annotations

from typing import Final

from beamline_trio import JetStream, StreamConfig

from .desk import ASSIGNMENT_SUBJECT, OWN_SUBJECT_PREFIX
from .identities import TTL_SECONDS

DECIDE_SUBJECT: Final = "beamline.router.v1.decide"
ACK_SUBJECT: Final = f"{ASSIGNMENT_SUBJECT}.ack"
RESULT_SUBJECT: Final = "caf.exec.result.v1"
USAGE_SUBJECT: Final = "beamline.usage.v1.metered"
BACKPRESSURE_SUBJECT: Final = "beamline.router.v1.status.backpressure"
_DAY_SECONDS: Final = 86_400.0


def reply_subject_of(subject: str) -> str:
    """Where an answer goes when the request has no inbox."""
    return f"{subject}.reply"


def dead_letter_subject_of(subject: str) -> str:
    """Where what is refused goes."""
    return f"{subject}.dlq"


def _stream(name: str, *subjects: str, days: float) -> StreamConfig:
    return StreamConfig(
        name=name, subjects=subjects, max_age_seconds=days * _DAY_SECONDS, duplicate_window_seconds=TTL_SECONDS
    )


STREAMS: Final = (
    _stream("DECIDE", DECIDE_SUBJECT, days=1),
    _stream("ASSIGNMENTS", ASSIGNMENT_SUBJECT, f"{OWN_SUBJECT_PREFIX}>", days=1),
    _stream("RESULTS", ACK_SUBJECT, RESULT_SUBJECT, days=7),
    _stream("USAGE", USAGE_SUBJECT, days=90),
    _stream(
        "DEAD_LETTERS", *(dead_letter_subject_of(one) for one in (DECIDE_SUBJECT, ACK_SUBJECT, RESULT_SUBJECT)), days=90
    ),
)


async def create_streams(js: JetStream) -> None:
    """Create what is not there yet. Run again it changes nothing; a stream that is otherwise is an error."""
    for config in STREAMS:
        await js.create_stream(config)
