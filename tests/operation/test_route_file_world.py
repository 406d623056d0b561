"""The routes of the example file in a simulated world: each order ends once, also where its target fails."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import trio

from beamline_trio import JetStream, StreamConfig, open_client
from beamline_trio.faults import FaultDialer, error, intermittent
from beamline_trio.operation.check import Severity, find_problems, needs_of, survey_server
from beamline_trio.operation.dead_letters import DeadLetterRecord
from beamline_trio.operation.route_file import build_router, load_route_file
from beamline_trio.simulation import ServerConfig, World

EXAMPLE = Path(__file__).parents[2] / "examples" / "deployment" / "router.toml"
COUNT = 60


def order(number: int) -> dict[str, Any]:
    """Every tenth is free, every seventh has no customer."""
    fields: dict[str, Any] = {"total": 0 if number % 10 == 0 else number, "customer": {"id": f"c{number}"}}
    if number % 7 == 0 and fields["total"]:
        del fields["customer"]
    return fields


async def test_each_order_becomes_one_bill_or_one_dead_letter(nats_world: World) -> None:
    """Or is left out; while half of the bills find no stream they are tried again, and none is stored twice."""
    server = await nats_world.start_server("nats", ServerConfig(jetstream=True))
    router, handlers = build_router(load_route_file(EXAMPLE))
    faults = FaultDialer(nats_world.dialer("app"))
    async with (
        open_client(server.url, dialer=nats_world.dialer("shop")) as shop,
        open_client(server.url, dialer=faults) as app,
        trio.open_nursery() as nursery,
    ):
        js = JetStream(shop)
        for name, subjects in (("ORDERS", "orders.*.created"), ("BILLS", "bills.>"), ("DLQ", "dlq.>")):
            await js.create_stream(StreamConfig(name=name, subjects=(subjects,)))
        needs = needs_of(router)
        findings = find_problems(needs, await survey_server(app, needs))
        assert [one for one in findings if one.severity is Severity.ERROR] == []
        fault = intermittent(error("no responders"), 0.5, random.Random(nats_world.seed))
        with faults.inject("publish_with_ack", fault, subjects="bills.>"):
            await nursery.start(router.run, app)
            for number in range(COUNT):
                await js.publish(f"orders.{number}.created", json.dumps(order(number)).encode())
            await trio.sleep(2)
        assert (await shop.request("orders.echo", b"\xff")).payload == b"\xff"
        await trio.sleep(60)
        await app.drain()

        bills, letters = await payloads(js, "BILLS"), await payloads(js, "DLQ")
        free = [n for n in range(COUNT) if n % 10 == 0]
        headless = [n for n in range(COUNT) if n % 7 == 0 and n not in free]
        assert sorted(int(bill["order"]) for bill in bills) == [
            n for n in range(COUNT) if n not in free and n not in headless
        ]
        assert sorted(letter["total"] for letter in letters) == headless
        assert handlers["billing"].left_out == len(free)
        assert router.routes["billing"].counters.effect_failures > 0
        first = DeadLetterRecord.read(await js.get_message("DLQ", sequence=1))
        assert (first.cause, first.subject, first.is_dead_letter) == ("rejected", "orders.7.created", True)
        assert first.reason == "the message has no payload.customer.id"
        assert (await js.consumer_info("ORDERS", "billing")).num_ack_pending == 0


async def payloads(js: JetStream, stream: str) -> list[dict[str, Any]]:
    state = (await js.stream_info(stream)).state
    return [json.loads((await js.get_message(stream, sequence=n + 1)).payload) for n in range(state.last_seq)]
