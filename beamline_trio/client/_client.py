"""The client that users hold: publish, subscribe, request, serve, flush, drain. Every call lands in `connection`.

The plain publish is the hot path: a cached prefix, one formatted frame, one append, three integers; everything that is
rarer leaves it by the first comparison that fails.

Must not reach into a socket, and must not run tasks of its own.
"""

from __future__ import annotations

from typing import Final

import trio

from ..connection import (
    Connection,
    EventStream,
    Ledger,
    Outcome,
    Pace,
    Sender,
    State,
    Statistics,
    ledger_of,
    statistics_of,
)
from ..protocol import (
    PUBLISH_FRAME,
    HeadersInput,
    ServerInfo,
    decode_subject,
    encode_headers,
    encode_pattern,
    encode_queue_group,
    encode_subject,
)
from ._drain import Drain
from ._encoder import PublishEncoder
from ._errors import NoRespondersError
from ._intake import MessageCallback
from ._message import Message
from ._serve import Handler, Service, serve
from ._subscription import Subscription

_NO_RESPONDERS: Final = b"NATS/1.0 503"
_SENT: Final = Outcome.SENT
# SUB, its blanks, and the longest sid.
_SUB_OVERHEAD_BYTES: Final = 26


class Client:
    """A connection to NATS. Made by `open_client`; safe to use from all tasks of one trio run.

    Attributes:
        attachments: name of a stage -> what it keeps for this client; a stage built on the client finds its own there.
    """

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.sender = Sender(connection)
        self.services: list[Service] = []
        self.subscriptions: dict[Subscription, None] = {}
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
            TypeError: subject or queue_group is not a str.
            InvalidSubjectError: they cannot be subscribed to.
            ValueError: a bound is less than 1.
        """
        options = self.connection.options
        messages = (
            pending_messages_max if pending_messages_max is not None else options.subscription_pending_messages_max
        )
        size = pending_bytes_max if pending_bytes_max is not None else options.subscription_pending_bytes_max
        for name, value in (
            ("max_messages", max_messages),
            ("pending_messages_max", messages),
            ("pending_bytes_max", size),
        ):
            if value is not None and value < 1:
                raise ValueError(f"{name} is {value}; it must be at least 1")
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
        inbox = self.connection.inbox
        try:
            target = self._encoder.target(subject)
            header = encode_headers(headers) if headers is not None else None
            token = inbox.new_token()
            frame = self._encoder.frame(target, payload, inbox.prefix + token, header)
            self.connection.open_inbox()
        except Exception:
            await trio.lowlevel.cancel_shielded_checkpoint()
            raise
        reply_subject, reply, block, body = await self.sender.request(frame, subject, target, token)
        if block is not None and not body and block.startswith(_NO_RESPONDERS):
            raise NoRespondersError(subject)
        return Message(self, reply_subject, body, reply, block)

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

    # The connection

    async def flush(self) -> None:
        """Wait until the server has processed everything sent so far: a PONG of its own.

        Cancelled: its PONG is ignored when it comes.

        Raises:
            OperationTimeoutError: no PONG in time.
            ConnectionLostError: the link was lost.
            PendingTimeoutError: no connection in time.
        """
        await self.sender.ping()

    async def rtt(self) -> float:
        """Seconds from the write of a PING to its PONG. Errors are those of `flush`."""
        return await self.sender.ping()

    async def drain(self) -> None:
        """End in order: unsubscribe all, deliver what is pending, finish handlers, flush, close.

        Bounded by `drain_deadline_seconds`, after which the log names what held it up: handlers, or subscriptions whose
        last receiver has stopped reading. Called from a handler, it waits for all others, and the client closes when
        that handler has returned. Cancelled, the drain goes on in the background until the client is left.
        """
        await self.drainer.drain()

    def events(self) -> EventStream:
        """What happens to the connection from now on: `async with nc.events() as events`."""
        return self.connection.events.open()

    def stats(self) -> Statistics:
        """The counters at this moment; they survive reconnects."""
        return statistics_of(self.connection)

    def ledger(self) -> Ledger:
        """What became of every publish, at this moment."""
        return ledger_of(self.connection)

    @property
    def state(self) -> State:
        """Where the connection stands."""
        return self.connection.state

    @property
    def name(self) -> str:
        """The client's name."""
        return self.connection.options.name

    @property
    def server_info(self) -> ServerInfo:
        """The last INFO of the present server, or of the last one."""
        return self.connection.info

    # For subscriptions and drain

    def register(self, subscription: Subscription) -> None:
        """A subscription was entered; while the client drains it ends at once."""
        self.subscriptions[subscription] = None
        if self.drainer.requested:
            subscription.end()

    def unregister(self, subscription: Subscription) -> None:
        """A subscription was left."""
        self.subscriptions.pop(subscription, None)

    async def wait_control_room(self) -> None:
        """Wait while a stalled server lets operations that are no publishes pile up."""
        await trio.lowlevel.checkpoint()
        outbox = self._outbox
        while outbox.is_open and outbox.room <= -self.connection.options.outbox_bytes_max:
            await outbox.wait_room()
            outbox.pass_room_on()

    def __repr__(self) -> str:
        return f"<Client {self.name!r} {self.state} {self.connection.address or ''}>"
