"""When the next link is tried, in which states, and what is left of the last one."""

from __future__ import annotations

from functools import partial
from itertools import pairwise
from typing import Any

import pytest
import trio
import trio.testing
from trio.testing import MockClock

from beamline_trio import (
    ConnectionLostError,
    Disconnected,
    Exhausted,
    Reconnected,
    ReconnectFailed,
    State,
)
from tests._memory import MemoryDialer, ToyServer, lose_link, opened, wait_connected


def delays(dialer: MemoryDialer, lost_at: float) -> list[float]:
    """Seconds between the loss and the attempts after it."""
    times = [lost_at, *(at for at, _ in dialer.dialled if at > lost_at)]
    return [round(later - earlier, 3) for earlier, later in pairwise(times)]


async def test_the_delays_between_attempts(autojump_clock: MockClock) -> None:
    """With jitter off, base 0.5 and max 2: the first attempt at once, then 0.5, 1, 2, 2 s, never above the max."""
    server = ToyServer()
    dialer = MemoryDialer(server)
    async with opened(
        server, dialer=dialer, reconnect_delay_seconds=0.5, reconnect_delay_max_seconds=2, reconnect_jitter="none"
    ) as nc:
        await nc.flush()
        await trio.sleep(100)
        lost_at = trio.current_time()
        await lose_link(server)
        await trio.sleep(60)
        attempts = [at - lost_at for at, _ in dialer.dialled if at >= lost_at]
        assert attempts[0] == pytest.approx(0, abs=0.001)
        found = [round(later - earlier, 3) for earlier, later in pairwise(attempts)]
        assert found[:5] == [0.5, 1, 2, 2, 2]
        assert max(found) == 2
        server.come_up()
        await wait_connected(nc)
        assert nc.stats().reconnect_failures["refused"] == len(attempts)
        assert nc.stats().reconnect_attempts == len(attempts) + 1


@pytest.mark.parametrize("jitter", ["upper_half", "full"])
async def test_jitter_is_drawn_from_the_clients_chance(jitter: str, autojump_clock: MockClock) -> None:
    """One seed gives one sequence of delays, another seed another; within the bounds of the kind."""
    sequences: list[list[float]] = []
    for seed in (1, 1, 2):
        server = ToyServer()
        dialer = MemoryDialer(server, seed=seed)
        async with opened(
            server, dialer=dialer, reconnect_delay_seconds=4, reconnect_delay_max_seconds=4, reconnect_jitter=jitter
        ) as nc:
            await nc.flush()
            await trio.sleep(10)
            lost_at = trio.current_time()
            await lose_link(server)
            await trio.sleep(100)
            found = delays(dialer, lost_at)
            assert found[0] <= 0.1
            assert all((2 if jitter == "upper_half" else 0) <= delay <= 4 for delay in found[1:])
            sequences.append(found[:20])
            server.come_up()
    assert sequences[0] == sequences[1] != sequences[2]


async def test_no_client_sleeps_through_the_end_of_a_short_outage(autojump_clock: MockClock) -> None:
    """In the first 3 s of an outage no delay exceeds 0.5 s with the default base."""
    server = ToyServer()
    dialer = MemoryDialer(server)
    async with opened(server, dialer=dialer) as nc:
        await nc.flush()
        await trio.sleep(10)
        lost_at = trio.current_time()
        await lose_link(server)
        await trio.sleep(2.9)
        assert max(delays(dialer, lost_at)) <= 0.5
        server.come_up()
        await wait_connected(nc)
        assert trio.current_time() - lost_at <= 3.5


async def test_a_server_that_accepts_and_hangs_up_is_paced(autojump_clock: MockClock) -> None:
    """Links that die young do not start the delays over; one that lives, or carries a confirmation, does."""
    server = ToyServer()
    dialer = MemoryDialer(server)
    async with opened(server, dialer=dialer, reconnect_jitter="none") as nc:
        await trio.sleep(20)
        lost_at = trio.current_time()
        for _ in range(20):
            server.drop()
            await trio.testing.wait_all_tasks_blocked()
            await wait_connected(nc)
        found = [round(delay, 1) for delay in delays(dialer, lost_at)]
        assert found[:5] == [0.1, 0.2, 0.4, 0.5, 0.5]
        assert found == sorted(found)  # they grow as they do where nothing answers
        assert max(found) == 5
        await nc.publish("a", b"x", confirm=True)
        server.drop()
        before = trio.current_time()
        await trio.testing.wait_all_tasks_blocked()
        await wait_connected(nc)
        assert trio.current_time() - before <= 0.1


