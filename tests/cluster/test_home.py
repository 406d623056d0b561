"""The home half of a publisher of a region: what may be in the stream is looked up whole, and sent again in time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import attrs
import pytest
import trio

from beamline_trio import Consumer, ConsumerConfig, JetStream, JetStreamMessage, OperationTimeoutError, OptionsError
from beamline_trio.cluster import Home, _home
from beamline_trio.cluster._home import HomeMessage, HomeStream
from beamline_trio.faults import delay, timeout
from beamline_trio.jetstream import ConsumerDeletedError, PullRefusedError
from beamline_trio.simulation import World
from tests.cluster._regions import HERE, LOCAL, Region, region

Fetch = Callable[..., Any]
FETCH: Fetch = Consumer.fetch
CREATE: Fetch = JetStream.create_consumer


def doubtful(identifier: str, ago: float = 300.0, subject: str = "west.a") -> HomeMessage:
    """A message of unknown fate since so many seconds."""
    since = trio.current_time() - ago
    return HomeMessage(
        subject=subject, payload=b"a:9", headers=None, message_id=identifier, unknown_since=since, stored_at=None
    )


async def store(west: Region, *identifiers: str, subject: str = "west.a") -> None:
    """Messages of these ids are in the home stream."""
    for identifier in identifiers:
        await west.tool.publish(subject, b"a:0", message_id=identifier)


async def look_up(west: Region, *messages: HomeMessage) -> dict[str, int]:
    """Ids -> where they are in the home stream."""
    return dict(await HomeStream(JetStream(west.nc), HERE)._find_since(600.0, messages))


def lose(monkeypatch: pytest.MonkeyPatch, *positions: int, first_asks: int | None = None) -> None:
    """Deliveries at these places of the first batch are lost with the link; the batch ends by time without them."""
    lost = list(positions)

    async def fetch(consumer: Consumer, count: int, **options: Any) -> list[JetStreamMessage]:
        batch: list[JetStreamMessage] = await FETCH(consumer, first_asks if lost and first_asks else count, **options)
        kept = [message for place, message in enumerate(batch) if place not in lost]
        lost.clear()
        return kept

    monkeypatch.setattr(Consumer, "fetch", fetch)


@pytest.mark.parametrize("position", [0, 1, 3])
async def test_a_delivery_that_is_lost_amid_a_look_up_is_missed(
    nats_world: World, monkeypatch: pytest.MonkeyPatch, position: int
) -> None:
    """It does not come again: the look-up does not say that its id is not there, and another one finds it."""
    async with region(nats_world, HERE) as west:
        await store(west, "0", "1", "2", "3", "4", "5")
        lose(monkeypatch, position, first_asks=4)
        with pytest.raises(OperationTimeoutError, match="begin anew"):
            await look_up(west, doubtful(str(position)))
        assert await look_up(west, doubtful(str(position))) == {str(position): position + 1}


async def test_a_message_whose_look_up_was_cut_is_stored_once(
    nats_world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its delivery was lost with the link: the publisher looks again, and finds it."""
    async with region(nats_world, HERE, window=60) as west:
        with west.away(timeout()), pytest.raises(OperationTimeoutError):
            await west.publisher.publish("west.a", b"a:0", message_id="a-0", patience_seconds=3.0)
        await west.publish("a", 1)
        await trio.sleep(300)
        lose(monkeypatch, 0)
        assert (await west.publisher.publish("west.a", b"a:0", message_id="a-0")).ack.duplicate
        assert await west.stored() == {"a": [0, 1]}


