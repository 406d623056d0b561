"""The home stream of a region: publishes there, and what is known of those that had no answer.

All attempts of a message carry one id. Inside the stream's duplicate window the stream itself stores it once; past it a
message that may have been stored is looked up by its id before it is sent again. A stream that does not keep what was
consumed (work queue, interest) cannot be asked: there the duplicate window is all there is, which is counted.

Must not wait for a region to come back.
"""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Final

import attrs
import trio

from ..client import PublishEncoder
from ..connection import OperationTimeoutError
from ..jetstream import (
    Consumer,
    ConsumerConfig,
    ConsumerDeletedError,
    ConsumerNotFoundError,
    JetStream,
    JetStreamMessage,
    MessageNotFoundError,
    PubAck,
    PublisherError,
    PublishRetry,
    PullRefusedError,
    StreamConfig,
    check_message_id,
    is_retryable,
    is_unknown,
)
from ..protocol import Headers, HeadersInput, NatsError, ProtocolError
from ._region_options import Home

MESSAGE_ID: Final = "Nats-Msg-Id"
_LOOK_UP_BATCH: Final = 500
_LOOK_UP_IDLE_SECONDS: Final = 30.0
# More subjects than this are looked up among all.
_SUBJECTS_MAX: Final = 64
_ALL: Final = ">"


@attrs.define(eq=False, kw_only=True)
class HomeMessage:
    """A message on its way home.

    Attributes:
        subject: its own.
        payload: its bytes.
        headers: its own, without the id.
        message_id: under which it is stored once.
        unknown_since: when an attempt was made that may have stored it, by `trio.current_time()`; None = none was.
        stored_at: where the home stream has it, once it is known.
    """

    subject: str
    payload: bytes
    headers: Headers | None
    message_id: str
    unknown_since: float | None = None
    stored_at: PubAck | None = None


