"""Messages of another region that a stream of one's own keeps until they can go home, and their way there.

Each is stored under a subject of this publisher alone, with its own subject and id in headers, and acked when its home
has it, which removes it: the stream is a work queue. They leave in their order: of what belongs together one after
the other, the rest pipelined. A delivery that was lost on its way would come again behind later ones; so deliveries
are counted, and where one is missing the consumer is made anew, which begins with the oldest that is kept. What was
delivered before, to this consumer or to one before it, may be at home already, and is treated as a publish of unknown
fate; so is what the stream stored between two drains, when publishes went home.

Must not decide when it is used.
"""

from __future__ import annotations

import zlib
from collections.abc import Hashable, Sequence
from contextlib import suppress
from typing import Final

import trio

from ..connection import OptionsError
from ..jetstream import (
    Consumer,
    ConsumerConfig,
    ConsumerNotFoundError,
    JetStream,
    JetStreamMessage,
    MessageNotFoundError,
    PubAck,
    PublishRetry,
    StreamConfig,
)
from ..protocol import Headers, InvalidHeaderError
from ._home import HomeMessage
from ._region_options import Home, LocalStream

SUBJECT: Final = "Beamline-Home-Subject"
KEY: Final = "Beamline-Home-Key"
MESSAGE_ID: Final = "Beamline-Home-Msg-Id"
# Seconds since 1970 of the attempt at home that may have stored it.
UNKNOWN_SINCE: Final = "Beamline-Home-Unknown-Since"
_OWN: Final = (SUBJECT, KEY, MESSAGE_ID, UNKNOWN_SINCE, "Nats-Msg-Id", "Nats-Expected-Stream")
# What a server acts by is for the home, and goes under another name past the server that keeps it.
_TO_SERVERS: Final = "Nats-"
_ASIDE: Final = "Beamline-Home-"
_EXPECTATION: Final = "Nats-Expected-Last-"
_ATTEMPTS: Final = 10
# Looks at which only the stream knew of a message, before the consumer is made anew.
_BEHIND_MAX: Final = 20
_DEADLINE_SECONDS: Final = 60.0


class Kept:
    """What is kept for one home.

    Attributes:
        count: messages that are kept, as far as is known.
        storing: messages on their way into the stream.
        stored: messages that were kept, ever.

    Args:
        jetstream: of the own region.
        home: whose messages they are.
        local: where they are.
    """

    def __init__(self, jetstream: JetStream, home: Home, local: LocalStream) -> None:
        self._jetstream = jetstream
        self._environment = jetstream.client.connection.environment
        self._home = home
        self._local = local
        self._retry = PublishRetry(attempts=_ATTEMPTS, deadline_seconds=_DEADLINE_SECONDS)
        self._consumer: Consumer | None = None
        self._next = 1
        self._behind = 0
        self._earlier = 0
        self._first: int | None = None  # that this drain is known to have kept
        self.count = 0
        self.storing = 0
        self.stored = 0

    async def check(self) -> None:
        """Refuse a stream that would lose what it keeps; what another one has kept goes home whatever it is.

        Raises:
            NatsError: the stream is not there.
            OptionsError: it drops the oldest message when it is full, or messages of some age.
        """
        _check_limits((await self._jetstream.stream_info(self._local.stream)).config)

    async def open(self) -> None:
        """Make the consumer anew: it begins with the oldest message that is kept.

        Raises:
            NatsError: the stream is not there, or does not take the subject.
            OptionsError: it is no work queue.
        """
        local = self._local
        info = await self._jetstream.stream_info(local.stream)
        if info.config.retention != "workqueue":
            raise OptionsError(
                f"the stream {local.stream} keeps messages of other regions and has the retention "
                f"{info.config.retention}; it must be workqueue, so that what went home is kept no longer"
            )
        name = _consumer_name(local.subject)
        with suppress(ConsumerNotFoundError):
            await self._jetstream.delete_consumer(local.stream, name)
        config = ConsumerConfig(durable_name=name, filter_subject=local.subject, max_ack_pending=local.batch)
        self._consumer = await self._jetstream.create_consumer(local.stream, config)
        self._next = 1
        self._behind = 0
        self._earlier = info.state.last_seq
        self.count = self._consumer.cached_info.num_pending

    def begin(self) -> None:
        """A drain begins: what the stream has already may be at home, as publishes went there until now."""
        self._first = None

    async def store(self, message: HomeMessage, key: Hashable) -> PubAck:
        """Keep a message.

        The stream may keep messages of several homes, and the same id for each of them.

        Raises:
            InvalidHeaderError: it expects a last message of its home, which only that knows.
            NatsError: the stream does not take it.
        """
        headers = _set_aside(message.headers)
        headers[SUBJECT] = message.subject
        headers[MESSAGE_ID] = message.message_id
        headers[KEY] = _sum(str(key))
        if message.unknown_since is not None:
            ago = trio.current_time() - message.unknown_since
            headers[UNKNOWN_SINCE] = f"{self._environment.wall_clock() - ago:.3f}"
        self.storing += 1
        try:
            ack = await self._jetstream.publish(
                self._local.subject,
                message.payload,
                headers=headers,
                message_id=f"{self._home.region}:{self._home.stream}:{message.message_id}",
                expected_stream=self._local.stream,
                retry=self._retry,
            )
        finally:
            self.storing -= 1
        if not ack.duplicate and (self._first is None or ack.sequence < self._first):
            self._first = ack.sequence
        self.count += 1
        self.stored += 1
        return ack

    async def fetch(self) -> list[JetStreamMessage]:
        """What is to go home next, in order; empty when there is nothing just now."""
        assert self._consumer is not None
        batch = await self._consumer.fetch(self._local.batch, no_wait=True)
        for message in batch:
            if message.metadata.consumer_sequence != self._next:
                await self.open()
                return []
            self._next += 1
        return batch

    async def is_empty(self) -> bool:
        """Whether nothing was kept at a moment since this was asked.

        The consumer's leader counts what its own replica of the stream has, which may lack what was acked last. So it
        is the stream's leader that has the last word, which has sent the PubAcks. What only the stream knows of for
        long, as of an ack that got lost within the cluster, is delivered anew.
        """
        assert self._consumer is not None
        stored = self.stored
        info = await self._consumer.info()
        if self.storing or stored != self.stored:
            return False
        self.count = info.num_pending + info.num_ack_pending
        if self.count:
            return False
        if not await self._holds():
            return not self.storing and stored == self.stored
        self._behind += 1
        if self._behind >= _BEHIND_MAX:
            await self.open()
        return False

    async def _holds(self) -> bool:
        try:
            await self._jetstream.get_message(self._local.stream, subject=self._local.subject)
        except MessageNotFoundError:
            return False
        return True

    def read(self, kept: JetStreamMessage) -> tuple[str, HomeMessage]:
        """The key and the message that was kept."""
        headers = kept.headers if kept.headers is not None else Headers()
        metadata = kept.metadata
        since: float | None = None
        if UNKNOWN_SINCE in headers:
            since = _moment(headers[UNKNOWN_SINCE], metadata.timestamp.timestamp())
        elif metadata.stream_sequence <= self._earlier or metadata.delivered > 1 or self._is_before(kept):
            since = metadata.timestamp.timestamp()
        now, clock = trio.current_time(), self._environment.wall_clock()
        own = [(_taken_up(name), value) for name, value in headers.items() if name not in _OWN]
        message = HomeMessage(
            subject=headers.get(SUBJECT) or kept.subject,
            payload=bytes(kept.payload),
            headers=Headers(own) if own else None,
            message_id=headers.get(MESSAGE_ID) or f"{self._local.stream}:{metadata.stream_sequence}",
            unknown_since=None if since is None else now - (clock - since),
        )
        return headers.get(KEY) or message.subject, message

    def _is_before(self, kept: JetStreamMessage) -> bool:
        """Whether it was kept before this drain began, as far as is known: a store of unknown fate may come late."""
        return self._first is None or kept.metadata.stream_sequence < self._first


