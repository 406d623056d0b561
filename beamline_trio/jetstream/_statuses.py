"""The status messages of pulls: what each says, and what it asks of whoever pulls (ADR-37, nats-server 2.15).

Must not pull.
"""

from __future__ import annotations

import enum
import re
from typing import Final

from ..protocol import decode_headers, frozen
from ._errors import ConsumerDeletedError, JetStreamError, PullRefusedError


class Verdict(enum.Enum):
    """What a status asks for.

    ALIVE: nothing, the pull goes on. ENDED: the pull is over, pull again as you like. AGAIN: it is over for a reason
    that passes; pull again after a pause. DOUBT: nobody answered; look whether the consumer is there. FAILED: pulling
    again cannot help.
    """

    ALIVE = "alive"
    ENDED = "ended"
    AGAIN = "again"
    DOUBT = "doubt"
    FAILED = "failed"


@frozen
class Status:
    """One status message.

    Attributes:
        verdict: what it asks for.
        code: its number; description: its words.
        pending_messages: messages of the pull that will not come, if it says so.
        error: with FAILED, what to raise.
    """

    verdict: Verdict
    code: int
    description: str
    pending_messages: int | None = None
    error: JetStreamError | None = None


_COUNT: Final = re.compile(r"[0-9]{1,19}\Z")
_ENDS: Final = ("batch completed", "message size exceeds maxbytes")
_PASSES: Final = ("leadership change", "server shutdown", "exceeded maxwaiting")


def read_status(header: bytes) -> Status:
    """Read the header block of a status message; one without a status counts as alive."""
    headers = decode_headers(header)
    code, description = headers.status or 0, headers.description
    pending = headers.get("Nats-Pending-Messages")
    count = int(pending) if pending is not None and _COUNT.match(pending) else None
    verdict = _verdict(code, description.lower())
    error = _error(code, description) if verdict is Verdict.FAILED else None
    return Status(verdict, code, description, count, error)


def _verdict(code: int, words: str) -> Verdict:
    if code in (0, 100):
        return Verdict.ALIVE
    if code in (404, 408) or (code == 409 and words.startswith(_ENDS)):
        return Verdict.ENDED
    if code in (429, 500) or (code == 409 and words.startswith(_PASSES)):
        return Verdict.AGAIN
    return Verdict.DOUBT if code == 503 else Verdict.FAILED


def _error(code: int, description: str) -> JetStreamError:
    if code == 409 and description.lower().startswith("consumer deleted"):
        return ConsumerDeletedError(
            "the consumer was deleted while it was pulled from; create it again, or recreate=True"
        )
    return PullRefusedError(code, description)
