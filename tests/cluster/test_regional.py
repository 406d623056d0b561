"""Publishing to a region that goes and comes: in order, once, and never lost; waiting, or kept and drained."""

from __future__ import annotations

import math
from contextlib import ExitStack
from itertools import count
from random import Random

import attrs
import pytest
import trio
import trio.testing
from hypothesis import given, settings
from hypothesis import strategies as st

from beamline_trio import (
    ClientClosedError,
    Consumer,
    ConsumerInfo,
    InvalidSubjectError,
    JetStream,
    NatsError,
    OperationTimeoutError,
    OptionsError,
    PendingFullError,
    PendingTimeoutError,
    StreamConfig,
)
from beamline_trio.cluster import Home, LocalStream, RegionAck, _home
from beamline_trio.cluster._home import HomeMessage, HomeStream
from beamline_trio.cluster._kept import Kept
from beamline_trio.faults import OperationFault, intermittent, timeout
from beamline_trio.simulation import World, run
from tests.cluster._regions import HERE, KEPT, LOCAL, Region, StandInWatch, region

ORDER = list(range(20))


def expected(keys: str, count: int) -> dict[str, list[int]]:
    """The numbers of each key, from 0 on."""
    return {key: list(range(count)) for key in keys}


@pytest.mark.parametrize("home", [HERE, LOCAL], ids=["waits", "kept"])
async def test_a_region_that_is_there_gets_its_messages_at_once(nats_world: World, home: Home) -> None:
    """With their own headers and their id, as `js.publish` would."""
    async with region(nats_world, home) as west:
        ack = await west.publisher.publish("west.a", b"a:0", headers={"Key": "a"}, message_id="a-0")
        assert ack.place == "home"
        again = await west.publisher.publish("west.a", b"a:0", message_id="a-0")
        assert again == RegionAck("home", type(again.ack)(stream="WEST", sequence=1, duplicate=True))
        message = await west.tool.get_message("WEST", sequence=1)
        assert message.headers is not None
        assert sorted(message.headers.items())[0] == ("Key", "a")
        assert west.publisher.statistics().home == 2
        assert not west.publisher.away


async def test_what_cannot_go_home_waits_and_goes_in_order(nats_world: World) -> None:
    """Nothing arrives for a while: every publish waits; then each key is stored in the order of its calls, once."""
    async with region(nats_world, HERE) as west:
        async with trio.open_nursery() as nursery:
            with west.away():
                west.start(nursery, "abc", *ORDER)
                await trio.sleep(60)
                assert west.publisher.away
                assert west.publisher.statistics().waiting == 3
                assert await west.stored() == {}
        assert await west.stored() == expected("abc", 20)
        assert {ack.place for ack in west.acks.values()} == {"home"}
        assert await west.told() == ["RegionLeft", "RegionReturned"]
        statistics = west.publisher.statistics()
        assert (statistics.waiting, statistics.home) == (0, 60)


@pytest.mark.parametrize("seconds", [5, 60, 400])
async def test_a_publish_whose_puback_was_lost_is_stored_once(nats_world: World, seconds: float) -> None:
    """It arrived, and nobody knows: within the duplicate window the stream knows its id, past it it is looked up."""
    async with region(nats_world, HERE, window=120) as west:
        async with trio.open_nursery() as nursery:
            with west.away(timeout()):
                west.start(nursery, "abc", *ORDER)
                await trio.sleep(seconds)
        assert await west.stored() == expected("abc", 20)
        assert (west.publisher.statistics().found > 0) is (seconds > 120)


