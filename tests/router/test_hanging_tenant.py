"""What a tenant whose handlers hang for longer than the queue is deep costs the others, and what becomes of its own.

The whole router over a stream, in virtual time: ten tenants, of whom one hangs until its deadlines, and recovers.
"""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Mapping

import attrs
import pytest
import trio

from beamline_trio import JetStream, Message, open_client
from beamline_trio.jetstream import StreamConfig
from beamline_trio.router import Delivery, Retry, Router, RouteStatistics
from beamline_trio.simulation import ServerConfig, World, run

TENANTS = ("bad", *(f"t{number}" for number in range(9)))
WORK_SECONDS = 0.02
QUEUE_MESSAGES_MAX = 20
PAYLOAD_BYTES = 200
MAX_DELIVER = 3


def tenant_of(message: Message) -> str:
    """Whose order it is."""
    return message.subject.rpartition(".")[2]


@attrs.define
class Run:
    """One run: orders of all tenants for so many seconds, then whatever time it takes until none is left."""

    seconds: float
    per_second: float
    deadline_seconds: float
    hangs: bool
    latencies: list[float] = attrs.field(factory=list)
    tries: Counter[bytes] = attrs.field(factory=Counter)
    done: Counter[bytes] = attrs.field(factory=Counter)
    dead: Mapping[bytes, str] = attrs.field(factory=dict)
    published: Counter[str] = attrs.field(factory=Counter)
    waiting_most: int = 0
    bytes_most: int = 0
    counted: RouteStatistics | None = None
    unacked: int = 0

    async def main(self, world: World) -> None:
        """The run."""
        await world.start_server("a", ServerConfig(jetstream=True))
        router = self.router()
        async with open_client("nats://a:4222", dialer=world.dialer("app")) as nc:
            js = JetStream(nc)
            for name in ("ORDERS", "DEAD"):
                await js.create_stream(StreamConfig(name=name, subjects=(f"{name.lower()}.>",)))
            async with trio.open_nursery() as nursery:
                await nursery.start(router.run, nc)
                nursery.start_soon(self.watch, router)
                async with trio.open_nursery() as tenants:
                    for tenant in TENANTS:
                        tenants.start_soon(self.publish, world, js, tenant)
                self.hangs = False
                await trio.sleep(30.0)
                nursery.cancel_scope.cancel()
            self.unacked = (await js.consumer_info("ORDERS", "orders")).num_ack_pending
            self.counted = router.routes["orders"].statistics()
            self.dead = await self.dead_letters(js)

    def router(self) -> Router:
        """Sixteen at once, four of each tenant; a queue that is short beside what the one has waiting."""
        router = Router("orders", grace_seconds=0.0)
        router.route(
            "orders.*",
            name="orders",
            stream="ORDERS",
            concurrency=16,
            tenant_by=tenant_of,
            quota=4,
            queue_messages_max=QUEUE_MESSAGES_MAX,
            deadline_seconds=self.deadline_seconds,
            retry=Retry(delays_seconds=(1.0,), max_deliver=MAX_DELIVER),
            dead_letter="dead.orders",
        )(self.handle)
        return router

    async def publish(self, world: World, js: JetStream, tenant: str) -> None:
        """Orders that say when they were placed, and are as large as all others."""
        chance = world.random(tenant)
        ends_at = trio.current_time() + self.seconds
        while trio.current_time() < ends_at:
            payload = b"%s %.9f " % (tenant.encode(), trio.current_time())
            await js.publish(f"orders.{tenant}", payload.ljust(PAYLOAD_BYTES, b"."))
            self.published[tenant] += 1
            await trio.sleep(chance.expovariate(self.per_second))

    async def handle(self, payload: bytes, delivery: Delivery) -> None:
        """Note how old an order is when it is done."""
        self.tries[payload] += 1
        bad = delivery.subject == "orders.bad"
        if bad and self.hangs:
            await trio.sleep_forever()
        await trio.sleep(WORK_SECONDS)
        self.done[payload] += 1
        if not bad:
            self.latencies.append(trio.current_time() - float(payload.split()[1]))

    async def watch(self, router: Router) -> None:
        """The most that waited, and the most memory that payloads of it took."""
        while True:
            counters = router.routes["orders"].counters
            self.waiting_most = max(self.waiting_most, counters.pending)
            self.bytes_most = max(self.bytes_most, counters.pending_bytes)
            await trio.sleep(0.05)

    async def dead_letters(self, js: JetStream) -> dict[bytes, str]:
        """Payload -> why."""
        state = (await js.stream_info("DEAD")).state
        found = [await js.get_message("DEAD", sequence=number + 1) for number in range(state.last_seq)]
        return {letter.payload: letter.headers["Beamline-Cause"] for letter in found}


def quantiles(values: list[float]) -> tuple[float, float]:
    """The 50th and the 95th percentile."""
    cuts = statistics.quantiles(values, n=100)
    return cuts[49], cuts[94]


def check_outcomes(one: Run) -> None:
    """Every order ended once: done at its last try, or a dead letter whose every try reached its deadline."""
    counted = one.counted
    assert counted is not None
    assert (one.unacked, counted.pending, counted.in_flight, counted.held) == (0, 0, 0, 0)
    assert sum(one.published.values()) == len(one.tries) == len(one.done) + len(one.dead)
    assert set(one.done.values()) <= {1}
    assert not one.done.keys() & one.dead.keys()
    for payload, cause in one.dead.items():
        assert (cause, one.tries[payload]) == ("processing_timeout", MAX_DELIVER)
    settled = {name: number for name, number in counted.outcomes.items() if number and name != "retried"}
    assert settled == {"ok": len(one.done), **({"dead_lettered": len(one.dead)} if one.dead else {})}
    # Nothing came again but what a handler had: waiting is no delivery.
    assert counted.retries["backpressure"] == 0
    assert counted.outcomes["retried"] == sum(one.tries.values()) - len(one.tries)


@pytest.mark.slow
@pytest.mark.parametrize("seconds, per_second, deadline_seconds", [(60.0, 10.0, 5.0), (600.0, 1.0, 4.0)])
def test_a_tenant_that_hangs_costs_the_others_less_than_five_percent(
    seconds: float, per_second: float, deadline_seconds: float
) -> None:
    """50 % and 95 % of the others' latency; its own orders all end, and payloads that wait take the queue's memory."""
    well, ill = (Run(seconds, per_second, deadline_seconds, hangs) for hangs in (False, True))
    for one in (well, ill):
        run(one.main, seed=1)
        check_outcomes(one)
    assert not well.dead
    assert ill.waiting_most > 10 * QUEUE_MESSAGES_MAX
    assert ill.bytes_most <= QUEUE_MESSAGES_MAX * PAYLOAD_BYTES
    assert well.published == ill.published
    for before, behind in zip(quantiles(well.latencies), quantiles(ill.latencies), strict=True):
        assert behind < 1.05 * before
