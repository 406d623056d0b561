"""Keeps a connection alive: pass after pass over the servers, with backoff, link after link, until it is closed.

Expected failures are state, not crashes. Only the first connect raises; after that the loop ends with the client.

Must not parse, and must not decide what becomes of operations.
"""

from __future__ import annotations

import logging

import trio

from ..protocol import AuthorizationError, NatsError, ProtocolError
from ..transport import NameResolutionError, ServerUnreachableError, TLSError
from ._backoff import next_delay
from ._connection import Connection
from ._errors import ConnectTimeoutError, CredentialsError, NoServersError, NotNatsServerError
from ._events import ReconnectFailed
from ._handshake import Handshake
from ._link import Link
from ._pool import KnownServer
from ._state import State

log = logging.getLogger("beamline_trio")


class Supervisor:
    """The loop of one connection.

    Args:
        connection: its state.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._pool = connection.pool
        self._passes = 0
        self._attempts = 0
        self._exhausted = False
        self._outage_since = 0.0

    @trio.lowlevel.enable_ki_protection
    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Connect, report started, and stay connected until cancelled.

        Raises:
            ConnectError: the first connect failed on the only server, with its own error.
            AuthorizationError: likewise.
            NoServersError: the first connect failed on all of several servers.
        """
        connection = self._connection
        connection.state = State.CONNECTING
        errors: list[NatsError] = []
        for server in self._pool.one_pass():
            try:
                await self._attempt(server, task_status)
                break
            except NatsError as error:
                self._pool.failed(server, error)
                connection.counters.connect_failures += 1
                errors.append(error)
        else:
            connection.state = State.DISCONNECTED
            raise errors[0] if len(errors) == 1 else NoServersError(tuple(errors))
        while True:
            await self._reconnect()

    async def _reconnect(self) -> None:
        """One wait and one pass. Returns after a link was lost, or when no server could be reached."""
        connection = self._connection
        options = connection.options
        outage = trio.current_time() - self._outage_since
        if connection.state is State.EXHAUSTED:
            if not options.probe_after_exhaustion:
                await trio.sleep_forever()
            delay = options.reconnect_delay_max_seconds
        else:
            delay = next_delay(self._passes, outage, options, connection.environment.random)
        self._log_attempt(delay)
        await trio.sleep(delay)
        for server in self._pool.one_pass():
            self._attempts += 1
            connection.counters.reconnect_attempts += 1
            try:
                await self._attempt(server, trio.TASK_STATUS_IGNORED)
            except NatsError as error:
                self._failed(server, error)
            else:
                break
        else:
            self._passes += 1
        if options.reconnect_attempts is not None and self._passes >= options.reconnect_attempts:
            connection.exhaust(self._passes, again=self._exhausted)
            self._exhausted = True

    async def _attempt(self, server: KnownServer, task_status: trio.TaskStatus[None]) -> None:
        """Dial, shake hands, run the link. Returns when it is lost; raises when it was never established."""
        connection = self._connection
        limit = connection.options.connect_timeout_seconds
        connection.attempting = True
        self._pool.attempted(server, trio.current_time())
        try:
            with trio.CancelScope(deadline=trio.current_time() + limit) as scope:
                async with connection.dialer.open(server.address) as stream:
                    established = await Handshake(connection, stream, server.address).run()
                    scope.deadline = float("inf")
                    if scope.cancel_called:  # it struck in this very step: all or nothing
                        await trio.lowlevel.checkpoint()
                    connection.check_open()  # a drain may have ended in this very step
                    link = Link(connection, established)
                    self._pool.succeeded(server, established.info.server_id)
                    connection.link_up(established.origin, established.info, self._attempts)
                    task_status.started()
                    await self._live(link, server)
        except ProtocolError as error:
            text = f"{server.address} breaks the protocol: {error}"
            raise NotNatsServerError(text, address=str(server.address)) from error
        finally:
            connection.attempting = False
        if scope.cancelled_caught:
            raise ConnectTimeoutError(
                f"{server.address} did not finish the handshake within {limit:g} s (connect_timeout_seconds); "
                "a server that accepts and stays silent may be stopped, wait for TLS first, or be no NATS server",
                address=str(server.address),
            )

    async def _live(self, link: Link, server: KnownServer) -> None:
        """Run a link; afterwards decide whether the outage that follows is a new one."""
        connection = self._connection
        began = trio.current_time()
        confirmed = connection.outbox.confirmed
        reason = await link.run()
        self._pool.failed(server, reason)
        lived = trio.current_time() - began
        if lived >= connection.options.reconnect_delay_max_seconds or connection.outbox.confirmed > confirmed:
            self._passes = 0
            self._exhausted = False
        else:  # a server that accepts and hangs up is paced like one that does not answer: it is one outage
            self._passes += 1
        if self._passes <= 1:
            self._outage_since = trio.current_time()
        self._attempts = 0

    def _failed(self, server: KnownServer, error: NatsError) -> None:
        connection = self._connection
        self._pool.failed(server, error)
        connection.counters.connect_failures += 1
        connection.counters.reconnect_failures[reason_of(error)] += 1
        connection.emit(ReconnectFailed(str(server.address), self._attempts, str(error)))

    def _log_attempt(self, delay: float) -> None:
        options = self._connection.options
        fields = {
            "event": "NATS_RECONNECT_ATTEMPT",
            "client": options.name,
            "attempt": self._passes + 1,
            "max_attempts": options.reconnect_attempts,
            "delay": round(delay, 3),
        }
        log.info("NATS_RECONNECT_ATTEMPT attempt=%d delay=%.3f", self._passes + 1, delay, extra=fields)


def reason_of(error: NatsError) -> str:
    """The label of a failed attempt in the counters."""
    kinds: tuple[tuple[type[NatsError], str], ...] = (
        (ConnectTimeoutError, "timeout"),
        (ServerUnreachableError, "refused"),
        (NameResolutionError, "dns"),
        (TLSError, "tls"),
        (AuthorizationError, "auth"),
        (CredentialsError, "auth"),
        (NotNatsServerError, "protocol"),
    )
    return next((reason for kind, reason in kinds if isinstance(error, kind)), "closed")
