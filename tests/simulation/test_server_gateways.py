"""Regions of simulated servers joined by gateways, over the simulated network, with real clients of the library."""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import AsyncGenerator, Callable
from contextlib import AsyncExitStack, asynccontextmanager

import attrs
import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from beamline_trio import Client, Message, NoRespondersError, Subscription, open_client
from beamline_trio.simulation import Conditions, Gateway, ServerConfig, SimulatedServer, SimulationError, World, run
from beamline_trio.simulation._server._delivery import publish_from_server
from beamline_trio.simulation._server._process import Process

JOINED = 1.5  # seconds from the start until the gateways stand
REDIAL = 1.0  # seconds from the break of a gateway's link to the next dial, at least
REDIAL_MAX = 1.1


@asynccontextmanager
async def client(world: World, server: SimulatedServer) -> AsyncGenerator[Client]:
    async with open_client(server.url, dialer=world.dialer(f"at-{server.name}"), ignore_discovered=True) as nc:
        await nc.flush()
        yield nc


def process(server: SimulatedServer) -> Process:
    assert server._process is not None
    return server._process


def far_end(server: SimulatedServer, region: str) -> str:
    """The server at the other end of its gateway."""
    gateways = process(server).gateways
    assert gateways is not None
    return gateways.outbound()[region].peer


async def yes(message: Message) -> bytes:
    return b"yes"


def test_each_server_dials_one_of_each_other_region() -> None:
    """A second after its start it has one link out to each region; a region's servers may choose different ones."""

    async def scenario(world: World) -> None:
        regions = await world.add_regions({"east": 3, "west": 2, "north": 1})
        servers = [one for each in regions.values() for one in each]
        assert [one.name for one in regions["east"]] == ["east-1", "east-2", "east-3"]
        await trio.sleep(0.9)
        assert not any(one.regions for one in servers)
        await trio.sleep(0.2)
        for server in servers:
            own = server.name.partition("-")[0]
            assert sorted(server.regions) == sorted({*regions} - {own})
            assert sorted(server.routes) == sorted(one.name for one in regions[own] if one is not server)
        into_west = [far_end(one, "west") for one in regions["east"]]
        assert set(into_west) <= {"west-1", "west-2"}
        west = [process(one).gateways for one in regions["west"]]
        inbound = [link.peer for gateways in west if gateways is not None for link in gateways.inbound()]
        assert sorted(inbound) == ["east-1", "east-2", "east-3", "north-1"]

    run(scenario, seed=1)


def test_clients_are_told_of_their_own_region_only() -> None:
    """INFO names the region as its cluster, and the addresses within it."""

    async def scenario(world: World) -> None:
        regions = await world.add_regions({"east": 2, "west": 2})
        await trio.sleep(JOINED)
        async with client(world, regions["east"][0]) as nc:
            assert nc.server_info.cluster == "east"
            assert sorted(nc.server_info.connect_urls) == ["east-1:4222", "east-2:4222"]

    run(scenario, seed=1)


def test_messages_cross_to_every_server_of_a_region() -> None:
    """With headers and replies, each once; a request that nobody is there for in any region is told so."""

    async def scenario(world: World) -> None:
        regions = await world.add_regions({"east": 2, "west": 3, "north": 1})
        await trio.sleep(JOINED)
        async with AsyncExitStack() as stack:
            here = await stack.enter_async_context(client(world, regions["east"][0]))
            subs = []
            for server in (*regions["west"], *regions["north"]):
                nc = await stack.enter_async_context(client(world, server))
                subs.append(await stack.enter_async_context(nc.subscribe("foo.>")))
                await subs[-1].confirmed()
            await trio.sleep(0.1)
            await here.publish("foo.1", b"hi", reply="r", headers={"A": "b"})
            await here.publish("foo.2")
            for sub in subs:
                message = await sub.receive()
                assert (message.subject, message.payload, message.reply) == ("foo.1", b"hi", "r")
                assert message.headers["A"] == "b"
                assert (await sub.receive()).subject == "foo.2"
        await trio.sleep(0.1)
        async with client(world, regions["east"][0]) as here:
            with pytest.raises(NoRespondersError):
                await here.request("foo.1")

    run(scenario, seed=2)


