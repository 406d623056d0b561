"""The orders pipeline in virtual time: each order ends once, shipped or as a dead letter, in its customer's order."""

from __future__ import annotations

import json

import trio

from beamline_trio import JetStream, open_client
from beamline_trio.testing import ServerConfig, World
from examples import orders_pipeline


async def test_each_order_is_shipped_or_dead_lettered_once(nats_world: World) -> None:
    """60 orders over a cut of the network, each stored twice: one bill and one parcel each, in order by customer."""
    await nats_world.start_server("a", ServerConfig(jetstream=True))
    orders_pipeline.busy = {8, 20, 33}
    async with (
        open_client("nats://a:4222", dialer=nats_world.dialer("shop")) as shop,
        open_client("nats://a:4222", dialer=nats_world.dialer("router")) as nc,
        trio.open_nursery() as nursery,
    ):
        js = JetStream(shop)
        await orders_pipeline.create_streams(js)
        await nursery.start(orders_pipeline.router.run, nc)
        nursery.start_soon(_cut_off, nats_world)
        for number in range(60):
            for _ in range(2):
                await orders_pipeline.order(js, number, f"c{number % 4}", "yacht" if number % 10 == 9 else "pen")
            await trio.sleep(0.05)
        with trio.fail_after(120):
            shipped = await orders_pipeline.show(js, "ORDERS", "orders.shipped", 54)
            letters = await orders_pipeline.show(js, "DEAD_LETTERS", "dlq.orders", 6)
        assert (await js.stream_info("ORDERS")).state.messages == 60 + 54 + 54
        assert (await js.stream_info("DEAD_LETTERS")).state.messages == 6
        assert sorted(_number(line) for line in shipped) == [n for n in range(60) if n % 10 != 9]
        assert all("there is no 'yacht'" in line for line in letters)
        billed = [_number(line) for line in await orders_pipeline.show(js, "ORDERS", "orders.billed", 54)]
        for customer in range(4):
            own = [number for number in billed if number % 4 == customer and number not in {8, 20, 33}]
            assert own == sorted(own)
        nursery.cancel_scope.cancel()


def _number(line: str) -> int:
    return int(json.loads(line.partition(" ")[2])["order"]["number"])


async def _cut_off(world: World) -> None:
    await trio.sleep(1.0)
    with world.network.partition("router", "a"):
        await trio.sleep(5.0)
