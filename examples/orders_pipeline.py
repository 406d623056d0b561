"""Orders are billed, then shipped, each once: `python examples/orders_pipeline.py [nats://host:port]`.

    orders.new -> bill -> orders.billed -> ship -> orders.shipped
                  what can never be done -> dlq.orders

Everything lies in streams: a message is acked when what it has led to is stored. `beamline run
examples.orders_pipeline:router` runs the routes alone.
"""

import sys

import attrs
import trio

from beamline_trio import ConsumerConfig, JetStream, StreamConfig, open_client
from beamline_trio.router import Publish, Reject, Retry, RetryLater, Router

PRICES = {"book": 12.5, "pen": 1.2}


@attrs.frozen
class Order:
    number: int
    customer: str
    item: str
    count: int = 1


@attrs.frozen
class Bill:
    order: Order
    amount: float


router = Router("orders")
busy: set[int] = {8}  # orders that the bank will not take at first


@router.route(
    "orders.new",
    stream="ORDERS",
    durable="billing",
    concurrency=8,
    ordered_by=lambda message: message.headers.get("Customer"),  # the orders of one customer in their order
    retry=Retry(delays_seconds=(0.5, 1.0, 2.0)),
    dead_letter="dlq.orders",
)
async def bill(order: Order) -> Publish:
    if order.item not in PRICES:
        raise Reject(f"there is no {order.item!r}; there are {', '.join(PRICES)}")  # never: a dead letter
    if order.number in busy:
        busy.remove(order.number)
        raise RetryLater(0.2, "the bank is busy")  # not now: it comes again
    return Publish("orders.billed", Bill(order, PRICES[order.item] * order.count))  # stored, then the order is acked


@router.route("orders.billed", stream="ORDERS", durable="shipping", concurrency=8, dead_letter="dlq.orders")
async def ship(bill: Bill) -> Publish:
    return Publish("orders.shipped", bill)


async def create_streams(js: JetStream) -> None:
    await js.create_stream(StreamConfig(name="ORDERS", subjects=["orders.>"]))
    await js.create_stream(StreamConfig(name="DEAD_LETTERS", subjects=["dlq.>"]))


async def order(js: JetStream, number: int, customer: str, item: str, count: int = 1) -> None:
    what = b'{"number": %d, "customer": "%s", "item": "%s", "count": %d}'
    await js.publish(
        "orders.new",
        what % (number, customer.encode(), item.encode(), count),
        headers={"Customer": customer},
        message_id=f"order-{number}",  # the same order again is none
    )


async def show(js: JetStream, stream: str, subject: str, count: int) -> list[str]:
    """The first messages of a subject, as text."""
    name = f"show-{subject.replace('.', '-')}"
    consumer = await js.create_consumer(stream, ConsumerConfig(name=name, filter_subject=subject, ack_policy="none"))
    lines: list[str] = []
    while len(lines) < count:
        for message in await consumer.fetch(count - len(lines)):
            cause = message.headers.get("Beamline-Reason", "")
            lines.append(f"{message.subject} {message.payload.decode()} {cause}".rstrip())
    return lines


async def main(url: str) -> None:
    async with open_client(url, name="orders") as nc, trio.open_nursery() as nursery:
        js = JetStream(nc)
        await create_streams(js)
        await nursery.start(router.run, nc)
        await order(js, 7, "ada", "book", 2)
        await order(js, 7, "ada", "book", 2)  # by mistake
        await order(js, 8, "bob", "pen")
        await order(js, 9, "ada", "yacht")
        with trio.fail_after(10):
            print(*sorted(await show(js, "ORDERS", "orders.shipped", 2)), sep="\n")
            print(*await show(js, "DEAD_LETTERS", "dlq.orders", 1), sep="\n")
        nursery.cancel_scope.cancel()


if __name__ == "__main__":
    trio.run(main, sys.argv[1] if len(sys.argv) > 1 else "nats://127.0.0.1:4222")
