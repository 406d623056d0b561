"""Store orders in a stream, and bill each of them once: `python examples/jetstream.py [nats://host:port]`."""

import sys

import trio

from beamline_trio import ConsumerConfig, JetStream, PublishRetry, StreamConfig, open_client

ORDERS = {"7": b"book", "8": b"pen"}


async def store(js: JetStream) -> None:
    for number, what in ORDERS.items():
        # Inside the stream's duplicate window the id makes it one message, however often it is published.
        ack = await js.publish(f"orders.{number}", what, message_id=f"order-{number}", retry=PublishRetry())
        print("stored", ack.stream, ack.sequence, "again" if ack.duplicate else "first")


async def bill(js: JetStream) -> None:
    # Durable: the next program of this name goes on where this one ends.
    consumer = await js.create_consumer("ORDERS", ConsumerConfig(durable_name="billing", ack_wait_seconds=30))
    with trio.move_on_after(5):
        for message in await consumer.fetch(len(ORDERS)):
            print("billed", message.subject, message.payload.decode(), "delivery", message.metadata.delivered)
            await message.ack_sync()  # the server knows: it does not come again


async def main(url: str) -> None:
    async with open_client(url, name="orders") as nc:
        js = JetStream(nc)
        await js.create_stream(StreamConfig(name="ORDERS", subjects=["orders.*"], duplicate_window_seconds=120))
        await store(js)
        await store(js)
        await bill(js)


if __name__ == "__main__":
    trio.run(main, sys.argv[1] if len(sys.argv) > 1 else "nats://127.0.0.1:4222")
