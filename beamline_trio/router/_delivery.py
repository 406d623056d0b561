"""A message on its way through a route, as its handler sees it, and the books that the route keeps of it meanwhile.

Made for each message, so whatever has to be computed is computed when somebody asks.

Must not settle the message.
"""

from __future__ import annotations

from ..client import Message
from ..jetstream import JetStreamMessage, Metadata
from ..protocol import Headers
from ._route_options import RouteOptions
from ._trace import TraceContext


class Delivery:
    """One delivery of one message to one route.

    Attributes:
        message: as it came; the router settles it, so `ack`, `nak` and `term` are not for handlers.
        began: when a worker took it, in trio's time.
        trace: where in its sender's trace it stands; None: nowhere.
    """

    __slots__ = (
        "_metadata",
        "_options",
        "acking",
        "began",
        "blocked",
        "failure",
        "held",
        "history",
        "message",
        "trace",
        "tries",
    )

    def __init__(self, options: RouteOptions, message: Message, began: float) -> None:
        self._options = options
        self._metadata: Metadata | None = None
        self.message = message
        self.began = began
        self.acking = False  # an ack is on its way that the server is to answer
        self.blocked = False  # by an effect that could not be confirmed
        self.held = False  # its payload was let go, and has to be read from its stream
        self.tries = 0  # failed ones of this delivery, which were tried again here
        self.failure: Exception | None = None  # what was raised before its handler could be called
        self.history: list[str] = []
        self.trace: TraceContext | None = None

    @property
    def subject(self) -> str:
        """The subject it was published to."""
        return self.message.subject

    @property
    def headers(self) -> Headers:
        """Its headers."""
        return self.message.headers

    @property
    def payload(self) -> bytes:
        """Its payload, as it came."""
        return self.message.payload

    @property
    def route(self) -> str:
        """The name of the route."""
        return self._options.name

    @property
    def deadline(self) -> float:
        """Until when its handler may work, in trio's time."""
        return self.began + self._options.deadline_seconds

    @property
    def metadata(self) -> Metadata | None:
        """Where in its stream it is; None on a core route."""
        if self._metadata is None and isinstance(self.message, JetStreamMessage):
            self._metadata = self.message.metadata
        return self._metadata

    @property
    def number(self) -> int:
        """Which delivery it is: 1 is the first, also on a core route."""
        metadata = self.metadata
        return self.tries + (1 if metadata is None else metadata.delivered)

    @property
    def is_last(self) -> bool:
        """Whether no other delivery follows, if this one fails."""
        return not isinstance(self.message, JetStreamMessage) or self.number >= self._options.retry.max_deliver

    @property
    def count(self) -> int:
        """How many messages in hand it is: one, unless it is a batch."""
        return 1

    @property
    def references(self) -> list[Delivery]:
        """What of it has no payload here."""
        return [self] if self.held else []

    @property
    def identity(self) -> str:
        """What its effects' message ids begin with: the same at each delivery, another for each message of a stream.

        A core message has none; it is empty then.
        """
        if not isinstance(self.message, JetStreamMessage):
            return ""
        stream, sequence = self.message.position
        return f"{stream}:{sequence}:{self._options.name}"

    def __repr__(self) -> str:
        return f"<Delivery of {self.message!r} to {self._options.name!r}, number {self.number}>"