async def test_a_server_that_hangs_up_in_the_handshake_is_paced(autojump_clock: MockClock) -> None:
    """So is one that accepts and closes before CONNECT is answered, one that is silent, one that is no NATS server."""
    failures: dict[str, dict[str, Any]] = {
        "closed": {"hangs_up": True},
        "timeout": {"silent": True},
        "protocol": {"greeting": b"HTTP/1.1 400 Bad Request\r\n\r\n"},
        "auth": {"password": ("user", "password")},
    }
    for reason, attributes in failures.items():
        server = ToyServer()
        dialer = MemoryDialer(server)
        async with opened(server, dialer=dialer, reconnect_jitter="none", connect_timeout_seconds=1) as nc:
            await trio.sleep(20)
            for name, value in attributes.items():
                setattr(server, name, value)
            server.drop()
            await trio.sleep(100)
            assert 20 <= len(dialer.dialled) <= 40, reason
            assert nc.stats().reconnect_failures[reason] == len(dialer.dialled) - 1
            assert dialer.open_streams <= 1
            server.hangs_up = server.silent = False
            server.greeting = server.password = None
            await wait_connected(nc)


async def test_the_state_in_an_outage(autojump_clock: MockClock) -> None:
    """connected, reconnecting (attempting only while it attempts), connected; each turn one event, one counter."""
    server = ToyServer()
    dialer = MemoryDialer(server)
    async with opened(server, dialer=dialer, reconnect_jitter="none") as nc, nc.events() as events:
        assert (nc.state, nc.connection.attempting) == (State.CONNECTED, False)
        await trio.sleep(20)
        dialer.dial_seconds = 2
        await lose_link(server)
        await trio.sleep(1)
        assert (nc.state, nc.connection.attempting) == (State.RECONNECTING, True)
        await trio.sleep(1.01)
        assert (nc.state, nc.connection.attempting) == (State.RECONNECTING, False)
        server.come_up()
        await wait_connected(nc)
        seen = [await events.receive() for _ in range(3)]
        assert [type(event) for event in seen] == [Disconnected, ReconnectFailed, Reconnected]
        reconnected = seen[2]
        assert isinstance(reconnected, Reconnected)
        assert reconnected.attempts == 2
        assert reconnected.outage_seconds == pytest.approx(4.1, abs=0.05)
        stats = nc.stats()
        assert (stats.established, stats.lost, stats.restored) == (2, 1, 1)


async def test_exhausted(autojump_clock: MockClock) -> None:
    """After reconnect_attempts passes operations fail at once, those that waited for room too; a probe revives it."""
    server = ToyServer()
    dialer = MemoryDialer(server)
    options: dict[str, Any] = {"reconnect_attempts": 3, "reconnect_jitter": "none", "pending_operations_max": 2}
    async with (
        opened(server, dialer=dialer, **options) as nc,
        nc.events() as events,
        nc.subscribe("a") as sub,
        trio.open_nursery() as nursery,
    ):
        await trio.sleep(10)
        lost_at = trio.current_time()
        await lose_link(server)
        await nc.publish("a", b"1")
        await nc.publish("a", b"2")
        errors: list[str] = []

        async def blocked() -> None:
            try:
                await nc.publish("a", b"3")
            except ConnectionLostError as error:
                errors.append(error.sent)

        nursery.start_soon(blocked)
        await trio.sleep(2)
        assert nc.state is State.EXHAUSTED
        assert len([at for at, _ in dialer.dialled if at >= lost_at]) == 3
        assert errors == ["no"]
        calls = (
            partial(nc.publish, "a", b"x"),
            partial(nc.publish, "a", b"x", confirm=True),
            partial(nc.request, "a", b"x"),
            nc.flush,
            sub.confirmed,
        )
        for call in calls:
            with pytest.raises(ConnectionLostError) as caught:
                await call()
            assert caught.value.sent == "no"
        with pytest.raises(ConnectionLostError):
            nc.publish_nowait("a", b"x")
        assert trio.current_time() == pytest.approx(lost_at + 2, abs=0.01)
        probes = [at for at, _ in dialer.dialled]
        await trio.sleep(20)
        probing = [at for at, _ in dialer.dialled][len(probes) :]
        assert all(later - earlier == pytest.approx(5) for earlier, later in pairwise(probing))
        assert len(probing) >= 3
        server.come_up()
        await wait_connected(nc)
        await trio.sleep(1)
        assert (await sub.receive()).payload == b"1"
        await nc.flush()
        kinds: list[type] = []
        while nc.stats().restored and not (kinds and kinds[-1] is Reconnected):
            kinds.append(type(await events.receive()))
        assert kinds.count(Exhausted) == 1
        assert nc.stats().exhausted == 1
        assert server.payloads == [b"1", b"2"]


