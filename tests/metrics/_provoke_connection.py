"""Outages and refusals that provoke what the stage `connection` promises: each a function in a world of its own.

Must not judge what is seen.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import ExitStack, asynccontextmanager, suppress
from typing import Any

import pytest
import trio

from beamline_trio import (
    Client,
    ClientClosedError,
    ConnectionLostError,
    NatsError,
    NotNatsServerError,
    OperationTimeoutError,
    PayloadTooLargeError,
    PermissionsError,
    State,
    Subscription,
    TLSError,
    UndeliveredError,
)
from beamline_trio.faults import close_connection, error, timeout
from beamline_trio.simulation import ServerConfig, World
from beamline_trio.transport import Dialer, Environment, ServerAddress
from tests.metrics._watch import Watch


async def until_state(nc: Client, state: State) -> None:
    """Wait until a client is in a state."""
    while nc.state is not state:  # noqa: ASYNC110
        await trio.sleep(0.005)


async def outages(world: World, watch: Watch) -> None:
    """The server is killed, publishes wait, and it comes back; then it says that it leaves."""
    server = await world.start_server("a", ServerConfig(lame_duck_grace_seconds=1, lame_duck_duration_seconds=30))
    async with watch.open(server.url, world.dialer("app")) as (nc, _):
        await nc.publish("orders.1", b"x", confirm=True)
        server.kill()
        await until_state(nc, State.RECONNECTING)
        await nc.publish("orders.1", b"queued")
        await trio.sleep(1)
        server.start()
        await until_state(nc, State.CONNECTED)
        await nc.flush()
        await nc.reconnect()
        await until_state(nc, State.CONNECTED)
        server.lame_duck()
        await trio.sleep(1)


class _Foreign:
    """A Dialer that reaches what is no NATS server, for as long as `fault` says so."""

    def __init__(self, dialer: Dialer) -> None:
        self._dialer = dialer
        self.fault = ""

    @property
    def environment(self) -> Environment:
        return self._dialer.environment

    @asynccontextmanager
    async def open(self, address: ServerAddress) -> AsyncGenerator[trio.abc.Stream]:
        if self.fault == "tls":
            raise TLSError(f"TLS handshake with {address} failed", address=str(address))
        if self.fault == "protocol":
            raise NotNatsServerError(f"{address} is no NATS server", address=str(address))
        async with self._dialer.open(address) as stream:
            yield stream

    async def start_tls(self, stream: trio.abc.Stream, host: str) -> trio.abc.Stream:
        return await self._dialer.start_tls(stream, host)


async def failed_attempts(world: World, watch: Watch) -> None:
    """Attempts that fail for every reason there is, until they are spent."""
    server = await world.start_server("a")
    foreign = _Foreign(world.dialer("app"))
    reasons = {"refused": error("refused"), "dns": error("dns"), "auth": error(), "timeout": timeout(),
               "closed": close_connection()}  # fmt: skip
    async with watch.open(server.url, foreign) as (nc, faults):
        for reason in nc.stats().reconnect_failures:
            foreign.fault = reason
            with ExitStack() as injected:
                if reason in reasons:
                    injected.enter_context(faults.inject("connect", reasons[reason]))
                server.kill()
                server.start()
                while not nc.stats().reconnect_failures[reason]:  # noqa: ASYNC110
                    await trio.sleep(0.01)
            foreign.fault = ""
            await until_state(nc, State.CONNECTED)
    async with watch.open(server.url, world.dialer("app"), reconnect_attempts=2) as (nc, _):
        server.kill()
        await until_state(nc, State.EXHAUSTED)
        with pytest.raises(ConnectionLostError):
            await nc.publish("orders.1", b"x")


async def refused_publishes(world: World, watch: Watch) -> None:
    """Publishes that fail while the client is connected, for every reason."""
    server = await world.start_server("a")
    async with watch.open(server.url, world.dialer("app")) as (nc, faults):
        with faults.inject("publish", error()), pytest.raises(PermissionsError):
            await nc.publish("orders.1", b"x", confirm=True)
        with faults.inject("publish", timeout()), pytest.raises(OperationTimeoutError):
            await nc.publish("orders.1", b"x", confirm=True)
        with faults.inject("publish", close_connection()), pytest.raises(ConnectionLostError):
            await nc.publish("orders.1", b"x", confirm=True)
        await until_state(nc, State.CONNECTED)
        for text in ("Invalid Publish Subject", "Something Else"):
            with faults.inject("publish", error(text)):
                await nc.publish("orders.1", b"x")
                await nc.flush()


async def unsent_publishes(world: World, watch: Watch) -> None:
    """Publishes that are never sent: expired, too many, kept waiting too long, too large, left behind."""
    server = await world.start_server("a")
    for policy in ("block", "error", "drop_oldest", "drop_new"):
        options: dict[str, Any] = {"pending_operations_max": 1, "pending_policy": policy}
        async with watch.open(server.url, world.dialer("app"), **options) as (nc, _):
            server.kill()
            await until_state(nc, State.RECONNECTING)
            async with trio.open_nursery() as nursery:
                for _ in range(4):
                    nursery.start_soon(_publish_anyway, nc)
            await trio.sleep(3)  # what was taken in expires
            server.start()
            await until_state(nc, State.CONNECTED)
    await _too_large(world, watch)
    async with watch.open(server.url, world.dialer("app"), drain_deadline_seconds=0.5) as (nc, _):
        server.kill()
        await until_state(nc, State.RECONNECTING)
        await nc.publish("orders.1", b"left behind")
        with pytest.raises(UndeliveredError):
            await nc.drain()


async def _publish_anyway(nc: Client) -> None:
    with suppress(NatsError):
        await nc.publish("orders.1", b"x")


async def _too_large(world: World, watch: Watch) -> None:
    """What waits is larger than what the next server takes."""
    large = await world.start_server("large")
    small = await world.start_server("small", ServerConfig(max_payload=1_000))
    async with watch.open(large.url, world.dialer("app"), servers=(large.url, small.url)) as (nc, _):
        large.kill()
        small.kill()
        await until_state(nc, State.RECONNECTING)
        waiting = nc.publish("orders.1", b"x" * 2_000, confirm=True)
        small.start()
        with pytest.raises(PayloadTooLargeError):
            await waiting


async def refused_subscriptions(world: World, watch: Watch) -> None:
    """Subscriptions that are refused, or cannot be confirmed, for every reason."""
    server = await world.start_server("a", ServerConfig(max_subscriptions=2))
    async with watch.open(server.url, world.dialer("app")) as (nc, faults):
        for fault, kind in (
            (error(), PermissionsError),
            (timeout(), OperationTimeoutError),
            (close_connection(), ConnectionLostError),
        ):
            with faults.inject("subscribe", fault), pytest.raises(kind):
                async with nc.subscribe("orders.*") as sub:
                    await sub.confirmed()
            await until_state(nc, State.CONNECTED)
        async with nc.subscribe("a"), nc.subscribe("b"), nc.subscribe("c") as refused:
            with pytest.raises(NatsError):
                await refused.confirmed()
        async with nc.subscribe("d") as sub:
            server.pause()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(_expect_closed, sub)
                await trio.sleep(0.1)
                nc.connection.close()


async def _expect_closed(sub: Subscription) -> None:
    with pytest.raises(ClientClosedError):
        await sub.confirmed()


async def arrivals(world: World, watch: Watch) -> None:
    """Messages that come too fast, cannot be decoded, or meet a callback that raises."""
    server = await world.start_server("a")
    async with watch.open(server.url, world.dialer("app"), subscription_pending_messages_max=2) as (nc, _):
        async with nc.subscribe("fast"):
            for _ in range(5):
                await nc.publish("fast", b"x")
            await nc.flush()

        def fails(message: object) -> None:
            raise RuntimeError("on purpose")

        async with nc.subscribe("called", callback=fails), nc.subscribe("bad"):
            await nc.publish("called", b"x")
            nc.connection.outbox.put_control(b"HPUB bad 12 12\r\nNATS/2.0\r\n\r\n\r\n")
            await nc.flush()


async def first_connect(world: World, watch: Watch) -> None:
    """The server comes after the client."""
    server = await world.start_server("a")
    server.kill()
    async with watch.open(server.url, world.dialer("app"), retry_first_connect=True) as (nc, _):
        await trio.sleep(1)
        server.start()
        await until_state(nc, State.CONNECTED)


async def keep_alive(world: World, watch: Watch) -> None:
    """The client pings a silent server, which answers, and then does not."""
    server = await world.start_server("a")
    async with watch.open(server.url, world.dialer("app"), ping_interval_seconds=0.5, pong_timeout_seconds=0.5) as (
        nc,
        _,
    ):
        await trio.sleep(2)
        server.pause()
        await until_state(nc, State.RECONNECTING)
        server.resume()
        await until_state(nc, State.CONNECTED)


async def migration(world: World, watch: Watch) -> None:
    """A server says that it leaves, and there is another one."""
    config = ServerConfig(lame_duck_grace_seconds=5, lame_duck_duration_seconds=30)
    leaving, staying = await world.start_server("a", config), await world.start_server("b")
    options = {"servers": (leaving.url, staying.url), "keep_server_order": True}
    async with watch.open(leaving.url, world.dialer("app"), **options):
        leaving.lame_duck()
        await trio.sleep(10)


async def discovery(world: World, watch: Watch) -> None:
    """A server joins the cluster."""
    server = await world.start_server("a", ServerConfig(cluster="c"))
    async with watch.open(server.url, world.dialer("app")):
        await world.start_server("b", ServerConfig(cluster="c"), routes=["a"])
        await trio.sleep(1)


PROVOCATIONS = (
    outages,
    first_connect,
    keep_alive,
    migration,
    discovery,
    failed_attempts,
    refused_publishes,
    unsent_publishes,
    refused_subscriptions,
    arrivals,
)
