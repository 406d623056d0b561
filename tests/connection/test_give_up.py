"""A server that refuses the same credentials again is tried on, or given up where the user wants that."""

from __future__ import annotations

from typing import Any

import pytest
import trio
from trio.testing import MockClock

from beamline_trio import AuthorizationError, Client, PoolServer, ReconnectFailed, ServerInfo, State, open_client
from tests._memory import MemoryDialer, ToyServer, wait_connected

PACE: dict[str, Any] = {"reconnect_jitter": "none", "reconnect_delay_seconds": 1.0, "reconnect_delay_max_seconds": 1.0}


def refusing(server: ToyServer) -> None:
    """The server takes the user's password no more."""
    server.password = ("u", "other")
    server.drop()


async def failures(nc: Client, count: int) -> list[ReconnectFailed]:
    """Wait for so many failed attempts."""
    found: list[ReconnectFailed] = []
    async with nc.events() as events:
        while len(found) < count:
            event = await events.receive()
            if isinstance(event, ReconnectFailed):
                found.append(event)
    return found


async def test_by_default_a_refusal_is_tried_again(autojump_clock: MockClock) -> None:
    """Whatever the server said, one attempt per delay goes on, and a password that is right again connects."""
    server = ToyServer()
    server.password = ("u", "p")
    async with open_client(server.url, dialer=MemoryDialer(server), user="u", password="p", **PACE) as nc:
        refusing(server)
        assert len(await failures(nc, 10)) == 10
        server.password = ("u", "p")
        await wait_connected(nc)


async def test_with_the_option_the_second_refusal_is_the_last(autojump_clock: MockClock) -> None:
    """Two refusals in the same words: given up, exhausted, no probe; reconnect() tries it again."""
    server = ToyServer()
    server.password = ("u", "p")
    dialer = MemoryDialer(server)
    async with open_client(server.url, dialer=dialer, user="u", password="p", give_up_on_auth_error=True, **PACE) as nc:
        refusing(server)
        first, second = await failures(nc, 2)
        assert "given up" not in first.reason
        assert "given up (give_up_on_auth_error)" in second.reason
        await trio.sleep(100)
        assert nc.state is State.EXHAUSTED
        assert nc.stats().exhausted == 1
        assert len(dialer.dialled) == 3
        server.password = ("u", "p")
        await nc.reconnect()
        await wait_connected(nc)


async def test_another_server_is_still_tried(autojump_clock: MockClock) -> None:
    """One that is given up stays out of the passes; the others go on."""
    one, two = ToyServer("nats://one:4222"), ToyServer("nats://two:4222")
    dialer = MemoryDialer(one, two)
    async with open_client(
        one.url,
        two.url,
        dialer=dialer,
        give_up_on_auth_error=True,
        keep_server_order=True,
        user="u",
        password="p",
        **PACE,
    ) as nc:
        two.refuses = True
        refusing(one)
        await failures(nc, 8)
        assert len(one.links) == 3
        assert nc.state is State.RECONNECTING
        two.refuses = False
        await wait_connected(nc)
        assert str(nc.connection.address) == "nats://two:4222"


async def test_other_words_are_another_refusal(autojump_clock: MockClock) -> None:
    """Refused for one reason and then for another: not the same, so not given up yet."""
    server = ToyServer()
    async with open_client(
        server.url, dialer=MemoryDialer(server), user="u", password="p", give_up_on_auth_error=True, **PACE
    ) as nc:
        pool = nc.connection.pool
        (known,) = pool.one_pass()
        for text in ("Authorization Violation", "User Authentication Expired", "Authorization Violation"):
            pool.failed(known, AuthorizationError(text))
            assert known.refusals == 1
        pool.failed(known, ConnectionError("refused"))
        pool.failed(known, AuthorizationError("Authorization Violation"))
        assert known.refusals == 2


async def test_the_first_connect_raises_at_once(autojump_clock: MockClock) -> None:
    """The first refusal is the caller's, whatever the option says, and nothing was tried twice."""
    server = ToyServer()
    server.password = ("u", "other")
    for option in (False, True):
        dialer = MemoryDialer(server)
        began = trio.current_time()
        with pytest.raises(AuthorizationError):
            async with open_client(server.url, dialer=dialer, user="u", password="p", give_up_on_auth_error=option):
                raise AssertionError
        assert len(dialer.dialled) == 1
        assert trio.current_time() == began


async def test_another_pool_is_tried_at_once(autojump_clock: MockClock) -> None:
    """When all were given up, set_server_pool() ends the wait, for others as for the same ones."""
    one, two = ToyServer("nats://one:4222"), ToyServer("nats://two:4222")
    one.password = ("u", "p")
    options: dict[str, Any] = {"user": "u", "password": "p", "give_up_on_auth_error": True, **PACE}
    async with open_client(one.url, dialer=MemoryDialer(one, two), **options) as nc:
        refusing(one)
        await trio.sleep(100)
        assert nc.state is State.EXHAUSTED
        one.password = ("u", "p")
        nc.set_server_pool(one.url)
        with trio.fail_after(0.1):
            await wait_connected(nc)
        refusing(one)
        await trio.sleep(100)
        nc.set_server_pool(two.url)
        with trio.fail_after(0.1):
            await wait_connected(nc)


async def test_servers_given_up_one_by_one_by_choice(autojump_clock: MockClock) -> None:
    """choose_server and refusals that end in the middle of a pass: exhausted, and nothing of the client's breaks."""
    servers = [ToyServer(f"nats://{name}:4222") for name in ("one", "two", "three")]
    urls = [server.url for server in servers]
    plan: list[str | None] = [None, urls[0], urls[1], urls[2], urls[2]]

    def choose(pool: tuple[PoolServer, ...], info: ServerInfo) -> tuple[str | None, float]:
        return (plan.pop(0), 1.0) if plan and pool else (None, 0.0)

    options: dict[str, Any] = {"user": "u", "password": "p", "give_up_on_auth_error": True, **PACE}
    async with open_client(
        *urls, dialer=MemoryDialer(*servers), choose_server=choose, keep_server_order=True, **options
    ) as nc:
        servers[2].refuses = True
        servers[1].password = ("u", "other")
        refusing(servers[0])
        await trio.sleep(1.5)  # a pass of the library's own: one and two refuse for the first time
        servers[2].refuses, servers[2].password = False, ("u", "other")
        await trio.sleep(100)
        assert nc.server_pool() == ()
        assert nc.state is State.EXHAUSTED
