"""Publish to a region that is cut off for a minute, in order and once: `python examples/regions.py`.

The client, its watch and its publisher are the real ones; the six servers in two regions are simulated, and so is time.
"""

import trio

from beamline_trio import Client, ClusterWatch, JetStream, RegionPublisher, StreamConfig, open_client
from beamline_trio.cluster import Home, LocalStream, RegionCut, RegionHealed, RegionReturned
from beamline_trio.jetstream import Placement
from beamline_trio.testing import World, run

WEST = Home(region="west", stream="WEST", local=LocalStream(stream="KEEP", subject="keep.west.app"))


async def make_streams(js: JetStream) -> None:
    west, east = Placement(cluster="west"), Placement(cluster="east")
    await js.create_stream(StreamConfig(name="WEST", subjects=["west.>"], num_replicas=3, placement=west))
    keep = StreamConfig(name="KEEP", subjects=["keep.>"], num_replicas=3, placement=east, retention="workqueue")
    await js.create_stream(keep)


async def tell(nc: Client) -> None:
    async with nc.events() as events:
        async for event in events:
            if isinstance(event, (RegionCut, RegionHealed, RegionReturned)):
                print(type(event).__name__, event.region)


async def main(world: World) -> None:
    regions = await world.add_regions({"east": 3, "west": 3}, jetstream=True)
    east, west = ([server.host for server in servers] for servers in regions.values())
    await trio.sleep(10)  # gateways stand, and the servers have a leader
    urls = [server.url for server in regions["east"]]
    async with open_client(*urls, dialer=world.dialer("app")) as nc, trio.open_nursery() as nursery:
        js = JetStream(nc)
        await make_streams(js)
        watch = ClusterWatch(nc, streams=["WEST", "KEEP"])
        publisher = RegionPublisher(js, WEST, watch=watch)
        await nursery.start(watch.run)
        await nursery.start(publisher.run)
        nursery.start_soon(tell, nc)

        async def publish(number: int) -> None:
            ack = await publisher.publish("west.orders", b"%d" % number, key="customer-7")
            print(number, ack.place)

        await publish(1)
        with world.network.partition(east, west):
            await trio.sleep(10)
            await publish(2)
            await publish(3)
            print(*watch.lacking(["WEST"]))
            await trio.sleep(50)
        await trio.sleep(30)
        await publish(4)
        stored = [(await js.get_message("WEST", sequence=sequence)).payload for sequence in range(1, 5)]
        print("stored at home:", b" ".join(stored).decode())
        nursery.cancel_scope.cancel()


if __name__ == "__main__":
    run(main, seed=1, ends_within_seconds=600)