class HomeStream:
    """The stream of one region.

    Attributes:
        found: messages that were in the stream already when they were looked up.
        unchecked: messages of unknown fate that were sent again past the window, since the stream cannot be asked.

    Args:
        jetstream: by which it is reached.
        home: which it is.
    """

    def __init__(self, jetstream: JetStream, home: Home) -> None:
        self._jetstream = jetstream
        self._home = home
        self._encoder = PublishEncoder(jetstream.client.connection)
        self._retry = PublishRetry(
            attempts=1,
            attempt_timeout_seconds=home.attempt_timeout_seconds,
            deadline_seconds=home.attempt_timeout_seconds,
        )
        self._config: StreamConfig | None = None
        self._config_at = 0.0
        self.found = 0
        self.unchecked = 0

    def check(
        self, subject: str, payload: bytes | bytearray | memoryview, headers: HeadersInput | None, message_id: str
    ) -> int:
        """Raise what every attempt would raise, before the message waits or is kept; the bytes that it takes.

        Raises:
            TypeError, ValueError, InvalidSubjectError, InvalidHeaderError, PayloadTooLargeError: see
                `JetStream.publish`.
        """
        block = Headers(headers if headers is not None else ())
        block[MESSAGE_ID] = check_message_id(message_id)
        block["Nats-Expected-Stream"] = self._home.stream
        return len(self._encoder.encode(subject, payload, None, block))

    async def ask(self) -> str | None:
        """Whether it answers: None, or why not."""
        seconds = self._home.attempt_timeout_seconds
        with trio.move_on_after(seconds):
            try:
                await self._jetstream.stream_info(self._home.stream)
            except (NatsError, trio.TooSlowError) as error:
                return str(error)
            return None
        return f"no answer within {seconds:g} s (attempt_timeout_seconds)"

    async def publish(self, message: HomeMessage) -> PubAck:
        """One attempt; a message that is there already is its own answer.

        Raises:
            NatsError, trio.TooSlowError: it failed; `is_retryable` of jetstream tells whether another attempt may end
                better.
        """
        await self._look_up([message])
        if message.stored_at is not None:
            return message.stored_at
        known = message.unknown_since is None
        if known:  # from now on, and if it is cancelled, it may have been stored
            message.unknown_since = trio.current_time()
        try:
            return await self._send(message)
        except Exception as error:
            if known and not is_unknown(error):
                message.unknown_since = None
            raise

    async def publish_all(self, messages: Sequence[HomeMessage]) -> tuple[list[HomeMessage], Exception | None]:
        """One attempt of several, no two of which belong together: those that are not confirmed, and why the first.

        Raises:
            NatsError, trio.TooSlowError: what may be there already could not be looked up.
        """
        if len(messages) == 1:
            try:
                await self.publish(messages[0])
            except (NatsError, trio.TooSlowError) as error:
                return list(messages), error
            return [], None
        await self._look_up(messages)
        missing = [message for message in messages if message.stored_at is None]
        doubtful = [message for message in missing if message.unknown_since is not None]
        fresh = [message for message in missing if message.unknown_since is None]
        left, reason = await self._again(doubtful)
        if reason is not None and is_retryable(reason):  # it is away: the others would be doubtful too
            return [*left, *fresh], reason
        began = trio.current_time()
        more, other = await self._pipelined(fresh)
        for message in more:
            message.unknown_since = began
        return [*left, *more], reason or other

    async def _send(self, message: HomeMessage) -> PubAck:
        """Publish it; what cannot be written within `attempt_timeout_seconds` is withdrawn, and never sent."""
        return await self._jetstream.publish(
            message.subject,
            message.payload,
            headers=message.headers,
            message_id=message.message_id,
            expected_stream=self._home.stream,
            retry=self._retry,
        )

    async def _again(self, messages: Sequence[HomeMessage]) -> tuple[list[HomeMessage], Exception | None]:
        """Those that may be there already, which the stream remembers just now: sent in their time, or not at all.

        One finds out whether it answers, then the others go together; whose time is over meanwhile is left.
        """
        failures: list[tuple[HomeMessage, Exception]] = []

        async def attempt(message: HomeMessage) -> None:
            try:
                await self._send(message)
            except (NatsError, trio.TooSlowError) as error:
                failures.append((message, error))

        for message in messages[:1]:
            await attempt(message)
        late: list[HomeMessage] = []
        if len(messages) > 1:
            if failures and is_retryable(failures[0][1]):
                return list(messages), failures[0][1]
            config = await self._stream_config()
            if _can_be_asked(config):
                late = self._forgotten(config, messages[1:])
            async with trio.open_nursery() as nursery:
                for message in messages[1:]:
                    if message not in late:
                        nursery.start_soon(attempt, message)
        return [*late, *(message for message, _ in failures)], failures[0][1] if failures else None

    async def _pipelined(self, messages: Sequence[HomeMessage]) -> tuple[list[HomeMessage], Exception | None]:
        """Those that were never sent: over an outage of the link they may wait in the client's queue for long.

        Nothing that may be there already goes this way: its time could be over when it is sent.
        """
        if not messages:
            return [], None
        publisher = self._jetstream.publisher(len(messages), errors_max=len(messages))
        try:
            with suppress(PublisherError):  # what it says is in its lists
                async with publisher:
                    for message in messages:
                        await publisher.publish(
                            message.subject,
                            message.payload,
                            headers=message.headers,
                            message_id=message.message_id,
                            expected_stream=self._home.stream,
                        )
        except (NatsError, trio.TooSlowError) as error:
            return list(messages), error
        failures = (*publisher.failed, *publisher.unknown)
        ids = {failure.message_id for failure in failures}
        left = [message for message in messages if message.message_id in ids]
        return left, failures[0].error if failures else None

    # What may be there already

    async def _look_up(self, messages: Sequence[HomeMessage]) -> None:
        """Find those that may have been stored longer ago than the stream remembers ids."""
        if all(message.unknown_since is None for message in messages):
            return
        while True:  # a look-up takes time, and the time of others may be over behind it
            config = await self._stream_config()
            doubtful = self._forgotten(config, messages)
            if not doubtful:
                return
            if not _can_be_asked(config):
                self.unchecked += len(doubtful)
                return
            now = trio.current_time()
            since = now - min(message.unknown_since or now for message in doubtful) + self._home.margin_seconds
            there = await self._find_since(since, doubtful)
            for message in doubtful:
                sequence = there.get(message.message_id)
                if sequence is not None:
                    message.stored_at = PubAck(self._home.stream, sequence, duplicate=True)
                    self.found += 1
                else:
                    message.unknown_since = None  # it is not there: another attempt is a first one

    def _forgotten(self, config: StreamConfig, messages: Sequence[HomeMessage]) -> list[HomeMessage]:
        """Those that may have been stored longer ago than the stream remembers ids."""
        safe = (config.duplicate_window_seconds or 0.0) - self._home.margin_seconds
        now = trio.current_time()
        return [
            message
            for message in messages
            if message.stored_at is None and message.unknown_since is not None and now - message.unknown_since > safe
        ]

    async def _stream_config(self) -> StreamConfig:
        """As it was no longer ago than the margin: its window may be shortened, or the stream made anew, meanwhile."""
        asked_at = trio.current_time()
        if self._config is not None and asked_at - self._config_at <= self._home.margin_seconds:
            return self._config
        self._config = (await self._jetstream.stream_info(self._home.stream)).config
        self._config_at = asked_at
        return self._config

    async def _find_since(self, seconds: float, messages: Sequence[HomeMessage]) -> Mapping[str, int]:
        """The ids of those that the stream has stored in the last so many seconds, and where.

        Raises:
            OperationTimeoutError: something may have been overlooked, so that it has to begin anew.
        """
        environment = self._jetstream.client.connection.environment
        start = datetime.datetime.fromtimestamp(environment.wall_clock() - seconds, datetime.UTC)
        ids = {message.message_id for message in messages}
        subjects = sorted({message.subject for message in messages})
        filters = subjects if len(subjects) <= _SUBJECTS_MAX else None
        last = await self._last_since(start, filters or [_ALL])  # asked first: others may publish all the time
        consumer = await self._jetstream.create_consumer(
            self._home.stream,
            ConsumerConfig(
                name=environment.new_identifier(),
                deliver_policy="by_start_time",
                opt_start_time=start,
                ack_policy="none",
                filter_subjects=filters,
                headers_only=True,
                mem_storage=True,
                num_replicas=1,
                inactive_threshold_seconds=_LOOK_UP_IDLE_SECONDS,
            ),
        )
        found, seen = await self._look_through(consumer, ids)
        with suppress(ConsumerNotFoundError):  # idle for so long, as over an outage, that its server has dropped it
            await self._jetstream.delete_consumer(self._home.stream, consumer.name)
        if seen < last and len(found) < len(ids):
            raise self._begin_anew(f"its consumer is at {seen}, behind the leader of the stream, which is at {last}")
        return found

    async def _last_since(self, start: datetime.datetime, subjects: Sequence[str]) -> int:
        """The last sequence that the stream has stored from then on, by its leader, who has sent the PubAcks; or 0.

        A consumer of one replica may be on a server that has not yet all of it.
        """
        stored = [0]
        failures: list[Exception] = []

        async def ask(subject: str) -> None:
            try:
                message = await self._jetstream.get_message(self._home.stream, subject=subject)
            except (MessageNotFoundError, ProtocolError):  # nobody can read its headers: it is of somebody else
                return
            except (NatsError, trio.TooSlowError) as error:
                failures.append(error)
                return
            if message.time is None or message.time >= start:
                stored.append(message.sequence)

        async with trio.open_nursery() as nursery:
            for subject in subjects:
                nursery.start_soon(ask, subject)
        if failures:
            raise failures[0]
        return max(stored)

    async def _look_through(self, consumer: Consumer, ids: set[str]) -> tuple[dict[str, int], int]:
        """Which of these ids the consumer has, and the last sequence that it gave.

        Nothing is acked, so a delivery that was lost, with a link say, does not come again: deliveries are counted.
        """
        found: dict[str, int] = {}
        counters = self._jetstream.client.connection.counters
        left = consumer.cached_info.num_pending
        following = 1
        seen = unread = 0
        while left:
            malformed = counters.malformed
            batch = await self._fetch(consumer, min(left, _LOOK_UP_BATCH))  # no more, or the server waits for the rest
            unread += counters.malformed - malformed  # delivered, and skipped by this client; none has an id of ours
            if not batch:
                if unread >= left:
                    break
                raise self._begin_anew(
                    f"{left} messages could not be looked at within {self._home.attempt_timeout_seconds:g} s "
                    "(attempt_timeout_seconds)"
                )
            for message in batch:
                metadata = message.metadata
                gap = metadata.consumer_sequence - following
                if not 0 <= gap <= unread:
                    raise self._begin_anew(f"delivery {following} was lost, and {metadata.consumer_sequence} came")
                unread -= gap
                following = metadata.consumer_sequence + 1
                seen = metadata.stream_sequence
                identifier = message.headers.get(MESSAGE_ID) if message.headers is not None else None
                if identifier in ids:
                    found[identifier] = seen
                left = min(left - 1 - gap, metadata.pending)  # what is stored meanwhile is none of them
        return found, seen

    async def _fetch(self, consumer: Consumer, count: int) -> list[JetStreamMessage]:
        try:
            return await consumer.fetch(count, expires_seconds=self._home.attempt_timeout_seconds)
        except (ConsumerNotFoundError, ConsumerDeletedError, PullRefusedError) as gone:
            raise self._begin_anew(str(gone)) from gone

    def _begin_anew(self, why: str) -> OperationTimeoutError:
        return OperationTimeoutError(f"the look-up of ids in {self._home.stream} has to begin anew: {why}")


def _can_be_asked(config: StreamConfig) -> bool:
    """Whether a stream knows what was consumed."""
    return config.retention in (None, "limits")
