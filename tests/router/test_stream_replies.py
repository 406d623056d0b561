"""Answers of handlers whose messages come from a stream: there is nobody to answer to, and that is told."""

from __future__ import annotations

import pytest
import trio

from beamline_trio import Message
from beamline_trio.router import Batch, DeadLetter, Publish, Reply, Router
from beamline_trio.simulation import World
from tests.router._streams import contents, ended, fill, running, streams


async def test_answers_are_counted_and_told_once(nats_world: World, caplog: pytest.LogCaptureFixture) -> None:
    """In bytes, in a list, with a dead letter, of a batch: the message is done, and its other effects go out."""
    router = Router("r")

    @router.route("in.*", stream="IN")
    async def one(message: Message) -> bytes:
        return b"answer"

    @router.route("in.*", stream="IN")
    async def listed(message: Message) -> list[Publish | Reply]:
        return [Reply(b"answer"), Publish("out.a", message.payload)]

    @router.route("in.*", stream="IN", dead_letter="dead.a")
    async def rejected(message: Message) -> DeadLetter:
        return DeadLetter("no", effects=[Reply(b"answer")])

    @router.route("in.*", stream="IN", batch=Batch(3, 1))
    async def batched(messages: list[Message]) -> bytes:
        return b"answer"

    async with streams(nats_world) as (_, nc, jetstream), running(router, nc):
        await fill(jetstream, 3)
        await trio.sleep(1)
        assert await contents(jetstream, "OUT") == [b"0", b"1", b"2"]
    for name, count in (("one", 3), ("listed", 3), ("rejected", 3), ("batched", 1)):
        assert router.routes[name].statistics().replies_dropped == count
    assert ended(router.routes["one"]) == ended(router.routes["listed"]) == ended(router.routes["batched"]) == {"ok": 3}
    assert ended(router.routes["rejected"]) == {"dead_lettered": 3}
    told = [record for record in caplog.records if vars(record).get("event") == "ROUTER_REPLY_DROPPED"]
    assert sorted(vars(record)["route"] for record in told) == ["batched", "listed", "one", "rejected"]
    assert all("publish the answer to a subject of its own" in record.getMessage() for record in told)