@pytest.mark.parametrize("lost", [None, timeout()], ids=["does not arrive", "lost PubAck"])
@pytest.mark.parametrize("seconds", [30, 400])
async def test_what_is_kept_locally_goes_home_in_order(
    nats_world: World, lost: OperationFault | None, seconds: float
) -> None:
    """Callers go on after ten seconds; what they publish meanwhile, and while it drains, is behind what was kept."""
    async with region(nats_world, LOCAL) as west, trio.open_nursery() as nursery:
        with west.away(lost):
            west.start(nursery, "abc", *ORDER)
            await trio.sleep(seconds)
            assert len(west.acks) == 60
            assert west.publisher.statistics().local > 50
        west.start(nursery, "abc", *range(20, 40))
        await west.settled()
        assert await west.stored() == expected("abc", 40)
        assert await west.stored("KEEP") == {}
        statistics = west.publisher.statistics()
        assert statistics.local == statistics.drained
        assert statistics.home + statistics.local == 120
        await west.publish("a", 40)
        assert west.acks[b"a:40"].place == "home"
        assert await west.told() == ["RegionLeft", "RegionReturned"]


async def test_an_election_is_waited_for(nats_world: World) -> None:
    """Away for less than the time: nothing is kept."""
    async with region(nats_world, LOCAL) as west:
        async with trio.open_nursery() as nursery:
            with west.away():
                west.start(nursery, "a", *ORDER)
                await trio.sleep(8)
        assert west.publisher.statistics().local == 0
        assert await west.stored() == {"a": ORDER}


async def test_a_watch_that_says_cut_is_taken_at_its_word(nats_world: World) -> None:
    """Publishes are kept at once and nobody tries the home, until the watch sees it again."""
    watch = StandInWatch()
    async with region(nats_world, LOCAL, watch=watch) as west, trio.open_nursery() as nursery:
        with west.cut_off(watch):
            west.start(nursery, "ab", *ORDER)
            await trio.sleep(1)
            assert len(west.acks) == 40
            await trio.sleep(400)
            assert west.publisher.statistics().home == 0
            assert west.publisher.statistics().failures == 0
        assert await west.stored() == {}
        await west.settled()
        assert await west.stored() == expected("ab", 20)


async def test_a_watch_that_says_cut_makes_publishes_wait(nats_world: World) -> None:
    """Without a local stream; nobody tries meanwhile, so that no publish is of unknown fate."""
    watch = StandInWatch()
    async with region(nats_world, HERE, watch=watch) as west:
        async with trio.open_nursery() as nursery:
            with west.cut_off(watch):
                west.start(nursery, "ab", *ORDER)
                await trio.sleep(60)
                assert west.publisher.statistics().failures == 0
        assert await west.stored() == expected("ab", 20)


@pytest.mark.parametrize("home", [HERE, LOCAL], ids=["waits", "kept"])
async def test_a_watch_is_not_believed_when_home_itself_answers(nats_world: World, home: Home) -> None:
    """One that knows the region by a stream that has lost its quorum; it has its say again when it has seen it."""
    watch = StandInWatch()
    async with region(nats_world, home, watch=watch) as west:
        watch.cut = True
        for number in range(5):
            await west.publish("a", number)
            await trio.sleep(10)
        assert await west.stored() == {"a": list(range(5))}
        assert west.publisher.statistics().kept == 0
        assert not west.publisher.away
        watch.cut = False
        await west.publish("a", 5)
        async with trio.open_nursery() as nursery:
            with west.cut_off(watch):
                west.start(nursery, "a", 6)
                await trio.sleep(60)
                assert west.publisher.away
                assert west.publisher.statistics().failures == 0
        await west.settled()
        assert await west.stored() == {"a": list(range(7))}


@pytest.mark.parametrize("seconds", [20, 300])
async def test_another_one_takes_home_what_one_has_left(nats_world: World, seconds: float) -> None:
    """Killed in a drain whose PubAcks are lost: the next one with its subject goes on, and nothing doubles."""
    async with region(nats_world, LOCAL) as west:
        with west.away(timeout()), trio.move_on_after(seconds):
            async with trio.open_nursery() as nursery:
                west.start(nursery, "ab", *ORDER)
                await trio.sleep_forever()
        assert west.publisher.statistics().local > 30
    async with region(nats_world, LOCAL, host="next") as west:
        await west.publish("a", 20)
        assert west.acks[b"a:20"].place == "local"
        await west.settled()
        assert await west.stored() == {"a": [*ORDER, 20], "b": ORDER}


