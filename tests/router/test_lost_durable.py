"""A durable that is deleted under its route: made again where that is wanted, else that route alone stops."""

from __future__ import annotations

import logging

import pytest
import trio

from beamline_trio import ConsumerDeletedError, Message, OptionsError
from beamline_trio.router import Publish, Router, RouteStopped
from beamline_trio.simulation import World
from tests.router._streams import contents, ended, fill, running, streams
from tests.router.test_guards import told


def copying(router: Router, name: str, *, recreate: bool = False) -> None:
    """A route that publishes each payload to OUT, under the name."""

    @router.route("in.*", name=name, stream="IN", recreate=recreate)
    async def copy(message: Message) -> Publish:
        return Publish(f"out.{name}", message.payload)


async def test_a_durable_that_is_made_again_goes_on(nats_world: World) -> None:
    """By its deliver policy all messages come again; their effects are stored once."""
    router = Router("r")
    copying(router, "copy", recreate=True)
    async with streams(nats_world) as (_, nc, jetstream), running(router, nc):
        await fill(jetstream, 5)
        await trio.sleep(1)
        await jetstream.delete_consumer("IN", "copy")
        await trio.sleep(5)
        await fill(jetstream, 5)
        await trio.sleep(5)
        assert router.ready
        assert await contents(jetstream, "OUT") == [b"%d" % number for number in (*range(5), *range(5))]
        assert (await jetstream.consumer_info("IN", "copy")).num_ack_pending == 0
    assert ended(router.routes["copy"]) == {"ok": 15}


async def test_a_route_without_its_durable_stops_and_the_others_go_on(
    nats_world: World, caplog: pytest.LogCaptureFixture
) -> None:
    """What it had in hand is finished; the router is not ready, and says why in a log record and an event."""
    router = Router("r")
    copying(router, "lost")
    copying(router, "kept")
    route = router.routes["lost"]
    async with streams(nats_world) as (_, nc, jetstream), running(router, nc), told(nc) as events:
        await fill(jetstream, 2)
        await trio.sleep(1)
        assert router.ready
        with caplog.at_level(logging.ERROR, "beamline_trio"):
            await jetstream.delete_consumer("IN", "lost")
            await trio.sleep(5)
        assert (router.ready, route.consuming, router.routes["kept"].consuming) == (False, False, True)
        assert isinstance(route.failure, ConsumerDeletedError)
        assert "create it again" in str(route.failure)
        await fill(jetstream, 3)
        await trio.sleep(1)
    assert [event for event in events if isinstance(event, RouteStopped)] == [RouteStopped("lost", str(route.failure))]
    assert [vars(record)["event"] for record in caplog.records] == ["ROUTER_ROUTE_STOPPED"]
    assert ended(route) == {"ok": 2}
    assert ended(router.routes["kept"]) == {"ok": 5}


async def test_the_router_ends_when_all_its_routes_have_stopped(nats_world: World) -> None:
    """There is nothing left to run: the first route's error is raised, bare."""
    router = Router("r")
    copying(router, "one")
    copying(router, "two")
    async with streams(nats_world) as (_, nc, jetstream):

        async def delete() -> None:
            for name in ("one", "two"):
                await trio.sleep(1)
                await jetstream.delete_consumer("IN", name)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(delete)
            with trio.fail_after(60), pytest.raises(ConsumerDeletedError, match="'one'"):
                await router.run(nc)


async def test_a_route_that_stopped_runs_again_with_its_router(nats_world: World) -> None:
    """Its durable is made at the next run, and its failure is forgotten."""
    router = Router("r")
    copying(router, "copy")
    async with streams(nats_world) as (_, nc, jetstream):
        with pytest.RaisesGroup(ConsumerDeletedError):
            async with trio.open_nursery() as nursery:
                await nursery.start(router.run, nc)
                await jetstream.delete_consumer("IN", "copy")
        async with running(router, nc):
            assert router.ready
            assert router.routes["copy"].failure is None
            await fill(jetstream, 1)
            await trio.sleep(1)
            assert await contents(jetstream, "OUT") == [b"0"]


def test_a_core_route_has_nothing_to_make_again() -> None:
    """It is refused where the route is declared."""
    with pytest.raises(OptionsError, match="recreate and no stream"):
        Router("r").route("a", recreate=True)
