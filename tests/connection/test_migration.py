"""A server that announces its shutdown is left for another one, and nothing is lost, doubled or delayed by that."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import pytest
import trio
import trio.testing
from trio.testing import MockClock

from beamline_trio import (
    Client,
    Disconnected,
    Event,
    LameDuck,
    Message,
    Migrated,
    Outcome,
    Reconnected,
    ReconnectFailed,
    State,
    open_client,
)
from beamline_trio.connection import Waiter
from beamline_trio.connection._migration import OVERLAP_SECONDS_MAX
from beamline_trio.simulation import Conditions, ServerConfig, SimulatedServer, World, run
from tests._memory import MemoryDialer, ToyServer, opened, wait_connected

GRACE_SECONDS = 10.0
CLUSTER = ServerConfig(cluster="c", lame_duck_grace_seconds=GRACE_SECONDS, lame_duck_duration_seconds=30.0)


async def cluster(world: World, *names: str) -> list[SimulatedServer]:
    """Servers joined to the first one."""
    servers = [await world.start_server(name, CLUSTER, routes=[] if name == names[0] else [names[0]]) for name in names]
    await trio.sleep(1)
    return servers


@asynccontextmanager
async def client(world: World, server: SimulatedServer, host: str, **options: Any) -> AsyncGenerator[Client]:
    async with open_client(server.url, dialer=world.dialer(host), **options) as nc:
        await nc.flush()
        yield nc


async def collect(nc: Client, events: list[Event]) -> None:
    async with nc.events() as stream:
        async for event in stream:
            events.append(event)


async def until(done: Callable[[], bool], seconds: float = 30.0) -> None:
    """Wait for something that is to happen in virtual time."""
    with trio.fail_after(seconds):
        while not done():  # noqa: ASYNC110  # virtual time
            await trio.sleep(0.01)


@pytest.mark.parametrize("seed", [1, 2, *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(3, 9))])
def test_nothing_is_lost_or_doubled_on_the_way(seed: int) -> None:
    """With traffic of all kinds under way: each request is answered, each message comes once and in order."""

    async def scenario(world: World) -> None:
        a, b, c = await cluster(world, "a", "b", "c")
        world.network.add_host("mover")
        for way in (("mover", "a"), ("a", "mover")):
            world.network.set_conditions(*way, Conditions(latency_seconds=0.02, jitter_seconds=0.01))
        events: list[Event] = []
        served: list[bytes] = []
        got: list[int] = []
        sent: dict[str, int] = {"numbers": 0, "asked": 0, "asking": 0, "published": 0}
        over = trio.Event()

        async with (
            client(world, a, "mover") as mover,
            client(world, b, "left") as left,
            client(world, c, "right") as right,
            trio.open_nursery() as nursery,
        ):

            async def answer(message: Message) -> bytes:
                served.append(message.payload)
                return message.payload

            async def slow(message: Message) -> bytes:
                await trio.sleep(1.0)
                return b"late but there"

            async def receive() -> None:
                async with mover.subscribe("numbers") as sub:
                    await sub.confirmed()
                    async for message in sub:
                        got.append(int(message.payload))

            async def publish_numbers() -> None:
                while not over.is_set():
                    await left.publish("numbers", b"%d" % sent["numbers"])
                    sent["numbers"] += 1
                    await trio.sleep(0.003)

            async def ask(nc: Client, subject: str, key: str) -> None:
                while not over.is_set():
                    payload = b"%s %d" % (subject.encode(), sent[key])
                    assert (await nc.request(subject, payload)).payload == payload
                    sent[key] += 1

            async def ask_slowly() -> None:
                while not over.is_set():
                    assert (await mover.request("slow", b"?")).payload == b"late but there"

            async def publish() -> None:
                while not over.is_set():
                    assert await mover.publish("anything", b"x", confirm=True) is Outcome.SENT
                    sent["published"] += 1
                    assert mover.state is State.CONNECTED
                    await trio.sleep(0.005)

            nursery.start_soon(collect, mover, events)
            await nursery.start(partial(mover.serve, "plain", answer))
            await nursery.start(partial(mover.serve, "grouped", answer, queue_group="q"))
            await nursery.start(partial(right.serve, "echo", answer))
            await nursery.start(partial(right.serve, "slow", slow, concurrency=10))
            nursery.start_soon(receive)
            await trio.sleep(0.5)
            nursery.start_soon(publish_numbers)
            nursery.start_soon(ask, left, "plain", "asked")
            nursery.start_soon(ask, right, "grouped", "asked")
            nursery.start_soon(ask, mover, "echo", "asking")
            nursery.start_soon(ask_slowly)
            nursery.start_soon(publish)
            await trio.sleep(1)
            before = dict(sent)
            announced_at = world.now()
            a.lame_duck()
            await until(lambda: any(isinstance(event, Migrated) for event in events))
            assert world.now() - announced_at < 2
            await until(lambda: not a.connections)
            assert world.now() - announced_at < GRACE_SECONDS
            await trio.sleep(2)
            over.set()
            await trio.sleep(2)
            assert all(sent[key] > before[key] + 50 for key in sent)
            assert got == list(range(sent["numbers"]))
            assert len(served) == len(set(served))
            assert [type(event) for event in events] == [LameDuck, Migrated]
            stats, ledger = mover.stats(), mover.ledger()
            assert (stats.lost, stats.established, stats.unroutable) == (0, 2, 0)
            assert (ledger.unknown, ledger.dropped, ledger.failed) == (0, 0, 0)
            nursery.cancel_scope.cancel()

    run(scenario, seed=seed)


def test_a_subscription_with_a_maximum_gets_no_more() -> None:
    """What is left of a maximum is left on the new link, whatever comes by both."""

    async def scenario(world: World) -> None:
        a, b = await cluster(world, "a", "b")
        async with (
            client(world, a, "mover") as mover,
            client(world, b, "sender") as sender,
            mover.subscribe("n", max_messages=300) as sub,
        ):
            await sub.confirmed()
            await trio.sleep(0.1)
            got: list[int] = []
            async with trio.open_nursery() as nursery:

                async def send() -> None:
                    for number in range(400):
                        await sender.publish("n", b"%d" % number)
                        await trio.sleep(0.002)

                nursery.start_soon(send)
                await trio.sleep(0.1)
                a.lame_duck()
                async for message in sub:
                    got.append(int(message.payload))
            assert got == list(range(300))
            assert not mover.stats().lost

    run(scenario, seed=1)


def test_the_only_server_is_not_left_before_it_goes() -> None:
    """Without another server the client stays as long as it can, then reconnects as ever."""

    async def scenario(world: World) -> None:
        server = await world.start_server("a", CLUSTER)
        async with client(world, server, "mover") as nc, trio.open_nursery() as nursery:
            events: list[Event] = []
            nursery.start_soon(collect, nc, events)
            await trio.sleep(0.1)
            server.lame_duck()
            await trio.sleep(GRACE_SECONDS - 1)
            await nc.publish("x", b"x", confirm=True)
            assert [type(event) for event in events] == [LameDuck]
            assert nc.stats().reconnect_attempts == 0
            await until(lambda: any(isinstance(event, Disconnected) for event in events))
            await trio.sleep(1)
            server.start()
            await until(lambda: nc.state is State.CONNECTED)
            await nc.flush()
            assert not nc.server_pool()[0].lame_duck
            nursery.cancel_scope.cancel()

    run(scenario, seed=1)


def test_a_server_that_comes_later_is_moved_to() -> None:
    """While the others are down the client tries them, paced, and moves as soon as one is up."""

    async def scenario(world: World) -> None:
        a, b = await cluster(world, "a", "b")
        async with client(world, a, "mover") as nc, trio.open_nursery() as nursery:
            events: list[Event] = []
            nursery.start_soon(collect, nc, events)
            await until(lambda: len(nc.server_pool()) == 2)
            with world.network.refuse("b"):
                a.lame_duck()
                await trio.sleep(4)
                assert 4 <= nc.stats().reconnect_failures["refused"] <= 20
                assert nc.state is State.CONNECTED
                assert not nc.stats().lost
            await until(lambda: any(isinstance(event, Migrated) for event in events), 6)
            assert not nc.stats().lost
            assert len(b.connections) == 1
            nursery.cancel_scope.cancel()

    run(scenario, seed=1)


def test_migrating_twice() -> None:
    """The next server may shut down too, and the one after that; each time the client moves on."""

    async def scenario(world: World) -> None:
        servers = await cluster(world, "a", "b", "c")
        async with client(world, servers[0], "mover") as nc, nc.subscribe("x") as sub:
            await trio.sleep(1)
            for _ in range(2):
                here = next(server for server in servers if server.connections)
                here.lame_duck()
                await until(lambda here=here: not here.connections)  # type: ignore[misc]
                assert nc.state is State.CONNECTED
            await nc.publish("x", b"x", confirm=True)
            assert (await sub.receive()).payload == b"x"
            assert (nc.stats().established, nc.stats().lost) == (3, 0)

    run(scenario, seed=1)


# ---------------------------------------------------------------------------------- what goes wrong on the way


async def test_a_server_that_dies_while_it_is_left(autojump_clock: MockClock) -> None:
    """The link dies while the other server is being dialled: an ordinary outage, and that server ends it."""
    one, two = ToyServer("nats://one:4222"), ToyServer("nats://two:4222", server_id="TWO")
    dialer = MemoryDialer(one, two)
    async with opened(one, two, dialer=dialer, keep_server_order=True) as nc:
        dialer.dial_seconds = 1
        one.send_info(ldm=True)
        await trio.sleep(0.5)
        one.drop()
        await trio.sleep(0.1)
        assert nc.state == "reconnecting"
        await wait_connected(nc)
        assert str(nc.connection.address) == two.url
        await nc.publish("a", b"x", confirm=True)
        assert two.payloads == [b"x"]
        assert (nc.stats().lost, nc.stats().restored) == (1, 1)


async def test_a_server_that_confirms_nothing_any_more_is_left(autojump_clock: MockClock) -> None:
    """Lame and deaf: after pong_timeout_seconds it is left without its word; what it has is unknown, and told."""
    one, two = ToyServer("nats://one:4222"), ToyServer("nats://two:4222", server_id="TWO")
    options = {"keep_server_order": True, "pong_timeout_seconds": 2.0}
    async with opened(one, two, dialer=MemoryDialer(one, two), **options) as nc:
        await nc.publish("a", b"1")
        await trio.testing.wait_all_tasks_blocked()
        one.pongs_held = True
        one.send_info(ldm=True)
        await trio.sleep(1)
        assert await nc.publish("a", b"2") is Outcome.QUEUED
        await trio.sleep(1.5)
        await wait_connected(nc)
        await nc.flush()
        assert str(nc.connection.address) == two.url
        assert two.payloads == [b"2"]
        assert (nc.ledger().unknown, nc.ledger().confirmed) == (1, 1)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_acks_that_come_all_the_time_do_not_hold_it_up(seed: int) -> None:
    """Frames that are no publishes are written in order, by the old link or by the new one; none is lost or doubled."""

    async def scenario(world: World) -> None:
        a, b = await cluster(world, "a", "b")
        world.network.add_host("mover")
        for way in (("mover", "a"), ("a", "mover")):
            world.network.set_conditions(*way, Conditions(latency_seconds=0.05))
        async with (
            client(world, a, "mover") as mover,
            client(world, b, "receiver") as receiver,
            receiver.subscribe("ack") as sub,
            trio.open_nursery() as nursery,
        ):
            await sub.confirmed()
            events: list[Event] = []
            nursery.start_soon(collect, mover, events)
            await until(lambda: len(mover.server_pool()) == 2)
            count = 0

            async def acknowledge() -> None:
                nonlocal count
                while True:
                    text = b"%d" % count
                    mover.connection.outbox.put_control(b"PUB ack %d\r\n%b\r\n" % (len(text), text))
                    mover.connection.outbox.put(b"", Waiter(keepalive=True))
                    count += 1
                    await trio.sleep(0.001)

            with trio.CancelScope() as scope:
                async with trio.open_nursery() as inner:
                    inner.start_soon(acknowledge)
                    await trio.sleep(0.5)
                    a.lame_duck()
                    await until(lambda: any(isinstance(event, Migrated) for event in events), 2)
                    await trio.sleep(0.5)
                    scope.cancel()
            got = [int((await sub.receive()).payload) for _ in range(count)]
            assert got == list(range(count))
            assert not mover.stats().lost
            nursery.cancel_scope.cancel()

    run(scenario, seed=seed)


async def test_the_same_server_by_another_name_is_no_way_out(autojump_clock: MockClock) -> None:
    """A server that says the id of the one that shuts down, or that it shuts down too, is not moved to."""
    one, alias = ToyServer("nats://one:4222"), ToyServer("nats://alias:4222")
    lame = ToyServer("nats://lame:4222", server_id="LAME", ldm=True)
    async with opened(one, alias, lame, dialer=MemoryDialer(one, alias, lame), keep_server_order=True) as nc:
        one.send_info(ldm=True)
        await trio.sleep(5)
        assert str(nc.connection.address) == one.url
        assert nc.state is State.CONNECTED
        assert nc.stats().reconnect_failures["closed"] >= 2
        assert nc.stats().established == 1


async def count_up(nc: Client, servers: list[ToyServer], turn: Callable[[], bool]) -> tuple[list[int], int]:
    """Every ms all servers have the next number for a subscriber; `turn` is called between until it says done."""
    got: list[int] = []
    count = 0

    async def receive() -> None:
        async with nc.subscribe("numbers") as sub:
            async for message in sub:
                got.append(int(message.payload))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(receive)
        await trio.testing.wait_all_tasks_blocked()
        servers[0].send_info(ldm=True)
        done = False
        for _ in range(1000):
            for server in servers:
                server.publish("numbers", b"%d" % count)
            count += 1
            await trio.sleep(0.001)
            done = done or turn()
        assert done
        await trio.sleep(OVERLAP_SECONDS_MAX + 1)
        nursery.cancel_scope.cancel()
    return got, count


def three_servers() -> list[ToyServer]:
    return [ToyServer(f"nats://{name}:4222", server_id=name) for name in ("one", "two", "three")]


async def test_the_new_server_dies_while_the_old_link_is_still_there(autojump_clock: MockClock) -> None:
    """The old link ends when a third server takes the client: what both would bring is given once, and in order."""
    servers = three_servers()
    async with opened(*servers, keep_server_order=True) as nc:

        def turn() -> bool:
            moved = str(nc.connection.address) == servers[1].url
            if moved:
                servers[1].go_down()
            return moved

        got, _ = await count_up(nc, servers, turn)
        assert got == sorted(set(got))
        assert str(nc.connection.address) == servers[2].url
        assert (nc.stats().lost, nc.stats().established) == (1, 3)


async def test_the_new_server_shuts_down_while_the_old_link_is_still_there(autojump_clock: MockClock) -> None:
    """A second migration ends the first: everything is given, once and in order, over three links."""
    servers = three_servers()
    async with opened(*servers, keep_server_order=True) as nc:

        def turn() -> bool:
            moved = str(nc.connection.address) == servers[1].url
            if moved:
                servers[1].send_info(ldm=True)
            return moved

        got, count = await count_up(nc, servers, turn)
        assert got == list(range(count))
        assert str(nc.connection.address) == servers[2].url
        assert nc.stats().lost == 0


async def test_a_subscription_drained_while_moving(autojump_clock: MockClock) -> None:
    """What the new link has brought and the old one has not is delivered before a drain ends."""
    one, two, _ = three_servers()
    async with opened(one, two, keep_server_order=True) as nc, nc.subscribe("x") as sub:
        await nc.flush()
        one.send_info(ldm=True)
        await until(lambda: str(nc.connection.address) == two.url)
        await nc.flush()
        two.publish("x", b"by the new link only")
        await trio.testing.wait_all_tasks_blocked()
        await sub.drain()
        assert [message.payload async for message in sub] == [b"by the new link only"]


async def test_a_subscription_drained_just_before_the_move(autojump_clock: MockClock) -> None:
    """The old server still has it, and what that one has sent already is delivered before the drain ends."""
    one, two, _ = three_servers()
    async with opened(one, two, keep_server_order=True) as nc, nc.subscribe("x") as sub, trio.open_nursery() as nursery:
        await nc.flush()
        one.pongs_held = True
        one.send_info(ldm=True)
        await until(lambda: not nc.connection.outbox.is_open)
        nursery.start_soon(sub.drain)
        await trio.testing.wait_all_tasks_blocked()
        one.release_pongs()
        while str(nc.connection.address) != two.url:  # in the very step
            await trio.lowlevel.checkpoint()
        assert one.publish("x", b"under way") == 1
        assert [message.payload async for message in sub] == [b"under way"]
        assert nc.stats().unroutable == 0


async def test_a_shutdown_told_behind_the_handshake(autojump_clock: MockClock) -> None:
    """The INFO behind the PONG of a handshake may say it: the event comes, and the client moves on."""
    one, two, _ = three_servers()
    said, two.info = two.info, lambda **fields: said(ldm="connect_info" in fields, **fields)  # type: ignore[method-assign]
    async with opened(one, two, keep_server_order=True) as nc, nc.events() as events:
        one.go_down()
        await until(lambda: str(nc.connection.address) == two.url)
        one.come_up()
        await until(lambda: str(nc.connection.address) == one.url)
        seen = [type(await events.receive()) for _ in range(5)]
        assert [kind for kind in seen if kind is not ReconnectFailed][-3:] == [Reconnected, LameDuck, Migrated]
        assert nc.stats().lost == 1


async def test_closing_while_moving(autojump_clock: MockClock) -> None:
    """Left in the middle of a migration: closed at once, no stream stays."""
    for seconds in (0.0, 0.5, 1.0, 1.05, 1.2):
        one, two = ToyServer("nats://one:4222"), ToyServer("nats://two:4222", server_id="TWO")
        dialer = MemoryDialer(one, two)
        async with opened(one, two, dialer=dialer, keep_server_order=True):
            dialer.dial_seconds = 1
            one.send_info(ldm=True)
            await trio.sleep(seconds)
        assert dialer.open_streams == 0