async def test_what_was_acked_at_home_and_not_here_is_not_doubled(nats_world: World) -> None:
    """The drain is killed between the home's PubAck and its own ack: an hour later the message is looked up."""
    async with region(nats_world, LOCAL) as west:
        with west.away(), trio.move_on_after(30):
            async with trio.open_nursery() as nursery:
                west.start(nursery, "ab", *ORDER)
                await trio.sleep_forever()
        with west.lost_acks():
            while len((await west.stored()).get("a", ())) < 20:  # noqa: ASYNC110  # looked at from outside
                await trio.sleep(0.05)
    await trio.sleep(3600)
    async with region(nats_world, LOCAL, host="next") as west:
        await west.settled()
        assert west.publisher.statistics().found > 0
        assert await west.stored() == expected("ab", 20)


async def test_what_is_delivered_again_is_not_doubled(nats_world: World) -> None:
    """Acks get lost for longer than the home remembers ids, by the drain that sent them: it looks the messages up."""
    async with region(nats_world, LOCAL, window=60) as west:
        with west.away():
            async with trio.open_nursery() as nursery:
                west.start(nursery, "ab", *range(5))
        with west.lost_acks():
            await trio.sleep(200)
        await west.settled()
        assert west.publisher.statistics().found > 0
        assert await west.stored() == expected("ab", 5)


@pytest.mark.parametrize("text", ["abc", "nan", "inf", "-1", "1e400", ""])
async def test_a_kept_message_whose_time_cannot_be_read_is_taken_for_a_doubtful_one(
    nats_world: World, text: str
) -> None:
    """Whoever wrote it: it goes home, looked up from when it was kept on, and ends nothing."""
    async with region(nats_world, LOCAL, window=5) as west:
        with west.away():
            await west.publish("a", 0)
            headers = {"Beamline-Home-Subject": "west.a", "Beamline-Home-Unknown-Since": text}
            await west.tool.publish("kept.west.app", b"a:1", headers=headers)
        await west.settled()
        assert await west.stored() == expected("a", 2)


async def test_a_home_that_keeps_nothing_cannot_be_asked(nats_world: World) -> None:
    """A work queue does not know what was consumed: past its duplicate window a publish is sent again, and counted."""
    async with region(nats_world, HERE, retention="workqueue", window=60) as west:
        async with trio.open_nursery() as nursery:
            with west.away(timeout()):
                west.start(nursery, "a", 0)
                await trio.sleep(300)
        assert west.publisher.statistics().unchecked >= 1
        assert (await west.stored())["a"][0] == 0


async def test_too_many_are_refused(nats_world: World) -> None:
    """At once, typed, and counted; those that wait are stored."""
    home = attrs.evolve(HERE, waiting_messages_max=3)
    async with region(nats_world, home) as west:
        async with trio.open_nursery() as nursery:
            with west.away():
                west.start(nursery, "abc", 0)
                await trio.sleep(5)
                with pytest.raises(PendingFullError, match=r"3 publishes .* wait for region 'west'"):
                    await west.publish("d", 0)
                assert west.publisher.statistics().refused == 1
        assert await west.stored() == expected("abc", 1)


@pytest.mark.parametrize("fault, error", [(None, PendingTimeoutError), (timeout(), OperationTimeoutError)])
async def test_who_has_waited_long_enough_is_told(
    nats_world: World, fault: OperationFault | None, error: type[Exception]
) -> None:
    """Whether it may have been stored is in the error; the next of its lane goes on."""
    home = attrs.evolve(HERE, waiting_timeout_seconds=10)
    async with region(nats_world, home) as west:
        with west.away(fault), pytest.raises(error, match="waiting_timeout_seconds"):
            await west.publish("a", 0)
        await west.publish("a", 1)
        assert (await west.stored())["a"][-1] == 1