async def test_without_probing_an_exhausted_client_stays_so(autojump_clock: MockClock) -> None:
    """probe_after_exhaustion=False: no more attempts, operations go on failing, leaving is clean."""
    server = ToyServer()
    dialer = MemoryDialer(server)
    async with opened(server, dialer=dialer, reconnect_attempts=2, probe_after_exhaustion=False) as nc:
        await lose_link(server)
        await trio.sleep(10)
        dialled = len(dialer.dialled)
        server.come_up()
        await trio.sleep(1_000)
        assert (nc.state, len(dialer.dialled)) == (State.EXHAUSTED, dialled)
        with pytest.raises(ConnectionLostError):
            await nc.publish("a", b"x")


@pytest.mark.parametrize("steps", range(10))
async def test_a_handshake_that_ends_with_the_drain(steps: int, autojump_clock: MockClock) -> None:
    """A link that comes up in the very step in which the client closes does not bring it back to life."""
    server = ToyServer()
    dialer = MemoryDialer(server)
    async with opened(server, dialer=dialer) as nc, trio.open_nursery() as nursery:
        await trio.sleep(10)
        server.pongs_held = True
        server.drop()
        await trio.sleep(1)
        assert nc.state == "reconnecting"
        nursery.start_soon(nc.drain)
        for _ in range(steps):
            await trio.lowlevel.checkpoint()
        server.release_pongs()
        await trio.testing.wait_all_tasks_blocked()
        assert nc.state == "closed"
        assert dialer.open_streams == 0


async def test_a_pass_goes_over_all_servers(autojump_clock: MockClock) -> None:
    """No delay inside a pass; the one that was lost is tried last."""
    one, two, three = (ToyServer(f"nats://{name}:4222") for name in ("one", "two", "three"))
    dialer = MemoryDialer(one, two, three)
    async with opened(one, two, three, dialer=dialer, reconnect_jitter="none", keep_server_order=True) as nc:
        await nc.flush()
        await trio.sleep(10)
        before = len(dialer.dialled)
        for server in (one, two, three):
            server.go_down()
        await trio.sleep(0.01)
        assert [address for _, address in dialer.dialled[before:]] == [two.url, three.url, one.url]
        assert len({at for at, _ in dialer.dialled[before:]}) == 1
        three.come_up()
        await wait_connected(nc)
        assert nc.connection.address is not None
        assert str(nc.connection.address) == three.url


async def test_many_outages_leave_nothing_behind(autojump_clock: MockClock) -> None:
    """Many short links: no task more, no stream open but the present one."""
    server = ToyServer()
    dialer = MemoryDialer(server)
    async with opened(server, dialer=dialer) as nc, nc.subscribe("a") as sub:
        await sub.confirmed()
        before = trio.lowlevel.current_statistics().tasks_living
        for number in range(200):
            await nc.publish("a", b"%d" % number, confirm=True)
            server.drop(reset=number % 2 == 0)
            await trio.testing.wait_all_tasks_blocked()
            await wait_connected(nc)
        assert trio.lowlevel.current_statistics().tasks_living == before
        assert dialer.open_streams == 1
        assert nc.stats().restored == 200
        assert sub.delivered == 200
        assert len(server.interests) == 1