@pytest.mark.parametrize("seed", range(4))
def test_an_answer_is_not_outrun_by_interest(seed: int) -> None:
    """A request by a client that has just come is answered at once, however far its inbox's interest has to go.

    A second later the answer goes by interest, and after two the way straight back is forgotten: the same client's
    later requests are answered too.
    """

    async def scenario(world: World) -> None:
        regions = await world.add_regions({"east": 3, "west": 3})
        # The way that interest takes within the region is much longer than the one across.
        for one in regions["east"]:
            for other in regions["east"]:
                if one is not other:
                    world.network.set_conditions(one.name, other.name, Conditions(latency_seconds=0.2))
        await trio.sleep(3)
        async with trio.open_nursery() as nursery, client(world, regions["west"][0]) as far:
            await nursery.start(far.serve, "service", yes)
            await trio.sleep(1)
            for server in regions["east"]:
                async with client(world, server) as nc:
                    for _ in range(4):
                        with trio.fail_after(1):
                            assert (await nc.request("service")).payload == b"yes"
                        await trio.sleep(1)
            nursery.cancel_scope.cancel()

    run(scenario, seed=seed)


def test_clients_see_nothing_of_the_way_back() -> None:
    """The reply of a request that has crossed is the inbox that its client subscribed to."""

    async def scenario(world: World) -> None:
        regions = await world.add_regions({"east": 1, "west": 2})
        await trio.sleep(JOINED)
        async with (
            client(world, regions["east"][0]) as here,
            client(world, regions["west"][0]) as a,
            client(world, regions["west"][1]) as b,
            a.subscribe("ask") as one,
            b.subscribe("ask") as two,
        ):
            await one.confirmed()
            await two.confirmed()
            await trio.sleep(0.1)
            async with here.subscribe("inbox.*") as answers:
                await here.publish("ask", reply="inbox.1")
                for nc, sub in ((a, one), (b, two)):
                    message = await sub.receive()
                    assert message.reply == "inbox.1"
                    await nc.publish("inbox.1", b"answer")
                for _ in range(2):
                    answer = await answers.receive()
                    assert (answer.subject, answer.payload) == ("inbox.1", b"answer")

    run(scenario, seed=1)


def test_a_queue_group_is_served_at_home_and_then_in_the_nearest_region() -> None:
    """Without a member in the publisher's region the nearest one's members share the messages; each goes to one."""

    async def scenario(world: World) -> None:
        regions = await world.add_regions({"east": 2, "north": 1, "west": 2})
        for far in regions["north"]:
            for server in regions["east"]:
                world.network.set_conditions(far.name, server.name, Conditions(latency_seconds=0.05))
        await trio.sleep(3)
        async with AsyncExitStack() as stack:
            here = await stack.enter_async_context(client(world, regions["east"][0]))
            subs: dict[str, Subscription] = {}
            for server in (regions["east"][1], *regions["north"], *regions["west"]):
                nc = await stack.enter_async_context(client(world, server))
                subs[server.name] = await stack.enter_async_context(nc.subscribe("work", queue_group="g"))
                await subs[server.name].confirmed()
            for serving in (["east-2"], ["west-1", "west-2"], ["north-1"]):
                await trio.sleep(0.5)
                for _ in range(300):
                    await here.publish("work")
                await here.flush()
                await trio.sleep(0.5)
                delivered = {name: world.servers[name].subscriptions("work")[0].delivered for name in subs}
                assert sum(delivered.values()) == sum(delivered[name] for name in serving) == 300
                assert all(delivered[name] > 100 for name in serving)
                for name in serving:
                    await subs.pop(name).unsubscribe()

    run(scenario, seed=1)


