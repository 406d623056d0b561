"""A pipelined publisher: a window of publishes in flight, every outcome known or reported as unknown at its end.

Made for speed: one interest for all PubAcks, a dictionary from the end of the reply subject to what was published, and
nothing else for each message: no task, no lock, no scope. A full window is waited for by who publishes, and woken when
a quarter of it is free. When the link dies, what was written is unknown at once; what was not is still on its way. An
answer to a publish shows that the server has had everything that was written before it on the same link: for that the
place of each publish on its way is known (0: it waits for room, or for a connection).

Must not retry: what is unknown or failed is its user's to publish again, under the same message id.
"""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType
from typing import Final

import trio

from ..connection import (
    NEVER,
    ClientClosedError,
    ConnectionLostError,
    Interest,
    Lot,
    OperationTimeoutError,
    Outcome,
    Pace,
)
from ..protocol import HeadersInput, PermissionsError, ProtocolError, ServerError, server_error
from ._api import NO_RESPONDERS
from ._attachment import Attachment
from ._errors import APIError, FailedPublish, NoStreamResponseError, PublisherError
from ._failure_lines import FailureLines
from ._puback import Expectations, read_pub_ack
from ._publishing import publish_failure_reason

SUBJECTS_CACHED_MAX: Final = 4_096
_STORED: Final = b'{"stream":'
_ERROR: Final = b'"error"'
_DUPLICATE: Final = b'"duplicate"'


