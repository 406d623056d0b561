"""Core routes: every message has one outcome, and whoever asked is told what went wrong."""

from __future__ import annotations

import pytest
import trio

from beamline_trio import Message, NatsError
from beamline_trio.router import DeadLetter, Publish, Reject, Reply, Retry, RetryLater, Router
from beamline_trio.simulation import World
from tests.router._streams import contents, ended, running, streams


@pytest.mark.parametrize(
    "said, outcome, code",
    [
        (b"42", "ok", None),
        (None, "ok", "no reply"),
        (Reply({"a": 1}, headers={"K": "v"}), "ok", None),
        (ValueError("a secret"), "error", "500"),
        (17, "error", "500"),
        (Reject("never"), "rejected", "422"),
        (DeadLetter("never"), "rejected", "422"),
        (DeadLetter("never", effects=[Reply("no")]), "rejected", None),
        (RetryLater(reason="busy"), "unavailable", "503"),
        (Retry(reason="busy"), "unavailable", "503"),
        (trio.sleep_forever, "deadline", "504"),
    ],
)
async def test_what_a_handler_says_is_the_outcome_and_the_answer(
    said: object, outcome: str, code: str | None, nats_world: World
) -> None:
    """An answer, or an empty one with the code of what went wrong and nothing of an exception's text."""
    router = Router("r")

    @router.route("a", deadline_seconds=1)
    async def answer(message: Message) -> object:
        if isinstance(said, Exception):
            raise said
        if said is trio.sleep_forever:
            await trio.sleep_forever()
        return said

    async with streams(nats_world, operation_timeout_seconds=3) as (_, nc, _js), running(router, nc):
        if code == "no reply":
            with pytest.raises(NatsError):
                await nc.request("a", b"x")
        else:
            reply = await nc.request("a", b"x")
            assert reply.headers.get("Nats-Service-Error-Code") == code
            assert b"secret" not in (reply.header_block or b"") + reply.payload
        await nc.publish("a", b"x")  # nobody waits for an answer
        await trio.sleep(2)
    assert ended(router.routes["answer"]) == {outcome: 2}


async def test_a_payload_that_cannot_be_read_is_the_senders_error(nats_world: World) -> None:
    """With the reason, and without a call of the handler."""
    router = Router("r")

    @router.route("a")
    async def number(payload: int) -> bytes:
        raise AssertionError("not called")

    async with streams(nats_world) as (_, nc, _js), running(router, nc):
        reply = await nc.request("a", b"no number")
    assert reply.headers["Nats-Service-Error-Code"] == "400"
    assert "int" in reply.headers["Nats-Service-Error"]
    assert ended(router.routes["number"]) == {"bad_payload": 1}


async def test_effects_of_a_core_message_are_confirmed_as_they_ask(nats_world: World) -> None:
    """By the server, by a stream, or not at all; one that fails is an error, and is answered as one."""
    router = Router("r")

    @router.route("a")
    async def several(message: Message) -> list[Publish | Reply]:
        return [
            Publish("out.plain", b"1"),
            Publish("out.server", b"2", confirm="server"),
            Publish("out.stream", b"3", confirm="stream"),
            Reply(b"done"),
        ]

    @router.route("b")
    async def nowhere(message: Message) -> list[Publish | Reply]:
        return [Publish("nowhere.a", confirm="stream")]

    async with streams(nats_world) as (_, nc, jetstream):
        async with running(router, nc):
            assert (await nc.request("a")).payload == b"done"
            assert (await nc.request("b")).headers["Nats-Service-Error-Code"] == "500"
            await trio.sleep(1)
        assert sorted(await contents(jetstream, "OUT")) == [b"1", b"2", b"3"]
    assert router.routes["several"].statistics().effects == 4
    assert router.routes["nowhere"].statistics().effect_failures == 1
    assert [ended(route) for route in router.routes.values()] == [{"ok": 1}, {"error": 1}]


async def test_a_trace_goes_on_in_the_effects(nats_world: World) -> None:
    """The same trace, with the delivery as the parent; a message without one starts none."""
    router = Router("r")

    @router.route("in.*", stream="IN")
    async def copy(message: Message) -> Publish:
        return Publish("out.a", message.payload)

    async with streams(nats_world) as (_, nc, jetstream):
        parent = f"00-{'ab' * 16}-{'cd' * 8}-01"
        await jetstream.publish("in.a", b"1", headers={"traceparent": parent})
        await jetstream.publish("in.a", b"2")
        async with running(router, nc):
            await trio.sleep(1)
        traced, plain = [await jetstream.get_message("OUT", sequence=number) for number in (1, 2)]
    assert traced.headers["traceparent"].startswith(f"00-{'ab' * 16}-")
    assert traced.headers["traceparent"] != parent
    assert "traceparent" not in plain.headers
