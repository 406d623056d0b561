"""Laws of reconnecting, of many clients and of links that die without a word. All in virtual time."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from itertools import pairwise
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from beamline_trio import Client, Outcome, Reconnected, State, open_client
from beamline_trio.simulation import ServerConfig, SimulatedServer, User, World, run
from beamline_trio.transport import Dialer, ServerAddress
from tests._memory import MemoryDialer, ToyServer, wait_connected

PING_SECONDS, PONG_SECONDS = 20.0, 5.0


# ------------------------------------------------------------------------------------------------ many clients


async def test_a_server_that_hangs_up_right_after_pong(autojump_clock: MockClock) -> None:
    """100 clients, 20 s: at most one attempt of each client per delay, and the jitter spreads them.

    The n-th delay is at least half of what the backoff says without jitter, at the age that the outage has then.
    """
    server = ToyServer()
    dialers = [MemoryDialer(server, seed=seed) for seed in range(100)]
    async with AsyncExitStack() as stack:
        clients = [
            await stack.enter_async_context(open_client(server.url, dialer=dialer, drain_deadline_seconds=0.1))
            for dialer in dialers
        ]
        await trio.sleep(30)
        began_at = trio.current_time()
        server.leaves_after_pong = True
        server.drop()
        await trio.sleep(20)
        attempts = [[at - began_at for at, _ in dialer.dialled if at >= began_at] for dialer in dialers]
        server.leaves_after_pong = False
        for nc in clients:
            await wait_connected(nc)
    for times in attempts:
        assert 10 <= len(times) <= 22
        assert times[0] <= 0.1
        for number, (earlier, later) in enumerate(pairwise(times), 1):
            age = earlier - times[1]  # of the outage: it begins when the first young link dies
            whole = min(0.1 * 2 ** (number - 1), 5.0, 0.5 if age < 3 else age - 1.5)
            assert later - earlier >= whole / 2 - 0.001, (number, earlier, later)
    every = sorted(at for times in attempts for at in times)
    busiest = max(sum(at <= other < at + 0.1 for other in every) for at in every if at > 6)
    assert busiest <= 15
    assert len({round(times[5], 3) for times in attempts}) > 80


@pytest.mark.slow
def test_a_thousand_clients_after_a_restart(capsys: pytest.CaptureFixture[str]) -> None:
    """After 5 s down at most 8 % of 1,000 clients connect in any 100 ms, and all are back within 5 s."""
    back: list[float] = []

    async def scenario(world: World) -> None:
        server = await world.start_server("a")

        async def one(number: int, *, task_status: trio.TaskStatus[None]) -> None:
            async with open_client(server.url, dialer=world.dialer(f"c{number}")) as nc, nc.events() as events:
                task_status.started()
                async for event in events:
                    if isinstance(event, Reconnected):
                        back.append(world.now())
                        return

        async with trio.open_nursery() as nursery:
            for number in range(1000):
                await nursery.start(one, number)
            await trio.sleep(10)
            server.kill()
            await trio.sleep(5)
            server.start()
            up_at = world.now()
        back[:] = sorted(at - up_at for at in back)

    run(scenario, seed=1)
    peak = max(sum(1 for other in back[index : index + 200] if other < at + 0.1) for index, at in enumerate(back))
    with capsys.disabled():
        print(
            f"\n1000 clients after 5 s down: at most {peak / 10:.1f} % in any 100 ms, "
            f"median {back[500]:.2f} s, last {back[-1]:.2f} s"
        )
    assert len(back) == 1000
    assert peak <= 80
    assert back[-1] <= 5


# ------------------------------------------------------------------------------------------------- half-open links


@asynccontextmanager
async def two_servers(world: World, **options: Any) -> AsyncGenerator[tuple[SimulatedServer, SimulatedServer, Client]]:
    """A cluster of two, and a client that is connected to the first."""
    config = ServerConfig(cluster="c")
    a = await world.start_server("a", config)
    b = await world.start_server("b", config, routes=["a"])
    await trio.sleep(1)
    async with open_client(a.url, dialer=world.dialer("client"), **options) as nc:
        await trio.sleep(1)
        yield a, b, nc


def pause(world: World, server: SimulatedServer) -> Callable[[], None]:
    server.pause()
    return server.resume


def swallow(world: World, server: SimulatedServer) -> Callable[[], None]:
    hole = world.network.partition("client", server.name)
    hole.start()
    return hole.stop


@pytest.mark.parametrize("fail", [pause, swallow])
@pytest.mark.parametrize("idle", [True, False])
def test_a_half_open_link_is_noticed(fail: Callable[[World, SimulatedServer], Callable[[], None]], idle: bool) -> None:
    """Stopped (SIGSTOP) or in a black hole: noticed within ping interval + pong timeout, idle or publishing.

    With a second server up the client can be used again within that and one connect.
    """

    async def scenario(world: World) -> None:
        async with two_servers(world) as (a, _b, nc), nc.subscribe("x") as sub:
            await sub.confirmed()
            await trio.sleep(7)
            failed_at = world.now()
            heal = fail(world, a)
            async with trio.open_nursery() as nursery:

                async def publish() -> None:
                    while True:
                        await nc.publish("y", b"y")
                        await trio.sleep(0.5)

                if not idle:
                    nursery.start_soon(publish)
                while not nc.stats().lost:  # noqa: ASYNC110  # virtual time
                    await trio.sleep(0.01)
                assert world.now() - failed_at <= PING_SECONDS + PONG_SECONDS + 0.02
                await nc.publish("x", b"x", confirm=True)
                # The first pass comes within 0.1 s, and a connect takes a few round trips of 1 ms.
                assert world.now() - failed_at <= PING_SECONDS + PONG_SECONDS + 0.2
                assert str(nc.connection.address) == "nats://b:4222"
                assert (await sub.receive()).payload == b"x"
                assert nc.stats().pongs_missed == 1
                nursery.cancel_scope.cancel()
            heal()
            await trio.sleep(1)

    run(scenario, seed=1)


def test_the_other_server_is_stopped_too() -> None:
    """A stopped server takes TCP and stays silent: each attempt on it ends with the connect timeout, and is paced."""

    async def scenario(world: World) -> None:
        async with two_servers(world, connect_timeout_seconds=2.0) as (a, b, nc):
            a.pause()
            b.pause()
            while not nc.stats().lost:  # noqa: ASYNC110  # virtual time
                await trio.sleep(0.1)
            lost_at = world.now()
            await trio.sleep(60)
            stats = nc.stats()
            assert stats.reconnect_failures["timeout"] == pytest.approx(stats.reconnect_attempts, abs=1)
            assert 14 <= stats.reconnect_attempts <= 30
            b.resume()
            await nc.publish("x", b"x", confirm=True)
            assert world.now() - lost_at < 60 + 5 + 4 * 2

    run(scenario, seed=1)


# ------------------------------------------------------------------------------- what fails for a while, and heals


def judge_pace(dials: list[float], failed_at: float, healed_at: float) -> None:
    """At most one attempt per delay, and the last delay is not slept beyond its length."""
    during = [at for at in dials if failed_at <= at < healed_at]
    for number, (earlier, later) in enumerate(pairwise(during), 1):
        age = earlier - failed_at  # at most: the client noticed later
        whole = min(0.1 * 2 ** (number - 1), 5.0, 0.5 if age < 3 else age - 1.5)
        assert later - earlier >= whole / 2 - 0.001, (number, age)
    assert len(during) >= 10
    assert next(at for at in dials if at >= healed_at) - healed_at <= 5


class Counting:
    """A dialer that notes when it dials."""

    def __init__(self, inner: Dialer) -> None:
        self._inner = inner
        self.environment = inner.environment
        self.times: list[float] = []

    def open(self, address: ServerAddress) -> AbstractAsyncContextManager[trio.abc.Stream]:
        self.times.append(trio.current_time())
        return self._inner.open(address)

    async def start_tls(self, stream: trio.abc.Stream, host: str) -> trio.abc.Stream:
        return await self._inner.start_tls(stream, host)


def test_dns_fails_for_a_while() -> None:
    """During a reconnect: counted as dns, paced, over as soon as the name is known again."""

    async def scenario(world: World) -> None:
        server = await world.start_server("a")
        dialer = Counting(world.dialer("client"))
        async with open_client(server.url, dialer=dialer) as nc:
            await trio.sleep(10)
            failed_at = world.now()
            with world.network.no_dns("a"):
                world.network.reset("client", "a")
                await trio.sleep(40)
                assert nc.stats().reconnect_failures["dns"] == nc.stats().reconnect_attempts >= 10
                assert "resolve" in nc.server_pool()[0].last_error
                assert await nc.publish("x", b"x") is Outcome.QUEUED
            healed_at = world.now()
            await nc.flush()
            assert nc.state is State.CONNECTED
            judge_pace(dialer.times, failed_at, healed_at)

    run(scenario, seed=1)


def test_the_password_is_wrong_for_a_while() -> None:
    """During a reconnect: counted as auth and kept in the server's book, paced, over as soon as it is right again."""

    async def scenario(world: World) -> None:
        right = ServerConfig(users=(User("me", "right"),))
        wrong = ServerConfig(users=(User("me", "other"),))
        server = await world.start_server("a", right)
        dialer = Counting(world.dialer("client"))
        async with open_client(server.url, dialer=dialer, user="me", password="right") as nc:
            await trio.sleep(10)
            failed_at = world.now()
            server.reload(wrong)
            await trio.sleep(40)
            stats = nc.stats()
            assert stats.reconnect_failures["auth"] == stats.reconnect_attempts >= 10
            assert "Authorization Violation" in nc.server_pool()[0].last_auth_error
            healed_at = world.now()
            server.reload(right)
            await nc.flush()
            assert nc.server_pool()[0].last_auth_error == ""
            judge_pace(dialer.times, failed_at, healed_at)

    run(scenario, seed=1)
