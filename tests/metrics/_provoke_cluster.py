"""What provokes what the stage `cluster` promises, and what an instance shows of itself.

Must not judge what is seen.
"""

from __future__ import annotations

import attrs
import trio

from beamline_trio import ClusterWatch, JetStream, Message, RegionPublisher, Router, StreamConfig, open_client
from beamline_trio.cluster import Home, LocalStream
from beamline_trio.faults import error
from beamline_trio.metrics import Instance
from beamline_trio.simulation import ServerConfig, World
from tests.cluster._fakes import QUICK, FakeCluster
from tests.metrics._watch import Watch


async def cluster(world: World, watch: Watch) -> None:
    """A leader moves, a region is cut off and heals, two of three servers go and come, and a question is refused.

    And one server is removed for good.
    """
    fake = FakeCluster({"east": 3, "west": 3})
    for name, region in (("EAST", "east"), ("WEST", "west")):
        fake.add_stream(name, region)
    server = await world.start_server("a", ServerConfig(cluster="east"))
    async with (
        open_client(server.url, dialer=world.dialer("servers")) as servers,
        watch.open(server.url, world.dialer("app")) as (nc, _),
        trio.open_nursery() as nursery,
    ):
        await fake.answer(servers, nursery)
        options = attrs.evolve(QUICK, forgotten_after_seconds=30.0)
        looks = ClusterWatch(nc, streams=["EAST", "WEST", "GONE"], system=nc, instances_of="contract", options=options)
        watch.collector.add_watch(looks)
        await nursery.start(looks.run)
        fake.move("EAST", "east-2")
        for gone in (("west-1", "west-2", "west-3"), ("east-2", "east-3")):
            fake.down(*gone)
            await trio.sleep(20)
            fake.up(*gone)
            await trio.sleep(20)
        fake.remove("west-3")
        await trio.sleep(40)
        nursery.cancel_scope.cancel()


async def instance(world: World, watch: Watch) -> None:
    """An instance that is ready, and handles a message."""
    server = await world.start_server("a", ServerConfig(cluster="east"))
    router = Router("contract")

    @router.route("orders.new")
    async def orders(message: Message) -> bytes:
        return b"ok"

    async with watch.open(server.url, world.dialer("app")) as (nc, _), trio.open_nursery() as nursery:
        watch.collector.add_instance(Instance("contract-1", nc, lambda: router.ready, routers=[router]))
        await nursery.start(router.run, nc)
        await nc.request("orders.new", b"x")
        watch.sample()
        nursery.cancel_scope.cancel()


async def region(world: World, watch: Watch) -> None:
    """A region that is away for longer than publishes wait for it, and comes back; the local stream goes meanwhile."""
    server = await world.start_server("a", ServerConfig(jetstream=True))
    home = Home(region="west", stream="WEST", local=LocalStream(stream="KEEP", subject="kept.west"))
    async with watch.open(server.url, world.dialer("app")) as (nc, faults), trio.open_nursery() as nursery:
        jetstream = JetStream(nc)
        kept = StreamConfig(name="KEEP", subjects=["kept.>"], retention="workqueue")
        for config in (StreamConfig(name="WEST", subjects=["west.>"]), kept):
            await jetstream.create_stream(config)
        publisher = RegionPublisher(jetstream, home)
        watch.collector.add_region(publisher)
        await nursery.start(publisher.run)
        await publisher.publish("west.a")
        with faults.inject("publish_with_ack", error("no responders"), subjects="west.>"):
            await publisher.publish("west.a")
            watch.sample()
        while publisher.away:  # noqa: ASYNC110  # it has no event
            await trio.sleep(0.1)
        with faults.inject("publish_with_ack", error("no responders"), subjects=["west.>", "kept.>"]):
            nursery.start_soon(publisher.publish, "west.a")
            await trio.sleep(15)
            await jetstream.delete_stream("KEEP")
            await trio.sleep(2)
            await jetstream.create_stream(kept)
        await trio.sleep(20)
        nursery.cancel_scope.cancel()


PROVOCATIONS = (cluster, instance, region)
