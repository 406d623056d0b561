"""Messages that the server gave up on, because all their deliveries ended in silence, become dead letters too.

When a message has been delivered `max_deliver` times and nobody has said what became of it (its router crashed each
time, or could not store its dead letter at the last one), the server tells so once, on an advisory subject, and never
delivers it again. A stream captures these advisories, so that they wait for a router; each names a sequence, the
message is read from its stream by it, and its dead letter is confirmed before the advisory is acked.

Must not end its route: while advisories cannot be had it says so, and tries again.
"""

from __future__ import annotations

import json
import logging
from typing import Any, Final

import trio

from ..client import Client
from ..jetstream import (
    Consumer,
    ConsumerConfig,
    JetStream,
    JetStreamMessage,
    MessageNotFoundError,
    Metadata,
    StreamConfig,
    check_stored,
)
from ..protocol import NatsError
from ._dead_letter import Cause, dead_letter_headers, dead_letter_id
from ._outcomes import one_line
from ._route_options import RouteOptions
from ._statistics import RouteCounters

SUBJECT: Final = "$JS.EVENT.ADVISORY.CONSUMER.MAX_DELIVERIES"
STREAM: Final = "BEAMLINE_ADVISORIES"
KEPT_SECONDS: Final = 7 * 86_400.0
REASON: Final = "maxdeliver_exhausted"
PAUSE_SECONDS: Final = 5.0
AHEAD_MAX: Final = 10


class MaxDeliverAdvisories:
    """Dead-letters what the server gave up on, of one route from a stream that has dead letters.

    Args:
        client: that the route runs on.
        options: of the route.
        counters: of the route.
    """

    def __init__(self, client: Client, options: RouteOptions, counters: RouteCounters) -> None:
        config = options.consumer_config()
        self._jetstream = JetStream(client)
        self._environment = client.connection.environment
        self._log = client.connection.log
        self._options = options
        self._counters = counters
        self._subject = f"{SUBJECT}.{options.stream}.{config.durable_name}"
        self._durable = f"{config.durable_name}-maxdeliver-{options.stream}"
        self._consumer: Consumer | None = None

    async def open(self) -> None:
        """Have the advisories captured from now on, where that can be done now; else `run` goes on trying."""
        try:
            stream = await self._capturing_stream()
            config = ConsumerConfig(durable_name=self._durable, filter_subject=self._subject)
            self._consumer = await self._jetstream.create_consumer(stream, config)
        except NatsError as error:
            self._warn(error)

    async def run(self) -> None:
        """Dead-letter what advisories name, until the client drains."""
        while True:
            try:
                if self._consumer is None:
                    await self.open()
                if self._consumer is not None:
                    await self._work(self._consumer)
                    return
            except NatsError as error:
                self._consumer = None
                self._warn(error)
            await trio.sleep(PAUSE_SECONDS)

    async def _capturing_stream(self) -> str:
        """Whichever stream takes the advisories; one for all routers is made when there is none."""
        found = await self._jetstream.stream_names(subject=self._subject)
        if found:
            return found[0]
        config = StreamConfig(name=STREAM, subjects=[f"{SUBJECT}.>"], max_age_seconds=KEPT_SECONDS)
        await self._jetstream.create_stream(config)
        return STREAM

    async def _work(self, consumer: Consumer) -> None:
        async with consumer.messages(AHEAD_MAX) as advisories:
            async for advisory in advisories:
                try:
                    await self._dead_letter(advisory)
                except NatsError as error:
                    self._counters.dead_letter_failures += 1
                    self._warn(error)
                    await advisory.nak(PAUSE_SECONDS, reason="publish_error")
                else:
                    await advisory.ack()

    async def _dead_letter(self, advisory: JetStreamMessage) -> None:
        """The dead letter of the message that an advisory names; none if the stream does not have it any more."""
        options = self._options
        assert options.stream is not None
        assert options.dead_letter is not None
        sequence, deliveries = read_advisory(advisory.payload)
        if sequence == 0:
            return
        try:
            message = await self._jetstream.get_message(options.stream, sequence=sequence)
        except MessageNotFoundError:
            return
        origin = Metadata(
            stream=options.stream,
            consumer=self._durable,
            delivered=deliveries,
            stream_sequence=sequence,
            consumer_sequence=0,
            timestamp_ns=0,
            pending=0,
        )
        cause = Cause(reason=REASON, text=f"{deliveries} deliveries, and no word of any", deliveries=deliveries)
        wall_clock = self._environment.wall_clock()
        headers = dead_letter_headers(options.name, message.subject, message.headers, origin, cause, wall_clock)
        identity = dead_letter_id(origin, options.name)
        ack = await self._jetstream.publish(options.dead_letter, message.payload, headers=headers, message_id=identity)
        check_stored(options.dead_letter, ack.outcome)
        self._counters.dead_letters[REASON] += 1
        self._log(logging.WARNING, "ROUTER_DEAD_LETTER", route=options.name, subject=message.subject, reason=REASON)

    def _warn(self, error: NatsError) -> None:
        self._log(logging.WARNING, "ROUTER_ADVISORIES_ERROR", route=self._options.name, reason=one_line(error))


def read_advisory(payload: bytes) -> tuple[int, int]:
    """The stream sequence that an advisory names, and how often its message was delivered; zeros if it is none."""
    try:
        fields: Any = json.loads(payload)
        sequence, deliveries = fields["stream_seq"], fields["deliveries"]
    except (ValueError, TypeError, KeyError, RecursionError):
        return 0, 0
    numbers = [one for one in (sequence, deliveries) if type(one) is int and one > 0]
    return (numbers[0], numbers[1]) if len(numbers) == 2 else (0, 0)