async def test_a_cancelled_publish_leaves_its_lane(nats_world: World) -> None:
    """Before, while it waits behind another, and while it finds out: the others go on in order."""
    async with region(nats_world, HERE) as west, trio.open_nursery() as nursery:
        with trio.CancelScope() as before:
            before.cancel()
            await west.publish("a", 100)
        assert before.cancelled_caught
        with west.away():
            scopes = [trio.CancelScope() for _ in range(2)]

            async def cancelled(scope: trio.CancelScope, number: int) -> None:
                with scope:
                    await west.publish("a", number)

            nursery.start_soon(cancelled, scopes[0], 101)
            await trio.sleep(1)
            west.start(nursery, "a", 0, 1)
            await trio.sleep(1)
            nursery.start_soon(cancelled, scopes[1], 102)
            await trio.sleep(1)
            assert west.publisher.statistics().waiting == 3
            for scope in scopes:
                scope.cancel()
            await trio.sleep(1)
            assert west.publisher.statistics().waiting == 1
        await west.settled()
        assert await west.stored() == {"a": [0, 1]}


async def test_a_publish_that_cannot_be_is_raised_and_holds_nobody_up(nats_world: World) -> None:
    """A subject of another stream, a subject that is none, a header that is none."""
    async with region(nats_world, HERE) as west:
        for subject in ("kept.other", "a b"):
            with pytest.raises(NatsError):
                await west.publisher.publish(subject, b"x")
        with pytest.raises(NatsError):
            await west.publisher.publish("west.a", b"x", headers={"a b": "c"})
        await west.publish("a", 0)
        assert await west.stored() == {"a": [0]}
        assert not west.publisher.away


async def test_it_checks_on_every_path(nats_world: World) -> None:
    """A publish that is stored, refused, or made too early is a checkpoint."""
    async with region(nats_world, attrs.evolve(HERE, waiting_bytes_max=1)) as west:
        with trio.testing.assert_checkpoints():
            await west.publish("a", 0)
    async with region(nats_world, LOCAL, host="early", runs=False) as west:
        with trio.testing.assert_checkpoints(), pytest.raises(RuntimeError, match="start its run"):
            await west.publish("a", 0)
    async with region(nats_world, LOCAL, host="twice") as west:
        with trio.testing.assert_checkpoints(), pytest.raises(RuntimeError, match="runs already"):
            await west.publisher.run()


async def test_one_task_runs_it(nats_world: World) -> None:
    """Of two that begin at once one is refused, told what to do, and the other is not disturbed."""
    refused: list[str] = []
    async with region(nats_world, LOCAL, runs=False) as west, trio.open_nursery() as nursery:

        async def run() -> None:
            try:
                await west.publisher.run()
            except RuntimeError as error:
                refused.append(str(error))

        nursery.start_soon(run)
        nursery.start_soon(run)
        await trio.sleep(5)
        one_task = "the publisher of 'west' runs already; one task runs it, and any may publish by it"
        assert refused == [one_task]
        with west.away():
            await west.publish("a", 0)
        await west.settled()
        assert await west.stored() == {"a": [0]}
        nursery.cancel_scope.cancel()


async def test_a_publisher_whose_run_could_not_begin_may_run_again(nats_world: World) -> None:
    """Cancelled, or refused by the local stream, while that is opened; nothing can be kept until it is."""
    async with region(nats_world, LOCAL, runs=False) as west, trio.open_nursery() as nursery:
        with trio.CancelScope() as scope:
            scope.cancel()
            await west.publisher.run()
        await west.tool.delete_stream("KEEP")
        with pytest.raises(NatsError):
            await west.publisher.run()
        with pytest.raises(RuntimeError, match="start its run"):
            await west.publish("a", 0)
        await west.tool.create_stream(StreamConfig(name="KEEP", subjects=["kept.>"], retention="workqueue"))
        nursery.start_soon(west.publisher.run)
        await trio.testing.wait_all_tasks_blocked()
        with pytest.raises(RuntimeError, match="start its run"):
            await west.publish("a", 0)
        await trio.sleep(5)
        await west.publish("a", 0)
        assert await west.stored() == {"a": [0]}
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("home", [HERE, LOCAL], ids=["waits", "kept"])
async def test_it_ends_with_its_client(nats_world: World, home: Home) -> None:
    """Those that wait are told within seconds, however many they are; the drain returns."""
    async with region(nats_world, home) as west:
        ended: list[Exception] = []

        async def publish(number: int) -> None:
            try:
                await west.publish(f"k{number}", 0)
            except (NatsError, trio.TooSlowError) as error:
                ended.append(error)

        with west.away():
            async with trio.open_nursery() as nursery:
                for number in range(50):
                    nursery.start_soon(publish, number)
                await trio.sleep(3)
                west.nc.connection.close()
                with trio.fail_after(10):
                    while len(ended) < 50:  # noqa: ASYNC110  # tasks of another nursery
                        await trio.sleep(0.1)
        assert {type(error) for error in ended} == {ClientClosedError}


