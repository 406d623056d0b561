"""Keeps a connection alive: pass after pass over the servers, with backoff, link after link, until it is closed.

Expected failures are state, not crashes. Only the first connect raises; after that the loop ends with the client. Each
link lives in a task of its own (`_link_task`); this one waits on one bell for what it has to look at.

Must not parse, and must not decide what becomes of operations.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial
from typing import Final

import trio

from ..protocol import AuthorizationError, NatsError
from ..transport import NameResolutionError, ServerUnreachableError, TLSError
from ._backoff import next_delay
from ._connection import Connection
from ._errors import (
    ConnectTimeoutError,
    CredentialsError,
    CredentialsNotFoundError,
    NoServersError,
    NotNatsServerError,
)
from ._events import ReconnectFailed
from ._handshake import Established
from ._link import Link
from ._link_task import Preparation, serve_link
from ._migration import Migration
from ._policy import Policy, Turn
from ._pool import KnownServer
from ._state import State
from ._waiters import NEVER

# give_up_on_auth_error: so many refusals in the same words, one after another.
REFUSALS_MAX: Final = 2


class Supervisor:
    """The loop of one connection.

    Args:
        connection: its state.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._pool = connection.pool
        self._policy = Policy(connection)
        self._passes = 0
        self._chosen = 0
        self._attempts = 0
        self._exhausted = False
        self._outage_since = 0.0
        self._began_at = 0.0
        self._answers_before = 0

    @trio.lowlevel.enable_ki_protection
    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Connect, report started, and stay connected until cancelled.

        Raises:
            ConnectError: the first connect failed on the only server, with its own error.
            AuthorizationError: likewise.
            CredentialsNotFoundError: likewise on one of several, whatever the others said.
            NoServersError: the first connect failed on all of several servers.
        """
        failure: NatsError | None = None
        async with trio.open_nursery() as links:
            try:
                link = await self._connect(links, task_status)
            except NatsError as error:  # raised bare, not in the nursery's group
                failure = error
            else:
                while True:
                    if link is not None:
                        await self._live(links, link)
                    link = await self._reconnect(links)
        if failure is not None:
            raise failure

    async def _connect(self, links: trio.Nursery, task_status: trio.TaskStatus[None]) -> Link | None:
        """The first pass. None: no server was reached, and `retry_first_connect` goes on trying."""
        connection = self._connection
        connection.state = State.CONNECTING
        errors: list[NatsError] = []

        def up(server: KnownServer, link: Link, established: Established) -> None:
            self._link_up(server, link, established)
            task_status.started()

        for server in self._pool.one_pass():
            try:
                return await self._attempt(links, server, up)
            except NatsError as error:
                self._book(server, error)
                errors.append(error)
        if not connection.options.retry_first_connect or all(isinstance(one, AuthorizationError) for one in errors):
            connection.state = State.DISCONNECTED
            missing = next((error for error in errors if isinstance(error, CredentialsNotFoundError)), None)
            raise missing or (errors[0] if len(errors) == 1 else NoServersError(tuple(errors)))
        self._outage_since = trio.current_time()
        self._count_pass()
        task_status.started()
        return None

    async def _live(self, links: trio.Nursery, link: Link) -> None:
        """Wait until a link, or what has taken over from it, is lost; then decide whether the outage is a new one."""
        connection = self._connection
        while not link.lost_reason:
            await connection.bell.wait()
            if connection.info.lame_duck and not link.lost_reason:
                link = await self._migrate(links, link)
        server = self._pool.current
        lived = trio.current_time() - self._began_at
        self._attempts = 0
        if link.left:
            self._passes = 0
        elif lived >= connection.options.reconnect_delay_max_seconds or connection.answers > self._answers_before:
            self._passes = 0
            self._exhausted = False
        else:  # a server that accepts and hangs up is paced like one that does not answer: it is one outage
            self._count_pass()
        if server is not None:
            if link.left:
                self._pool.left(server)
            else:
                self._pool.failed(server, link.lost_reason)
        if self._passes <= 1:
            self._outage_since = trio.current_time()

    async def _migrate(self, links: trio.Nursery, old: Link) -> Link:
        """Find another server while the link goes on to one that shuts down; returns the link on which the client is.

        It is that of the server that shuts down, lost, when none could be reached before.
        """
        connection = self._connection
        migration = Migration(connection, old)

        def up(server: KnownServer, link: Link, established: Established) -> None:
            if self._pool.current is not None:
                self._pool.left(self._pool.current)
            if old.lost_reason:
                self._link_up(server, link, established)
            else:
                self._lives_on(server, link, established)
                migration.take_over(link, established)

        passes = 0
        began_at = trio.current_time()
        while not old.lost_reason:
            for server in [one for one in self._pool.one_pass() if not one.lame_duck]:
                if server not in self._pool:  # the user replaced it meanwhile
                    continue
                self._attempts += 1
                connection.counters.reconnect_attempts += 1
                try:
                    return await self._attempt(links, server, up, migration.prepare)
                except NatsError as error:
                    self._failed(server, error)
                if old.lost_reason:
                    return old
            passes += 1
            age, rng = trio.current_time() - began_at, connection.environment.random
            with trio.move_on_after(next_delay(passes, age, connection.options, rng)):
                await connection.bell.wait()
        return old

    async def _reconnect(self, links: trio.Nursery) -> Link | None:
        """One wait and one pass. None: no server could be reached."""
        chosen = await self._wait_for_turn()
        for server in self._pool.one_pass() if chosen is None else [chosen]:
            if server not in self._pool:  # the user replaced it meanwhile
                continue
            self._attempts += 1
            self._connection.counters.reconnect_attempts += 1
            try:
                return await self._attempt(links, server, self._link_up)
            except NatsError as error:
                self._failed(server, error)
        if chosen is None:
            self._count_pass()
        else:  # chosen one by one, as many as there are make a pass
            self._chosen += 1
            if self._chosen >= len(self._pool):
                self._chosen = 0
                self._count_pass()
        return None

    def _count_pass(self) -> None:
        """One more pass of this outage, and perhaps the last."""
        self._passes += 1
        limit = self._connection.options.reconnect_attempts
        if (limit is not None and self._passes >= limit) or not self._pool.one_pass():
            self._connection.exhaust(self._passes, again=self._exhausted)
            self._exhausted = True

    async def _wait_for_turn(self) -> KnownServer | None:
        """Wait for the next attempt, or until the user wants it at once; returns the server that was chosen for it."""
        connection = self._connection
        turn = self._next_turn()
        if turn.delay < NEVER:
            self._log_attempt(0.0 if connection.hurried else turn.delay)
        with trio.move_on_after(turn.delay):
            await trio.lowlevel.checkpoint()
            while not connection.hurried and (turn.delay < NEVER or self._probe_delay == NEVER):
                await connection.bell.wait()
        if connection.hurried:
            connection.hurried = False
            self._passes = 0
            self._exhausted = False
            self._pool.forgive()
        return turn.server

    def _next_turn(self) -> Turn:
        connection = self._connection
        if connection.state is State.EXHAUSTED:
            return Turn(self._probe_delay)
        return self._policy.next_turn(self._passes, trio.current_time() - self._outage_since)

    @property
    def _probe_delay(self) -> float:
        """Once exhausted: seconds between probes, as long as there is a server that was not given up."""
        options = self._connection.options
        probes = options.probe_after_exhaustion and self._pool.one_pass()
        return options.reconnect_delay_max_seconds if probes else NEVER

    async def _attempt(
        self,
        links: trio.Nursery,
        server: KnownServer,
        up: Callable[[KnownServer, Link, Established], None],
        prepare: Preparation | None = None,
    ) -> Link:
        """Dial, shake hands, prepare, and let the link live in a task of its own.

        Raises:
            NatsError: it was never established.
        """
        connection = self._connection
        connection.attempting = True
        self._pool.attempted(server, trio.current_time())
        try:
            outcome: Link | NatsError = await links.start(
                partial(serve_link, prepare=prepare),
                connection,
                server.address,
                lambda link, established: up(server, link, established),
            )
        finally:
            connection.attempting = False
        if isinstance(outcome, NatsError):
            raise outcome
        return outcome

    def _link_up(self, server: KnownServer, link: Link, established: Established) -> None:
        self._lives_on(server, link, established)
        self._connection.link_up(established.origin, established.info, self._attempts)

    def _lives_on(self, server: KnownServer, link: Link, established: Established) -> None:
        """The client is on this link from now on."""
        connection = self._connection
        self._pool.succeeded(server, established.info.server_id)
        self._began_at = trio.current_time()
        self._answers_before = connection.answers
        connection.leave = link.leave
        connection.stream = established.stream
        connection.hurried = False

    def _failed(self, server: KnownServer, error: NatsError) -> None:
        connection = self._connection
        self._book(server, error)
        connection.counters.reconnect_failures[reason_of(error)] += 1
        told = f"{error}; it is given up (give_up_on_auth_error)" if server.given_up else str(error)
        connection.emit(ReconnectFailed(str(server.address), self._attempts, told))

    def _book(self, server: KnownServer, error: NatsError) -> None:
        """An attempt failed: into the books, and out with a server that refuses the same credentials again."""
        self._pool.failed(server, error)
        self._connection.counters.connect_failures += 1
        refused = isinstance(error, AuthorizationError) and server.refusals >= REFUSALS_MAX
        if refused and self._connection.options.give_up_on_auth_error:
            self._pool.give_up(server)

    def _log_attempt(self, delay: float) -> None:
        options = self._connection.options
        self._connection.log(
            logging.INFO,
            "NATS_RECONNECT_ATTEMPT",
            attempt=self._passes + 1,
            max_attempts=options.reconnect_attempts,
            delay=round(delay, 3),
        )


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
