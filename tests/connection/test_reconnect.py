"""A link left on purpose, a first connect that is tried again, servers replaced while it runs."""

from __future__ import annotations

import pytest
import trio
import trio.testing
from trio.testing import MockClock

from beamline_trio import (
    AddressError,
    AuthorizationError,
    ClientClosedError,
    Connected,
    ConnectionLostError,
    Disconnected,
    NoServersError,
    OptionsError,
    Outcome,
    Reconnected,
    ServerUnreachableError,
    State,
    open_client,
)
from tests._memory import MemoryDialer, ToyServer, lose_link, opened, wait_connected


async def test_reconnect_is_at_once_and_no_failure(autojump_clock: MockClock) -> None:
    """Flushed, left, connected anew without a delay, to another server; nothing lost, no failure counted anywhere."""
    one, two = ToyServer("nats://one:4222"), ToyServer("nats://two:4222")
    dialer = MemoryDialer(one, two)
    async with (
        opened(one, two, dialer=dialer, keep_server_order=True, reconnect_jitter="full") as nc,
        nc.events() as events,
        nc.subscribe("a") as sub,
    ):
        before = trio.current_time()
        await nc.publish("a", b"1")
        await nc.reconnect()
        assert nc.state == "reconnecting"
        assert await nc.publish("a", b"2") is Outcome.QUEUED
        await wait_connected(nc)
        assert trio.current_time() - before < 0.02
        assert str(nc.connection.address) == two.url
        await nc.flush()
        assert [(await sub.receive()).payload for _ in range(2)] == [b"1", b"2"]
        assert [type(await events.receive()) for _ in range(2)] == [Disconnected, Reconnected]
        stats, ledger = nc.stats(), nc.ledger()
        assert (stats.established, stats.lost, stats.restored, stats.connect_failures) == (2, 0, 0, 0)
        assert (ledger.unknown, ledger.confirmed) == (0, 2)
        assert [server.failures for server in nc.server_pool()] == [0, 0]
        assert one.payloads == [b"1"]


async def test_reconnect_does_not_wait_for_a_dead_server(autojump_clock: MockClock) -> None:
    """The flush is bounded: what it cannot confirm is unknown, requests under way are told, and the link is left."""
    one, two = ToyServer("nats://one:4222"), ToyServer("nats://two:4222")
    async with (
        opened(one, two, dialer=MemoryDialer(one, two), keep_server_order=True, pong_timeout_seconds=2) as nc,
        trio.open_nursery() as nursery,
    ):
        one.deaf = True
        errors: list[ConnectionLostError] = []

        async def ask() -> None:
            with pytest.raises(ConnectionLostError) as caught:
                await nc.request("a", b"x")
            errors.append(caught.value)

        nursery.start_soon(ask)
        await nc.publish("a", b"1")
        before = trio.current_time()
        await nc.reconnect()
        assert trio.current_time() - before == pytest.approx(2)
        await wait_connected(nc)
        assert [error.sent for error in errors] == ["maybe"]
        assert nc.ledger().unknown == 2


async def test_reconnect_ends_a_wait(autojump_clock: MockClock) -> None:
    """In an outage the next pass comes at once, and the delays start over."""
    server = ToyServer()
    dialer = MemoryDialer(server)
    async with opened(server, dialer=dialer, reconnect_jitter="none") as nc:
        await trio.sleep(10)
        await lose_link(server)
        await trio.sleep(60)
        dialled = len(dialer.dialled)
        await nc.reconnect()
        at = trio.current_time()
        await trio.sleep(0.35)
        found = [round(when - at, 2) for when, _ in dialer.dialled[dialled:]]
        assert found[:3] == [0, 0.1, 0.3]
        server.come_up()
        await wait_connected(nc)


@pytest.mark.parametrize("probing", [True, False])
async def test_reconnect_revives_an_exhausted_client(probing: bool, autojump_clock: MockClock) -> None:
    """Exhausted, with or without probing: operations are queued again and attempts are made; it may exhaust again."""
    server = ToyServer()
    async with opened(server, reconnect_attempts=2, probe_after_exhaustion=probing) as nc:
        await trio.sleep(10)
        await lose_link(server)
        await trio.sleep(3)
        assert nc.state == "exhausted"
        await nc.reconnect()
        assert nc.state == "reconnecting"
        assert await nc.publish("a", b"x") is Outcome.QUEUED
        await trio.sleep(3)
        assert nc.state == "exhausted"
        assert nc.stats().exhausted == 2
        server.come_up()
        await nc.reconnect()
        await wait_connected(nc)
        await nc.flush()
        assert server.payloads == [b"x"]


async def test_a_cancelled_reconnect_has_not_happened(autojump_clock: MockClock) -> None:
    """Cancelled before, or during its flush: the link stays; it checkpoints; closed, it raises."""
    server = ToyServer()
    async with opened(server) as nc:
        with trio.CancelScope() as scope:
            scope.cancel()
            await nc.reconnect()
        assert scope.cancelled_caught
        server.pongs_held = True
        with trio.move_on_after(1) as scope:
            await nc.reconnect()
        assert scope.cancelled_caught
        server.pongs_held = False
        server.release_pongs()
        assert (nc.state, nc.stats().established) == (State.CONNECTED, 1)
        with trio.testing.assert_checkpoints():
            await nc.reconnect()
        await wait_connected(nc)
    with pytest.raises(ClientClosedError):
        await nc.reconnect()


