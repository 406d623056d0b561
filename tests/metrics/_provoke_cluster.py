"""What provokes what the stage `cluster` promises, and what an instance shows of itself.

Must not judge what is seen.
"""

from __future__ import annotations

import trio

from beamline_trio import ClusterWatch, Message, Router, open_client
from beamline_trio.metrics import Instance
from beamline_trio.simulation import ServerConfig, World
from tests.cluster._fakes import QUICK, FakeCluster
from tests.metrics._watch import Watch


async def cluster(world: World, watch: Watch) -> None:
    """A leader moves, a region is cut off and heals, two of three servers go and come, and a question is refused."""
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
        looks = ClusterWatch(nc, streams=["EAST", "WEST", "GONE"], system=nc, instances_of="contract", options=QUICK)
        watch.collector.add_watch(looks)
        await nursery.start(looks.run)
        fake.move("EAST", "east-2")
        for gone in (("west-1", "west-2", "west-3"), ("east-2", "east-3")):
            fake.down(*gone)
            await trio.sleep(20)
            fake.up(*gone)
            await trio.sleep(20)
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


PROVOCATIONS = (cluster, instance)
