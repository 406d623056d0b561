"""The facts of a journal, as records: what was published, given, stored, handed out, acknowledged, and said of itself.

Must not collect them; that is `_journal`.
"""

from __future__ import annotations

from typing import Any

import attrs


@attrs.define
class Publication:
    """One message that the application published, and what it was told of it.

    Attributes:
        identity: "publisher/number", also in the header `Sim-Id`.
        began_at: seconds of virtual time.
        fate: "open" while the call lasts; then "confirmed" (also: answered), "sent", "queued", "dropped", "skipped",
            "failed" (the application was told that it did not go), "unknown" or "cancelled".
        reason: the error's text.
        stream: the stream whose PubAck confirms it; empty where the server's PONG does.
    """

    identity: str
    publisher: str
    number: int
    subject: str
    began_at: float
    fate: str = "open"
    ended_at: float = 0.0
    reason: str = ""
    stream: str = ""


@attrs.frozen
class Delivery:
    """One message that the application was given."""

    who: str
    identity: str
    subject: str
    at: float


@attrs.frozen
class Queued:
    """One message that a server queued to a client's link; `end` is its last byte's place in the link's bytes."""

    server: str
    link: int
    sid: bytes
    identity: str
    end: int
    at: float
    reply: bytes = b""


@attrs.frozen
class Stored:
    """One message that a stream has stored."""

    server: str
    stream: str
    sequence: int
    identity: str
    at: float


@attrs.frozen
class HandedOut:
    """One delivery of a consumer; `deliveries` counts those of the message, this one included."""

    server: str
    stream: str
    consumer: str
    sequence: int
    deliveries: int
    identity: str
    at: float

    def is_in(self, queued: Queued) -> bool:
        """Whether this is what was queued to a link: the ack subject that is its reply tells."""
        mark = f".{self.stream}.{self.consumer}.{self.deliveries}.{self.sequence}."
        return mark.encode() in queued.reply


@attrs.frozen
class Acknowledged:
    """One message that a client has acknowledged to a consumer; or that the consumer has confirmed to the client."""

    server: str
    stream: str
    consumer: str
    sequence: int
    at: float


@attrs.frozen
class Said:
    """What a client said to a consumer of one delivery, by bytes that left; `kind` is "ack", "nak" or "term"."""

    link: int
    stream: str
    consumer: str
    sequence: int
    deliveries: int
    kind: str
    at: float


@attrs.frozen
class PubAcked:
    """A PubAck that arrived at the host of a client."""

    link: int
    stream: str
    sequence: int
    at: float


@attrs.frozen
class Handled:
    """What a handler said of one delivery.

    Attributes:
        who: the router: its host, or "host/name".
        identity: of the message.
        effects: the identities of what it wants published; None = it did not accept the message.
        began_at: when it was called; `at` is when it returned or raised.
    """

    who: str
    stream: str
    consumer: str
    sequence: int
    deliveries: int
    identity: str
    effects: tuple[str, ...] | None
    began_at: float
    at: float


@attrs.frozen
class RouteBooks:
    """A route's own account at the end of a run of it, as the scenario handed it over.

    Attributes:
        drained: the run ended in order, and its client had a link all the time that it took.
        consumer: the stream and the durable it took from.
    """

    who: str
    route: str
    consumer: tuple[str, str]
    statistics: Any
    drained: bool
    at: float


@attrs.frozen
class Withheld:
    """Publishes that a client said it would never send, by an event."""

    who: str
    subject: str
    count: int
    reason: str
    at: float


@attrs.frozen
class Books:
    """A client's own account at one moment, as the scenario handed it over.

    Attributes:
        complete: every publish of the client has an identity, and goes out once: they can be counted on the wire.
        undelivered: what the client's end said was not delivered, unsent and unknown; None = this was not its end.
    """

    who: str
    ledger: Any
    statistics: Any
    at: float
    complete: bool = False
    undelivered: tuple[int, int] | None = None
