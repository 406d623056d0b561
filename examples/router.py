"""Two routes: `beamline run examples.router:router`, or in this directory `beamline run router:router`."""

from beamline_trio import Message, Router

router = Router("prices")
prices = {b"book": b"12.50", b"pen": b"1.20"}


@router.route("price.get", queue_group="prices", concurrency=8)
async def price(msg: Message) -> bytes:
    return prices[msg.payload]  # the reply; a KeyError is answered as an error, and the router lives on


@router.route("orders.*.created")
async def created(msg: Message) -> None:
    print(msg.subject, msg.payload.decode(), flush=True)
