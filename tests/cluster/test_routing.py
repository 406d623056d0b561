"""Effects of a router that are at home in a region: they go by its publisher, and nothing else does."""

from __future__ import annotations

from functools import partial

import attrs
import pytest
import trio

from beamline_trio import InvalidSubjectError, JetStream, JetStreamMessage, OptionsError, Publish, Router, StreamConfig
from beamline_trio.cluster import Home, RegionPublisher, publisher_for, route_by_region
from beamline_trio.faults import timeout
from beamline_trio.simulation import World
from tests.cluster._regions import HERE, LOCAL, Region, region


def forwards() -> Router:
    """What comes on `in.KEY` goes to `west.KEY`, and is noted at `note.KEY`."""
    router = Router("forwards")

    @router.route("in.*", stream="IN", concurrency=4, ordered_by=lambda message: message.subject, deadline_seconds=300)
    async def forward(message: JetStreamMessage) -> list[Publish]:
        key = message.subject.partition(".")[2]
        return [Publish(f"west.{key}", message.payload), Publish(f"note.{key}", message.payload)]

    return router


async def feed(west: Region, count: int) -> None:
    """Numbers of two keys, one after the other."""
    for number in range(count):
        for key in "ab":
            await JetStream(west.nc).publish(f"in.{key}", f"{key}:{number}".encode())


@pytest.mark.parametrize("home", [HERE, LOCAL], ids=["waits", "kept"])
@pytest.mark.parametrize("seconds", [15, 100])
async def test_effects_go_home_or_wait_for_it(nats_world: World, home: Home, seconds: float) -> None:
    """A region is away while a router works for it: every effect is stored there once, in order; no message failed."""
    async with region(nats_world, attrs.evolve(home, subjects=["west.>"])) as west, trio.open_nursery() as nursery:
        js = JetStream(west.nc)
        for name in ("IN", "NOTE"):
            await js.create_stream(StreamConfig(name=name, subjects=[f"{name.lower()}.>"]))
        route_by_region(west.nc, west.publisher)
        router = forwards()
        await nursery.start(partial(router.run, west.nc))
        await feed(west, 5)
        with west.away(timeout()):
            for number in range(5, 20):
                for key in "ab":
                    await js.publish(f"in.{key}", f"{key}:{number}".encode())
                await trio.sleep(0.2)
            await trio.sleep(seconds)
        await west.settled()
        with trio.fail_after(120):
            while router.routes["forward"].statistics().outcomes["ok"] < 40:  # noqa: ASYNC110  # nobody tells
                await trio.sleep(0.1)
        await west.settled()
        assert await west.stored() == {key: list(range(20)) for key in "ab"}
        assert await west.stored("NOTE") == {key: list(range(20)) for key in "ab"}
        outcomes = router.routes["forward"].statistics().outcomes
        assert {name: count for name, count in outcomes.items() if count} == {"ok": 40}
        statistics = west.publisher.statistics()
        assert statistics.home + statistics.local == 40
        nursery.cancel_scope.cancel()


async def test_which_publisher_takes_a_subject(nats_world: World) -> None:
    """The first whose subjects it matches; said anew it replaces what was said, and without any there is none."""
    async with region(nats_world, HERE) as west:
        js = JetStream(west.nc)
        assert publisher_for(west.nc, "west.a") is None
        one, other = (
            RegionPublisher(js, Home(region=name, stream=name, subjects=subjects))
            for name, subjects in (("west", ["west.*.x", "w"]), ("all", ["west.>"]))
        )
        route_by_region(west.nc, one, other)
        assert publisher_for(west.nc, "west.a.x") is one
        assert publisher_for(west.nc, "w") is one
        assert publisher_for(west.nc, "west.a") is other
        assert publisher_for(west.nc, "east.a") is None
        route_by_region(west.nc)
        assert publisher_for(west.nc, "w") is None


async def test_publishers_that_cannot_be_gone_by(nats_world: World) -> None:
    """One without subjects, and one of another client; and subjects that are none."""
    async with region(nats_world, HERE) as west, region(nats_world, HERE, host="other") as other:
        with pytest.raises(OptionsError, match="takes no subjects"):
            route_by_region(west.nc, west.publisher)
        with pytest.raises(OptionsError, match="another client"):
            route_by_region(west.nc, other.publisher)
    with pytest.raises(InvalidSubjectError):
        Home(region="a", stream="A", subjects=["a..b"])
    with pytest.raises(OptionsError, match="it must be a list"):
        Home(region="a", stream="A", subjects="a.b")
