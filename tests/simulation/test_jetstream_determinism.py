"""JetStream is part of the one trace of a seed: streams, consumers, redeliveries and a kill, in two processes."""

from __future__ import annotations

from contextlib import suppress

import attrs
import pytest
import trio

from beamline_trio import ConnectionLostError, open_client
from beamline_trio.jetstream import Consumer, ConsumerConfig, JetStream, StreamConfig
from beamline_trio.simulation import ServerConfig, World
from tests.determinism._compare import compare


async def busy_streams(world: World) -> None:
    """Several publishers and consumers of one stream, some of whose messages are refused or forgotten; then a kill."""
    server = await world.start_server("nats", ServerConfig(jetstream=True))
    async with open_client(server.url, dialer=world.dialer("app")) as nc:
        js = JetStream(nc)
        await js.create_stream(StreamConfig(name="S", subjects=("s.>",), retention="interest"))
        config = ConsumerConfig(ack_policy="explicit", ack_wait_seconds=1.0, filter_subjects=("s.a", "s.b"))
        consumers = [await js.create_consumer("S", attrs.evolve(config, durable_name=name)) for name in "CDE"]
        async with trio.open_nursery() as nursery:
            for number in range(4):
                nursery.start_soon(publish, js, number)
            for consumer in consumers:
                nursery.start_soon(receive, consumer)
        server.kill()
        server.start()
        with suppress(ConnectionLostError):
            await nc.flush()
        await nc.flush()
        assert [view.name for view in server.streams[0].consumers] == ["C", "D", "E"]


async def publish(js: JetStream, number: int) -> None:
    for count in range(30):
        await js.publish(f"s.{'abc'[count % 3]}", b"%d" % count, message_id=f"{number}-{count}")


async def receive(consumer: Consumer) -> None:
    for _ in range(6):
        for index, message in enumerate(await consumer.fetch(9, expires_seconds=1.5)):
            if index % 4 == 1:
                await message.nak()
            elif index % 4:
                await message.ack()


@pytest.mark.slow
def test_streams_are_the_same_in_every_process() -> None:
    """Two processes with different hash seeds note the same, byte for byte."""
    runs, differences = compare("tests.simulation.test_jetstream_determinism:busy_streams", 1, 2)
    assert not differences
    assert len({run.digest for run in runs}) == 2


async def busy_cluster(world: World) -> None:
    """Three servers share a stream; its leader dies, is back, and steps down, while publishers and consumers go on."""
    servers = await world.add_cluster("c", servers=3, jetstream=True)
    await trio.sleep(2.0)
    async with open_client(*[server.url for server in servers], dialer=world.dialer("app")) as nc:
        js = JetStream(nc)
        await js.create_stream(StreamConfig(name="S", subjects=("s.>",), num_replicas=3))
        consumer = await js.create_consumer("S", ConsumerConfig(durable_name="D", ack_policy="explicit"))
        for number in range(3):
            await publish(js, number)
        leader = next(server for server in servers if server.leads("S"))
        leader.kill()
        await trio.sleep(30.0)
        leader.start()
        for message in await consumer.fetch(50, expires_seconds=5.0):
            await message.ack_sync()
        await nc.request("$JS.API.STREAM.LEADER.STEPDOWN.S")
        await trio.sleep(5.0)
        assert [len(server.streams[0].messages) for server in servers] == [90, 90, 90]


@pytest.mark.slow
def test_clusters_are_the_same_in_every_process() -> None:
    """Elections, replication and catching up too are one trace a seed."""
    runs, differences = compare("tests.simulation.test_jetstream_determinism:busy_cluster", 1, 2)
    assert not differences
    assert len({run.digest for run in runs}) == 2
