"""Several simulated servers joined by routes, over the simulated network, with real clients of the library."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import pytest
import trio

from beamline_trio import Client, Message, NoRespondersError, open_client
from beamline_trio.simulation import ServerConfig, SimulatedServer, World, run
from beamline_trio.simulation._server import ServerState

CLUSTER = ServerConfig(cluster="c")


async def start(world: World, *names: str, **routes: list[str]) -> list[SimulatedServer]:
    """Servers of one cluster, joined; each dials the first one unless it has routes of its own."""
    servers = [
        await world.start_server(name, CLUSTER, routes=routes.get(name, [] if name == names[0] else [names[0]]))
        for name in names
    ]
    await trio.sleep(0.5)
    return servers


@asynccontextmanager
async def client(world: World, server: SimulatedServer) -> AsyncGenerator[Client]:
    async with open_client(server.url, dialer=world.dialer(f"at-{server.name}"), ignore_discovered=True) as nc:
        await nc.flush()
        yield nc


def urls(nc: Client) -> list[str]:
    return list(nc.server_info.connect_urls)


async def yes(message: Message) -> bytes:
    return b"yes"


def test_the_mesh_completes_itself() -> None:
    """Whoever joins one server is joined to all; both ends dialling makes one route, and oneself is no peer."""

    async def scenario(world: World) -> None:
        a, b, c = await start(world, "a", "b", "c", a=["b", "nats-route://a:6222"], b=["a:6222"])
        await trio.sleep(3)
        assert [sorted(server.routes) for server in (a, b, c)] == [["b", "c"], ["a", "c"], ["a", "b"]]
        routes = [link for link in world.network.links() if "at-" not in link.source]
        assert len(routes) == 3

    run(scenario, seed=1)


def test_servers_of_two_clusters_stay_apart() -> None:
    """A route to a server of another cluster is closed."""

    async def scenario(world: World) -> None:
        a = await world.start_server("a", CLUSTER)
        b = await world.start_server("b", ServerConfig(cluster="other"), routes=["a"])
        await trio.sleep(5)
        assert not [*a.routes, *b.routes]

    run(scenario, seed=1)


def test_messages_and_requests_cross_one_route() -> None:
    """With headers and replies; a request that nobody is there for in the whole cluster is told so."""

    async def scenario(world: World) -> None:
        a, b, c = await start(world, "a", "b", "c")
        async with client(world, a) as na, client(world, b) as nb, client(world, c) as nc:
            async with nb.subscribe("foo.*") as sub, nb.subscribe("foo.>") as wide, nc.subscribe(">") as all_:
                for one in (sub, wide, all_):
                    await one.confirmed()
                await trio.sleep(0.1)
                await na.publish("foo.1", b"hi", reply="r", headers={"A": "b"})
                await trio.sleep(0.1)
                for one in (sub, wide, all_):
                    message = await one.receive()
                    assert (message.payload, message.reply, message.headers["A"]) == (b"hi", "r", "b")
                await na.publish("last")
                assert (await all_.receive()).subject == "last"
            async with trio.open_nursery() as nursery:
                await nursery.start(nb.serve, "service", yes)
                await trio.sleep(0.1)
                assert (await na.request("service")).payload == b"yes"
                nursery.cancel_scope.cancel()
            await trio.sleep(0.1)
            with pytest.raises(NoRespondersError):
                await na.request("service")

    run(scenario, seed=1)


def test_a_queue_group_spans_the_cluster() -> None:
    """Each member gets its share wherever it is, as nats-server weighs them, and each message one member.

    Plain subscriptions get every message beside that, and do not bring their server's members a second one.
    """

    async def scenario(world: World) -> None:
        a, b, c = await start(world, "a", "b", "c")

        def delivered(group: str | None) -> list[int]:
            return [sub.delivered for server in (a, b) for sub in server.subscriptions() if sub.queue_group == group]

        async with (
            client(world, a) as na,
            client(world, b) as nb,
            client(world, c) as nc,
            na.subscribe("work", queue_group="g") as one,
            nb.subscribe("work", queue_group="g") as two,
            nb.subscribe("work", queue_group="g") as three,
            nb.subscribe("work") as plain,
        ):
            for sub in (one, two, three, plain):
                await sub.confirmed()
            await trio.sleep(0.1)
            for number, source in enumerate((na, nc), start=1):
                before = delivered("g")
                for _ in range(1500):
                    await source.publish("work")
                await source.flush()
                await trio.sleep(0.1)
                shares = [late - early for late, early in zip(delivered("g"), before, strict=True)]
                assert sum(shares) == 1500
                assert all(400 < share < 600 for share in shares)
                assert delivered(None) == [number * 1500]

    run(scenario, seed=1)


def test_interest_ends_with_its_last_subscription() -> None:
    """Plain interest counts its subscriptions, a queue group its members, and a client that goes takes its own."""

    async def scenario(world: World) -> None:
        a, b = await start(world, "a", "b")
        async with client(world, a) as na:
            async with client(world, b) as nb, nb.subscribe("x"), nb.subscribe("q", queue_group="g"):
                async with nb.subscribe("x"), nb.subscribe("q", queue_group="g"):
                    await nb.flush()
                await nb.flush()
                await trio.sleep(0.1)
                for subject in ("x", "q"):
                    with trio.move_on_after(1) as scope:
                        await na.request(subject)
                    assert scope.cancelled_caught
            await trio.sleep(0.1)
            for subject in ("x", "q"):
                with pytest.raises(NoRespondersError):
                    await na.request(subject)

    run(scenario, seed=1)


def test_clients_are_told_who_comes_and_goes() -> None:
    """Nothing while a server is alone; then its own address first, and those of the others as they come."""

    async def scenario(world: World) -> None:
        (a,) = await start(world, "a")
        async with client(world, a) as na:
            assert urls(na) == []
            b = await world.start_server("b", CLUSTER, routes=["a"])
            await trio.sleep(1)
            assert urls(na) == ["a:4222", "b:4222"]
            async with client(world, b) as nb:
                assert urls(nb) == ["b:4222", "a:4222"]
            async with client(world, b) as nb, nb.subscribe("x") as sub:
                await sub.confirmed()
                await trio.sleep(0.1)
                b.kill()
                await trio.sleep(1)
                with pytest.raises(NoRespondersError):
                    await na.request("x")
                b.start()
                await trio.sleep(3)
            b.kill()
            await trio.sleep(1)
            assert urls(na) == ["a:4222"]
            b.start()
            await trio.sleep(3)
            assert urls(na) == ["a:4222", "b:4222"]

    run(scenario, seed=1)


def test_advertising() -> None:
    """A server may name another address, or none."""

    async def scenario(world: World) -> None:
        a = await world.start_server("a", CLUSTER)
        await world.start_server("b", ServerConfig(cluster="c", advertise="elsewhere:1"), routes=["a"])
        c = await world.start_server("c", ServerConfig(cluster="c", no_advertise=True), routes=["a"])
        await trio.sleep(1)
        async with client(world, a) as na, client(world, c) as nc:
            assert urls(na) == ["a:4222", "elsewhere:1"]
            assert urls(nc) == []

    run(scenario, seed=1)


def test_a_lame_duck_in_a_cluster() -> None:
    """Its clients are told of the others only, and the clients of the others not of it any more."""

    async def scenario(world: World) -> None:
        a, b = await start(world, "a", "b")
        async with client(world, a) as na, client(world, b) as nb:
            b.lame_duck()
            await trio.sleep(0.1)
            assert (urls(nb), nb.server_info.lame_duck) == (["a:4222"], True)
            assert (urls(na), na.server_info.lame_duck) == (["a:4222"], False)
            await trio.sleep(15)
            assert (b.state, a.routes) == (ServerState.STOPPED, ())

    run(scenario, seed=1)


def test_a_partition_ends_routes_and_configured_ones_come_back() -> None:
    """Silence is noticed by pings; the server whose route is configured dials until it stands again."""

    async def scenario(world: World) -> None:
        a, b = await start(world, "a", "b")
        with world.network.partition("a", "b"):
            await trio.sleep(30)
            assert a.routes == ("b",)
            await trio.sleep(100)
            assert not [*a.routes, *b.routes]
        await trio.sleep(5)
        assert (a.routes, b.routes) == (("b",), ("a",))
        async with client(world, a) as na, client(world, b) as nb, nb.subscribe("x") as sub:
            await sub.confirmed()
            await trio.sleep(0.1)
            await na.publish("x")
            await sub.receive()

    run(scenario, seed=1)


def test_a_paused_server_keeps_its_routes_for_a_while() -> None:
    """What is routed to it arrives when it goes on."""

    async def scenario(world: World) -> None:
        a, b = await start(world, "a", "b")
        async with client(world, a) as na, client(world, b) as nb, nb.subscribe("x") as sub:
            await sub.confirmed()
            await trio.sleep(0.1)
            b.pause()
            await na.publish("x")
            await trio.sleep(5)
            b.resume()
            with trio.fail_after(0.1):
                await sub.receive()
            assert a.routes == ("b",)

    run(scenario, seed=1)


def test_a_server_that_is_not_there_yet_is_dialled_again() -> None:
    """The order in which the servers of a cluster start does not matter."""

    async def scenario(world: World) -> None:
        b = await world.start_server("b", CLUSTER, routes=["a"])
        await trio.sleep(10)
        assert not b.routes
        await world.start_server("a", CLUSTER)
        await trio.sleep(3)
        assert b.routes == ("a",)

    run(scenario, seed=1)