def test_a_link_that_breaks_is_dialled_again_elsewhere() -> None:
    """When the server at its end dies, another one of the region takes its place after a good second, as with 2.15."""

    async def scenario(world: World) -> None:
        regions = await world.add_regions({"east": 1, "west": 2})
        await trio.sleep(JOINED)
        (here,) = regions["east"]
        dies = far_end(here, "west")
        lives = next(one for one in regions["west"] if one.name != dies)
        async with client(world, lives) as nc, client(world, here) as source, nc.subscribe("t") as sub:
            await sub.confirmed()
            await trio.sleep(0.1)
            await source.publish("t", b"before")
            assert (await sub.receive()).payload == b"before"
            world.servers[dies].kill()
            await trio.sleep(REDIAL - 0.1)
            assert here.regions == ()
            await source.publish("t", b"lost")
            await trio.sleep(REDIAL_MAX - REDIAL + 0.2)
            assert far_end(here, "west") == lives.name
            await source.publish("t", b"after")
            assert (await sub.receive()).payload == b"after"
            # It comes back, and it dials too.
            world.servers[dies].start()
            await trio.sleep(2)
            assert world.servers[dies].regions == ("east",)

    run(scenario, seed=1)


def test_links_that_are_reset_stand_again_after_a_good_second() -> None:
    """All of them, in both directions; nothing is left of the old ones."""

    async def scenario(world: World) -> None:
        regions = await world.add_regions({"east": 2, "west": 2})
        await trio.sleep(JOINED)
        names = [[one.name for one in each] for each in regions.values()]
        everyone = [one for each in regions.values() for one in each]
        for _ in range(3):
            world.network.reset(*names)
            await trio.sleep(REDIAL - 0.1)
            assert not any(one.regions for one in everyone)
            await trio.sleep(REDIAL_MAX - REDIAL + 0.2)
            assert all(one.regions for one in everyone)
        gateways = [process(one).gateways for one in everyone]
        assert sum(len(one.inbound()) for one in gateways if one is not None) == 4
        assert all(len(one._links) == len(one.inbound()) + 1 for one in gateways if one is not None)

    run(scenario, seed=1)


def test_interest_is_that_of_the_whole_region() -> None:
    """It comes and goes with the last subscription of any server there, and with a server that is gone."""

    async def scenario(world: World) -> None:
        regions = await world.add_regions({"east": 1, "west": 2})
        await trio.sleep(JOINED)
        (here,) = regions["east"]
        gateway = process(here).gateways
        assert gateway is not None
        at = far_end(here, "west")
        near = world.servers[at]
        other = next(one for one in regions["west"] if one.name != at)
        async with (
            client(world, near) as a,
            client(world, other) as b,
            a.subscribe("x") as one,
            b.subscribe("x") as two,
        ):
            await one.confirmed()
            await two.confirmed()
            await trio.sleep(0.1)
            assert gateway.wanted(b"x")
            await one.unsubscribe()
            await trio.sleep(0.1)
            assert gateway.wanted(b"x")
            other.kill()
            await trio.sleep(0.1)
            assert not gateway.wanted(b"x")

    run(scenario, seed=1)


@pytest.mark.parametrize("how", ["stop", "pause"])
def test_a_server_that_stops_or_pauses(how: str) -> None:
    """One that stops closes its links; one that is paused keeps them, and what was sent to it comes when it goes on."""

    async def scenario(world: World) -> None:
        regions = await world.add_regions({"east": 1, "west": 1})
        await trio.sleep(JOINED)
        (here,), (there,) = regions["east"], regions["west"]
        async with client(world, there) as nc, client(world, here) as source, nc.subscribe("t") as sub:
            await sub.confirmed()
            await trio.sleep(0.1)
            if how == "stop":
                there.stop()
                await trio.sleep(0.1)
                assert here.regions == ()
                there.start()
                await trio.sleep(5)
            else:
                there.pause()
                await source.publish("t", b"held")
                await trio.sleep(5)
                assert here.regions == ("west",)
                there.resume()
                assert (await sub.receive()).payload == b"held"
            await source.publish("t", b"on")
            assert (await sub.receive()).payload == b"on"

    run(scenario, seed=1)


