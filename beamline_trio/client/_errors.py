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


class UndeliveredError(NatsError):
    """A client ended in order, and yet publishes that it had accepted were not delivered.

    Raised by `drain`, and by leaving `open_client` without an error. Each of them is in the ledger too, and those that
    were not sent in `Dropped` events.

    Attributes:
        unsent: never sent, because there was no connection (or none that took them) for the time the drain may take.
        unknown: written to a link that died, or was closed, before the server confirmed them; they may have arrived.
    """

    def __init__(self, *, unsent: int, unknown: int, reason: str) -> None:
        super().__init__(
            f"the client was closed with {unsent} publishes not sent and {unknown} of unknown fate ({reason}); send "
            "again what may happen twice, or raise drain_deadline_seconds"
        )
        self.unsent = unsent
        self.unknown = unknown
        self.reason = reason