class Publisher:
    """What `JetStream.publisher` returns: `async with` it, publish, and leave; safe to use from all tasks.

    Attributes:
        acknowledged: publishes that a stream has stored, duplicates among them.
        duplicates: those of them that it had before.
        skipped_count: publishes not sent because the client fails open and had no connection.
        failed_count: publishes that were not stored; the first `errors_max` are in `failed`.
        unknown_count: publishes whose fate is unknown; the first `errors_max` are in `unknown`.
    """

    def __init__(self, attachment: Attachment, max_in_flight: int, errors_max: int) -> None:
        self.acknowledged = 0
        self.duplicates = 0
        self.skipped_count = 0
        self.failed_count = 0
        self.unknown_count = 0
        self.failed: list[FailedPublish] = []
        self.unknown: list[FailedPublish] = []
        self.delivered = 0
        self._attachment = attachment
        self._client = attachment.client
        self._connection = attachment.client.connection
        self._outbox = self._connection.outbox
        self._coverage = self._outbox.coverage
        self._counters = attachment.counters
        self._lines = FailureLines(self._connection)
        self._max = max_in_flight
        self._low = max_in_flight - max(1, max_in_flight // 4)
        self._errors_max = errors_max
        self._inbox = attachment.new_inbox()
        self._skip = len(self._inbox)
        self._interest: Interest | None = None
        self._in_flight: dict[bytes, tuple[str, str | None, float, int]] = {}
        self._prefixes: dict[str, bytes] = {}
        self._last = 0
        self._time = attachment.clock.current_time
        self._up_since = 0.0
        self._pace = Pace()
        self._room = Lot()
        self._drained = Lot()
        self._open = False
        self._why_shut: Callable[[], Exception] = _not_entered

    @property
    def in_flight(self) -> int:
        """Publishes whose PubAck has not come."""
        return len(self._in_flight)

    async def __aenter__(self) -> Publisher:
        await trio.lowlevel.checkpoint()
        if self._interest is not None:
            raise RuntimeError("a publisher is entered once; make another with JetStream.publisher()")
        self._interest = self._connection.subscribe(self._inbox + b"*", None, None, self)
        self._connection.followers.append(self)
        self._open = True
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._shut(_not_entered)
        try:
            if error is None:
                await self.flush()
        finally:
            self._close()
        complete = not self.failed_count and not self.unknown_count
        if error is None and not complete and not self._connection.options.fail_open:
            raise PublisherError(tuple(self.failed), tuple(self.unknown), self.failed_count, self.unknown_count)

    async def publish(
        self,
        subject: str,
        payload: bytes | bytearray | memoryview = b"",
        *,
        headers: HeadersInput | None = None,
        message_id: str | None = None,
        expected_stream: str | None = None,
        ttl_seconds: float | None = None,
    ) -> Outcome:
        """Publish without waiting for the PubAck.

        Waits while `max_in_flight` are in flight, and for room as `Client.publish` does. An amortised checkpoint, as
        that is. Cancelled, nothing was sent.

        What becomes of it shows in the counters, in `failed` and `unknown`, and in the error on leaving.

        Raises:
            TypeError, ValueError, InvalidSubjectError, InvalidHeaderError, PayloadTooLargeError: nothing was sent.
            ConnectionLostError: the state is `exhausted`. PendingFullError, PendingTimeoutError: see `Client.publish`.
            PermissionsError: the server refuses the inbox: no PubAck can come.
            ClientClosedError: the client is closed.
            RuntimeError: the publisher was not entered, or was left.
        """
        outbox = self._outbox
        if outbox.free <= 0:
            await self._pace.check()
            outbox.grant()
        if len(self._in_flight) >= self._max or not self._open:
            await self._wait_room()
        self._last += 1
        token = b"%x" % self._last
        if headers is None and message_id is None and type(payload) is bytes and outbox.room > 0:
            prefix = self._prefixes.get(subject)
            if (
                prefix is not None
                and len(payload) <= outbox.payload_max
                and expected_stream is None
                and ttl_seconds is None
            ):
                frame = b"%b%b %d\r\n%b\r\n" % (prefix, token, len(payload), payload)
                outbox.free = free = outbox.free - 1
                outbox.room -= len(frame)
                outbox.append(frame)
                self._counters.publishes += 1
                self._in_flight[token] = (subject, None, self._time(), outbox.top - free)
                return Outcome.SENT
        expectations = Expectations(message_id=message_id, expected_stream=expected_stream, ttl_seconds=ttl_seconds)
        return await self._publish_slowly(subject, payload, headers, expectations, token)

    async def _publish_slowly(
        self,
        subject: str,
        payload: bytes | bytearray | memoryview,
        headers: HeadersInput | None,
        expectations: Expectations,
        token: bytes,
    ) -> Outcome:
        """What is not on the hot path: headers, a new subject, an idle or full outbox, no link."""
        encoder = self._attachment.encoder
        try:
            target = encoder.target(subject)
            frame = encoder.frame(target, payload, self._inbox + token, expectations.header(headers))
        except Exception:
            self._outbox.spend()  # a loop of failing calls must not starve the others
            raise
        if len(self._prefixes) >= SUBJECTS_CACHED_MAX:
            self._prefixes.clear()
        self._prefixes[subject] = b"PUB %b %b" % (target, self._inbox)
        self._in_flight[token] = (subject, expectations.message_id, trio.current_time(), 0)
        outcome = Outcome.SKIPPED
        try:
            outcome = await self._client.sender.send(frame, subject)
        finally:
            if outcome is Outcome.SKIPPED:  # or it was not taken in
                self._in_flight.pop(token, None)
        if outcome is Outcome.SKIPPED:
            self.skipped_count += 1
            self._counters.publishes_skipped += 1
            return outcome
        self._counters.publishes += 1
        if outcome is Outcome.SENT:
            self._set_place(token, self._outbox.place)
        return outcome

    async def flush(self) -> None:
        """Wait until nothing is in flight: every publish is acknowledged, failed, or unknown. Cancelled, none is lost.

        Never waits longer than `operation_timeout_seconds` from the last publish, or, without a connection, than
        `pending_timeout_seconds`.
        """
        await trio.lowlevel.checkpoint()
        while self._in_flight:
            await self._wait(0)

    # Waiting

    async def _wait_room(self) -> None:
        if not self._open:
            await trio.lowlevel.checkpoint()
            raise self._why_shut()
        while len(self._in_flight) >= self._max:
            await self._wait(self._low)
        self._pace.yielded()
        if not self._open:  # meanwhile
            raise self._why_shut()

    async def _wait(self, low: int) -> None:
        """Until so few are in flight, or the oldest runs out of time."""
        lot = self._drained if low == 0 else self._room
        with trio.CancelScope(deadline=self._next_deadline()):
            await lot.wait()
        if self._in_flight:
            self._sweep(trio.current_time())

    def _next_deadline(self) -> float:
        """When something may have run out of time. Without a link the queue has its own times, and tells."""
        connection = self._connection
        timeout = connection.options.operation_timeout_seconds
        if timeout is None or not connection.link_is_up:
            return NEVER
        return max(next(iter(self._in_flight.values()))[2], self._up_since) + timeout

    def _sweep(self, now: float) -> None:
        """End what has run out of time."""
        timeout = self._connection.options.operation_timeout_seconds
        if timeout is None or not self._connection.link_is_up:
            return
        up_since = self._up_since
        overdue = [t for t, (_, _, since, _) in self._in_flight.items() if max(since, up_since) + timeout <= now]
        for token in overdue:  # reckoned as the deadline that was waited for: to the bit, or the wait would spin
            text = f"no PubAck within {timeout:g} s (operation_timeout_seconds)"
            self._end_unknown(token, OperationTimeoutError(f"{text}; it may or may not have been stored"))
        self._lines.write()
        self._wake()

    def _queued(self) -> set[bytes]:
        """The tokens of what waits for a connection."""
        return {token for token in map(self._token_in, self._connection.pending.frames()) if token is not None}

    def _set_place(self, token: bytes, place: int) -> None:
        entry = self._in_flight.get(token)
        if entry is not None:
            self._in_flight[token] = (*entry[:3], place)

    def _token_in(self, frame: bytes) -> bytes | None:
        """The token of a frame, if it is one of this publisher's."""
        parts = frame.split(b" ", 3)
        is_ours = len(parts) > 3 and parts[2].startswith(self._inbox)
        return parts[2][self._skip :] if is_ours else None

    # What the reader tells

    def deliver(self, subject: bytes, reply: bytes | None, header: bytes | None, payload: bytes) -> None:
        """A PubAck, or what a stream, or the server, says instead."""
        self.delivered += 1
        token = subject[self._skip :]
        if header is None and payload.startswith(_STORED) and _ERROR not in payload:
            entry = self._in_flight.pop(token, None)
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
        elif token in self._in_flight:
            self._deliver_other(token, header, payload)
        else:
            self._connection.incidents.late_reply()
        if not self._in_flight or (self._room and len(self._in_flight) <= self._low):
            self._wake()

    def _deliver_other(self, token: bytes, header: bytes | None, payload: bytes) -> None:
        """A refusal, a 503, or a PubAck in another form."""
        subject, _, _, place = self._in_flight[token]
        self._coverage.proven = max(place, self._coverage.proven)
        if header is not None and not payload and header.startswith(NO_RESPONDERS):
            self._end_failed(token, NoStreamResponseError(subject, 1))
            return
        try:
            ack = read_pub_ack(payload)
        except APIError as error:
            self._end_failed(token, error)
            return
        except ProtocolError as error:
            self._end_unknown(token, error)
            return
        del self._in_flight[token]
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
        if token in self._in_flight:
            self._end_unknown(token, ProtocolError(f"the reply has a {reason}"))
            self._wake()

    def refused(self, error: PermissionsError) -> None:
        """The server refuses the inbox: no PubAck can come."""
        self._shut(lambda: server_error(error.text))
        self._end_all(lambda: server_error(error.text))

    def _wake(self) -> None:
        for _ in range(min(len(self._room), self._max - len(self._in_flight))):
            self._room.wake_one()
        if not self._in_flight and self._drained:
            self._drained.wake_all()

    # How publishes end otherwise

    def _end_failed(self, token: bytes, error: Exception) -> None:
        self.failed_count += 1
        self._note(token, error, self.failed)

    def _end_unknown(self, token: bytes, error: Exception) -> None:
        self.unknown_count += 1
        self._note(token, error, self.unknown)

    def _note(self, token: bytes, error: Exception, into: list[FailedPublish]) -> None:
        subject, message_id, *_ = self._in_flight.pop(token)
        reason = publish_failure_reason(error)
        self._counters.publish_failures[reason] += 1
        self._lines.note(subject, reason, error)
        if len(into) < self._errors_max:
            into.append(FailedPublish(subject, message_id, error))

    def _shut(self, why: Callable[[], Exception]) -> None:
        """Nothing is taken in any more."""
        self._open = False
        self._why_shut = why

    def _end_all(self, error: Callable[[], Exception]) -> None:
        for token in list(self._in_flight):
            self._end_unknown(token, error())
        self._room.wake_all()
        self._drained.wake_all()

    def _close(self) -> None:
        """Leave: what is still in flight is unknown, and its PubAcks are for nobody."""
        self._end_all(lambda: ClientClosedError("the publisher was left before the PubAck came"))
        self._lines.write()
        if self._interest is not None:
            self._connection.unsubscribe(self._interest)
        if self in self._connection.followers:
            self._connection.followers.remove(self)

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
        for token in [token for token, (*_, place) in self._in_flight.items() if place]:
            if token in queued:
                self._set_place(token, 0)
            else:
                self._end_unknown(token, ConnectionLostError("the link died under the publish", sent="maybe"))
        self._wake()

    def publish_refused(self, error: ServerError, subject: bytes) -> bool:
        """The server refuses the subject: nothing that went there will be answered. They are publishes like others."""
        for token in [t for t, (name, *_) in self._in_flight.items() if name.encode("utf-8", "replace") == subject]:
            self._end_failed(token, server_error(error.text))
        self._wake()
        return False

    def given_up(self, frame: bytes, error: Callable[[], Exception]) -> None:
        """It left the queue unsent, with or without a link: while one is up, older publishes are sent first."""
        token = self._token_in(frame)
        if token is not None and token in self._in_flight:
            self._end_failed(token, error())
            self._wake()

    def handed_over(self, frame: bytes, place: int) -> None:
        """It left the queue for the present link."""
        token = self._token_in(frame)
        if token is not None:
            self._set_place(token, place)

    def closed(self) -> None:
        """The client is closed."""
        self._shut(lambda: ClientClosedError("the client is closed; open a new one with open_client()"))
        self._end_all(lambda: ClientClosedError("the client was closed before the PubAck came"))


def _not_entered() -> Exception:
    return RuntimeError("the publisher was not entered, or was left; publish inside: async with js.publisher()")
