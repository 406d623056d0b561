"""Errors of what users hold: requests and subscriptions."""

from __future__ import annotations

from ..protocol import NatsError


class NoRespondersError(NatsError):
    """Nobody is subscribed to the subject of a request (the server's status 503). Nothing received it.

    Attributes:
        subject: where the request went.
    """

    def __init__(self, subject: str) -> None:
        super().__init__(f"no responders on {subject!r}: nobody is subscribed; start the service, or check the subject")
        self.subject = subject


class SlowConsumerError(NatsError):
    """A subscription whose policy is `error`, or the replies to a `request_many`, were full, and were ended."""