def test_a_region_that_is_cut_off_is_noticed_by_pings_and_comes_back() -> None:
    """After at most three pings of 15 s the links are given up; a second or two behind the cut they stand again."""

    async def scenario(world: World) -> None:
        regions = await world.add_regions({"east": 2, "west": 2})
        await trio.sleep(JOINED)
        names = [[one.name for one in each] for each in regions.values()]
        async with (
            client(world, regions["west"][0]) as nc,
            client(world, regions["east"][0]) as source,
            nc.subscribe("t") as sub,
        ):
            await sub.confirmed()
            with world.network.partition(*names):
                await trio.sleep(10)
                assert all(one.regions for each in regions.values() for one in each)
                await trio.sleep(50)
                assert not any(one.regions for each in regions.values() for one in each)
                assert all(one.routes for each in regions.values() for one in each)
            await trio.sleep(2.5)
            assert all(one.regions for each in regions.values() for one in each)
            await source.publish("t", b"on")
            assert (await sub.receive()).payload == b"on"

    run(scenario, seed=1)


def test_a_gateway_to_the_wrong_region_is_closed() -> None:
    """Whoever answers has to be of the region that was dialled."""

    async def scenario(world: World) -> None:
        wrong = ServerConfig(cluster="east", gateways=(Gateway("west", ("c", "nats://b:7222")),))
        a = await world.start_server("a", wrong)
        b = await world.start_server("b", ServerConfig(cluster="north", gateways=(Gateway("east", ("a",)),)))
        await trio.sleep(6)
        assert a.regions == ()
        assert b.regions == ("east",)

    run(scenario, seed=1)


def test_configurations_that_lead_nowhere_are_refused() -> None:
    """Gateways need a cluster and addresses, a cluster needs servers; a change needs a restart."""

    async def scenario(world: World) -> None:
        gateways = (Gateway("west", ("w",)),)
        with pytest.raises(ValueError, match="in no cluster"):
            await world.start_server("a", ServerConfig(gateways=gateways))
        with pytest.raises(ValueError, match="no urls"):
            await world.start_server("b", ServerConfig(cluster="east", gateways=(Gateway("west", ()),)))
        server = await world.start_server("c", ServerConfig(cluster="east", gateways=gateways))
        with pytest.raises(ValueError, match="gateways cannot be reloaded"):
            server.reload(attrs.evolve(server.config, gateways=()))
        with pytest.raises(SimulationError, match="0 servers"):
            await world.add_cluster("d", servers=0)

    run(scenario, seed=1)


def test_a_message_of_the_server_goes_to_whoever_listens_to_its_destination() -> None:
    """Across routes and gateways too, and those who listen see its own subject and reply."""

    async def scenario(world: World) -> None:
        regions = await world.add_regions({"east": 2, "west": 2})
        await trio.sleep(JOINED)
        async with AsyncExitStack() as stack:
            subs = []
            for server in (*regions["east"], *regions["west"]):
                nc = await stack.enter_async_context(client(world, server))
                subs.append(await stack.enter_async_context(nc.subscribe("to.me")))
                await subs[-1].confirmed()
            await trio.sleep(0.1)
            first = process(regions["east"][0])
            block = b"NATS/1.0\r\nA: b\r\n\r\n"
            publish_from_server(first, b"to.me", (b"own", b"ack.1", 0, b"", b"2", b"hi\r\n"))
            size = b"%d" % len(block)
            publish_from_server(first, b"to.me", (b"own", b"", len(block), size, size, block + b"\r\n"))
            first.flush()
            for sub in subs:
                message = await sub.receive()
                assert (message.subject, message.reply, message.payload) == ("own", "ack.1", b"hi")
                message = await sub.receive()
                assert (message.subject, message.reply, message.headers["A"]) == ("own", None, "b")

    run(scenario, seed=1)


def test_servers_send_messages_to_each_other_by_name() -> None:
    """By route, by gateway, and by gateway and route; whoever is out of reach is said to be."""

    async def scenario(world: World) -> None:
        regions = await world.add_regions({"east": 2, "west": 3})
        await trio.sleep(JOINED)
        got: list[tuple[str, str, bytes]] = []
        servers = [one for each in regions.values() for one in each]

        def told(name: str, sender: str, data: bytes) -> None:
            got.append((name, sender, data))

        for server in servers:
            process(server).on_server_message = functools.partial(told, server.name)
        sender = process(regions["east"][0])
        data = b"\r\nRMSG a 1\r\n"
        assert [sender.send_to_server(one.name, data) for one in servers] == [False, True, True, True, True]
        assert not sender.send_to_server("nobody", data)
        sender.flush()
        await trio.sleep(0.1)
        assert sorted(got) == [(one.name, "east-1", data) for one in servers[1:]]
        for server in regions["west"]:
            server.kill()
        await trio.sleep(0.1)
        assert not sender.send_to_server("west-1", data)

    run(scenario, seed=1)


