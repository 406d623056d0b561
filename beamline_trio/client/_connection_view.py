"""What a client shows of its connection, and what it can be told of it: where it stands, its servers, its books.

Must not know messages.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from typing import Any, Final

import trio

from ..connection import (
    Connection,
    EventStream,
    Ledger,
    OptionsError,
    PoolServer,
    Sender,
    State,
    Statistics,
    ledger_of,
    statistics_of,
)
from ..protocol import NatsError, ServerInfo

_REQUIRED: Final = object()


class ConnectionView:
    """The part of a client that is about its connection, and not about messages.

    Args:
        connection: the client's.
    """

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.sender = Sender(connection)

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

    async def reconnect(self) -> None:
        """Leave the present link and connect anew, at once and without backoff; also from the state `exhausted`.

        What was published before is flushed first, as far as that works within `pong_timeout_seconds`; what is still
        unconfirmed then is unknown, requests under way raise ConnectionLostError. Returns when the link is left, not
        when the next one is up: that is the event `Reconnected`. It is not counted as a failure, and another server of
        the pool is tried before the present one. Cancelled during the flush: nothing has happened.

        Raises:
            ClientClosedError: the client is closed.
        """
        connection = self.connection
        await trio.lowlevel.checkpoint()
        connection.check_open()
        if connection.link_is_up:
            with trio.move_on_after(connection.options.pong_timeout_seconds), contextlib.suppress(NatsError):
                await self.sender.ping()
        connection.check_open()
        connection.reconnect("the client reconnects")

    def set_server_pool(self, *servers: str) -> None:
        """Use these servers and no others from the next attempt on; the present link stays (`reconnect` leaves it).

        What the cluster tells of later joins them, unless `ignore_discovered`. The book of a server that stays is kept.
        An exhausted client that had given all servers up, and probes, tries them at once.

        Args:
            *servers: URLs, at least one.

        Raises:
            AddressError: a URL cannot be used. Nothing has changed.
            OptionsError: there is none.
            ClientClosedError: the client is closed.
        """
        self.connection.check_open()
        if not servers:
            raise OptionsError("set_server_pool was given no server; give at least one, such as nats://127.0.0.1:4222")
        self.connection.replace_servers(servers)

    def server_pool(self) -> tuple[PoolServer, ...]:
        """The servers as they are tried next, each with its book; no credentials are in it."""
        return self.connection.pool.snapshot()

    def events(self) -> EventStream:
        """What happens to the connection from now on: `async with nc.events() as events`."""
        return self.connection.events.open()

    def stats(self) -> Statistics:
        """The counters at this moment; they survive reconnects."""
        return statistics_of(self.connection)

    @property
    def extra_attributes(self) -> Mapping[Any, Callable[[], Any]]:
        """Anyio's typed attributes of the connection: of the server, its address, its TLS; see `extra`."""
        from ._attributes import extra_attributes

        return extra_attributes(self.connection)

    def extra(self, attribute: Any, default: Any = _REQUIRED) -> Any:
        """One typed attribute, as anyio's streams have them.

        `SocketAttribute` and `TLSAttribute` are anyio's (peer address, TLS version, certificate), `ServerAttribute` is
        in `beamline_trio.client.attributes` (server_id, server_name, version).

        Args:
            attribute: which.
            default: what is given where the connection has no such attribute just now.

        Raises:
            anyio.TypedAttributeLookupError: it has none, and there is no default.
        """
        give = self.extra_attributes.get(attribute)
        if give is not None:
            return give()
        if default is _REQUIRED:
            from anyio import TypedAttributeLookupError

            raise TypedAttributeLookupError("the connection has no such attribute; is it up, and over a socket or TLS?")
        return default

    def ledger(self) -> Ledger:
        """What became of every publish, at this moment."""
        return ledger_of(self.connection)
