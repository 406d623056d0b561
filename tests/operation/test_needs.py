"""What routes need of a server follows from how they were declared."""

from __future__ import annotations

from beamline_trio import Publish, Retry, Router
from beamline_trio.operation.check import Target, needs_of


def test_what_routes_need() -> None:
    """A core route its subject in its group; a route from a stream its durable, its dead letters, and its time."""
    router = Router("orders")

    @router.route("price.get", queue_group="prices")
    async def price(payload: bytes) -> bytes:
        return payload

    @router.route(
        "orders.*", stream="ORDERS", durable="billing", dead_letter="dlq.orders", retry=Retry(delays_seconds=(1.0, 2.0))
    )
    async def bill(payload: bytes) -> Publish:
        return Publish("bills.1")

    target = Target(pattern="bills.*", stored=True)
    one, other = needs_of(router, {"bill": [target]})
    assert (one.name, one.subject, one.queue_group, one.stream, one.stored_subjects) == (
        "price", "price.get", "prices", None, (),
    )  # fmt: skip
    assert (other.stream, other.dead_letter, other.targets) == ("ORDERS", "dlq.orders", (target,))
    assert other.consumer is not None
    assert (other.consumer.durable_name, other.consumer.filter_subject) == ("billing", "orders.*")
    # Three more deliveries behind the first one, of 30 s each, after 1, 2 and 2 s, a fifth longer at the most.
    assert other.redelivery_seconds == 3 * 30 + 5 * 1.2
    assert other.stored_subjects == ("dlq.orders", "bills.*")
