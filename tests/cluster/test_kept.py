"""What the local stream keeps of a message, and what of it comes home: all of it, whoever else keeps there."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import attrs
import pytest
import trio
import trio.testing

from beamline_trio import (
    JetStream,
    NatsError,
    OperationTimeoutError,
    OptionsError,
    PendingFullError,
    RegionPublisher,
    StreamConfig,
)
from beamline_trio.cluster import Home, LocalStream
from beamline_trio.faults import timeout
from beamline_trio.protocol import InvalidHeaderError
from beamline_trio.simulation import World
from tests.cluster._regions import HERE, LOCAL, Region, region


@asynccontextmanager
async def other_publisher(west: Region, subject: str, name: str = "east") -> AsyncGenerator[RegionPublisher]:
    """One of another home, which keeps in the same local stream under a subject of its own."""
    jetstream = JetStream(west.nc)
    await jetstream.create_stream(StreamConfig(name=name.upper(), subjects=[f"{name}.>"]))
    local = LocalStream(stream="KEEP", subject=subject)
    publisher = RegionPublisher(jetstream, Home(region=name, stream=name.upper(), local=local))
    async with trio.open_nursery() as nursery:
        await nursery.start(publisher.run)
        yield publisher
        nursery.cancel_scope.cancel()


async def settled(publisher: RegionPublisher) -> None:
    """Until its publishes go home again."""
    with trio.fail_after(60):
        while publisher.away:  # noqa: ASYNC110  # it has no event
            await trio.sleep(0.1)


async def test_one_id_for_two_homes_is_kept_for_each(nats_world: World) -> None:
    """An event that goes to two regions under its own id is no duplicate in the stream that keeps it for both."""
    async with region(nats_world, LOCAL) as west, other_publisher(west, "kept.east.app") as east:
        with west.away(), west.away(subjects="east.>"):
            await west.publisher.publish("west.a", b"a:0", message_id="event-1")
            ack = await east.publish("east.a", b"a:0", message_id="event-1")
            assert (ack.place, ack.ack.duplicate) == ("local", False)
        await west.settled()
        await settled(east)
        assert await west.stored() == {"a": [0]}
        assert await west.stored("EAST") == {"a": [0]}


@pytest.mark.parametrize("subject", ["kept-west.app", "kept.west-app", "kept_west.app"])
async def test_publishers_whose_subjects_are_alike_do_not_take_each_others_messages(
    nats_world: World, subject: str
) -> None:
    """Subjects that differ in a mark only have consumers of their own."""
    async with region(nats_world, LOCAL) as west:
        await west.tool.update_stream(
            attrs.evolve(
                (await west.tool.stream_info("KEEP")).config, subjects=["kept.>", "kept-west.>", "kept_west.>"]
            )
        )
        async with other_publisher(west, subject) as east:
            with west.away(), west.away(subjects="east.>"):
                for number in range(3):
                    await west.publish("a", number)
                    await east.publish("east.a", b"a:%d" % number)
            await west.settled()
            await settled(east)
        assert await west.stored() == {"a": [0, 1, 2]}
        assert await west.stored("EAST") == {"a": [0, 1, 2]}


@pytest.mark.parametrize(
    "limits",
    [
        {"max_msgs": 3},
        {"max_bytes": 1000},
        {"max_msgs_per_subject": 3, "discard": "new"},
        {"max_age_seconds": 600.0, "discard": "new"},
    ],
    ids=lambda limits: next(iter(limits)),
)
async def test_a_stream_that_would_drop_what_it_keeps_is_refused(nats_world: World, limits: dict[str, Any]) -> None:
    """Whoever has a PubAck of it is told that the message goes home; one that makes room for the next cannot say so."""
    async with region(nats_world, LOCAL, runs=False) as west:
        await west.tool.update_stream(attrs.evolve((await west.tool.stream_info("KEEP")).config, **limits))
        with pytest.raises(
            OptionsError, match=rf"would drop some of them by its {next(iter(limits))} of .*discard='new'"
        ):
            await west.publisher.run()


@pytest.mark.parametrize(
    "limits", [{"max_msgs": 3}, {"max_msgs": 100, "max_msgs_per_subject": 3, "discard_new_per_subject": True}]
)
async def test_a_full_local_stream_refuses_and_loses_nothing(nats_world: World, limits: dict[str, Any]) -> None:
    """Past its limit each publish is told so; those that were acked go home, all of them."""
    async with region(nats_world, LOCAL, runs=False) as west, trio.open_nursery() as nursery:
        config = (await west.tool.stream_info("KEEP")).config
        await west.tool.update_stream(attrs.evolve(config, discard="new", **limits))
        await nursery.start(west.publisher.run)
        with west.away():
            await west.publish("a", 0, 1, 2)
            for number in (3, 4):
                with pytest.raises(Exception, match="maximum messages"):
                    await west.publish("a", number)
        await west.settled()
        assert await west.stored() == {"a": [0, 1, 2]}
        nursery.cancel_scope.cancel()


async def test_headers_that_servers_act_by_are_for_the_home(nats_world: World) -> None:
    """A time to live is counted at home, not where the message waits for it; it has it when it gets there."""
    async with region(nats_world, LOCAL) as west:
        config = (await west.tool.stream_info("WEST")).config
        await west.tool.update_stream(attrs.evolve(config, allow_msg_ttl=True))
        with west.away():
            ack = await west.publisher.publish("west.a", b"a:0", headers={"Nats-TTL": "3600", "Key": "a"})
            assert ack.place == "local"
            await trio.sleep(4000)
        await west.settled()
        message = await west.tool.get_message("WEST", sequence=1)
        assert message.headers is not None
        assert (message.headers["Nats-TTL"], message.headers["Key"]) == ("3600", "a")
        assert not [name for name in message.headers if name.startswith("Beamline")]


async def test_what_only_the_home_can_answer_is_not_kept(nats_world: World) -> None:
    """A message that expects the last sequence of its home would hold up what was kept behind it: it is refused."""
    expects = {"Nats-Expected-Last-Sequence": "0"}
    async with region(nats_world, LOCAL) as west:
        with west.away():
            with pytest.raises(InvalidHeaderError, match="expects something of the home"):
                await west.publisher.publish("west.a", b"a:9", headers=expects)
            await west.publish("a", 0)
        await west.settled()
        assert await west.stored() == {"a": [0]}
        assert west.publisher.statistics().waiting == 0


@pytest.mark.parametrize("home", [HERE, LOCAL], ids=["waits", "kept"])
@pytest.mark.parametrize(
    "wrong, error_type",
    [
        ({"subject": "west. a"}, "InvalidSubjectError"),
        ({"subject": "west.>"}, "InvalidSubjectError"),
        ({"subject": "west." + "a" * 5000}, "InvalidSubjectError"),
        ({"subject": 5}, "TypeError"),
        ({"payload": 5}, "TypeError"),
        ({"payload": "text"}, "TypeError"),
        ({"payload": [1, 2]}, "TypeError"),
        ({"payload": bytes(2**20 + 1)}, "PayloadTooLargeError"),
        ({"headers": {"a b": "c"}}, "InvalidHeaderError"),
        ({"headers": 5}, "TypeError"),
        ({"message_id": ""}, "ValueError"),
        ({"message_id": 5}, "TypeError"),
        ({"key": ["a"]}, "TypeError"),
        ({"patience_seconds": -1}, "ValueError"),
        ({"patience_seconds": float("nan")}, "ValueError"),
        ({"patience_seconds": "1"}, "TypeError"),
    ],
    ids=lambda wrong: next(iter(wrong)) if isinstance(wrong, dict) else wrong,
)
async def test_what_no_region_would_take_is_refused_while_it_is_away(
    nats_world: World, home: Home, wrong: dict[str, Any], error_type: str
) -> None:
    """At once and typed: it neither waits nor is kept, where it would hold up what comes behind it."""
    async with region(nats_world, home) as west:
        with west.away(), trio.move_on_after(30):
            await west.publish("a", 0)
        with west.away():
            arguments = {"subject": "west.a", "payload": b"a:9", **wrong}
            began = trio.current_time()
            with trio.testing.assert_checkpoints(), pytest.raises((TypeError, ValueError, NatsError)) as raised:
                await west.publisher.publish(**arguments)
            assert type(raised.value).__name__ == error_type
            assert trio.current_time() == began
            assert west.publisher.statistics().waiting == 0
        await west.publish("a", 1)
        await west.settled()
        assert (await west.stored())["a"][-1] == 1


async def test_a_call_with_a_wrong_argument_does_not_make_an_id_forgotten(nats_world: World) -> None:
    """What is known of the fate of its first attempt stays known."""
    async with region(nats_world, HERE, window=60) as west:
        with west.away(timeout()), pytest.raises(OperationTimeoutError):
            await west.publisher.publish("west.a", b"a:0", message_id="a-0", patience_seconds=3.0)
        wrongs: list[dict[str, Any]] = [{"patience_seconds": -1.0}, {"key": []}, {"headers": {"a b": "c"}}]
        for wrong in wrongs:
            with pytest.raises((ValueError, TypeError, InvalidHeaderError)):
                await west.publisher.publish("west.a", b"a:0", message_id="a-0", **wrong)
        await trio.sleep(300)
        assert (await west.publisher.publish("west.a", b"a:0", message_id="a-0")).ack.duplicate
        assert await west.stored() == {"a": [0]}


async def test_headers_count_as_bytes_that_wait(nats_world: World) -> None:
    """A message of little but headers takes the memory that it takes."""
    async with (
        region(nats_world, attrs.evolve(HERE, waiting_bytes_max=100_000)) as west,
        trio.open_nursery() as nursery,
    ):
        with west.away():
            much = {"Much": "x" * 40_000}
            for key in "ab":
                nursery.start_soon(partial(west.publisher.publish, f"west.{key}", b"", headers=much))
            await trio.sleep(1)
            with pytest.raises(PendingFullError, match="bytes"):
                await west.publisher.publish("west.c", b"", headers=much)
            nursery.cancel_scope.cancel()
