"""A drain ends, whatever is published meanwhile: nothing is lost, doubled or overtaken, and nobody waits for ever."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractContextManager, asynccontextmanager
from functools import partial
from itertools import count
from typing import Any, cast

import attrs
import pytest
import trio

from beamline_trio import (
    ClusterWatch,
    Consumer,
    JetStream,
    PendingFullError,
    PendingTimeoutError,
    PubAck,
    RegionPublisher,
)
from beamline_trio.cluster._home import HomeMessage, HomeStream
from beamline_trio.faults import OperationFault, timeout
from beamline_trio.simulation import World
from tests.cluster._regions import KEPT, LOCAL, Region, StandInWatch, region


class Steady:
    """Callers that publish without end, until they are told to.

    Attributes:
        called: key -> its numbers in the order of the calls.
        slowest: seconds of the longest publish.
    """

    def __init__(self, west: Region, pause: float = 0.002) -> None:
        self.called: Counter[str] = Counter()
        self.slowest = 0.0
        self._west = west
        self._pause = pause
        self._ends = False

    async def __call__(self, keys: str, step: int = 1) -> None:
        for turn in count(0, step):
            if self._ends:
                return
            key = keys[turn % len(keys)]
            number = self.called[key]
            self.called[key] += 1
            began = trio.current_time()
            await self._west.publish(key, number)
            self.slowest = max(self.slowest, trio.current_time() - began)
            await trio.sleep(self._pause)

    def end(self) -> None:
        self._ends = True

    def expected(self) -> dict[str, list[int]]:
        """What is to be stored."""
        return {key: list(range(number)) for key, number in self.called.items()}


async def returned(west: Region) -> None:
    """Until publishes go home again."""
    with trio.fail_after(60):
        while west.publisher.away:  # noqa: ASYNC110  # it has no event
            await trio.sleep(0.01)


@asynccontextmanager
async def closing(west: Region, monkeypatch: pytest.MonkeyPatch) -> AsyncGenerator[trio.Nursery]:
    """A drain that takes its last messages home, one of a key after the other, for five seconds."""
    with west.away():
        await west.publish("a", 0)
        await trio.sleep(1)  # so that it is fetched alone
        await west.publish("a", *range(1, 100))
    slow_home(monkeypatch, 0.05)
    with trio.fail_after(10):
        while not west.publisher.statistics().drained:  # noqa: ASYNC110  # it has no event
            await trio.sleep(0.01)
    await trio.sleep(0.1)
    async with trio.open_nursery() as nursery:
        yield nursery


def slow_home(monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    """Home is far away: every publish takes so long."""
    publish = HomeStream.publish

    async def slow(stream: HomeStream, message: HomeMessage) -> PubAck:
        await trio.sleep(seconds)
        return await publish(stream, message)

    monkeypatch.setattr(HomeStream, "publish", slow)


@pytest.mark.parametrize("lost", [None, timeout()], ids=["does not arrive", "lost PubAck"])
async def test_a_drain_ends_under_steady_traffic(nats_world: World, lost: OperationFault | None) -> None:
    """Four callers go on for ever: soon after the region is back they publish home again, each once and in order."""
    home = attrs.evolve(LOCAL, local=attrs.evolve(KEPT, after_seconds=19.5))  # keeps for half a second
    async with region(nats_world, home) as west, trio.open_nursery() as nursery:
        steady = Steady(west)
        with west.away(lost):
            for step in (1, 3, 5, 7):
                nursery.start_soon(steady, "abcdefgh", step)
            await trio.sleep(20)
        await returned(west)
        drained = west.publisher.statistics().drained
        steady.slowest = 0.0
        await trio.sleep(0.5)
        steady.end()
        await west.settled()
        assert steady.slowest < 0.1
        assert west.publisher.statistics().drained == drained  # nothing takes the detour any more
        assert await west.told() == ["RegionLeft", "RegionReturned"]
        assert await west.stored() == steady.expected()


async def test_a_drain_of_one_hot_key_ends(nats_world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its callers are faster than its way home: half of what goes home is let in, so that less is kept each time."""
    home = attrs.evolve(LOCAL, local=attrs.evolve(KEPT, after_seconds=18.0, batch=32))
    async with region(nats_world, home) as west, trio.open_nursery() as nursery:
        slow_home(monkeypatch, 0.02)
        steady = Steady(west, pause=0.02)
        with west.away():
            for _ in range(4):
                nursery.start_soon(steady, "a")
            await trio.sleep(20)
        assert west.publisher.statistics().kept > 200
        await returned(west)
        steady.end()
        await west.settled()
        assert steady.slowest < 25  # of which 20 are those of the outage
        assert await west.stored() == steady.expected()


