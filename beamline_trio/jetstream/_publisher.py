"""A pipelined publisher: a window of publishes in flight, every outcome known or reported as unknown at its end.

Made for speed: one interest for all PubAcks, a dictionary from the end of the reply subject to what was published, and
nothing else for each message: no task, no lock, no scope. A full window is waited for by who publishes. How what is in
flight ends is in `_publish_window`.

Must not retry: what is unknown or failed is its user's to publish again, under the same message id.
"""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType
from typing import Final

import trio

from ..connection import Outcome, Pace
from ..protocol import HeadersInput
from ._attachment import Attachment
from ._errors import FailedPublish, PublisherError
from ._puback import Expectations
from ._publish_window import PublishWindow

SUBJECTS_CACHED_MAX: Final = 4_096


class Publisher:
    """What `JetStream.publisher` returns: `async with` it, publish, and leave; safe to use from all tasks.

    Attributes:
        skipped_count: publishes not sent because the client fails open and had no connection.
    """

    def __init__(self, attachment: Attachment, max_in_flight: int, errors_max: int) -> None:
        self.skipped_count = 0
        self._attachment = attachment
        self._client = attachment.client
        self._outbox = attachment.client.connection.outbox
        self._counters = attachment.counters
        self._max = max_in_flight
        self._window = PublishWindow(attachment, max_in_flight, errors_max, self._shut)
        self._inbox = self._window.inbox
        self._in_flight = self._window.in_flight
        self._prefixes: dict[str, bytes] = {}
        self._last = 0
        self._time = attachment.clock.current_time
        self._pace = Pace()
        self._entered = False
        self._open = False
        self._why_shut: Callable[[], Exception] = _not_entered

    @property
    def acknowledged(self) -> int:
        """Publishes that a stream has stored, duplicates among them."""
        return self._window.acknowledged

    @property
    def duplicates(self) -> int:
        """Those of the acknowledged that the stream had before."""
        return self._window.duplicates

    @property
    def failed_count(self) -> int:
        """Publishes that were not stored."""
        return self._window.failed_count

    @property
    def unknown_count(self) -> int:
        """Publishes whose fate is unknown."""
        return self._window.unknown_count

    @property
    def failed(self) -> list[FailedPublish]:
        """The first `errors_max` of those that were not stored."""
        return self._window.failed

    @property
    def unknown(self) -> list[FailedPublish]:
        """The first `errors_max` of those whose fate is unknown."""
        return self._window.unknown

    @property
    def in_flight(self) -> int:
        """Publishes whose PubAck has not come."""
        return len(self._in_flight)

    async def __aenter__(self) -> Publisher:
        await trio.lowlevel.checkpoint()
        if self._entered:
            raise RuntimeError("a publisher is entered once; make another with JetStream.publisher()")
        self._window.open()
        self._entered = self._open = True
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._shut(_not_entered)
        try:
            if error is None:
                await self.flush()
        finally:
            self._window.close()
        window = self._window
        complete = not window.failed_count and not window.unknown_count
        if error is None and not complete and not self._client.connection.options.fail_open:
            raise PublisherError(tuple(window.failed), tuple(window.unknown), window.failed_count, window.unknown_count)

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
            self._window.set_place(token, self._outbox.place)
        return outcome

    async def flush(self) -> None:
        """Wait until nothing is in flight: every publish is acknowledged, failed, or unknown. Cancelled, none is lost.

        Never waits longer than `operation_timeout_seconds` from the last publish, or, without a connection, than
        `pending_timeout_seconds`.
        """
        await trio.lowlevel.checkpoint()
        await self._window.wait_drained()

    async def _wait_room(self) -> None:
        if not self._open:
            await trio.lowlevel.checkpoint()
            raise self._why_shut()
        await self._window.wait_room()
        self._pace.yielded()
        if not self._open:  # meanwhile
            raise self._why_shut()

    def _shut(self, why: Callable[[], Exception]) -> None:
        """Nothing is taken in any more."""
        self._open = False
        self._why_shut = why


def _not_entered() -> Exception:
    return RuntimeError("the publisher was not entered, or was left; publish inside: async with js.publisher()")
