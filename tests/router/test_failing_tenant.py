"""What a tenant whose messages fail costs the others, with the whole router over a stream, in virtual time."""

from __future__ import annotations

import statistics

import pytest
import trio

from beamline_trio import JetStream, Message, open_client
from beamline_trio.jetstream import StreamConfig
from beamline_trio.router import Delivery, Retry, Router
from beamline_trio.simulation import ServerConfig, World, run

TENANTS = ("bad", "ada", "bob", "cleo")
PER_SECOND = 20.0
# So short that what piles up of a tenant that hangs fits into the route's queue, which all tenants share.
SECONDS = 40.0
WORK_SECONDS = 0.02
SEED = 1


def tenant_of(message: Message) -> str:
    """Whose order it is."""
    return message.subject.rpartition(".")[2]


class Run:
    """One run: four tenants, of whom the first one's messages are handled well, or not."""

    def __init__(self, trouble: str) -> None:
        self.trouble = trouble
        self.latencies: list[float] = []

    async def main(self, world: World) -> None:
        """Orders for a while, each tenant's at random moments."""
        await world.start_server("a", ServerConfig(jetstream=True))
        router = self.router()
        async with open_client("nats://a:4222", dialer=world.dialer("app")) as nc:
            await JetStream(nc).create_stream(StreamConfig(name="ORDERS", subjects=("orders.>",)))
            async with trio.open_nursery() as nursery:
                await nursery.start(router.run, nc)
                async with trio.open_nursery() as tenants:
                    for tenant in TENANTS:
                        tenants.start_soon(self.publish, world, JetStream(nc), tenant)
                nursery.cancel_scope.cancel()

    def router(self) -> Router:
        """Sixteen at once, four of each tenant."""
        router = Router("orders", grace_seconds=0.0)
        route = router.route(
            "orders.*",
            name="orders",
            stream="ORDERS",
            concurrency=16,
            tenant_by=tenant_of,
            quota=4,
            deadline_seconds=5.0,
            retry=Retry(delays_seconds=(1.0,), max_deliver=3),
        )
        route(self.handle)
        return router

    async def publish(self, world: World, js: JetStream, tenant: str) -> None:
        """Orders whose payload is the moment they were placed at."""
        chance = world.random(tenant)
        ends_at = trio.current_time() + SECONDS
        while trio.current_time() < ends_at:
            await js.publish(f"orders.{tenant}", b"%.6f" % trio.current_time())
            await trio.sleep(chance.expovariate(PER_SECOND))

    async def handle(self, payload: bytes, delivery: Delivery) -> None:
        """Note how old an order is when it is done."""
        if delivery.subject == "orders.bad":
            if self.trouble == "hangs":
                await trio.sleep_forever()
            if self.trouble == "raises":
                raise RuntimeError("never")
        await trio.sleep(WORK_SECONDS)
        if delivery.subject != "orders.bad":
            self.latencies.append(trio.current_time() - float(payload))


def latencies(trouble: str) -> tuple[float, float]:
    """The mean and the 99th percentile of what the others saw."""
    one = Run(trouble)
    run(one.main, seed=SEED)
    assert len(one.latencies) > (len(TENANTS) - 1) * PER_SECOND * SECONDS * 0.8
    return statistics.mean(one.latencies), statistics.quantiles(one.latencies, n=100)[98]


@pytest.mark.slow
@pytest.mark.parametrize("trouble", ["raises", "hangs"])
def test_a_failing_tenant_costs_the_others_less_than_five_percent(trouble: str) -> None:
    """Mean and 99 % of the others' latency, from publishing to the end of the handler."""
    well, ill = latencies(""), latencies(trouble)
    assert ill[0] < 1.05 * well[0]
    assert ill[1] < 1.05 * well[1]
