"""One publish with its PubAck: the attempts, the retries, and what the caller is told.

A 503 is asked again twice, 250 ms apart (ADR-22): a stream may be choosing its leader. A `PublishRetry` goes further:
it sends again what may have arrived, under one message id, and stops before the stream would have forgotten that id.

Must not parse the wire.
"""

from __future__ import annotations

import logging
from typing import Final, NoReturn

import attrs
import trio

from ..connection import NEVER, OperationTimeoutError, PendingTimeoutError, State, failure_reason
from ..protocol import HeadersInput
from ._api import API, encode_request, is_no_responders, send_frame
from ._attachment import Attachment
from ._errors import (
    APIError,
    NoStreamResponseError,
    PublishUnknownError,
    WrongLastMessageIdError,
    WrongLastSequenceError,
)
from ._puback import SKIPPED, Expectations, PubAck, read_pub_ack
from ._retry import PublishRetry, is_retryable, is_unknown
from ._windows import DuplicateWindows

NO_STREAM_ATTEMPTS: Final = 3
NO_STREAM_PAUSE_SECONDS: Final = 0.25


@attrs.define(eq=False)
class PublishRequest:
    """A publish that was checked, and its first frame with the token in its reply subject."""

    subject: str
    target: bytes
    payload: bytes
    header: bytes | None
    first: tuple[bytes, bytes]
    expected_stream: str | None
    message_id: str | None


