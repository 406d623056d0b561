"""A listing is whole, whatever happens to the link under it, or says that it could not be."""

from __future__ import annotations

from contextlib import suppress

import pytest
import trio

from beamline_trio import ConnectionLostError, JetStream, open_client
from beamline_trio.jetstream import Consumer, ConsumerDeletedError, ConsumerNotFoundError
from beamline_trio.kv import Bucket, BucketConfig, Entry, create_bucket
from beamline_trio.kv import _listing as listing
from beamline_trio.simulation import ServerConfig, World
from beamline_trio.transport import parse_address

MOMENTS = 60
STEP_SECONDS = 0.0002


async def filled(js: JetStream, count: int) -> tuple[Bucket, list[str]]:
    bucket = await create_bucket(js, BucketConfig(bucket="b", history=2))
    keys = [f"key.{number}" for number in range(count)]
    async with js.publisher() as publisher:
        for key in keys:
            await publisher.publish(f"$KV.b.{key}", b"x" * 100)
    return bucket, keys


async def test_a_link_lost_under_a_listing(nats_world: World) -> None:
    """The link is reset at any moment of a listing: nothing is missing in what is returned, and nothing is left."""
    server = await nats_world.start_server("nats", ServerConfig(jetstream=True))
    whole = 0
    async with open_client(server.url, dialer=nats_world.dialer("app"), reconnect_delay_seconds=0.001) as nc:
        bucket, keys = await filled(JetStream(nc), 40)
        for moment in range(MOMENTS):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(reset, nats_world, moment * STEP_SECONDS)
                with suppress(ConnectionLostError):
                    assert await bucket.keys() == keys
                    whole += 1
            with suppress(ConnectionLostError):
                await nc.flush()
            await nc.flush()
            with suppress(ConnectionLostError):
                assert len(await bucket.history("key.7")) == 1
    assert MOMENTS > whole > MOMENTS / 3


async def test_a_link_that_is_lost_again_and_again(nats_world: World) -> None:
    """A listing under which every link dies ends with the reason."""
    server = await nats_world.start_server("nats", ServerConfig(jetstream=True))
    async with open_client(server.url, dialer=nats_world.dialer("app"), reconnect_delay_seconds=0.001) as nc:
        bucket, _ = await filled(JetStream(nc), 3)
        read = listing.Listing._drain

        async def losing(self: listing.Listing, consumer: Consumer) -> list[Entry]:
            entries = await read(self, consumer)
            nats_world.network.reset("app", "nats")
            with suppress(ConnectionLostError):
                await nc.flush()
            await nc.flush()
            return entries

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(listing.Listing, "_drain", losing)
            with pytest.raises(ConnectionLostError, match="could not be read from end to end"):
                await bucket.keys()
        assert await bucket.keys() == ["key.0", "key.1", "key.2"]


@pytest.mark.parametrize("times", [1, 2, 3])
async def test_a_consumer_that_is_lost(times: int, nats_world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The consumer of a listing is deleted under it: it begins again, and says so when that goes on."""
    server = await nats_world.start_server("nats", ServerConfig(jetstream=True))
    async with open_client(server.url, dialer=nats_world.dialer("app")) as nc:
        js = JetStream(nc)
        bucket, keys = await filled(js, 3)
        read = listing.Listing._drain
        left = [None] * times

        async def losing(self: listing.Listing, consumer: Consumer) -> list[Entry]:
            if left:
                left.pop()
                await js.delete_consumer(consumer.stream, consumer.name)
            return await read(self, consumer)

        monkeypatch.setattr(listing.Listing, "_drain", losing)
        if times < 3:
            assert await bucket.keys() == keys
        else:
            with pytest.raises((ConsumerNotFoundError, ConsumerDeletedError)):
                await bucket.keys()


async def test_headers_that_cannot_be_read_are_counted(nats_world: World) -> None:
    """A message that the client itself leaves out, for its headers, is passed over as what is no entry is."""
    server = await nats_world.start_server("nats", ServerConfig(jetstream=True))
    async with open_client(server.url, dialer=nats_world.dialer("app")) as nc:
        bucket, keys = await filled(JetStream(nc), 3)
        broken = b"NATS/1.0\r\nno colon\r\n\r\n"
        async with nats_world.dialer("app").open(parse_address(server.url)) as stream:
            await stream.send_all(b'CONNECT {"verbose":false,"headers":true}\r\n')
            await stream.send_all(b"HPUB $KV.b.key.1 %d %d\r\n%b\r\nPING\r\n" % (len(broken), len(broken), broken))
            await trio.sleep(0.1)
        assert await bucket.keys() == [key for key in keys if key != "key.1"]
        assert bucket.skipped == 1


async def reset(world: World, after_seconds: float) -> None:
    await trio.sleep(after_seconds)
    world.network.reset("app", "nats")
