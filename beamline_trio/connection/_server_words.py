"""What a server says on a link besides messages and PINGs: INFO, -ERR, PONG, and messages that cannot be decoded.

Each word goes to whom it is about: a refusal to the subscription, or to the publishes and requests that it names; a
PONG to those who wait for it. What changes the connection is a turn of the connection's own.

Must not decide whether a link lives on.
"""

from __future__ import annotations

import logging

import trio

from ..protocol import PermissionsError, ServerError, ServerInfo, decode_subject, server_error
from ._connection import Connection
from ._events import ServerErrorReceived
from ._state import Outcome


class ServerWords:
    """The words of the servers of one connection.

    Args:
        connection: to whose operations and subscriptions they go.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._counters = connection.counters
        self._outbox = connection.outbox
        self._log = connection.log

    def on_info(self, info: ServerInfo) -> None:
        """A later INFO: limits may change at any time."""
        connection = self._connection
        announced = info.lame_duck and not connection.info.lame_duck
        connection.info = info
        self._outbox.payload_max = info.max_payload
        if announced:
            connection.server_shuts_down(info)
        connection.discover(info)

    def on_error(self, text: str) -> ServerError:
        """`-ERR`: tell the operation or subscription it is about, and the events."""
        error = server_error(text)
        self._counters.server_errors += 1
        self._connection.emit(ServerErrorReceived(error))
        if isinstance(error, PermissionsError) and error.operation == "subscription":
            self._refuse_subscriptions(error)
        elif isinstance(error, PermissionsError):
            self._refuse_publishes(error, error.subject, error.reply or "", "permission")
        elif error.text.lower().startswith("invalid publish subject"):
            self._refuse_publishes(error, "", "", "server_error")
        elif error.text.lower().startswith("maximum subscriptions exceeded"):
            self._refuse_a_subscription(error)
        else:
            self._log(logging.WARNING, "NATS_SERVER_ERROR", error=error.text)
        return error

    def on_pong(self) -> None:
        """The server has everything that was written before a PING."""
        expectation = self._outbox.pongs.come()
        if expectation is not None:
            for waiter in expectation.waiters:
                if waiter.subject is not None and waiter.waiting:
                    self._counters.confirmed_publishes += 1
                    self._counters.confirm_latency.observe(trio.current_time() - waiter.written_at)
                waiter.succeed(Outcome.SENT)

    def on_malformed(self, sid: bytes, subject: bytes, reason: str) -> None:
        """A message was skipped: who would have got it is told."""
        connection = self._connection
        connection.incidents.malformed(decode_subject(subject), reason)
        route = connection.interests.routes.get(sid)
        if route is not None:
            route.skipped(subject, reason)

    def _refuse_subscriptions(self, error: PermissionsError) -> None:
        interests = self._connection.interests
        self._log(logging.WARNING, "NATS_SUBSCRIBE_ERROR", subject=error.subject, reason=error.text)
        for interest in interests.blamed(error):
            self._counters.subscribe_failures["permission"] += 1
            interests.remove(interest)
            interest.route.refused(error)

    def _refuse_a_subscription(self, error: ServerError) -> None:
        """It does not say which."""
        self._connection.subscriptions_refused += 1
        self._connection.subscription_refusal = error
        self._counters.subscribe_failures["server_error"] += 1
        self._log(logging.WARNING, "NATS_SUBSCRIBE_ERROR", reason=error.text)

    def _refuse_publishes(self, error: ServerError, subject: str, reply: str, reason: str) -> None:
        connection = self._connection
        target, answer = subject.encode("utf-8", "replace"), reply.encode("utf-8", "replace")
        waiters = self._outbox.pongs.blamed(target, answer) + connection.inbox.take_blamed(target, answer)
        if not waiters and any([one.publish_refused(error, target) for one in tuple(connection.followers)]):
            return
        self._log(logging.WARNING, "NATS_PUBLISH_ERROR", subject=subject, reason=error.text)
        self._outbox.coverage.refuse()
        connection.retry.refused(subject)
        if not self._outbox.pongs.settle_counted(target, answer):
            self._counters.publish_failures[reason] += 1
        for waiter in waiters:
            waiter.fail(server_error(error.text))  # one for each task: an error collects what happens to it