class Publishing:
    """The publishes of one JetStream object."""

    def __init__(self, attachment: Attachment, api: API) -> None:
        self._attachment = attachment
        self._counters = attachment.counters
        self._log = attachment.log
        self._windows = DuplicateWindows(api)

    async def publish(
        self,
        subject: str,
        payload: bytes | bytearray | memoryview,
        headers: HeadersInput | None,
        expectations: Expectations,
        retry: PublishRetry | None,
        raise_unmet: bool,
    ) -> PubAck:
        """See `JetStream.publish`."""
        try:
            request = self._checked(subject, payload, headers, expectations, retry)
        except Exception:
            await trio.lowlevel.checkpoint()
            raise
        connection = self._attachment.client.connection
        if not connection.link_is_up and connection.state is not State.CLOSED:
            if connection.options.fail_open:
                await trio.lowlevel.checkpoint()
                self._counters.publishes_skipped += 1
                connection.counters.skipped += 1
                return SKIPPED
            self._log_queued(subject)
        self._counters.publishes += 1
        began = trio.current_time()
        try:
            ack = await (self._attempt(request) if retry is None else self._persist(request, retry))
        except Exception as error:
            if raise_unmet and isinstance(error, (WrongLastSequenceError, WrongLastMessageIdError)):
                self._counters.publish_expectations_unmet += 1
                raise
            self._failed(subject, error)
            if connection.options.fail_open and connection.state is not State.CLOSED:
                return SKIPPED
            raise
        self._counters.publish_acks += 1
        self._counters.publish_duplicates += ack.duplicate
        self._counters.publish_latency.observe(trio.current_time() - began)
        return ack

    def _checked(
        self,
        subject: str,
        payload: bytes | bytearray | memoryview,
        headers: HeadersInput | None,
        expectations: Expectations,
        retry: PublishRetry | None,
    ) -> PublishRequest:
        if not isinstance(retry, (PublishRetry, type(None))):
            raise TypeError(f"retry must be a PublishRetry, not {type(retry).__name__}")
        if retry is not None and expectations.message_id is None:
            identifier = self._attachment.client.connection.environment.new_identifier()
            expectations = attrs.evolve(expectations, message_id=identifier)
        target = self._attachment.encoder.target(subject)
        header = expectations.header(headers)
        first = encode_request(self._attachment, target, payload, header)
        body = payload if type(payload) is bytes else bytes(payload)  # the caller may change a buffer meanwhile
        expected = expectations.expected_stream
        return PublishRequest(subject, target, body, header, first, expected, expectations.message_id)

    async def _attempt(self, request: PublishRequest) -> PubAck:
        """One attempt, with the server's own pace for a subject that no stream takes."""
        for attempt in range(NO_STREAM_ATTEMPTS):
            if attempt:
                await trio.sleep(NO_STREAM_PAUSE_SECONDS)
            reply = await send_frame(self._attachment, request.subject, request.target, *self._next_frame(request))
            if not is_no_responders(reply):
                return read_pub_ack(reply[3])
        raise NoStreamResponseError(request.subject, NO_STREAM_ATTEMPTS)

    def _next_frame(self, request: PublishRequest) -> tuple[bytes, bytes]:
        """The frame of the next attempt: that of the check once, then others with tokens of their own."""
        frame, token = request.first
        if token:
            request.first = (b"", b"")
            return frame, token
        return encode_request(self._attachment, request.target, request.payload, request.header)

    # Retries

    async def _persist(self, request: PublishRequest, retry: PublishRetry) -> PubAck:
        limit = trio.current_time() + retry.deadline_seconds
        window = await self._window(request, retry)
        uncertain = False
        attempt = 1
        while True:
            began = trio.current_time()
            try:
                ack = await self._bounded_attempt(request, retry, limit)
            except Exception as error:  # noqa: BLE001  # sorted in the next lines, and raised by them
                if is_unknown(error) and not uncertain:
                    uncertain = True
                    limit = min(limit, began + window - retry.duplicate_margin_seconds)
                await self._before_next(request, retry, attempt, limit, error, uncertain)
            else:
                self._windows.heard(request.subject, ack.stream)
                if attempt > 1:
                    self._counters.publish_retry_successes += 1
                    self._log(logging.INFO, "NATS_PUBLISH_RETRY_SUCCESS", subject=request.subject, attempt=attempt)
                return ack
            attempt += 1

    async def _bounded_attempt(self, request: PublishRequest, retry: PublishRetry, limit: float) -> PubAck:
        client = self._attachment.client
        own = trio.current_time() + retry.attempt_timeout_seconds
        bounded = client.connection.link_is_up and own <= limit
        subject, target = request.subject, request.target
        frame, token = self._next_frame(request)
        waiter = client.sender.request_waiter(frame, target, token)
        with trio.CancelScope(deadline=own if bounded else limit):
            reply = await send_frame(self._attachment, subject, target, frame, token, waiter)
            if is_no_responders(reply):
                raise NoStreamResponseError(subject, 1)
            return read_pub_ack(reply[3])
        took = f"within {retry.attempt_timeout_seconds:g} s (attempt_timeout_seconds)"
        if not bounded:
            took = f"within {retry.deadline_seconds:g} s (deadline_seconds), or the duplicate window of its stream"
        if waiter.written_at == NEVER:  # the link was lost before the write, and it was withdrawn
            raise PendingTimeoutError(f"the publish to {subject} could not be sent {took}; nothing was sent")
        raise OperationTimeoutError(f"no PubAck for {subject} {took}; it may or may not have been stored")

    async def _before_next(
        self,
        request: PublishRequest,
        retry: PublishRetry,
        attempt: int,
        limit: float,
        error: Exception,
        uncertain: bool,
    ) -> None:
        """Wait for the next attempt, or raise because there is none."""
        subject, why = request.subject, str(error)
        if not is_retryable(error):
            self._log(logging.WARNING, "NATS_PUBLISH_NON_RETRYABLE_ERROR", subject=subject, attempt=attempt, reason=why)
            self._give_up(request, error, uncertain)
        if attempt >= retry.attempts:
            self._log(
                logging.WARNING, "NATS_PUBLISH_MAX_ATTEMPTS_EXCEEDED", subject=subject, attempt=attempt, reason=why
            )
            self._give_up(request, error, uncertain)
        delay = retry.delay(attempt, self._attachment.client.connection.environment.random)
        if trio.current_time() + delay >= limit:
            self._log(logging.WARNING, "NATS_PUBLISH_DEADLINE_EXCEEDED", subject=subject, attempt=attempt, reason=why)
            self._give_up(request, error, uncertain)
        self._counters.publish_retries += 1
        self._counters.publish_retry_delay.observe(delay)
        self._log(
            logging.INFO,
            "NATS_PUBLISH_RETRY_ATTEMPT",
            subject=subject,
            attempt=attempt + 1,
            reason=why,
            delay=round(delay, 3),
        )
        await trio.sleep(delay)

    def _give_up(self, request: PublishRequest, error: Exception, uncertain: bool) -> NoReturn:
        self._counters.publish_retry_failures += 1
        if uncertain and not is_unknown(error):
            raise PublishUnknownError(request.subject, request.message_id, error) from error
        raise error

    async def _window(self, request: PublishRequest, retry: PublishRetry) -> float:
        """The duplicate window of the stream of a subject, else what the policy assumes."""
        known = self._windows.find(request.subject, request.expected_stream)
        if known is None and self._attachment.client.connection.link_is_up:
            with trio.move_on_after(retry.attempt_timeout_seconds):
                known = await self._windows.ask(request.subject, request.expected_stream)
        return known.seconds if known is not None else retry.duplicate_window_seconds

    # Books

    def _failed(self, subject: str, error: Exception) -> None:
        reason = publish_failure_reason(error)
        self._counters.publish_failures[reason] += 1
        self._log(
            logging.WARNING, "NATS_PUBLISH_WITH_ACK_ERROR", subject=subject, reason=reason, error=str(error), count=1
        )

    def _log_queued(self, subject: str) -> None:
        state = str(self._attachment.client.state)
        self._log(logging.WARNING, "NATS_PUBLISH_WITH_ACK_QUEUED", subject=subject, state=state)


def publish_failure_reason(error: Exception) -> str:
    """The label of a failed publish in the counters."""
    if isinstance(error, NoStreamResponseError):
        return "no_responders"
    if isinstance(error, APIError):
        return "api_error"
    if isinstance(error, PublishUnknownError):
        return "timeout"
    return failure_reason(error)
