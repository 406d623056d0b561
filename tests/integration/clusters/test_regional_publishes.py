"""Publishes to a region of real servers that stops and goes on: waiting or kept, in order, each stored once."""

from __future__ import annotations

from collections import defaultdict

import pytest
import trio

from beamline_trio import ClusterWatch, ConsumerConfig, JetStream, NatsError, RegionPublisher, StreamConfig, open_client
from beamline_trio.cluster import Home, LocalStream
from beamline_trio.jetstream import Placement
from beamline_trio.server_process import open_supercluster
from tests.integration.clusters._waiting import LIMIT_SECONDS
from tests.integration.clusters.test_cluster_watch import QUICK

CUT_SECONDS = 20.0
PACE_SECONDS = 0.1


async def create(js: JetStream, name: str, region: str, **more: object) -> None:
    placed = Placement(cluster=region)
    config = StreamConfig(name=name, subjects=[f"{name.lower()}.>"], num_replicas=3, placement=placed, **more)  # type: ignore[arg-type]
    with trio.fail_after(LIMIT_SECONDS):
        while True:
            try:
                await js.create_stream(config)
            except (NatsError, trio.TooSlowError):  # an election
                await trio.sleep(0.2)
            else:
                return


async def stored(js: JetStream, stream: str) -> dict[str, list[int]]:
    """Key -> the numbers that a stream has, in its order."""
    found: defaultdict[str, list[int]] = defaultdict(list)
    consumer = await js.create_consumer(stream, ConsumerConfig(name="look", ack_policy="none", mem_storage=True))
    left = consumer.cached_info.num_pending
    while left:
        for message in await consumer.fetch(500, expires_seconds=5):
            key, _, number = bytes(message.payload).decode().partition(":")
            found[key].append(int(number))
            left = message.metadata.pending
    return dict(found)


@pytest.mark.parametrize("local", [True, False], ids=["kept", "waits"])
async def test_a_region_that_stops_and_goes_on(local: bool) -> None:
    """All servers of a region are stopped for 20 s while keys are published there from another one."""
    kept = LocalStream(stream="KEEP", subject="keep.west.app", after_seconds=3.0) if local else None
    home = Home(region="west", stream="WEST", local=kept, attempt_timeout_seconds=1.0)
    counts: dict[str, int] = {}
    async with (
        open_supercluster({"east": 3, "west": 3}) as regions,
        open_client(*regions.regions["east"].urls) as nc,
    ):
        js = JetStream(nc)
        await create(js, "WEST", "west")
        await create(js, "KEEP", "east", retention="workqueue")
        watch = ClusterWatch(nc, streams=["WEST", "KEEP"], options=QUICK)
        publisher = RegionPublisher(js, home, watch=watch)
        async with trio.open_nursery() as nursery:
            await nursery.start(watch.run)
            await nursery.start(publisher.run)
            over = trio.Event()

            async def publish(key: str) -> None:
                number = 0
                while not over.is_set():
                    await publisher.publish(f"west.{key}", f"{key}:{number}".encode())
                    counts[key] = number = number + 1
                    await trio.sleep(PACE_SECONDS)

            async with trio.open_nursery() as load:
                for key in "abc":
                    load.start_soon(publish, key)
                await trio.sleep(2)
                for node in regions.regions["west"].nodes:
                    node.server.pause()
                await trio.sleep(CUT_SECONDS)
                for node in regions.regions["west"].nodes:
                    node.server.resume()
                await trio.sleep(2)
                over.set()
            with trio.fail_after(LIMIT_SECONDS):
                while publisher.away or publisher.statistics().waiting:  # noqa: ASYNC110  # it has no event
                    await trio.sleep(0.1)
            nursery.cancel_scope.cancel()
        statistics = publisher.statistics()
        assert (statistics.local > 0) is local
        assert (statistics.waiting, statistics.kept, statistics.local) == (0, 0, statistics.drained)
        async with open_client(*regions.regions["west"].urls) as reader:
            assert await stored(JetStream(reader), "WEST") == {key: list(range(n)) for key, n in counts.items()}
