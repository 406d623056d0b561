"""The client that users hold: publish, subscribe, request, serve, flush, drain. Every call lands in `connection`.

The plain publish is the hot path: a cached prefix, one formatted frame, one append, three integers; everything that is
rarer leaves it by the first comparison that fails.

What it shows of its connection (state, servers, books) is in `_connection_view`.

Must not reach into a socket, and must not run tasks of its own.
"""

from __future__ import annotations

from typing import Final

import trio

from ..connection import Connection, Outcome, Pace, ReplyCollection
from ..protocol import (
    PUBLISH_FRAME,
    HeadersInput,
    check_function,
    decode_subject,
    encode_headers,
    encode_pattern,
    encode_queue_group,
    encode_subject,
)
from ._connection_view import ConnectionView
from ._drain import Drain, Drainable, Serving
from ._encoder import PublishEncoder
from ._errors import NoRespondersError
from ._intake import MessageCallback, check_callback
from ._message import Message, says_no_responders
from ._replies import Replies, Sentinel, check_least_one, reply_limits
from ._serve import Handler, serve
from ._subscription import Subscription

_SENT: Final = Outcome.SENT
# SUB, its blanks, and the longest sid.
_SUB_OVERHEAD_BYTES: Final = 26


class Client(ConnectionView):
    """A connection to NATS. Made by `open_client`; safe to use from all tasks of one trio run.

    Attributes:
        attachments: name of a stage -> what it keeps for this client; a stage built on the client finds its own there.
    """

    def __init__(self, connection: Connection) -> None:
        super().__init__(connection)
        self.services: list[Serving] = []
        self.subscriptions: dict[Drainable, None] = {}
        self.drainer = Drain(self)
        self.attachments: dict[str, object] = {}
        self._outbox = connection.outbox
        self._append = connection.outbox.append
        self._encoder = PublishEncoder(connection)
        self._prefixes = self._encoder.prefixes
        self._pace = Pace()

    # Publishing

    async def publish(
        self,
        subject: str,
        payload: bytes | bytearray | memoryview = b"",
        *,
        reply: str | None = None,
        headers: HeadersInput | None = None,
        confirm: bool = False,
    ) -> Outcome:
        """Publish a message.

        Without `confirm` it returns when the message is in the outbox (SENT) or, without a connection, in the pending
        queue (QUEUED): it waits only for room. It is an amortised checkpoint: cancellation is looked at every few
        calls, and the task yields at least every 1024 calls or 2 ms. Cancelled, nothing was queued.

        With `confirm` it returns when the server has the message; one PING serves all that wait. Cancelled before the
        write the message is withdrawn, after it its fate is unknown.

        Args:
            subject: without wildcards.
            payload: bytes, bytearray or memoryview; copied.
            reply: where answers should go.
            headers: names and values; a value may be a list.
            confirm: wait for the server's confirmation.

        Raises:
            TypeError: payload is not bytes-like (encode a str first), or subject is not a str.
            InvalidSubjectError: subject or reply cannot be published to.
            InvalidHeaderError: a header cannot be sent.
            PayloadTooLargeError: headers and payload exceed the server's max_payload.
            ClientClosedError: the client is closed.
            ConnectionLostError: the state is `exhausted`; or, with `confirm`, the link died (the fate is unknown).
            PendingFullError: no connection, a full queue, and the policy `error`.
            PendingTimeoutError: no connection for `pending_timeout_seconds`.
            PermissionsError: with `confirm`, the server refuses the subject.
            OperationTimeoutError: with `confirm`, no answer in time; the fate is unknown.
        """
        outbox = self._outbox
        if outbox.free <= 0:
            await self._pace.check()
            outbox.grant()
        if outbox.room > 0 and reply is None and headers is None and not confirm and type(payload) is bytes:
            prefix = self._prefixes.get(subject)
            if prefix is not None and len(payload) <= outbox.payload_max:
                frame = PUBLISH_FRAME % (prefix, len(payload), payload)
                outbox.free -= 1
                outbox.room -= len(frame)
                self._append(frame)
                return _SENT
        try:
            frame = self._encoder.encode(subject, payload, reply, headers)
            if confirm:
                return await self.sender.confirm(frame, subject, subject.encode())
            return await self.sender.send(frame, subject)
        except Exception:
            outbox.spend()  # a loop of failing calls must not starve the tasks that would make them succeed
            raise

    def publish_nowait(
        self,
        subject: str,
        payload: bytes | bytearray | memoryview = b"",
        *,
        reply: str | None = None,
        headers: HeadersInput | None = None,
    ) -> Outcome:
        """Publish without waiting and without a checkpoint.

        Raises:
            trio.WouldBlock: the outbox is full, or, without a connection and with the policy `block`, the pending
                queue.
            NatsError: what `publish` raises.
        """
        outbox = self._outbox
        if outbox.room > 0 and reply is None and headers is None and type(payload) is bytes:
            prefix = self._prefixes.get(subject)
            if prefix is not None and len(payload) <= outbox.payload_max:
                frame = PUBLISH_FRAME % (prefix, len(payload), payload)
                outbox.free -= 1
                outbox.room -= len(frame)
                self._append(frame)
                return _SENT
        return self.sender.send_nowait(self._encoder.encode(subject, payload, reply, headers), subject)

    async def respond_to(self, reply: bytes, payload: bytes, headers: HeadersInput | None) -> Outcome:
        """Publish to the reply subject of a message, in the bytes in which it came.

        Raises:
            InvalidSubjectError: the sender gave a reply subject that cannot be published to.
            NatsError: what `publish` raises.
        """
        if self._outbox.free <= 0:
            await self._pace.check()
            self._outbox.grant()
        try:
            # Other clients may legally use subjects that are not UTF-8: they are checked byte by byte, and echoed.
            encode_subject(reply.decode("ascii" if reply.isascii() else "latin-1"))
            header = encode_headers(headers) if headers is not None else None
            frame = self._encoder.frame(reply, payload, None, header)
            return await self.sender.send(frame, decode_subject(reply))
        except Exception:
            self._outbox.spend()
            raise

    # Receiving

    def subscribe(
        self,
        subject: str,
        *,
        queue_group: str | None = None,
        max_messages: int | None = None,
        callback: MessageCallback | None = None,
        pending_messages_max: int | None = None,
        pending_bytes_max: int | None = None,
    ) -> Subscription:
        """A subscription, to be entered with `async with`; it is remembered over reconnects, also while down.

        Args:
            subject: may have wildcards.
            queue_group: of the subscriptions of one group each message reaches one.
            max_messages: it ends after so many.
            callback: a synchronous function called in the reader's batch with each message, for the hot path; it must
                be quick. What it raises is logged, counted and told by an event.
            pending_messages_max: instead of `subscription_pending_messages_max`.
            pending_bytes_max: instead of `subscription_pending_bytes_max`.

        Raises:
            TypeError: subject or queue_group is not a str, or the callback is no function, or an async one.
            InvalidSubjectError: they cannot be subscribed to.
            ValueError: a bound is less than 1.
        """
        check_callback(callback)
        check_least_one(max_messages=max_messages)
        messages, size = self.pending_bounds(pending_messages_max, pending_bytes_max)
        pattern = encode_pattern(subject)
        group = encode_queue_group(queue_group) if queue_group is not None else b""
        self._encoder.check_line(len(pattern) + len(group) + _SUB_OVERHEAD_BYTES, pattern)
        return Subscription(self, subject, pattern, queue_group, max_messages, callback, messages, size)

    async def request(
        self,
        subject: str,
        payload: bytes | bytearray | memoryview = b"",
        *,
        headers: HeadersInput | None = None,
    ) -> Message:
        """Publish a request and wait for its first reply.

        Bounded by `operation_timeout_seconds` and the caller's own deadline. Cancelled before the write the request is
        withdrawn, after it its fate is unknown and a late reply is counted and dropped.

        Raises:
            NoRespondersError: nobody is subscribed.
            OperationTimeoutError: no reply in time.
            ConnectionLostError: the link was lost under it; whether it arrived is unknown.
            PendingTimeoutError: no connection in time; nothing was sent.
            TooManyRequestsError: `requests_inflight_max` are waiting.
            NatsError: what `publish` raises.
        """
        await trio.lowlevel.checkpoint_if_cancelled()
        try:
            target, token, frame = self._encoder.request(subject, payload, headers)
            self.connection.inbox.open()
        except Exception:
            await trio.lowlevel.cancel_shielded_checkpoint()
            raise
        reply_subject, reply, block, body = await self.sender.request(frame, subject, target, token)
        if block is not None and says_no_responders(block, body):
            raise NoRespondersError(subject)
        return Message(self, reply_subject, body, reply, block)

    def request_many(
        self,
        subject: str,
        payload: bytes | bytearray | memoryview = b"",
        *,
        headers: HeadersInput | None = None,
        max_replies: int | None = None,
        stall_seconds: float | None = None,
        sentinel: Sentinel | None = None,
        deadline_seconds: float | None = None,
        pending_messages_max: int | None = None,
        pending_bytes_max: int | None = None,
    ) -> Replies:
        """A request that many may answer (ADR-47): enter it with `async with`, and its replies come by `async for`.

        The replies end, without an error, with the first of the limits that is reached; `Replies.ended` says which.
        Time is measured from the write to the arrival of replies, whatever the receiver does meanwhile.

        Args:
            subject: without wildcards.
            payload: bytes, bytearray or memoryview; copied.
            headers: names and values; a value may be a list.
            max_replies: the replies end with so many; None = no limit.
            stall_seconds: the replies end when none has come for so long after the last; the first is awaited until
                the deadline. None = never.
            sentinel: called with each reply where it is received; the replies end with the one for which it returns
                true, which is not given. `empty_payload` is the usual one.
            deadline_seconds: the replies end so long after the write; None = `operation_timeout_seconds`.
            pending_messages_max: replies that may wait to be received, instead of
                `subscription_pending_messages_max`.
            pending_bytes_max: their bytes, instead of `subscription_pending_bytes_max`.

        Raises:
            TypeError: payload is not bytes-like, subject is not a str, or a limit no number.
            InvalidSubjectError: subject cannot be published to.
            InvalidHeaderError: a header cannot be sent.
            PayloadTooLargeError: headers and payload exceed the server's max_payload.
            ValueError: a limit is less than 1, or not more than 0 seconds.
        """
        target, token, frame = self._encoder.request(subject, payload, headers)
        check_function("sentinel", sentinel)
        messages, size = self.pending_bounds(pending_messages_max, pending_bytes_max)
        limits = reply_limits(
            max_replies=max_replies,
            stall_seconds=stall_seconds,
            deadline_seconds=deadline_seconds,
            operation_timeout_seconds=self.connection.options.operation_timeout_seconds,
            pending_messages_max=messages,
            pending_bytes_max=size,
        )
        return Replies(self, subject, ReplyCollection(frame, target, token, limits), sentinel)

    async def serve(
        self,
        subject: str,
        handler: Handler,
        *,
        queue_group: str | None = None,
        concurrency: int = 1,
        task_status: trio.TaskStatus[Subscription] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Handle the messages of a subject: `await nursery.start(partial(nc.serve, subject, handler))`.

        Started when the server has confirmed the interest. What the handler returns is the reply, None is none; when it
        raises, a request gets an empty reply with the headers `Nats-Service-Error-Code: 500` and `Nats-Service-Error`,
        and the service goes on. Returns after the client was drained; cancelled, handlers are cancelled.

        Args:
            subject: may have wildcards.
            handler: `async def handler(msg) -> bytes | None`.
            queue_group: of the services of one group each request reaches one.
            concurrency: how many messages are handled at once.
            task_status: gives the subscription.

        A link that is lost changes nothing, also while it starts: the interest is replayed on the next one.

        Raises:
            PermissionsError: the server refuses the subject.
            PendingTimeoutError: there was no connection to start with for `pending_timeout_seconds`.
            OperationTimeoutError: the server did not confirm the interest in time.
            ConnectionLostError: the state is `exhausted` when it starts.
            TypeError: the handler cannot be called.
            ValueError: concurrency is less than 1.
        """
        await serve(
            self,
            subject,
            handler,
            queue_group=queue_group,
            concurrency=concurrency,
            on_outcome=None,
            task_status=task_status,
        )

    async def drain(self) -> None:
        """End in order: unsubscribe all, deliver what is pending, finish handlers, flush, close.

        Bounded by `drain_deadline_seconds`, after which the log names what held it up: handlers, or subscriptions whose
        last receiver has stopped reading. Called from a handler, it waits for all others, and the client closes when
        that handler has returned. Cancelled, the drain goes on in the background until the client is left.

        What waits for a connection is waited for within the same time.

        Raises:
            UndeliveredError: so many publishes that were accepted could not be delivered. The client is closed.
        """
        await self.drainer.drain()

    # For subscriptions and drain

    def pending_bounds(self, messages: int | None, size: int | None) -> tuple[int, int]:
        """How many messages, and bytes, may be pending: as given, or as the options say.

        Raises:
            ValueError: one is less than 1.
        """
        check_least_one(pending_messages_max=messages, pending_bytes_max=size)
        options = self.connection.options
        return (
            messages if messages is not None else options.subscription_pending_messages_max,
            size if size is not None else options.subscription_pending_bytes_max,
        )

    def register(self, subscription: Drainable) -> None:
        """A subscription was entered; while the client drains it ends at once."""
        self.subscriptions[subscription] = None
        if self.drainer.requested:
            subscription.end()

    def unregister(self, subscription: Drainable) -> None:
        """A subscription was left."""
        self.subscriptions.pop(subscription, None)

    def __repr__(self) -> str:
        return f"<Client {self.name!r} {self.state} {self.connection.address or ''}>"
