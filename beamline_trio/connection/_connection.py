"""One logical connection over all its links: who may send, what is pending, who waits, and every turn of its state.

Everything here is synchronous: a turn (link up, link down, the server shuts down, closed) is one step that no other
task sees half done. The tasks around it are in `_supervisor` and `_link`, what servers say besides in `_server_words`,
the operations of callers in `_sending`.

Must not do I/O.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence

import trio

from ..protocol import (
    Parser,
    Secret,
    ServerError,
    ServerInfo,
    check_inbox_prefix,
    encode_unsubscribe,
)
from ..transport import Dialer, ServerAddress
from ._deadlines import Deadlines
from ._discovery import Origin, advertised
from ._errors import ClientClosedError, ConnectionLostError, closed_under
from ._events import (
    Closed,
    Connected,
    Disconnected,
    Event,
    EventHub,
    Exhausted,
    LameDuck,
    Migrated,
    Reconnected,
    ServerDiscovered,
)
from ._followers import Follower
from ._handover import Handover
from ._incidents import Incidents
from ._interests import Interest, InterestRoute, Interests
from ._log import ClientLog
from ._losses import Losses
from ._options import ClientOptions
from ._outbox import Detached, Outbox
from ._pending import PendingOperation, PendingQueue
from ._pool import ServerPool
from ._requests import RequestInbox
from ._retry import Retry
from ._state import Outcome, State
from ._statistics import Counters
from ._waiters import NEVER, Bell, Sleeper, Waiter


class Connection:
    """The state of a client's connection.

    Args:
        options: checked options.
        dialer: how servers are reached; its environment is used for chance.

    Raises:
        AddressError: a URL of the options cannot be used.

    Attributes:
        state: see State. `connecting` and `reconnecting` say what the client is after; `attempting` whether an attempt
            is under way just now.
        info: the last INFO of the present or last server.
        received_at: when the present or last link last brought bytes, in trio's time.
        handover: what two links bring, for the moment in which there are two.
        followers: what stages built on the client hear of its turns by, in the order in which they came.
        deferred: what is to be called once when all that has come with the present turn, or chunk, is worked off.
    """

    def __init__(self, options: ClientOptions, dialer: Dialer) -> None:
        self.options = options
        self.dialer = dialer
        self.environment = dialer.environment
        self.pool = ServerPool(options.servers, None if options.keep_server_order else self.environment.random)
        self.state = State.DISCONNECTED
        self.attempting = False
        self.info = ServerInfo()
        self.origin: Origin | None = None
        self.counters = Counters()
        self.events = EventHub(options.events_pending_max)
        self.outbox = Outbox(options.outbox_bytes_max)
        self.pending = PendingQueue(
            options.pending_operations_max, options.pending_bytes_max, options.pending_timeout_seconds
        )
        self.interests = Interests()
        self.received_at = 0.0
        self.followers: list[Follower] = []
        self.deferred: list[Callable[[], None]] = []
        self.sleeper = Sleeper()
        prefix = f"{check_inbox_prefix(options.inbox_prefix)}.{self.environment.new_identifier()}."
        self.log = self._log = ClientLog(options.name)
        self.incidents = Incidents(self.counters, self._log, self.emit)
        self.inbox = RequestInbox(prefix.encode(), self, self.incidents, self.outbox.coverage, self.sleeper)
        # Refusals that name no subject: whoever confirms a subscription made before one must not believe in it.
        self.subscriptions_refused = 0
        self.subscription_refusal: ServerError | None = None
        # What wakes the supervisor: the link is gone, or the user wants something. How the present link is left.
        self.bell = Bell()
        self.hurried = False
        self.left_on_purpose = False
        self.leave: Callable[[str], None] | None = None
        self.link_is_up = False
        self.handover: Handover | None = None
        self.lost_since = NEVER
        self.parser: Parser | None = None
        self.stream: trio.abc.Stream | None = None
        self.losses = Losses(options, self.counters, self.inbox, self._log, self.emit, self._given_up)
        self.deadlines = Deadlines(options, self.sleeper, self.outbox, self.inbox, self.pending, self.losses)
        self.retry = Retry(self.outbox, self.counters, self._log)
        self.queued = 0
        self.withdrawn = 0
        self.outage_logged = False

    # Turns

    def link_up(self, origin: Origin, info: ServerInfo, attempts: int) -> None:
        """A link is established: replay the interests, and let publishers in unless older operations are pending."""
        restored = self.counters.established > 0
        self.end_handover()
        self.interests.forget_kept_routes()
        self.origin = origin
        self.info = info
        self.link_is_up = True
        self.outbox.payload_max = info.max_payload
        self.outbox.attach(self.interests.replay())
        for follower in tuple(self.followers):
            self.outbox.attach(follower.link_up())
        if not self.pending:
            self.open_outbox()
        self.state = State.CONNECTED
        self.attempting = False
        self.outage_logged = False
        self.counters.established += 1
        server = str(origin.address)
        self.losses.outage_over(self.pending.operations)
        if restored:
            self.counters.restored += not self.left_on_purpose
            outage = trio.current_time() - self.lost_since
            self._log(logging.INFO, "NATS_CONNECTION_RESTORED", server=server, reconnect_attempts=attempts)
            self.emit(Reconnected(server, attempts, outage))
        else:
            self._log(logging.INFO, "NATS_CONNECTION_ESTABLISHED", server=server)
            self.emit(Connected(server))
        self.discover(info)
        if info.lame_duck:  # it said so behind the PONG of the handshake
            self.server_shuts_down(info)
        if self.pending:
            self.retry.begin(self.pending.operations)

    def open_outbox(self) -> None:
        """Nothing older is pending: publishers go straight to the outbox. Without effect when no link is up."""
        if not self.link_is_up:
            return
        self.outbox.open()
        self.pending.room.wake_all()

    def take_over(self, origin: Origin, info: ServerInfo) -> None:
        """Another link goes on where the present one stands, at rest: nothing is lost, and nothing was down."""
        left = str(self.address)
        self.retry.taken()
        self.retry.end()
        self.origin = origin
        self.info = info
        self.outbox.payload_max = info.max_payload
        self.outbox.carry_over(self.interests.replay())
        if self.pending:
            self.retry.begin(self.pending.operations)
        else:
            self.open_outbox()
        self.counters.established += 1
        server = str(origin.address)
        self._log(logging.INFO, "NATS_CONNECTION_MIGRATED", server=server, left=left)
        self.emit(Migrated(server, left))
        self.discover(info)

    def end_handover(self) -> None:
        """Another link than the two of it is about to bring everything: neither holds anything back any more."""
        if self.handover is not None:
            self.handover.finish()
            self.handover = None

    async def wait_one_link(self) -> None:
        """While two links are subscribed to the same: wait until all that either has brought is delivered."""
        if self.handover is not None:
            await self.handover.wait_over()

    def link_down(self, reason: str, *, on_purpose: bool = False) -> None:
        """The link is lost: what was written is unknown, what was not is pending, whoever waited for an answer is told.

        One that was left on purpose is no failure: it is not counted and logged as lost. Without effect when no link
        is up.
        """
        if not self.link_is_up:
            return
        self.link_is_up = False
        self.leave = None
        self.bell.ring()
        now = trio.current_time()
        self.lost_since = now
        self.retry.end()
        detached = self.outbox.detach()
        left, unknown = self._unsent(detached), detached.unknown
        waiters = detached.waiters + self.inbox.take_written()
        self.pending.put_back(left)
        if self.options.fail_open:
            self._skip_unsent()
        self.state = State.RECONNECTING
        self.counters.publish_failures["disconnected"] += unknown - detached.counted
        self.left_on_purpose = on_purpose
        if on_purpose:
            self._log(logging.INFO, "NATS_CONNECTION_LEFT", reason=reason, unknown=unknown, pending=len(left))
        else:
            self.counters.lost += 1
            self._log(logging.ERROR, "NATS_CONNECTION_LOST", reason=reason, unknown=unknown, pending=len(left))
        self.emit(Disconnected(str(self.address), reason))
        for waiter in waiters:
            waiter.fail(ConnectionLostError(reason, sent="maybe"))
        for follower in tuple(self.followers):
            follower.link_down()
        self.call_deferred()
        self.pending.room.wake_all()
        self.sleeper.tell(self.pending.next_deadline())

    def server_shuts_down(self, info: ServerInfo) -> None:
        """The server of the present link has said so: another one is to be found while it goes on."""
        self.pool.shuts_down(info.server_id)
        self._log(logging.WARNING, "NATS_LAME_DUCK", server=str(self.address))
        self.emit(LameDuck(str(self.address)))
        self.bell.ring()

    def discover(self, info: ServerInfo) -> None:
        """Take in the servers that an INFO tells of."""
        if self.origin is None or self.options.ignore_discovered:
            return
        told = info.connect_urls[: self.options.discovered_servers_max]
        for address in self.pool.discover(advertised(told, self.origin)):
            self.emit(ServerDiscovered(str(address)))

    def reconnect(self, reason: str) -> None:
        """The user wants a new link, at once: the present one is left, and an outage begins anew."""
        self.hurried = True
        self.bell.ring()
        if self.leave is not None:
            self.leave(reason)
        elif self.state is State.EXHAUSTED:
            self.state = State.RECONNECTING if self.counters.established else State.CONNECTING

    def replace_servers(self, urls: Sequence[str | Secret]) -> None:
        """The user wants other servers: whoever waits looks again whether there is one to try.

        Raises:
            AddressError: a URL cannot be used. Nothing has changed.
        """
        self.pool.replace(urls)
        self.bell.ring()

    def exhaust(self, attempts: int, *, again: bool) -> None:
        """The attempts of this outage are spent: callers are told instead of queued. Counted once an outage.

        Without effect when closed, which may happen in the very step in which the last attempt fails.
        """
        if self.state is State.CLOSED:
            return
        self.state = State.EXHAUSTED
        self.pending.room.wake_all()
        if again:
            return
        self.counters.exhausted += 1
        self._log(logging.ERROR, "NATS_RECONNECT_EXHAUSTED", attempts=attempts)
        self.emit(Exhausted(attempts))

    def close(self) -> None:
        """The end: everybody who waits is told, and what was not sent is dropped. Without effect when closed."""
        if self.state is State.CLOSED:
            return
        self.state = State.CLOSED
        self.attempting = False
        self.link_is_up = False
        self.retry.end()
        detached = self.outbox.detach()
        unsent = self._unsent(detached) + self.pending.clear()
        self.counters.publish_failures["closed"] += detached.unknown - detached.counted
        self.losses.close(unsent)
        for waiter in detached.waiters + self.inbox.take_all():
            waiter.fail(closed_under(written=waiter.written_at != NEVER))
        for interest in self.interests.everything():
            self.interests.remove(interest)
            interest.route.closed()
        for follower in tuple(self.followers):
            follower.closed()
        self.call_deferred()
        self.losses.outage_over(0)
        self.emit(Closed())
        self.events.end()

    def withdraw(self, waiter: Waiter) -> None:
        """Nobody waits for an operation any more: take it back unless it was written."""
        withdrawn = self.outbox.withdraw(waiter) or self.pending.withdraw(waiter) is not None
        self.withdrawn += withdrawn and bool(waiter.frame)

    # Interests

    def subscribe(
        self, subject: bytes, queue_group: bytes | None, maximum: int | None, route: InterestRoute
    ) -> Interest:
        """Make an interest; the SUB goes out now, or with the next link.

        Raises:
            ClientClosedError: the client is closed.
        """
        self.check_open()
        interest = self.interests.add(subject, queue_group, maximum, route)
        self.counters.subscribes += 1
        if self.link_is_up:
            self._control(interest.frames())
        return interest

    def unsubscribe(self, interest: Interest, maximum: int | None = None, *, keep_route: bool = False) -> None:
        """End an interest now, or when so many messages have come in all.

        With `keep_route` what the server has sent already still reaches the route, until it is forgotten.
        """
        if not self.interests.has(interest):
            return
        interest.maximum = maximum
        if maximum is None or interest.spent:
            self.interests.remove(interest, keep_route=keep_route)
            if self.link_is_up:
                self._control([encode_unsubscribe(interest.sid)])
        elif self.link_is_up:
            self._control([interest.unsubscribe_frame()])

    @property
    def address(self) -> ServerAddress | None:
        """The server of the present link, or of the last one."""
        return None if self.origin is None else self.origin.address

    @property
    def answers(self) -> int:
        """Operations that the server has answered, over all links: publishes, pings of users, requests."""
        return self.outbox.coverage.confirmed + self.outbox.pongs.answered + self.inbox.delivered

    def check_open(self) -> None:
        """Raise ClientClosedError when the client is closed."""
        if self.state is State.CLOSED:
            raise ClientClosedError("the client is closed; open a new one with open_client()")

    def emit(self, event: Event) -> None:
        """Give an event to whoever listens."""
        self.events.emit(event)

    def _given_up(self, operations: list[PendingOperation], error: Callable[[], Exception]) -> None:
        for follower in tuple(self.followers):
            for operation in operations:
                if operation.frame:
                    follower.given_up(operation.frame, error)
        self.call_deferred()

    def call_deferred(self) -> None:
        """All that has come is worked off."""
        deferred, self.deferred = self.deferred, []
        for call in deferred:
            call()

    def _unsent(self, detached: Detached) -> list[PendingOperation]:
        """What a link leaves unwritten; what was pending before keeps its deadline."""
        now = trio.current_time()
        return [
            self.retry.find(frame, waiter) or self.pending.operation(frame, waiter, now)
            for frame, waiter in detached.unwritten
        ]

    def _skip_unsent(self) -> None:
        """Who waits for the confirmation of what was never written need not wait for a connection: it fails open."""
        for operation in self.pending.remove(lambda operation: operation.is_confirmed_publish):
            assert operation.waiter is not None
            self.withdrawn += 1
            self.counters.skipped += 1
            operation.waiter.succeed(Outcome.SKIPPED)

    def _control(self, frames: Iterable[bytes]) -> None:
        for frame in frames:
            self.outbox.put_control(frame)