async def test_a_batch_that_ends_short_is_followed_by_the_rest(
    nats_world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server gives less than was asked for and says that more is there: the look-up goes on with that."""
    monkeypatch.setattr(_home, "_LOOK_UP_BATCH", 3)
    lose(monkeypatch, 99, first_asks=2)
    async with region(nats_world, HERE) as west:
        await store(west, *map(str, range(8)))
        assert await look_up(west, doubtful("7"), doubtful("2")) == {"7": 8, "2": 3}


async def test_a_look_up_takes_no_longer_than_its_messages(nats_world: World) -> None:
    """The server holds no pull for messages that are not there."""
    async with region(nats_world, HERE) as west:
        await store(west, "0", "1", "2")
        began = trio.current_time()
        assert await look_up(west, doubtful("1")) == {"1": 2}
        assert trio.current_time() - began < 0.5


@pytest.mark.parametrize("subjects", [1, 100])
async def test_a_consumer_that_is_behind_its_stream_does_not_say_that_an_id_is_not_there(
    nats_world: World, monkeypatch: pytest.MonkeyPatch, subjects: int
) -> None:
    """It is made on a server that lacks the last messages: the leader of the stream knows of them."""
    behind = [True]

    async def create(js: JetStream, stream: str, config: ConsumerConfig) -> Consumer:
        consumer: Consumer = await CREATE(js, stream, config)
        if behind:
            behind.clear()
            consumer.cached_info = attrs.evolve(consumer.cached_info, num_pending=0)
        return consumer

    async with region(nats_world, HERE) as west:
        await store(west, "0", "1")
        await store(west, "later", subject="west.b")
        monkeypatch.setattr(JetStream, "create_consumer", create)
        asked = [doubtful("1"), *(doubtful(f"x{one}", subject=f"west.x{one}") for one in range(1, subjects))]
        with pytest.raises(OperationTimeoutError, match="behind the leader"):
            await look_up(west, *asked)
        assert await look_up(west, *asked) == {"1": 2}


async def test_what_is_older_than_the_look_up_or_taken_out_is_not_waited_for(nats_world: World) -> None:
    """The last message of the subject was stored before the first attempt, or is gone: the id is not there."""
    async with region(nats_world, HERE) as west:
        await store(west, "old")
        await trio.sleep(700)
        assert await look_up(west, doubtful("1")) == {}
        await store(west, "0", "1")
        await west.tool.delete_message("WEST", 3)
        assert await look_up(west, doubtful("1"), doubtful("0")) == {"0": 2}
        await west.tool.purge_stream("WEST")
        assert await look_up(west, doubtful("1")) == {}


@pytest.mark.parametrize("when", ["before the fetch", "before its delete", "amid the fetch", "refused"])
async def test_a_look_up_whose_consumer_is_gone_begins_anew(
    nats_world: World, monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    """Idle for too long over an outage, say: whoever publishes is told nothing of it, and the message is found."""
    once = [True]

    async def fetch(consumer: Consumer, count: int, **options: Any) -> list[JetStreamMessage]:
        if not once:
            return list(await FETCH(consumer, count, **options))
        once.clear()
        if when == "amid the fetch":
            raise ConsumerDeletedError("the consumer was deleted while it was pulled from")
        if when == "refused":
            raise PullRefusedError(409, "Consumer Is Push Based")
        batch: list[JetStreamMessage] = []
        if when == "before its delete":
            batch = await FETCH(consumer, count, **options)
        await JetStream(west.nc).delete_consumer(consumer.stream, consumer.name)
        return batch or list(await FETCH(consumer, count, **options))

    async with region(nats_world, HERE, window=60) as west:
        with west.away(timeout()), pytest.raises(OperationTimeoutError):
            await west.publisher.publish("west.a", b"a:0", message_id="a-0", patience_seconds=3.0)
        await trio.sleep(300)
        monkeypatch.setattr(Consumer, "fetch", fetch)
        assert (await west.publisher.publish("west.a", b"a:0", message_id="a-0")).ack.duplicate
        assert not once
        assert await west.stored() == {"a": [0]}


@pytest.mark.parametrize("seconds", range(90, 110, 4))
async def test_what_waits_for_its_own_link_is_not_sent_when_the_home_has_forgotten_it(
    nats_world: World, seconds: int
) -> None:
    """Stored at home, PubAcks lost, kept; then the own link is cut until the duplicate window is over: not doubled."""
    async with region(nats_world, LOCAL, window=120) as west:
        async with trio.open_nursery() as nursery:
            with west.away(timeout()):
                west.start(nursery, "abc", 0)
                await trio.sleep(seconds)
                assert await west.stored() == {"a": [0], "b": [0], "c": [0]}
                with nats_world.network.refuse("nats"):
                    nats_world.network.reset("app", "nats")
                    await trio.sleep(45)
        await west.settled()
        assert await west.kept() == {}
        assert await west.stored() == {"a": [0], "b": [0], "c": [0]}


def test_an_attempt_ends_within_the_margin() -> None:
    """One that is begun just before it would be sent when the home has forgotten its id; no margin is none."""
    Home(region="a", stream="A", attempt_timeout_seconds=9.9)
    Home(region="a", stream="A", attempt_timeout_seconds=10.0, margin_seconds=0.0)
    with pytest.raises(OptionsError, match="attempt_timeout_seconds is 10; it must be less than margin_seconds, 10"):
        Home(region="a", stream="A", attempt_timeout_seconds=10.0)


async def test_headers_that_nobody_can_read_do_not_end_a_look_up(nats_world: World) -> None:
    """Somebody has published such a message to the home: this client skips it, which is no delivery that was lost."""
    async with region(nats_world, HERE) as west:
        await store(west, "0")
        for _ in range(2):
            west.tool.client.connection.outbox.put(b"HPUB west.a 9 10\r\nBAD/1\r\n\r\nx\r\n", None)
        await store(west, "1")
        info = await west.tool.stream_info("WEST")
        assert info.state.messages == 4
        assert await look_up(west, doubtful("0"), doubtful("1")) == {"0": 1, "1": 4}
        assert west.nc.connection.counters.malformed >= 2


async def test_headers_that_nobody_can_read_may_be_the_last_ones(nats_world: World) -> None:
    """Nothing follows them, and the look-up is at its end all the same."""
    async with region(nats_world, HERE) as west:
        await store(west, "0")
        west.tool.client.connection.outbox.put(b"HPUB west.a 9 10\r\nBAD/1\r\n\r\nx\r\n", None)
        assert (await west.tool.stream_info("WEST")).state.messages == 2
        assert await look_up(west, doubtful("0"), doubtful("1")) == {"0": 1}


async def test_whose_time_is_over_behind_the_look_up_of_others_is_looked_up_too(
    nats_world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The home remembered it before the look-up, which took its time, and would store it twice behind it."""

    async def fetch(consumer: Consumer, count: int, **options: Any) -> list[JetStreamMessage]:
        await trio.sleep(20)
        return list(await FETCH(consumer, count, **options))

    async with region(nats_world, HERE, window=120) as west:
        await store(west, "0")
        await trio.sleep(100)
        await store(west, "1", subject="west.b")
        await trio.sleep(105)
        monkeypatch.setattr(Consumer, "fetch", fetch)
        home = HomeStream(JetStream(west.nc), HERE)
        assert await home.publish_all([doubtful("0", 205), doubtful("1", 105, "west.b")]) == ([], None)
        assert home.found == 2
        assert (await west.tool.stream_info("WEST")).state.messages == 2


async def test_whose_time_is_over_while_one_finds_out_is_left(nats_world: World) -> None:
    """The first of a batch takes its time: the others that the home may have forgotten meanwhile are not sent."""
    async with region(nats_world, HERE, window=120) as west:
        await store(west, "0")
        late, soon = doubtful("1", 109.5, "west.b"), doubtful("2", 20, "west.c")
        with west.away(delay(0.9), subjects="west.a"):
            left, reason = await HomeStream(JetStream(west.nc), HERE).publish_all([doubtful("0", 20), late, soon])
        assert (left, reason) == ([late], None)
        assert (await west.tool.stream_info("WEST")).state.messages == 2