async def test_who_comes_towards_the_end_of_a_drain_waits_and_goes_home(
    nats_world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of the same key and of others, behind what was kept; they count among those that wait."""
    home = attrs.evolve(LOCAL, waiting_messages_max=3)
    async with region(nats_world, home) as west, closing(west, monkeypatch) as nursery:
        for number in (100, 101):
            west.start(nursery, "a", number)
            await trio.sleep(0.1)
        west.start(nursery, "b", 0)
        await trio.sleep(0.1)
        assert west.publisher.statistics().waiting == 3
        with pytest.raises(PendingFullError):
            await west.publish("c", 0)
        await west.settled()
        assert {west.acks[payload].place for payload in (b"a:100", b"a:101", b"b:0")} == {"home"}
        assert await west.stored() == {"a": list(range(102)), "b": [0]}


@pytest.mark.parametrize("trouble", ["away", "lost PubAck", "cut", "local", "acks"])
async def test_who_waits_for_the_end_of_a_drain_is_kept_when_that_is_far_again(
    nats_world: World, monkeypatch: pytest.MonkeyPatch, trouble: str
) -> None:
    """The region goes away again, or is cut off, or the local stream fails, or acks get lost: callers go on."""
    watch = StandInWatch()
    async with region(nats_world, LOCAL, watch=watch) as west, closing(west, monkeypatch) as nursery:
        west.start(nursery, "ab", *range(100, 103))
        await trio.sleep(0.1)
        troubles: dict[str, Callable[[], AbstractContextManager[None]]] = {
            "away": west.away,
            "lost PubAck": partial(west.away, timeout()),
            "cut": partial(west.cut_off, watch),
            "local": partial(west.away, subjects="$JS.API.CONSUMER.>"),
            "acks": west.lost_acks,
        }
        with troubles[trouble]():
            await trio.sleep(25)
            assert b"a:102" in west.acks
            assert west.acks[b"b:100"].place == "local"
            assert west.publisher.away
        west.start(nursery, "ab", *range(103, 106))
        await west.settled()
        assert await west.stored() == {"a": list(range(106)), "b": list(range(100, 106))}
        assert await west.kept() == {}


async def test_who_waits_for_the_end_of_a_drain_may_give_up(nats_world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Cancelled, or past its patience: nothing of it is stored or remembered, and the next of its lane goes on."""
    async with region(nats_world, LOCAL) as west, closing(west, monkeypatch) as nursery:
        with trio.move_on_after(0.5) as scope:
            await west.publish("b", 0)
        assert scope.cancelled_caught
        with pytest.raises(PendingTimeoutError, match="nothing was stored"):
            await west.publisher.publish("west.b", b"b:1", patience_seconds=0.5)
        first = trio.CancelScope()

        async def cancelled() -> None:
            with first:
                await west.publish("b", 2)

        nursery.start_soon(cancelled)
        await trio.sleep(0.1)
        west.start(nursery, "b", 3)
        await trio.sleep(0.1)
        first.cancel()
        await trio.sleep(0.1)
        assert west.publisher.statistics().waiting == 1
        assert not west.publisher._doubts._since
        await west.settled()
        assert (await west.stored())["b"] == [3]
        assert west.publisher.statistics().waiting == 0


async def test_who_waits_for_the_end_of_a_drain_goes_on_when_that_is_cancelled(
    nats_world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a run nobody takes anything home: what waits is kept for the next one."""
    async with region(nats_world, LOCAL, runs=False) as west, trio.open_nursery() as nursery:
        running = await nursery.start(scoped, west.publisher)
        async with closing(west, monkeypatch) as others:
            west.start(others, "b", 0)
            await trio.sleep(0.1)
            assert west.publisher.statistics().waiting == 1
            running.cancel()
        assert west.acks[b"b:0"].place == "local"
        await nursery.start(scoped, west.publisher)
        await west.settled()
        assert await west.stored() == {"a": list(range(100)), "b": [0]}
        nursery.cancel_scope.cancel()


async def scoped(publisher: RegionPublisher, *, task_status: trio.TaskStatus[trio.CancelScope]) -> None:
    """It runs in a scope of its own."""
    with trio.CancelScope() as scope:
        async with trio.open_nursery() as nursery:
            await nursery.start(publisher.run)
            task_status.started(scope)


class SuddenWatch:
    """A watch that sees the cut right after it was first asked."""

    def __init__(self) -> None:
        self._asked = False

    def is_cut(self, _: str) -> bool:
        asked, self._asked = self._asked, True
        return asked


async def test_a_cut_that_is_seen_as_a_publish_begins_is_taken_at_its_word(nats_world: World) -> None:
    """Between its look and its permission: it is kept like any other, and does not find out for the whole cut."""
    watch = SuddenWatch()
    async with region(nats_world, LOCAL) as west:
        west.publisher._watch = cast("ClusterWatch", watch)
        with trio.fail_after(5):
            await west.publish("a", 0)
        assert west.acks[b"a:0"].place == "local"


async def test_what_a_consumer_does_not_know_of_yet_is_not_overtaken_at_the_start(
    nats_world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its leader's replica is behind, and says that an earlier process left nothing: the stream is asked itself."""
    async with region(nats_world, LOCAL) as west:
        with west.away():
            await west.publish("a", 0)
    create = JetStream.create_consumer

    async def behind(jetstream: JetStream, *args: Any, **options: Any) -> Consumer:
        consumer = await create(jetstream, *args, **options)
        consumer.cached_info = attrs.evolve(consumer.cached_info, num_pending=0)
        return consumer

    monkeypatch.setattr(JetStream, "create_consumer", behind)
    async with region(nats_world, LOCAL, host="next") as west:
        await west.publish("a", 1)
        await west.settled()
        assert await west.stored() == {"a": [0, 1]}


async def test_a_healthy_start_keeps_nothing(nats_world: World) -> None:
    """Nothing is there from before: the first publish goes home at once."""
    async with region(nats_world, LOCAL) as west:
        began = trio.current_time()
        await west.publish("a", 0)
        assert west.acks[b"a:0"].place == "home"
        assert trio.current_time() - began < 0.01


async def test_what_was_kept_behind_a_drain_is_looked_up_by_the_next(nats_world: World) -> None:
    """It was given up as it was to be kept, and published home again; the local stream stores it late."""
    async with region(nats_world, LOCAL, window=60) as west:
        await west.publisher.publish("west.a", b"a:0", message_id="a-0")
        late = {"Beamline-Home-Subject": "west.a", "Beamline-Home-Msg-Id": "a-0"}
        await west.tool.publish("kept.west.app", b"a:0", headers=late)
        await trio.sleep(300)
        with west.away():
            await west.publish("a", 1)
        await west.settled()
        assert await west.stored() == {"a": [0, 1]}
        assert west.publisher.statistics().found == 1