async def test_what_is_kept_needs_its_stream(nats_world: World) -> None:
    """Without it the publisher does not run."""
    home = attrs.evolve(LOCAL, local=LocalStream(stream="NONE", subject="none.a"))
    async with region(nats_world, home, runs=False) as west:
        with pytest.raises(NatsError):
            await west.publisher.run()


async def test_a_client_that_fails_open_is_refused(nats_world: World) -> None:
    """It calls a publish that failed SKIPPED: what is kept would be taken for stored at home, acked, and lost."""
    with pytest.raises(ExceptionGroup) as raised:
        async with region(nats_world, LOCAL, fail_open=True):
            pytest.fail("it was made")
    assert raised.group_contains(OptionsError, match="fail_open")


def test_what_will_not_do_is_refused() -> None:
    """Before anything is sent."""
    with pytest.raises(OptionsError, match="region is ''"):
        Home(region="", stream="A")
    with pytest.raises(OptionsError, match="waiting_messages_max is 0"):
        Home(region="a", stream="A", waiting_messages_max=0)
    with pytest.raises(OptionsError, match=r"margin_seconds is inf; it must be .* at most 604800"):
        Home(region="a", stream="A", margin_seconds=math.inf)
    with pytest.raises(OptionsError, match=r"attempt_timeout_seconds is inf; it must be .* at most 604800"):
        Home(region="a", stream="A", attempt_timeout_seconds=math.inf)
    with pytest.raises(OptionsError, match="subject is ''"):
        LocalStream(stream="A", subject="")
    with pytest.raises(InvalidSubjectError):
        LocalStream(stream="A", subject="a.*")


@pytest.mark.slow
@given(
    seed=st.integers(0, 2**16),
    outages=st.lists(
        st.tuples(
            st.sampled_from(["none", "lost", "some", "cut", "mistaken"]), st.floats(0.5, 300), st.floats(0.5, 60)
        ),
        max_size=4,
    ),
    local=st.booleans(),
)
@settings(max_examples=25)
def test_whatever_happens_each_is_stored_once_and_in_order(
    seed: int, outages: list[tuple[str, float, float]], local: bool
) -> None:
    """Outages of any kind and length while keys are published: all of them at home, each once, in their order."""

    async def law(world: World) -> None:
        watch = StandInWatch()
        async with region(world, LOCAL if local else HERE, watch=watch, window=60) as west:
            async with trio.open_nursery() as nursery:
                for key in "abcd":
                    nursery.start_soon(paced, west, key)
                for kind, seconds, pause in outages:
                    watch.cut = kind in ("cut", "mistaken")
                    faults = {"none": None, "lost": timeout(), "cut": None}
                    some = intermittent(timeout(), 0.5, Random(seed))
                    with ExitStack() as stack:
                        if kind == "cut":
                            stack.enter_context(west.silent_home())
                        stack.enter_context(west.away(faults.get(kind, some)))
                        await trio.sleep(seconds)
                    watch.cut = False
                    await trio.sleep(pause)
            await west.settled()
            assert await west.stored() == expected("abcd", 30)

    async def paced(west: Region, key: str) -> None:
        for number in range(30):
            await west.publish(key, number)
            await trio.sleep(2)

    run(law, seed=seed, ends_within_seconds=100_000)


