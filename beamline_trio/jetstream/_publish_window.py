"""The publishes in flight of one publisher: how each of them ends, and who waits for that.

They end by what the reader brings (a PubAck, or what is said instead), by a turn of the connection, or by time. When
the link dies, what was written is unknown at once; what was not is still on its way. An answer to a publish shows that
the server has had everything that was written before it on the same link: for that the place of each publish on its way
is known (0: it waits for room, or for a connection).

Must not publish.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import trio

from ..connection import NEVER, ClientClosedError, ConnectionLostError, Interest, Lot, OperationTimeoutError
from ..protocol import PermissionsError, ProtocolError, ServerError, server_error
from ._api import NO_RESPONDERS
from ._attachment import Attachment
from ._errors import APIError, FailedPublish, NoStreamResponseError, PublishInProcessError
from ._failure_lines import FailureLines
from ._puback import read_pub_ack
from ._publishing import publish_failure_reason

_STORED: Final = b'{"stream":'
_ERROR: Final = b'"error"'
_DUPLICATE: Final = b'"duplicate"'


class PublishWindow:
    """What a publisher has in flight. It is the route of the PubAcks, and a follower of the connection.

    Args:
        attachment: of the client.
        max_in_flight: how many may be in flight; who waits for room is woken when a quarter of it is free.
        errors_max: how many of the failed, and of the unknown, are kept.
        shut: called when no PubAck can come any more, with what makes the error that says why.

    Attributes:
        inbox: what the reply subjects begin with; the token of a publish follows.
        in_flight: token -> subject, message id, when it was published (trio's time), place.
        acknowledged: see Publisher, as for the other counters.
        delivered: messages that came.
    """

    def __init__(
        self,
        attachment: Attachment,
        max_in_flight: int,
        errors_max: int,
        shut: Callable[[Callable[[], Exception]], None],
    ) -> None:
        self.acknowledged = 0
        self.duplicates = 0
        self.failed_count = 0
        self.unknown_count = 0
        self.failed: list[FailedPublish] = []
        self.unknown: list[FailedPublish] = []
        self.delivered = 0
        self.inbox = attachment.new_inbox()
        self.in_flight: dict[bytes, tuple[str, str | None, float, int]] = {}
        self._connection = attachment.client.connection
        self._coverage = self._connection.outbox.coverage
        self._counters = attachment.counters
        self._lines = FailureLines(self._connection)
        self._max = max_in_flight
        self._low = max_in_flight - max(1, max_in_flight // 4)
        self._errors_max = errors_max
        self._shut = shut
        self._skip = len(self.inbox)
        self._interest: Interest | None = None
        self._up_since = 0.0
        self._room = Lot()
        self._drained = Lot()

    # Life

    def open(self) -> None:
        """From now on PubAcks come here."""
        self._interest = self._connection.subscribe(self.inbox + b"*", None, None, self)
        self._connection.followers.append(self)

    def close(self) -> None:
        """Leave: what is still in flight is unknown, and its PubAcks are for nobody."""
        self._end_all(lambda: ClientClosedError("the publisher was left before the PubAck came"))
        self._lines.write()
        if self._interest is not None:
            self._connection.unsubscribe(self._interest)
        if self in self._connection.followers:
            self._connection.followers.remove(self)

    # Waiting

    async def wait_room(self) -> None:
        """Wait until a quarter of the window is free."""
        while len(self.in_flight) >= self._max:
            await self._wait(self._low)

    async def wait_drained(self) -> None:
        """Wait until nothing is in flight."""
        while self.in_flight:
            await self._wait(0)

    async def _wait(self, low: int) -> None:
        """Until so few are in flight, or the oldest runs out of time."""
        lot = self._drained if low == 0 else self._room
        with trio.CancelScope(deadline=self._next_deadline()):
            await lot.wait()
        if self.in_flight:
            self._sweep(trio.current_time())

    def _next_deadline(self) -> float:
        """When something may have run out of time. Without a link the queue has its own times, and tells."""
        connection = self._connection
        timeout = connection.options.operation_timeout_seconds
        if timeout is None or not connection.link_is_up:
            return NEVER
        return max(next(iter(self.in_flight.values()))[2], self._up_since) + timeout

    def _sweep(self, now: float) -> None:
        """End what has run out of time."""
        timeout = self._connection.options.operation_timeout_seconds
        if timeout is None or not self._connection.link_is_up:
            return
        up_since = self._up_since
        overdue = [t for t, (_, _, since, _) in self.in_flight.items() if max(since, up_since) + timeout <= now]
        for token in overdue:  # reckoned as the deadline that was waited for: to the bit, or the wait would spin
            text = f"no PubAck within {timeout:g} s (operation_timeout_seconds)"
            self._end_unknown(token, OperationTimeoutError(f"{text}; it may or may not have been stored"))
        self._lines.write()
        self._wake()

    # Places

    def _queued(self) -> set[bytes]:
        """The tokens of what waits for a connection."""
        return {token for token in map(self._token_in, self._connection.pending.frames()) if token is not None}

    def set_place(self, token: bytes, place: int) -> None:
        """A publish was appended to the outbox, or is in the queue again (0)."""
        entry = self.in_flight.get(token)
        if entry is not None:
            self.in_flight[token] = (*entry[:3], place)

    def _token_in(self, frame: bytes) -> bytes | None:
        """The token of a frame, if it is one of this publisher's."""
        parts = frame.split(b" ", 3)
        is_ours = len(parts) > 3 and parts[2].startswith(self.inbox)
        return parts[2][self._skip :] if is_ours else None

    # What the reader tells

    def deliver(self, subject: bytes, reply: bytes | None, header: bytes | None, payload: bytes) -> None:
        """A PubAck, or what a stream, or the server, says instead."""
        self.delivered += 1
        token = subject[self._skip :]
        if header is None and payload.startswith(_STORED) and _ERROR not in payload:
            entry = self.in_flight.pop(token, None)
            if entry is None:
                self._connection.incidents.late_reply()
                return
            if entry[3] > self._coverage.proven:
                self._coverage.proven = entry[3]
            self.acknowledged += 1
            self._counters.publish_acks += 1
            if _DUPLICATE in payload:
                self.duplicates += 1
                self._counters.publish_duplicates += 1
        elif token in self.in_flight:
            self._deliver_other(token, header, payload)
        else:
            self._connection.incidents.late_reply()
        if not self.in_flight or (self._room and len(self.in_flight) <= self._low):
            self._wake()

    def _deliver_other(self, token: bytes, header: bytes | None, payload: bytes) -> None:
        """A refusal, a 503, or a PubAck in another form."""
        subject, _, _, place = self.in_flight[token]
        self._coverage.proven = max(place, self._coverage.proven)
        if header is not None and not payload and header.startswith(NO_RESPONDERS):
            self._end_failed(token, NoStreamResponseError(subject, 1))
            return
        try:
            ack = read_pub_ack(payload)
        except PublishInProcessError as error:
            self._end_unknown(token, error)
            return
        except APIError as error:
            self._end_failed(token, error)
            return
        except ProtocolError as error:
            self._end_unknown(token, error)
            return
        del self.in_flight[token]
        self.acknowledged += 1
        self._counters.publish_acks += 1
        self.duplicates += ack.duplicate
        self._counters.publish_duplicates += ack.duplicate

    def deliver_run(self, subject: bytes, payloads: list[bytes]) -> None:
        """Several answers to one publish: the first counts."""
        for payload in payloads:
            self.deliver(subject, None, None, payload)

    def skipped(self, subject: bytes, reason: str) -> None:
        """An answer could not be decoded."""
        token = subject[self._skip :]
        if token in self.in_flight:
            self._end_unknown(token, ProtocolError(f"the reply has a {reason}"))
            self._wake()

    def refused(self, error: PermissionsError) -> None:
        """The server refuses the inbox: no PubAck can come."""
        self._shut(lambda: server_error(error.text))
        self._end_all(lambda: server_error(error.text))

    def _wake(self) -> None:
        for _ in range(min(len(self._room), self._max - len(self.in_flight))):
            self._room.wake_one()
        if not self.in_flight and self._drained:
            self._drained.wake_all()

    # How publishes end otherwise

    def _end_failed(self, token: bytes, error: Exception) -> None:
        self.failed_count += 1
        self._note(token, error, self.failed)

    def _end_unknown(self, token: bytes, error: Exception) -> None:
        self.unknown_count += 1
        self._note(token, error, self.unknown)

    def _note(self, token: bytes, error: Exception, into: list[FailedPublish]) -> None:
        subject, message_id, *_ = self.in_flight.pop(token)
        reason = publish_failure_reason(error)
        self._counters.publish_failures[reason] += 1
        self._lines.note(subject, reason, error)
        if len(into) < self._errors_max:
            into.append(FailedPublish(subject, message_id, error))

    def _end_all(self, error: Callable[[], Exception]) -> None:
        for token in list(self.in_flight):
            self._end_unknown(token, error())
        self._room.wake_all()
        self._drained.wake_all()

    # A follower of the connection

    def link_up(self) -> tuple[bytes, ...]:
        """What is still in the queue is sent by this link, and has its time from now on: who waits must look again."""
        self._up_since = trio.current_time()
        self._room.wake_all()
        self._drained.wake_all()
        return ()

    def link_down(self) -> None:
        """What was written is unknown; what was not is in the queue, or waits for room."""
        queued = self._queued()
        for token in [token for token, (*_, place) in self.in_flight.items() if place]:
            if token in queued:
                self.set_place(token, 0)
            else:
                self._end_unknown(token, ConnectionLostError("the link died under the publish", sent="maybe"))
        self._wake()

    def publish_refused(self, error: ServerError, subject: bytes) -> bool:
        """The server refuses the subject: nothing that went there will be answered. They are publishes like others."""
        for token in [t for t, (name, *_) in self.in_flight.items() if name.encode("utf-8", "replace") == subject]:
            self._end_failed(token, server_error(error.text))
        self._wake()
        return False

    def given_up(self, frame: bytes, error: Callable[[], Exception]) -> None:
        """It left the queue unsent, with or without a link: while one is up, older publishes are sent first."""
        token = self._token_in(frame)
        if token is not None and token in self.in_flight:
            self._end_failed(token, error())
            self._wake()

    def handed_over(self, frame: bytes, place: int) -> None:
        """It left the queue for the present link."""
        token = self._token_in(frame)
        if token is not None:
            self.set_place(token, place)

    def closed(self) -> None:
        """The client is closed."""
        self._shut(lambda: ClientClosedError("the client is closed; open a new one with open_client()"))
        self._end_all(lambda: ClientClosedError("the client was closed before the PubAck came"))