def _check_limits(config: StreamConfig) -> None:
    """Whoever has an ack of the stream that keeps a message counts on it."""
    losses = (
        ("max_msgs", config.max_msgs, config.discard == "new"),
        ("max_bytes", config.max_bytes, config.discard == "new"),
        ("max_msgs_per_subject", config.max_msgs_per_subject, config.discard_new_per_subject),
        ("max_age_seconds", config.max_age_seconds, False),
    )
    for name, limit, refuses in losses:
        if limit is not None and limit > 0 and not refuses:
            raise OptionsError(
                f"the stream {config.name} keeps messages of other regions and would drop some of them by its "
                f"{name} of {limit:g}; take that away, or let it refuse the new one (discard='new', and "
                "discard_new_per_subject=True for one of a subject), which the publish is told of"
            )


def _consumer_name(subject: str) -> str:
    """One for each subject: where its letters, digits and dots do not tell it apart from all others, with a sum."""
    name = "".join(one if one.isalnum() else "-" for one in subject)
    return name if subject.replace(".", "").isalnum() else f"{name}-{_sum(subject)}"


def _sum(text: str) -> str:
    return f"{zlib.crc32(text.encode('utf-8', 'surrogatepass')):08x}"


def _set_aside(own: Headers | None) -> Headers:
    """A message's headers as the stream that keeps it is to have them."""
    headers = Headers()
    for name, value in own.items() if own is not None else ():
        if name.startswith(_EXPECTATION):
            raise InvalidHeaderError(
                f"the header {name} expects something of the home of the message, which is away, and the stream that "
                "keeps it meanwhile knows nothing of it; publish it when the region is back"
            )
        headers.add(_ASIDE + name if name.startswith(_TO_SERVERS) else name, value)
    return headers


def _taken_up(name: str) -> str:
    return name.removeprefix(_ASIDE) if name.startswith(_ASIDE + _TO_SERVERS) else name


def _moment(text: str, otherwise: float) -> float:
    """Seconds since 1970 as `store` has written them; what anybody else has written is not trusted to be any."""
    try:
        moment = float(text)
    except ValueError:
        return otherwise
    return moment if 0 <= moment <= otherwise else otherwise


def rounds(messages: Sequence[tuple[str, HomeMessage]]) -> list[list[HomeMessage]]:
    """Parts that may go at the same time: none has two of one key, and each key's are in order over them."""
    parts: list[list[HomeMessage]] = []
    places: dict[str, int] = {}
    for key, message in messages:
        place = places[key] = places.get(key, -1) + 1
        if place == len(parts):
            parts.append([])
        parts[place].append(message)
    return parts