SERVERS = ("east-1", "east-2", "west-1", "west-2", "north-1")
SUBJECTS = ("a", "a.b", "a.b.c", "b")
PATTERNS = ("a", "a.*", "a.>", ">", "*.b", "b")
SUBSCRIPTIONS = st.lists(
    st.tuples(st.sampled_from(SERVERS), st.sampled_from(PATTERNS), st.sampled_from([None, "g", "h"])), max_size=8
)
FAULTS = st.lists(st.tuples(st.sampled_from(["kill", "cut", "pause"]), st.sampled_from(SERVERS)), max_size=3)


def matches(pattern: str, subject: str) -> bool:
    tests, tokens = pattern.split("."), subject.split(".")
    if tests[-1] == ">":
        return len(tokens) >= len(tests) and all(
            one in ("*", other) for one, other in zip(tests[:-1], tokens, strict=False)
        )
    return len(tests) == len(tokens) and all(one in ("*", other) for one, other in zip(tests, tokens, strict=True))


@given(wanted=SUBSCRIPTIONS, faults=FAULTS, seed=st.integers(0, 1000))
@settings(max_examples=25, deadline=None)
def test_every_subscription_gets_what_it_wants_once_however_the_regions_were_torn(
    wanted: list[tuple[str, str, str | None]], faults: list[tuple[str, str]], seed: int
) -> None:
    """Behind any faults: each plain subscription each message once, each queue group one, and at home if it can be."""

    async def scenario(world: World) -> None:
        await world.add_regions({"east": 2, "west": 2, "north": 1})
        await trio.sleep(JOINED)
        for what, name in faults:
            await hurt(world, what, name)
        await trio.sleep(60)
        got: list[Counter[tuple[str, bytes]]] = []
        async with AsyncExitStack() as stack:
            clients = {one: await stack.enter_async_context(client(world, world.servers[one])) for one in SERVERS}
            for index, (name, pattern, group) in enumerate(wanted):
                got.append(Counter())
                await stack.enter_async_context(
                    clients[name].subscribe(pattern, queue_group=group, callback=take(got, index))
                )
            for nc in clients.values():
                await nc.flush()
            await trio.sleep(0.5)
            for name, nc in clients.items():
                for subject in SUBJECTS:
                    await nc.publish(subject, name.encode())
                await nc.flush()
            await trio.sleep(0.5)
        check(wanted, got)

    run(scenario, seed=seed)


async def hurt(world: World, what: str, name: str) -> None:
    server = world.servers[name]
    if what == "kill":
        server.kill()
        await trio.sleep(2)
        server.start()
    elif what == "pause":
        server.pause()
        await trio.sleep(70)
        server.resume()
    else:
        with world.network.partition(name, [one for one in SERVERS if one != name]):
            await trio.sleep(50)


def take(got: list[Counter[tuple[str, bytes]]], index: int) -> Callable[[Message], None]:
    def callback(message: Message) -> None:
        got[index][message.subject, message.payload] += 1

    return callback


def check(wanted: list[tuple[str, str, str | None]], got: list[Counter[tuple[str, bytes]]]) -> None:
    for source in SERVERS:
        for subject in SUBJECTS:
            key = (subject, source.encode())
            groups: dict[str, list[int]] = {}
            for index, (_, pattern, group) in enumerate(wanted):
                if not matches(pattern, subject):
                    assert not got[index][key]
                elif group is None:
                    assert got[index][key] == 1
                else:
                    groups.setdefault(group, []).append(index)
            for members in groups.values():
                chosen = [index for index in members if got[index][key]]
                assert [got[index][key] for index in chosen] == [1]
                homes = [wanted[index][0][0] for index in members]
                assert wanted[chosen[0]][0][0] == source[0] or source[0] not in homes
