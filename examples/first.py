"""Publish, receive and request over one connection: `python examples/first.py [nats://host:port]`."""

import sys

import trio

from beamline_trio import Message, open_client


async def price(msg: Message) -> bytes:
    return {b"book": b"12.50"}[msg.payload]


async def main(url: str) -> None:
    async with open_client(url, name="first") as nc, nc.subscribe("orders.*.created") as sub:
        await sub.confirmed()  # the server has the interest
        await nc.publish("orders.7.created", b"book", headers={"Trace": ["a", "b"]}, confirm=True)
        msg = await sub.receive()
        print(msg.subject, msg.payload.decode(), msg.headers.get_all("trace"))
        async with trio.open_nursery() as nursery:
            await nursery.start(nc.serve, "price.get", price)
            reply = await nc.request("price.get", msg.payload)
            print("it costs", reply.payload.decode())
            nursery.cancel_scope.cancel()
    print(nc.ledger())


if __name__ == "__main__":
    trio.run(main, sys.argv[1] if len(sys.argv) > 1 else "nats://127.0.0.1:4222")
