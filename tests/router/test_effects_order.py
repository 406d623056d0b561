"""In which order the effects of one handler leave."""

from __future__ import annotations

import pytest
import trio

from beamline_trio import JetStream, Message, StreamConfig, open_client
from beamline_trio.router import Publish, Retry, Router
from beamline_trio.testing import ServerConfig, World


@pytest.mark.parametrize("confirm", [None, "server"])
async def test_what_goes_to_no_stream_is_out_before_what_a_stream_stores(
    nats_world: World, confirm: str | None
) -> None:
    """Whatever their order in the list; and the plain ones keep theirs."""
    await nats_world.start_server("a", ServerConfig(jetstream=True))
    router = Router("r")

    @router.route("in", stream="S", durable="d", concurrency=8)
    async def forward(message: Message) -> list[Publish]:
        plain = [Publish(f"plain.{number}", message.payload, confirm=confirm) for number in range(3)]  # type: ignore[arg-type]
        return [Publish("stored.a", message.payload), *plain, Publish("stored.b", message.payload)]

    async with (
        open_client("nats://a:4222", dialer=nats_world.dialer("app")) as app,
        open_client("nats://a:4222", dialer=nats_world.dialer("router")) as nc,
        app.subscribe("*.*") as seen,
        trio.open_nursery() as nursery,
    ):
        js = JetStream(app)
        await js.create_stream(StreamConfig(name="S", subjects=["in", "stored.*"]))
        await seen.confirmed()
        await nursery.start(router.run, nc)
        for number in range(100):
            await js.publish("in", b"%d" % number)
        orders: dict[bytes, list[str]] = {}
        for _ in range(500):
            message = await seen.receive()
            orders.setdefault(message.payload, []).append(message.subject)
        for order in orders.values():
            assert order[:3] == ["plain.0", "plain.1", "plain.2"]
            assert sorted(order[3:]) == ["stored.a", "stored.b"]
        nursery.cancel_scope.cancel()


async def test_behind_a_plain_effect_that_fails_nothing_leaves(nats_world: World) -> None:
    """No stream stores what was announced by an answer that did not go out; the input is not acked."""
    await nats_world.start_server("a", ServerConfig(jetstream=True, max_payload=4096))
    router = Router("r")

    @router.route("in", stream="S", durable="d", retry=Retry(max_deliver=2, delays_seconds=(0.1,)))
    async def forward(message: Message) -> list[Publish]:
        return [Publish("stored", b"x"), Publish("plain", b"x" * 5000, confirm=None), Publish("plain", confirm=None)]

    async with (
        open_client("nats://a:4222", dialer=nats_world.dialer("app")) as app,
        open_client("nats://a:4222", dialer=nats_world.dialer("router")) as nc,
        app.subscribe("plain") as plain,
        trio.open_nursery() as nursery,
    ):
        js = JetStream(app)
        await js.create_stream(StreamConfig(name="S", subjects=["in", "stored"]))
        await nursery.start(router.run, nc)
        await js.publish("in", b"")
        await trio.sleep(5)
        assert (await js.stream_info("S")).state.messages == 1
        with trio.move_on_after(1):
            await plain.receive()
            raise AssertionError("it left")
        counters = router.routes["forward"].counters
        assert counters.outcomes["ok"] == 0
        assert counters.retries["publish_error"] == 1
        nursery.cancel_scope.cancel()
