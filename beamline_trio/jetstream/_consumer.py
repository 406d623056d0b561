"""A consumer as users hold it: fetch, next, and the continuous session. It is a name and a configuration, no more.

Must not keep messages.
"""

from __future__ import annotations

import functools
import logging

import trio

from ..protocol import check_flag, check_given, check_number
from . import _management as management
from ._api import API
from ._attachment import Attachment
from ._consumer_records import ConsumerConfig, ConsumerInfo
from ._errors import ConsumerDeletedError, ConsumerNotFoundError, StreamNotFoundError
from ._fetch import Fetch
from ._message import JetStreamMessage
from ._pull_requests import (
    EXPIRES_SECONDS,
    PullRequest,
    check_bounds,
    expires_from_deadline,
    heartbeat_of,
)
from ._session import Messages, SessionPlan
from ._source import Source
from ._stream_records import StreamConfig


class Consumer:
    """A pull consumer of a stream, made by `JetStream.create_consumer` or found by `JetStream.consumer`.

    Safe to use from all tasks; several fetches and sessions may run at once, and share its messages.

    Attributes:
        cached_info: what the server said of it when it was made or found.
    """

    def __init__(self, attachment: Attachment, api: API, info: ConsumerInfo) -> None:
        self.cached_info = info
        self._attachment = attachment
        self._api = api
        self._log = attachment.log
        self._source = Source(attachment, info.config)
        self._target = b"%bCONSUMER.MSG.NEXT.%b.%b" % (api.prefix, info.stream_name.encode(), info.name.encode())

    @property
    def stream(self) -> str:
        """The stream's name."""
        return self.cached_info.stream_name

    @property
    def name(self) -> str:
        """Its name."""
        return self.cached_info.name

    @property
    def config(self) -> ConsumerConfig:
        """Its configuration, as the server told it."""
        return self.cached_info.config

    async def info(self) -> ConsumerInfo:
        """How it is and stands now.

        Raises:
            ConsumerNotFoundError: it is gone.
        """
        return await management.consumer_info(self._api, self.stream, self.name)

    async def fetch(
        self,
        max_messages: int = 100,
        *,
        max_bytes: int | None = None,
        expires_seconds: float | None = None,
        no_wait: bool = False,
    ) -> list[JetStreamMessage]:
        """Messages, at most so many; fewer, or none, when the time is over first.

        Cancelled, or failed: messages that came for it, and those that still come, are given back at once (naked), so
        that nothing waits for its ack wait. Link lost: the rest is fetched by the next link, in the time that is left.

        Args:
            max_messages: at the most.
            max_bytes: of subjects, ack subjects, headers and payloads together, at the most.
            expires_seconds: how long the server waits for messages; without it as long as the caller's deadline allows,
                at most 30.
            no_wait: what is there now.

        Raises:
            ValueError: a bound is not above 0, or more than the server can count.
            ConsumerNotFoundError, StreamNotFoundError: the consumer is gone.
            ConsumerDeletedError: it was deleted meanwhile, and nothing had come.
            PullRefusedError: the server refuses what is asked.
            PermissionsError: the server refuses the pull or its inbox.
            ConnectionLostError: the state is `exhausted`.
            ClientClosedError: the client is closed, or drains.
        """
        await trio.lowlevel.checkpoint_if_cancelled()
        try:
            check_given(max_messages=max_messages)
            check_bounds(max_messages=max_messages, max_bytes=max_bytes, expires_seconds=expires_seconds)
            check_flag("no_wait", no_wait)
        except (TypeError, ValueError):
            await trio.lowlevel.cancel_shielded_checkpoint()
            raise
        expires = 0.0 if no_wait else expires_seconds if expires_seconds is not None else expires_from_deadline()
        request = PullRequest(max_messages, expires, heartbeat_of(expires), max_bytes)
        patience = self._attachment.client.connection.options.operation_timeout_seconds
        return await Fetch(self._source, self._target, request, patience).run(self.info)

    async def next(self) -> JetStreamMessage:
        """The next message, however long it takes: bound it with `trio.fail_after`.

        Cancellation and errors are those of `fetch`.
        """
        while True:
            messages = await self.fetch(1)
            if messages:
                return messages[0]

    def messages(
        self,
        max_messages: int = 500,
        *,
        threshold: float = 0.5,
        expires_seconds: float = EXPIRES_SECONDS,
        heartbeat_seconds: float | None = None,
        recreate: bool = False,
        recreate_stream: StreamConfig | None = None,
    ) -> Messages:
        """Messages without end: `async with consumer.messages() as messages: async for message in messages: ...`.

        Args:
            max_messages: asked for and not yet taken, at the most.
            threshold: ask for more when this share of them is left.
            expires_seconds: how long one pull lasts, at least 1.
            heartbeat_seconds: how often the server says that it still waits; silent for two of them, it is asked again.
                At most half of `expires_seconds`, which is the default (from 0.5 to 5).
            recreate: make the consumer again, with the configuration it had, when it was deleted or its server has lost
                it. By its deliver policy messages may come again.
            recreate_stream: make the stream again too, with this configuration.

        Raises:
            TypeError: an argument has another type.
            ValueError: a bound cannot work.
        """
        check_given(max_messages=max_messages, threshold=threshold, expires_seconds=expires_seconds)
        check_bounds(max_messages=max_messages)
        check_number("threshold", threshold)
        if not 0 <= threshold < 1:
            raise ValueError(f"threshold is {threshold!r}; it must be from 0 to less than 1")
        check_bounds(expires_seconds=expires_seconds)
        if not expires_seconds >= 1:
            raise ValueError(f"expires_seconds is {expires_seconds!r}; it must be at least 1")
        check_number("heartbeat_seconds", heartbeat_seconds)
        check_flag("recreate", recreate)
        if recreate_stream is not None:
            management.check_record(recreate_stream, StreamConfig, "recreate_stream")
        heartbeat = heartbeat_seconds if heartbeat_seconds is not None else heartbeat_of(expires_seconds)
        if not 0 < heartbeat <= expires_seconds / 2:
            raise ValueError(
                f"heartbeat_seconds is {heartbeat!r}; it must be above 0, and at most half of expires_seconds, "
                f"{expires_seconds / 2:g}"
            )
        plan = SessionPlan(
            max_messages=max_messages,
            threshold=int(max_messages * threshold),
            expires_seconds=expires_seconds,
            heartbeat_seconds=heartbeat,
        )
        revive = functools.partial(self._revive, recreate, recreate_stream)
        return Messages(self._source, self._target, plan, revive)

    async def _revive(self, recreate: bool, stream: StreamConfig | None) -> None:
        """The consumer is there, or is made again.

        Raises:
            ConsumerDeletedError: it is gone, and must not or cannot be made again.
            NatsError: it cannot be told just now.
        """
        try:
            await self.info()
            return
        except (ConsumerNotFoundError, StreamNotFoundError) as gone:
            lost_stream = isinstance(gone, StreamNotFoundError)
            if not recreate or (lost_stream and stream is None):
                raise ConsumerDeletedError(
                    f"the consumer {self.name!r} of the stream {self.stream!r} is gone ({gone.description}); create it "
                    "again, or pull with recreate=True"
                ) from gone
        if lost_stream and stream is not None:
            await management.change_stream(self._api, "CREATE", stream)
        await management.change_consumer(self._api, self.stream, self.config, "create")
        self._attachment.counters.consumers_recreated += 1
        self._log(logging.WARNING, "NATS_CONSUMER_RECREATED", stream=self.stream, consumer=self.name)