async def test_a_client_closed_while_it_reconnects(autojump_clock: MockClock) -> None:
    """Drained by another task during the flush: the call raises, and nothing comes back to life."""
    server = ToyServer()
    async with opened(server, drain_deadline_seconds=1, pong_timeout_seconds=3) as nc, trio.open_nursery() as nursery:
        server.pongs_held = True
        nursery.start_soon(nc.drain)
        with pytest.raises(ClientClosedError):
            await nc.reconnect()
        assert nc.state == "closed"


# --------------------------------------------------------------------------------------------- the first connect


async def test_a_first_connect_that_is_tried_again(autojump_clock: MockClock) -> None:
    """retry_first_connect: the block is entered without a server; what is published waits, and is delivered."""
    server = ToyServer()
    server.go_down()
    dialer = MemoryDialer(server)
    async with opened(server, dialer=dialer, retry_first_connect=True) as nc, nc.events() as events:
        assert nc.state == "connecting"
        assert await nc.publish("a", b"x") is Outcome.QUEUED
        await trio.sleep(20)
        assert nc.state == "connecting"
        gaps = [
            later - earlier for (earlier, _), (later, _) in zip(dialer.dialled[1:], dialer.dialled[2:], strict=False)
        ]
        assert min(gaps) >= 0.05
        server.come_up()
        await wait_connected(nc)
        while not isinstance(await events.receive(), Connected):
            pass
        await nc.flush()
        assert server.payloads == [b"x"]
        assert (nc.stats().established, nc.stats().restored, nc.stats().lost) == (1, 0, 0)


async def test_attempts_of_a_first_connect_are_counted(autojump_clock: MockClock) -> None:
    """The first pass is one of reconnect_attempts; then the client is exhausted, and can be revived."""
    server = ToyServer()
    server.go_down()
    async with opened(server, retry_first_connect=True, reconnect_attempts=1) as nc:
        assert nc.state == "exhausted"
        with pytest.raises(ConnectionLostError):
            await nc.publish("a", b"x")
        server.come_up()
        await nc.reconnect()
        assert nc.state == "connecting"
        await wait_connected(nc)


async def test_refused_credentials_are_told_at_once(autojump_clock: MockClock) -> None:
    """Where every server refuses the credentials nothing is tried again; where one is only down, everything is."""
    one, two = ToyServer("nats://one:4222"), ToyServer("nats://two:4222")
    one.password = two.password = ("user", "right")
    with pytest.raises(AuthorizationError):
        async with open_client(one.url, dialer=MemoryDialer(one), retry_first_connect=True, user="user", password="x"):
            raise AssertionError
    two.go_down()
    async with opened(one, two, dialer=MemoryDialer(one, two), retry_first_connect=True, user="user") as nc:
        await trio.sleep(1)
        one.password = None
        await wait_connected(nc)


async def test_without_the_option_the_first_connect_raises(autojump_clock: MockClock) -> None:
    """The default: one pass, and its errors."""
    one, two = ToyServer("nats://one:4222"), ToyServer("nats://two:4222")
    one.refuses = two.refuses = True
    with pytest.raises(NoServersError) as caught:
        async with open_client(one.url, two.url, dialer=MemoryDialer(one, two)):
            raise AssertionError
    assert {type(error) for error in caught.value.errors} == {ServerUnreachableError}


# -------------------------------------------------------------------------------------------- replacing the servers


async def test_replacing_the_servers_of_a_client(autojump_clock: MockClock) -> None:
    """The link stays until it is lost or left; then only the new servers are tried; a bad URL changes nothing."""
    one, two = ToyServer("nats://one:4222"), ToyServer("nats://two:4222")
    dialer = MemoryDialer(one, two)
    async with opened(one, dialer=dialer) as nc:
        for servers, error in (((), OptionsError), (("http://x",), AddressError)):
            with pytest.raises(error):
                nc.set_server_pool(*servers)
        assert [server.url for server in nc.server_pool()] == [one.url]
        nc.set_server_pool("nats://user:pw@two:4222")
        await nc.flush()
        assert (str(nc.connection.address), nc.stats().lost) == (one.url, 0)
        await nc.reconnect()
        await wait_connected(nc)
        assert [url for _, url in dialer.dialled] == [one.url, two.url]
        assert two.link.about["user"] == "user"
        assert "pw" not in repr(nc.server_pool())
    with pytest.raises(ClientClosedError):
        nc.set_server_pool(one.url)


async def test_servers_replaced_in_the_middle_of_a_pass(autojump_clock: MockClock) -> None:
    """Those that are gone are not tried any more, not even by the pass that is under way."""
    servers = [ToyServer(f"nats://{name}:4222") for name in ("one", "two", "three", "four")]
    dialer = MemoryDialer(*servers)
    async with opened(*servers[:3], dialer=dialer, keep_server_order=True, reconnect_jitter="none") as nc:
        dialer.dial_seconds = 1
        for server in servers[:3]:
            server.go_down()
        await trio.sleep(0.5)
        before = len(dialer.dialled)
        nc.set_server_pool(servers[3].url)
        await wait_connected(nc)
        assert {url for _, url in dialer.dialled[before:]} == {servers[3].url}
