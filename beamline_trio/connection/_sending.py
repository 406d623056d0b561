"""What callers do over a connection: send, confirm, ping, request. Waits for room, for a connection, for an answer.

An operation is appended whole or not at all, and the append is the commit point: cancelled before it, nothing has
happened; cancelled while it waits unwritten, it is withdrawn; cancelled after the write, its fate is unknown.

Must not know links or subscriptions.
"""

from __future__ import annotations

import logging

import trio

from ..protocol import PayloadTooLargeError, PermissionsError, ServerError
from ._collection import Reply, ReplyCollection
from ._connection import Connection
from ._errors import ConnectionLostError, PendingFullError, PendingTimeoutError, TooManyRequestsError
from ._pending import PendingOperation
from ._state import Outcome, State
from ._waiters import NEVER, Waiter


class Sender:
    """The operations of one connection."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._log = connection.log

    def send_nowait(self, frame: bytes, subject: str) -> Outcome:
        """Append or queue now.

        Raises:
            trio.WouldBlock: the outbox (or, without a connection, the pending queue) is full.
            ClientClosedError: the client is closed.
            ConnectionLostError: the state is `exhausted`.
        """
        outcome = self._place(frame, subject, None, skippable=True)
        if outcome is None:
            raise trio.WouldBlock
        return outcome

    async def send(
        self, frame: bytes, subject: str, waiter: Waiter | None = None, *, skippable: bool = True
    ) -> Outcome:
        """Append or queue, after waiting for room where there is none. Cancelled while waiting: nothing was sent.

        Raises:
            ClientClosedError: the client is closed.
            ConnectionLostError: the state is `exhausted`.
            PendingFullError: no connection, the queue is full, and its policy is `error`; or the frame is larger
                than the queue.
            PendingTimeoutError: no connection for `pending_timeout_seconds`, and the queue stayed full.
        """
        outcome = self._place(frame, subject, waiter, skippable=skippable)
        if outcome is not None:
            return outcome
        connection = self._connection
        outbox, room = connection.outbox, connection.pending.room
        blocked_since = trio.current_time()
        while outcome is None:
            if connection.link_is_up:
                await (outbox.wait_room() if outbox.is_open else room.wait())
                blocked_since = trio.current_time()
            else:
                await self._wait_pending_room(subject, blocked_since)
            outcome = self._place(frame, subject, waiter, skippable=skippable, since=blocked_since)
        if outbox.is_open:
            outbox.pass_room_on()
        else:
            connection.pending.pass_room_on()
        return outcome

    async def _wait_pending_room(self, subject: str, since: float) -> None:
        """Wait until something leaves the pending queue, a link comes up, or the time is over."""
        connection = self._connection
        limit = connection.options.pending_timeout_seconds
        pending = connection.pending
        if not pending.room:
            connection.losses.hold_back(pending.operations)
        with trio.CancelScope(deadline=since + limit if limit is not None else NEVER) as scope:
            await pending.room.wait()
        if scope.cancelled_caught:
            connection.counters.pending_dropped["block"] += 1
            connection.counters.publish_failures["pending_timeout"] += 1
            raise PendingTimeoutError(
                f"publish to {subject}: no connection, and the pending queue stayed full for {limit:g} s "
                "(pending_timeout_seconds); nothing was sent"
            )

    async def wait_control_room(self) -> None:
        """Wait while a stalled server lets operations that are no publishes pile up."""
        await trio.lowlevel.checkpoint()
        outbox = self._connection.outbox
        while outbox.is_open and outbox.room <= -self._connection.options.outbox_bytes_max:
            await outbox.wait_room()
            outbox.pass_room_on()

    async def confirm(self, frame: bytes, subject: str, target: bytes) -> Outcome:
        """Send, and wait until the server has it: the PONG of a PING behind it.

        Raises:
            PermissionsError: the server refuses the subject.
            OperationTimeoutError: no PONG in time; the fate is unknown.
            ConnectionLostError: the link died (sent = maybe); the fate is unknown.
            PendingTimeoutError: no connection in time; it was never sent.
        """
        waiter = Waiter(frame, target, on_cancel=self._connection.withdraw)
        connection = self._connection
        try:
            if await self._send_and_yield(frame, subject, waiter, skippable=True) is Outcome.SKIPPED:
                await trio.lowlevel.cancel_shielded_checkpoint()
                return Outcome.SKIPPED
            outcome: Outcome = await waiter.wait()
        except Exception as error:
            self._confirm_failed(waiter, subject, error)
            if connection.options.fail_open and connection.state is not State.CLOSED:
                return Outcome.SKIPPED
            raise
        return outcome

    def _confirm_failed(self, waiter: Waiter, subject: str, error: Exception) -> None:
        """Count and log it, unless that was done where the failure happened to it."""
        counters = self._connection.counters
        reason = failure_reason(error)
        counters.confirmed_publish_failures[reason] += 1
        if reason == "timeout":
            counters.publish_failures["timeout"] += 1
            waiter.counted = True
        if not isinstance(error, ServerError):  # one was logged as it came
            self._log(logging.WARNING, "NATS_PUBLISH_ERROR", subject=subject, reason=str(error))

    async def ping(self) -> float:
        """Wait for a PONG of its own behind everything sent so far; returns the seconds from its write.

        Cancelled: its PONG is ignored when it comes.

        Raises:
            OperationTimeoutError: no PONG in time.
            ConnectionLostError: the link died.
            PendingTimeoutError: no connection in time.
        """
        waiter = Waiter(on_cancel=self._connection.withdraw)
        await self._send_and_yield(b"", "", waiter)
        await waiter.wait()
        return trio.current_time() - waiter.written_at

    async def request(
        self, frame: bytes, subject: str, target: bytes, token: bytes, waiter: Waiter | None = None
    ) -> Reply:
        """Send a request whose reply subject ends in `token`, and wait for the reply.

        A caller that wants to know afterwards whether it was written gives the waiter: of `request_waiter`.

        Raises:
            OperationTimeoutError: no reply in time; the fate is unknown.
            ConnectionLostError: the link died under it (sent = maybe), or the state is `exhausted` (sent = no).
            PendingTimeoutError: no connection in time; it was never sent.
            PermissionsError: the server refuses the subject, or the inbox.
            TooManyRequestsError: too many wait already.
        """
        connection = self._connection
        inbox = connection.inbox
        if len(inbox) >= connection.options.requests_inflight_max:
            await trio.lowlevel.cancel_shielded_checkpoint()
            raise self._too_many_requests()
        if waiter is None:
            waiter = self.request_waiter(frame, target, token)
        alone = not inbox
        inbox.add(token, waiter)
        connection.counters.requests += 1
        try:
            if alone and connection.outbox.write_now(frame, waiter):
                self._written_now(waiter)
            else:
                await self._send_and_yield(frame, subject, waiter)
            reply: Reply = await waiter.wait()
        except BaseException:
            inbox.discard(token)
            raise
        return reply

    def request_waiter(self, frame: bytes, target: bytes, token: bytes) -> Waiter:
        """The waiter of a request."""
        return Waiter(frame, target, wants_pong=False, token=token, on_cancel=self._connection.withdraw)

    async def collect(self, collection: ReplyCollection, subject: str) -> None:
        """Send a request and let its replies be collected. Cancelled while it waits for room: nothing was sent.

        Raises:
            TooManyRequestsError: too many wait already.
            NatsError: what `send` raises.
        """
        connection = self._connection
        inbox = connection.inbox
        await trio.lowlevel.checkpoint()
        connection.inbox.open()
        if len(inbox) >= connection.options.requests_inflight_max:
            raise self._too_many_requests()
        inbox.add_collection(collection)
        connection.counters.requests += 1
        try:
            await self.send(collection.frame, subject, collection, skippable=False)
        except BaseException:
            inbox.discard(collection.token)
            raise

    async def _send_and_yield(self, frame: bytes, subject: str, waiter: Waiter, *, skippable: bool = False) -> Outcome:
        """`send` for an operation that waits afterwards: a full checkpoint also when it fails at once."""
        await trio.lowlevel.checkpoint_if_cancelled()
        try:
            return await self.send(frame, subject, waiter, skippable=skippable)
        except Exception:
            await trio.lowlevel.cancel_shielded_checkpoint()
            raise

    def _written_now(self, waiter: Waiter) -> None:
        """What the writer does when it writes."""
        timeout = self._connection.options.operation_timeout_seconds
        if timeout is not None:
            self._connection.sleeper.tell(waiter.written_at + timeout)

    def _place(
        self, frame: bytes, subject: str, waiter: Waiter | None, *, skippable: bool, since: float | None = None
    ) -> Outcome | None:
        """Append or queue; None when there is no room."""
        connection = self._connection
        connection.check_open()
        outbox = connection.outbox
        if outbox.is_open:
            if frame and not outbox.try_room():
                return None
            outbox.put(frame, waiter)
            return Outcome.SENT
        if not connection.link_is_up:
            if skippable and connection.options.fail_open:
                connection.counters.skipped += 1
                outbox.spend()
                return Outcome.SKIPPED
            if connection.state is State.EXHAUSTED:
                connection.counters.publish_failures["disconnected"] += skippable
                raise ConnectionLostError("all reconnect attempts are spent", sent="no")
        since = since if since is not None else trio.current_time()
        return self._queue(connection.pending.operation(frame, waiter, since))

    def _queue(self, operation: PendingOperation) -> Outcome | None:
        """Queue behind what is pending; None when the caller has to wait for room.

        While a link is up the queue is being sent: then it is the outbox's turn to hold callers back, and no policy's.
        """
        connection = self._connection
        pending = connection.pending
        size = len(operation.frame)
        if operation.frame and not pending.fits(size):
            policy = connection.options.pending_policy
            if connection.link_is_up or (policy == "block" and pending.can_fit(size)):
                return None
            if policy == "drop_new":
                return self._drop_new(operation)
            if policy != "drop_oldest" or not pending.can_fit(size):
                raise self._full(size)
            connection.losses.drop_oldest(pending.operations, pending.make_room(size))
        pending.add(operation)
        if operation.frame:
            connection.queued += 1
            connection.outbox.spend()
            self._log_first(operation.subject)
        connection.sleeper.tell(operation.deadline)
        return Outcome.QUEUED

    def _too_many_requests(self) -> TooManyRequestsError:
        waiting, limit = len(self._connection.inbox), self._connection.options.requests_inflight_max
        return TooManyRequestsError(
            f"{waiting} requests are waiting for replies, the limit is {limit} (requests_inflight_max); "
            "wait for some of them"
        )

    def _log_first(self, subject: str) -> None:
        connection = self._connection
        if connection.outage_logged or connection.link_is_up:
            return
        connection.outage_logged = True
        self._log(logging.WARNING, "NATS_PUBLISH_QUEUED", subject=subject, state=str(connection.state))

    def _drop_new(self, operation: PendingOperation) -> Outcome:
        """The policy `drop_new`. Who waits for it is told by its waiter."""
        self._connection.outbox.spend()
        self._connection.losses.drop_new(self._connection.pending.operations, operation)
        return Outcome.DROPPED

    def _full(self, size: int) -> PendingFullError:
        connection = self._connection
        pending = connection.pending
        options = connection.options
        connection.losses.refuse(pending.operations)
        return PendingFullError(
            f"no connection, and {pending.operations} operations with {pending.bytes} bytes are pending; {size} more "
            f"bytes do not fit (pending_operations_max {options.pending_operations_max}, pending_bytes_max "
            f"{options.pending_bytes_max}); publish less, raise the limits, or use pending_policy='block'"
        )


def failure_reason(error: BaseException) -> str:
    """The label of an error in the failure counters."""
    if isinstance(error, PendingTimeoutError):
        return "pending_timeout"
    if isinstance(error, PendingFullError):
        return "pending_full"
    if isinstance(error, trio.TooSlowError):
        return "timeout"
    if isinstance(error, trio.BrokenResourceError):
        return "disconnected"
    if isinstance(error, trio.ClosedResourceError):
        return "closed"
    if isinstance(error, PayloadTooLargeError):
        return "too_large"
    return "permission" if isinstance(error, PermissionsError) else "server_error"
