"""Where the messages of pulls come: an interest for each fetch or session, and what is left of it at the end.

Whoever leaves strands nothing. What was not taken is given back (a nak) at once; the interest is ended, and until the
server has said that it knows (a PONG), what is still on its way is given back as it comes.

Must not decide when to pull.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable

from ..connection import Connection, Interest
from ..protocol import PermissionsError
from ._acks import Mark
from ._message import JetStreamMessage
from ._metadata import ACK_PREFIX
from ._source import Source
from ._statuses import Status, read_status


class PullInbox(ABC):
    """The route of the replies to pulls; the base of those who pull.

    Attributes:
        delivered: messages and statuses that came.
        pending: messages that nobody has taken.
    """

    def __init__(self, source: Source) -> None:
        self.delivered = 0
        self.pending: deque[JetStreamMessage] = deque()
        self._source = source
        self._client = source.attachment.client
        self._connection: Connection = self._client.connection
        self._counters = source.attachment.counters
        self._prefix = source.attachment.new_inbox()
        self._pulls_made = 0
        self._interest: Interest | None = None
        self._left = False
        self._active_at = 0.0

    # What the reader tells

    def deliver(self, subject: bytes, reply: bytes | None, header: bytes | None, payload: bytes) -> None:
        """A message, or a status of a pull."""
        self.delivered += 1
        received_at = self._active_at = self._connection.received_at
        if reply is None or not reply.startswith(ACK_PREFIX):
            self._deliver_status(subject, header)
            return
        self._counters.messages += 1
        if self._left:
            self._source.give_back([reply])
            return
        self.pending.append(JetStreamMessage(self._client, self._source, received_at, subject, payload, reply, header))
        self._on_message()

    def _deliver_status(self, subject: bytes, header: bytes | None) -> None:
        """A status, or something that no consumer has sent."""
        if header is None or not subject.startswith(self._prefix):
            self._connection.incidents.unroutable(1)
        elif not self._left:
            self._on_status(subject[len(self._prefix) :], read_status(header))

    def deliver_run(self, subject: bytes, payloads: list[bytes]) -> None:
        """Messages without an ack subject are of no consumer."""
        self._connection.incidents.unroutable(len(payloads))

    def skipped(self, subject: bytes, reason: str) -> None:
        """A message that could not be decoded: it was given to us all the same, and comes again after its ack wait."""
        self.delivered += 1
        if not self._left:
            self._on_skipped()

    def refused(self, error: PermissionsError) -> None:
        """The server refuses the inbox."""
        self._fail(error)

    def given_up(self, frame: bytes, error: Callable[[], Exception]) -> None:  # noqa: B027  # the same for all who pull
        """Pulls are no publishes: none of them waits in the queue."""

    def handed_over(self, frame: bytes, place: int) -> None:  # noqa: B027  # as above
        """None of them has waited in the queue."""

    @abstractmethod
    def closed(self) -> None:
        """The client is closed."""

    # What those who pull do

    def _open(self) -> None:
        """Make the interest.

        Raises:
            ClientClosedError: the client is closed.
        """
        self._interest = self._connection.subscribe(self._prefix + b"*", None, None, self)

    def _pull_frame(self, target: bytes, body: bytes) -> tuple[bytes, bytes]:
        """The frame of the next pull, and the number at the end of its reply subject."""
        self._pulls_made += 1
        self._counters.pulls += 1
        number = b"%d" % self._pulls_made
        return b"PUB %b %b%b %d\r\n%b\r\n" % (target, self._prefix, number, len(body), body), number

    def _leave(self, *, complete: bool = False) -> None:
        """End it: what was not taken goes back, and so does what still comes, unless nothing can come."""
        if self._left:
            return
        self._left = True
        untaken = [message.reply_bytes for message in self.pending if message.reply_bytes is not None]
        self.pending.clear()
        self._source.give_back(untaken)
        interest, connection = self._interest, self._connection
        if interest is None:
            return
        wait = connection.link_is_up and not complete
        connection.unsubscribe(interest, keep_route=wait)
        if wait:
            connection.outbox.put(b"", Mark(lambda: connection.interests.forget_route(interest)))

    # What those who pull are told

    @abstractmethod
    def _on_message(self) -> None:
        """A message of a pull is in `pending`."""

    @abstractmethod
    def _on_skipped(self) -> None:
        """A message came that makes no sense."""

    @abstractmethod
    def _on_status(self, number: bytes, status: Status) -> None:
        """The server says something of the pull with this number."""

    @abstractmethod
    def _fail(self, error: Exception) -> None:
        """Nothing can come any more."""