@pytest.mark.parametrize("home", [HERE, LOCAL], ids=["waits", "kept"])
async def test_calls_of_one_key_that_wait_together_go_in_their_order(nats_world: World, home: Home) -> None:
    """Whoever called first is stored first, though all wait at the same time, and the first of them fails at first."""
    async with region(nats_world, home) as west, trio.open_nursery() as nursery:
        with west.away():
            for number in range(30):
                west.start(nursery, "ab", number)
                await trio.sleep(0.4)
        await west.settled()
        assert await west.stored() == expected("ab", 30)


async def test_what_is_stored_while_it_is_asked_is_not_overlooked(nats_world: World) -> None:
    """A question that was answered before a message was kept does not say that nothing is kept."""
    async with region(nats_world, LOCAL) as west:
        kept = Kept(JetStream(west.nc), LOCAL, KEPT)
        await kept.open()
        assert await kept.is_empty()
        answers: list[bool] = []

        async def ask() -> None:
            answers.append(await kept.is_empty())

        for pause in (0.0, 0.0002, 0.0008):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(ask)
                await trio.sleep(pause)
                await kept.store(HomeMessage(subject="west.a", payload=b"", headers=None, message_id=str(pause)), "a")
        assert answers == [False] * 3


async def test_a_consumer_that_is_behind_its_stream_does_not_say_that_nothing_is_kept(
    nats_world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its leader's replica has not yet what the stream's leader has acked: what is kept would be overtaken."""
    async with region(nats_world, LOCAL) as west:
        kept = Kept(JetStream(west.nc), LOCAL, KEPT)
        await kept.open()
        before = await JetStream(west.nc).consumer_info("KEEP", "kept-west-app")
        await kept.store(HomeMessage(subject="west.a", payload=b"", headers=None, message_id="a"), "a")

        async def behind(_: Consumer) -> ConsumerInfo:
            return before

        monkeypatch.setattr(Consumer, "info", behind)
        assert not await kept.is_empty()
        assert len(await kept.fetch()) == 1
        for _ in range(20):  # an ack that the stream never learns of
            assert not await kept.is_empty()
        (again,) = await kept.fetch()
        await again.ack_sync()
        assert await kept.is_empty()


async def test_a_delivery_that_was_lost_brings_the_oldest_back_first(nats_world: World) -> None:
    """One that went to nobody would come again behind newer ones: everything that is kept comes anew, in order."""
    async with region(nats_world, LOCAL) as west:
        kept = Kept(JetStream(west.nc), LOCAL, KEPT)
        await kept.open()
        for number in range(4):
            message = HomeMessage(subject="west.a", payload=b"%d" % number, headers=None, message_id=str(number))
            await kept.store(message, "a")
        thief = await west.tool.consumer("KEEP", "kept-west-app")
        assert [bytes(one.payload) for one in await thief.fetch(2, no_wait=True)] == [b"0", b"1"]
        assert await kept.fetch() == []
        batch = await kept.fetch()
        assert [bytes(one.payload) for one in batch] == [b"0", b"1", b"2", b"3"]
        assert all(kept.read(one)[1].unknown_since is not None for one in batch)


async def test_an_id_that_is_published_again_is_remembered(nats_world: World) -> None:
    """Its first publish was given up, its fate unknown; past the duplicate window it is looked up, and not doubled."""
    async with region(nats_world, HERE, window=60) as west:
        with west.away(timeout()), pytest.raises(OperationTimeoutError, match="for 3 s"):
            await west.publisher.publish("west.a", b"a:0", message_id="a-0", patience_seconds=3.0)
        await trio.sleep(300)
        again = await west.publisher.publish("west.a", b"a:0", message_id="a-0")
        assert again.ack.duplicate
        assert await west.stored() == expected("a", 1)
        assert west.publisher.statistics().found == 1


async def test_a_window_that_is_shortened_is_not_relied_on(nats_world: World) -> None:
    """The home remembers ids for as long as it says now, and not as it said when it was asked first."""
    async with region(nats_world, HERE, window=120) as west:
        for number, window in enumerate((120, 5)):
            config = (await west.tool.stream_info("WEST")).config
            await west.tool.update_stream(attrs.evolve(config, duplicate_window_seconds=window))
            with west.away(timeout()), pytest.raises(OperationTimeoutError):
                await west.publisher.publish("west.a", b"a:%d" % number, message_id=str(number), patience_seconds=5)
            await trio.sleep(60)
            await west.publisher.publish("west.a", b"a:%d" % number, message_id=str(number))
        assert await west.stored() == expected("a", 2)


async def test_an_id_is_remembered_over_a_publish_that_did_not_get_its_turn(nats_world: World) -> None:
    """Refused because too many wait, or given up in its lane: what is known of its first attempt stays known."""
    async with region(nats_world, attrs.evolve(HERE, waiting_messages_max=2), window=60) as west:
        async with trio.open_nursery() as nursery:
            with west.away(timeout()):
                with pytest.raises(OperationTimeoutError):
                    await west.publisher.publish("west.a", b"a:0", message_id="a-0", patience_seconds=3.0)
                west.start(nursery, "b", 0)
                await trio.sleep(1)
                with pytest.raises(OperationTimeoutError):  # behind it in its lane
                    await west.publisher.publish("west.a", b"a:0", message_id="a-0", key="west.b", patience_seconds=3.0)
                west.start(nursery, "c", 0)
                await trio.sleep(1)
                with pytest.raises(PendingFullError):
                    await west.publisher.publish("west.a", b"a:0", message_id="a-0")
        await trio.sleep(300)
        assert (await west.publisher.publish("west.a", b"a:0", message_id="a-0")).ack.duplicate
        assert (await west.stored())["a"] == [0]


async def test_a_look_up_ends_and_holds_only_what_it_was_asked_for(
    nats_world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However fast others publish to the home meanwhile, and however many ids it has stored in that time."""
    monkeypatch.setattr(_home, "_LOOK_UP_BATCH", 1)

    async def others(name: int) -> None:
        for number in count():
            await west.tool.publish("west.a", b"a:9", message_id=f"{name}-{number}")

    async with region(nats_world, HERE, window=5) as west, trio.open_nursery() as nursery:
        await west.publisher.publish("west.a", b"a:0", message_id="a-0")
        for name in range(5):  # together they are faster than one who looks
            nursery.start_soon(others, name)
        await trio.sleep(0.05)
        message = HomeMessage(subject="west.a", payload=b"", headers=None, message_id="a-0")
        with trio.fail_after(1):
            found = await HomeStream(JetStream(west.nc), HERE)._find_since(10.0, [message])
        assert found == {"a-0": 1}
        nursery.cancel_scope.cancel()


async def test_of_too_many_ids_the_oldest_is_forgotten(nats_world: World) -> None:
    """What is remembered has the bound of what may wait; whoever is beyond it is counted."""
    async with region(nats_world, attrs.evolve(HERE, waiting_messages_max=2), window=60) as west:
        with west.away(timeout()):
            for number in range(3):
                with pytest.raises(OperationTimeoutError):
                    await west.publisher.publish("west.a", b"a:%d" % number, message_id=str(number), patience_seconds=3)
        await trio.sleep(300)
        acks = [await west.publisher.publish("west.a", b"a:9", message_id=str(number)) for number in range(3)]
        assert [ack.ack.duplicate for ack in acks] == [False, True, True]
        assert west.publisher.statistics().forgotten == 1


async def test_a_local_stream_that_is_gone_for_a_while_is_waited_for(
    nats_world: World, caplog: pytest.LogCaptureFixture
) -> None:
    """The drain tells once why it cannot go on, and goes on by itself."""
    async with region(nats_world, LOCAL) as west:
        with west.away():
            async with trio.open_nursery() as nursery:
                west.start(nursery, "a", 0)
        js = JetStream(west.nc)
        with west.away():
            await js.delete_stream("KEEP")
            await trio.sleep(10)
        await js.create_stream(StreamConfig(name="KEEP", subjects=["kept.>"], retention="workqueue"))
        await west.settled()
        codes = [getattr(record, "event", "") for record in caplog.records]
        assert codes.count("REGION_DRAIN_ERROR") >= 1
        await west.publish("a", 1)
        assert west.acks[b"a:1"].place == "home"


async def test_what_home_refuses_for_good_is_told_and_kept(nats_world: World, caplog: pytest.LogCaptureFixture) -> None:
    """Behind a cut the home takes no such message any more: told once and why, and it goes when that is mended."""
    async with region(nats_world, LOCAL) as west:
        config = (await west.tool.stream_info("WEST")).config
        with west.away():
            async with trio.open_nursery() as nursery:
                west.start(nursery, "ab", *range(3))
            await west.tool.update_stream(attrs.evolve(config, max_msg_size=1))
        await trio.sleep(300)
        told = [record for record in caplog.records if getattr(record, "event", "") == "REGION_DRAIN_ERROR"]
        assert ["exceeds maximum" in getattr(record, "reason", "") for record in told] == [True]
        assert sum(map(len, (await west.kept()).values())) == 6
        await west.tool.update_stream(config)
        await west.settled()
        assert await west.stored() == expected("ab", 3)


async def test_a_drain_ends_with_its_client(nats_world: World) -> None:
    """In the middle of what it takes home; what is kept stays kept."""
    async with region(nats_world, LOCAL) as west:
        with west.away():
            async with trio.open_nursery() as nursery:
                west.start(nursery, "abc", *range(5))
            west.nc.connection.close()
            await trio.sleep(10)
        assert sum(map(len, (await west.kept()).values())) == 15


async def test_a_cancelled_drain_is_carried_on(nats_world: World) -> None:
    """Its attempt is given back, and the same publisher may run again."""
    async with region(nats_world, LOCAL, runs=False) as west, trio.open_nursery() as nursery:
        for seconds in (20.0, 60.0):
            with trio.move_on_after(seconds):
                async with trio.open_nursery() as running:
                    await running.start(west.publisher.run)
                    with west.away(timeout()):
                        west.start(running, "ab", *range(10))
                        await trio.sleep(seconds)
        await nursery.start(west.publisher.run)
        await west.settled()
        assert {key: sorted(set(numbers)) for key, numbers in (await west.stored()).items()} == expected("ab", 10)
        nursery.cancel_scope.cancel()


async def test_a_home_that_cannot_be_asked_is_asked_again(nats_world: World) -> None:
    """The look-up behind a long cut fails too: nothing is sent blindly, and it is tried until it is answered."""
    async with region(nats_world, LOCAL, window=30) as west:
        with west.away(timeout()):
            async with trio.open_nursery() as nursery:
                west.start(nursery, "a", *range(3))
            await trio.sleep(100)
            with west.silent_home():
                await trio.sleep(30)
        await west.settled()
        assert await west.stored() == expected("a", 3)


async def test_the_time_of_a_publish_is_also_that_in_its_lane(nats_world: World) -> None:
    """Behind another one of its key it has the same time, and is told that nothing of it was stored."""
    async with region(nats_world, HERE) as west:
        with west.away():
            async with trio.open_nursery() as nursery:
                west.start(nursery, "a", 0)
                await trio.sleep(1)
                began = trio.current_time()
                with pytest.raises(PendingTimeoutError, match="for 2 s"):
                    await west.publisher.publish("west.a", b"a:1", patience_seconds=2.0)
                assert trio.current_time() - began == pytest.approx(2.0)
                nursery.cancel_scope.cancel()


async def test_it_runs_until_its_client_is_closed(nats_world: World) -> None:
    """Idle or in the middle of a drain: it returns."""
    for host in ("idle", "drains"):
        async with region(nats_world, LOCAL, runs=False, host=host) as west, trio.open_nursery() as nursery:
            await nursery.start(west.publisher.run)
            with west.away():
                if host == "drains":
                    await west.publish("a", 0)
                west.nc.connection.close()
                with trio.fail_after(5):
                    await trio.testing.wait_all_tasks_blocked()
                    while west.publisher._running:  # noqa: ASYNC110  # it has no event
                        await trio.sleep(0.1)
