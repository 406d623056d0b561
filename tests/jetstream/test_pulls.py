"""Fetches and sessions against a server that does what the test says: statuses, silence, lost links, cancellation."""

from __future__ import annotations

import pytest
import trio
import trio.testing
from trio.testing import MockClock

from beamline_trio import ClientClosedError, ConnectionLostError, ConsumerNotFoundError, PermissionsError
from beamline_trio.jetstream import (
    ConsumerDeletedError,
    JetStreamMessage,
    Messages,
    PullRefusedError,
    statistics_of,
)
from tests._memory import lose_link, wait_connected
from tests.jetstream._pulls import NEXT, PullServer, consumer_on, settle
from tests.jetstream._script import answer

NS = 1_000_000_000


async def collect(messages: Messages, into: list[bytes]) -> None:
    """Take whatever comes."""
    async for message in messages:
        into.append(message.payload)


# ---- fetch


async def test_a_fetch_that_is_full(autojump_clock: MockClock) -> None:
    """It returns with the last message, in the order in which they came, and ends its interest."""
    server = PullServer()
    async with consumer_on(server) as (nc, consumer), trio.open_nursery() as nursery:
        fetched: list[JetStreamMessage] = []

        async def fetch() -> None:
            fetched.extend(await consumer.fetch(3, expires_seconds=10, max_bytes=4096))

        nursery.start_soon(fetch)
        await settle()
        assert server.pulls[0].body == {
            "batch": 3,
            "expires": 10 * NS,
            "idle_heartbeat": 5 * NS,
            "max_bytes": 4096,
        }
        server.give(2)
        await settle()
        assert fetched == []
        server.give(1)
        await settle()
        assert [message.payload for message in fetched] == [b"0", b"1", b"2"]
        await nc.flush()
        assert [one[0] for one in server.operations("SUB", "UNSUB")] == ["SUB", "SUB", "UNSUB"]


@pytest.mark.parametrize(
    "code, words", [(404, "No Messages"), (408, "Request Timeout"), (409, "Message Size Exceeds MaxBytes")]
)
async def test_the_server_says_that_it_is_over(code: int, words: str, autojump_clock: MockClock) -> None:
    """What has come by then is the result."""
    server = PullServer()
    async with consumer_on(server) as (_, consumer), trio.open_nursery() as nursery:

        async def play() -> None:
            await settle()
            server.give(1)
            server.status(code, words, pending=2)

        nursery.start_soon(play)
        assert len(await consumer.fetch(3)) == 1


async def test_a_refused_pull(autojump_clock: MockClock) -> None:
    """With nothing there the server's words are raised; with something there, that is returned."""
    server = PullServer()
    async with consumer_on(server) as (_, consumer), trio.open_nursery() as nursery:

        async def play(count: int) -> None:
            await settle()
            server.give(count)
            server.status(400, "Bad Request - so")

        nursery.start_soon(play, 0)
        with pytest.raises(PullRefusedError, match="so"):
            await consumer.fetch(3)
        nursery.start_soon(play, 1)
        assert len(await consumer.fetch(3)) == 1


async def test_a_server_that_is_silent(autojump_clock: MockClock) -> None:
    """Two heartbeats missed: what is missing is asked for again, in the time that is left; then it is over."""
    server = PullServer()
    async with consumer_on(server) as (nc, consumer), trio.open_nursery() as nursery:

        async def play() -> None:
            await trio.sleep(1)
            server.give(1)
            await trio.sleep(7)
            server.status(100, "Idle Heartbeat")

        nursery.start_soon(play)
        began = trio.current_time()
        assert len(await consumer.fetch(3, expires_seconds=20)) == 1
        assert trio.current_time() - began == pytest.approx(21)
        assert server.batches == [3, 2]
        assert server.pulls[1].body["expires"] == pytest.approx(2 * NS)
        assert statistics_of(nc).heartbeats_missed >= 1


@pytest.mark.parametrize("words", ["Leadership Change", "Server Shutdown"])
async def test_a_leader_that_changes(words: str, autojump_clock: MockClock) -> None:
    """The rest is pulled again after a pause."""
    server = PullServer()
    async with consumer_on(server) as (_, consumer), trio.open_nursery() as nursery:

        async def play() -> None:
            await settle()
            server.give(1)
            server.status(409, words)
            await trio.sleep(1)
            server.give(2)

        nursery.start_soon(play)
        assert len(await consumer.fetch(3)) == 3
        assert server.batches == [3, 2]
        assert server.pulls[1].at - server.pulls[0].at == pytest.approx(0.25)


async def test_nobody_answers_the_pull(autojump_clock: MockClock) -> None:
    """The consumer is looked for: it is there, and is pulled from again; or it is gone, which is raised."""
    server = PullServer()
    async with consumer_on(server) as (_, consumer), trio.open_nursery() as nursery:

        async def play() -> None:
            await settle()
            server.status(503)
            await trio.sleep(1)
            server.give(1)

        nursery.start_soon(play)
        assert len(await consumer.fetch(1)) == 1
        server.is_gone()
        nursery.start_soon(play)
        with pytest.raises(ConsumerNotFoundError):
            await consumer.fetch(1)


async def test_a_fetch_over_a_lost_link(autojump_clock: MockClock) -> None:
    """What came by the old link counts; the next one is asked for the rest, and the time does not begin anew."""
    server = PullServer()
    async with consumer_on(server) as (nc, consumer), trio.open_nursery() as nursery:

        async def play() -> None:
            await settle()
            server.give(1)
            await lose_link(server)
            await trio.sleep(5)
            server.come_up()
            await wait_connected(nc)
            assert server.batches == [3, 2]
            assert server.pulls[1].body["expires"] == pytest.approx((20 - server.pulls[1].at) * NS, rel=0.01)
            server.give(2)

        nursery.start_soon(play)
        assert len(await consumer.fetch(3, expires_seconds=20)) == 3


async def test_a_fetch_without_a_link(autojump_clock: MockClock) -> None:
    """It waits for one in its own time, and returns what there is; exhausted or closed, it fails at once."""
    server = PullServer()
    async with consumer_on(server, reconnect_attempts=3) as (_nc, consumer):
        await lose_link(server)
        with trio.fail_after(2.5):
            assert await consumer.fetch(1, expires_seconds=1) == []
        await trio.sleep(60)
        with trio.testing.assert_checkpoints(), pytest.raises(ConnectionLostError):
            await consumer.fetch(1)
    with trio.testing.assert_checkpoints(), pytest.raises(ClientClosedError):
        await consumer.fetch(1)


async def test_a_fetch_is_refused(autojump_clock: MockClock) -> None:
    """Of its subject or of its inbox: the permission error, at once."""
    server = PullServer()
    async with consumer_on(server) as (nc, consumer):
        server.denied_publish.add(NEXT)
        with pytest.raises(PermissionsError):
            await consumer.fetch(1)
        server.denied_publish.clear()
        server.denied_subscribe.add(b"_INBOX.*.j.>")
        with pytest.raises(PermissionsError):
            await consumer.fetch(1)
        assert nc.stats().publish_failures["permission"] == 0


@pytest.mark.parametrize("arguments", [{"max_messages": 0}, {"max_bytes": 0}, {"expires_seconds": -1}])
async def test_a_fetch_that_cannot_be(arguments: dict[str, int], autojump_clock: MockClock) -> None:
    """A bound that is not above 0 is refused by its name, and nothing is sent."""
    server = PullServer()
    async with consumer_on(server) as (_, consumer):
        with pytest.raises(ValueError, match=next(iter(arguments))):
            await consumer.fetch(**arguments)  # type: ignore[arg-type]
        assert server.pulls == []


@pytest.mark.parametrize("taken", range(4))
async def test_a_fetch_cancelled_at_any_moment_strands_nothing(taken: int, autojump_clock: MockClock) -> None:
    """Whatever had come is given back at once; so is what comes until the server knows; then nothing can come."""
    server = PullServer()
    async with consumer_on(server) as (nc, consumer):
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as nursery:

                async def play() -> None:
                    await settle()
                    server.give(taken)
                    await settle()
                    server.pongs_held = True
                    scope.cancel()

                nursery.start_soon(play)
                await consumer.fetch(4)
        server.give(1)  # on its way while UNSUB is
        await settle()
        assert server.acks == [(number + 1, b"-NAK") for number in range(taken + 1)]
        server.release_pongs()
        await nc.flush()
        assert len(nc.connection.interests.routes) == 1  # the request inbox
        assert statistics_of(nc).redeliveries["backpressure"] == taken + 1


async def test_a_fetch_cancelled_before_and_closed(autojump_clock: MockClock) -> None:
    """Cancelled before, nothing is asked for; closed by another task, it is told; each is a checkpoint."""
    server = PullServer()
    async with consumer_on(server) as (nc, consumer):
        with trio.CancelScope() as scope:
            scope.cancel()
            await consumer.fetch(1)
        assert scope.cancelled_caught
        assert server.pulls == []
        async with trio.open_nursery() as nursery:

            async def closed() -> None:
                with pytest.raises(ClientClosedError):
                    await consumer.next()

            nursery.start_soon(closed)
            await settle()
            nc.connection.close()


# ---- sessions


async def test_a_session_asks_ahead(autojump_clock: MockClock) -> None:
    """All at once; then, when half of it is taken, for what was taken; never more than so many are out."""
    server = PullServer()
    async with consumer_on(server) as (_, consumer), consumer.messages(10) as messages:
        await settle()
        assert server.batches == [10]
        server.give(10)
        for taken in range(1, 6):
            await messages.receive()
            await settle()
            assert server.batches == ([10] if taken < 5 else [10, 5])


@pytest.mark.parametrize("max_messages, threshold, after", [(1, 0.5, 1), (2, 0.5, 1), (3, 0, 3), (10, 0.9, 1)])
async def test_thresholds(max_messages: int, threshold: float, after: int, autojump_clock: MockClock) -> None:
    """Also with a single message, and with none left."""
    server = PullServer()
    async with (
        consumer_on(server) as (_, consumer),
        consumer.messages(max_messages, threshold=threshold) as messages,
    ):
        await settle()
        server.give(max_messages)
        for taken in range(1, max_messages + 1):
            assert len(server.pulls) == 1 or taken > after
            await messages.receive()
            await settle()
        assert sum(server.batches) <= 2 * max_messages
        assert len(server.pulls) > 1


async def test_a_pull_leaves_while_the_rest_is_worked_on(autojump_clock: MockClock) -> None:
    """A receiver that never waits keeps neither the next pull nor the acks so far back until the last message."""
    server = PullServer()
    async with consumer_on(server) as (nc, consumer), consumer.messages(100) as messages:
        await settle()
        server.give(100)
        await settle()
        outbox = nc.connection.outbox
        for _ in range(50):
            await (await messages.receive()).ack()
        assert outbox.has_work  # the pull has just been asked for
        message = await messages.receive()
        assert not outbox.has_work
        await message.ack()
        await settle()
        assert server.batches == [100, 50]
        assert [sequence for sequence, _ in server.acks] == list(range(1, 52))


async def test_what_a_pull_did_not_give_is_asked_for_again(autojump_clock: MockClock) -> None:
    """The server's count of a pull that has ended is taken off what is expected."""
    server = PullServer()
    seen: list[bytes] = []
    async with consumer_on(server) as (_, consumer), consumer.messages(10) as messages:  # noqa: SIM117  # the nursery ends first
        async with trio.open_nursery() as nursery:
            nursery.start_soon(collect, messages, seen)
            await settle()
            server.give(3)
            await settle()
            server.status(408, "Request Timeout", pending=7)
            await settle()
            assert server.batches == [10, 10]
            server.give(10)
            await settle()
            assert len(seen) == 13
            nursery.cancel_scope.cancel()


async def test_the_servers_count_of_a_pull_is_exact(autojump_clock: MockClock) -> None:
    """Messages of the second pull that came before the first had ended are the second's, by what the first says."""
    server = PullServer()
    async with consumer_on(server) as (_, consumer), consumer.messages(10) as messages:
        await settle()
        server.give(5)
        for _ in range(5):
            await messages.receive()
        await settle()
        assert server.batches == [10, 5]
        server.give(3)  # by the second pull: the first ends without having given more
        server.status(408, "Request Timeout", pull=0, pending=5)
        await settle()
        assert server.batches == [10, 5, 5]


async def test_a_session_with_a_silent_server(autojump_clock: MockClock, caplog: pytest.LogCaptureFixture) -> None:
    """Two heartbeats missed are a warning and a new pull, again and again; heartbeats keep it quiet."""
    server = PullServer()
    async with (
        consumer_on(server) as (nc, consumer),
        consumer.messages(10, expires_seconds=60, heartbeat_seconds=10) as messages,
    ):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(collect, messages, [])
            await settle()
            for _ in range(2):
                await trio.sleep(9)
                server.status(100, "Idle Heartbeat")
            assert len(server.pulls) == 1
            await trio.sleep(20.5)
            assert len(server.pulls) == 2
            await trio.sleep(20)
            assert len(server.pulls) == 3
            nursery.cancel_scope.cancel()
        assert statistics_of(nc).heartbeats_missed == 2
    warnings = [vars(record) for record in caplog.records if vars(record).get("event") == "NATS_PULL_WARNING"]
    assert [record["reason"] for record in warnings] == ["no heartbeat"] * 2


async def test_at_the_defaults_a_silent_server_is_asked_again_after_10_s(autojump_clock: MockClock) -> None:
    """About as long as an election takes: a leader that is killed tells nobody that the pull has died with it."""
    server = PullServer()
    async with (
        consumer_on(server) as (_, consumer),
        consumer.messages(10) as messages,
        trio.open_nursery() as nursery,
    ):
        nursery.start_soon(collect, messages, [])
        await settle()
        await trio.sleep(9.9)
        assert len(server.pulls) == 1
        await trio.sleep(0.2)
        assert len(server.pulls) == 2
        nursery.cancel_scope.cancel()


async def test_a_pull_whose_end_never_comes(autojump_clock: MockClock) -> None:
    """Heartbeats of one pull do not hide that another has ended: each has its own time."""
    server = PullServer()
    async with consumer_on(server) as (_, consumer), consumer.messages(10, expires_seconds=4) as messages:  # noqa: SIM117  # the nursery ends first
        async with trio.open_nursery() as nursery:
            nursery.start_soon(collect, messages, [])
            await settle()
            for _ in range(4):
                await trio.sleep(1.9)
                server.status(100, "Idle Heartbeat", pull=0)
            assert server.batches == [10, 10]
            nursery.cancel_scope.cancel()


@pytest.mark.parametrize("words", ["Leadership Change", "Server Shutdown"])
async def test_failing_pulls_are_paced(words: str, autojump_clock: MockClock) -> None:
    """A server that ends every pull at once is asked ever more rarely, at most every 5 s; a message resets that."""
    server = PullServer()
    async with consumer_on(server) as (_, consumer), consumer.messages(10) as messages:  # noqa: SIM117  # the nursery ends first
        async with trio.open_nursery() as nursery:
            nursery.start_soon(collect, messages, [])
            for _ in range(8):
                await settle()
                count = len(server.pulls)
                server.status(409, words)
                while len(server.pulls) == count:  # noqa: ASYNC110  # it is virtual time
                    await trio.sleep(0.05)
            gaps = [b.at - a.at for a, b in zip(server.pulls, server.pulls[1:], strict=False)]
            assert gaps == pytest.approx([0.25, 0.5, 1, 2, 4, 5, 5, 5], abs=0.06)
            nursery.cancel_scope.cancel()


async def test_a_session_over_a_lost_link(autojump_clock: MockClock) -> None:
    """Its clocks stand still while there is none; the next link begins with one pull for all that is not in hand."""
    server = PullServer()
    async with consumer_on(server) as (nc, consumer), consumer.messages(10) as messages:
        seen: list[bytes] = []
        async with trio.open_nursery() as nursery:
            nursery.start_soon(collect, messages, seen)
            await settle()
            server.give(2)
            await lose_link(server)
            await trio.sleep(1000)
            assert statistics_of(nc).heartbeats_missed == 0
            server.come_up()
            await wait_connected(nc)
            assert server.batches == [10, 10]
            assert server.pulls[1].link is server.link
            server.give(1)
            await settle()
            assert seen == [b"0", b"1", b"2"]
            nursery.cancel_scope.cancel()


async def test_a_session_entered_without_a_link(autojump_clock: MockClock) -> None:
    """It begins with the next one."""
    server = PullServer()
    async with consumer_on(server) as (nc, consumer):
        await lose_link(server)
        async with consumer.messages(10) as messages:
            server.come_up()
            await wait_connected(nc)
            server.give(1)
            assert (await messages.receive()).payload == b"0"


@pytest.mark.parametrize("gone", [503, 409])
@pytest.mark.parametrize("err_code", [10014, 10059])
async def test_the_consumer_is_gone(gone: int, err_code: int, autojump_clock: MockClock) -> None:
    """What had come is received first, then the session ends with the reason."""
    server = PullServer()
    async with consumer_on(server) as (_, consumer), consumer.messages(10) as messages:
        await settle()
        server.give(1)
        server.is_gone(err_code)
        server.status(gone, "Consumer Deleted" if gone == 409 else "")
        await messages.receive()
        for _ in range(2):
            with pytest.raises(ConsumerDeletedError):
                await messages.receive()


async def test_nobody_answered_and_the_consumer_is_there(autojump_clock: MockClock) -> None:
    """A stream that elects its leader: looked at, and pulled from again. While nobody tells, it is looked at again."""
    server = PullServer()
    async with consumer_on(server) as (_, consumer), consumer.messages(10) as messages:
        await settle()
        del server.services[b"$JS.API.CONSUMER.INFO.S.c"]
        server.status(503)
        async with trio.open_nursery() as nursery:
            seen: list[bytes] = []
            nursery.start_soon(collect, messages, seen)
            await trio.sleep(10)
            assert len(server.pulls) == 1
            server.is_there()
            await trio.sleep(11)
            server.give(1)
            await settle()
            assert seen == [b"0"]
            nursery.cancel_scope.cancel()


async def test_a_session_is_refused(autojump_clock: MockClock) -> None:
    """The server refuses the pull's subject, or what it asks for: it ends with that error."""
    server = PullServer()
    server.denied_publish.add(NEXT)
    async with consumer_on(server) as (_nc, consumer):
        async with consumer.messages() as messages:
            with pytest.raises(PermissionsError):
                await messages.receive()
        server.denied_publish.clear()
        async with consumer.messages() as messages:
            await settle()
            server.status(409, "Exceeded MaxRequestBatch of 5")
            with pytest.raises(PullRefusedError):
                await messages.receive()


async def test_leaving_gives_back(autojump_clock: MockClock) -> None:
    """What was not taken, and what still comes, is naked at once; a receiver that waits is told that it was left."""
    server = PullServer()
    async with consumer_on(server) as (nc, consumer):
        async with consumer.messages(10) as messages:
            await settle()
            server.give(3)
            await messages.receive()
        await nc.flush()
        assert server.acks == [(2, b"-NAK"), (3, b"-NAK")]
        async with consumer.messages(10) as messages, trio.open_nursery() as nursery:

            async def left() -> None:
                with pytest.raises(trio.ClosedResourceError):
                    await messages.receive()

            nursery.start_soon(left)
            await settle()
            messages.close()


async def test_the_four_ways_of_a_receive(autojump_clock: MockClock) -> None:
    """A checkpoint at least every few calls; cancelled before or while waiting, none is lost; closed, it is told."""
    server = PullServer()
    async with consumer_on(server) as (nc, consumer), consumer.messages(200) as messages:
        await settle()
        server.give(100)
        await settle()
        seen = 0
        with trio.CancelScope() as scope:
            scope.cancel()
            while True:
                await messages.receive()
                seen += 1
        assert seen < 64
        with trio.move_on_after(1) as scope:
            while True:
                await messages.receive()
                seen += 1
        assert scope.cancelled_caught
        assert seen == 100
        server.give(1)
        assert (await messages.receive()).payload == b"100"
        async with trio.open_nursery() as nursery:

            async def closed() -> None:
                with pytest.raises(ClientClosedError):
                    await messages.receive()

            nursery.start_soon(closed)
            await settle()
            nc.connection.close()


async def test_entered_once_and_before_use(autojump_clock: MockClock) -> None:
    """Anything else is a mistake of the program, and is told."""
    server = PullServer()
    async with consumer_on(server) as (_, consumer):
        messages = consumer.messages()
        with pytest.raises(RuntimeError, match="enter"):
            await messages.receive()
        async with messages:
            with pytest.raises(RuntimeError, match="once"):
                await messages.__aenter__()


@pytest.mark.parametrize(
    "wrong",
    [
        {"max_messages": 0},
        {"threshold": 1},
        {"threshold": -0.1},
        {"expires_seconds": 0.5},
        {"heartbeat_seconds": 0},
        {"heartbeat_seconds": 16},
    ],
)
async def test_a_session_that_cannot_be(wrong: dict[str, float], autojump_clock: MockClock) -> None:
    """A bound that cannot work is refused by its name."""
    server = PullServer()
    async with consumer_on(server) as (_, consumer):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            consumer.messages(**wrong)  # type: ignore[arg-type]


async def test_many_receivers_make_a_lost_consumer_again_once(autojump_clock: MockClock) -> None:
    """One of them looks and makes it, the others wait; all go on."""
    server = PullServer()
    seen: list[bytes] = []
    async with consumer_on(server) as (nc, consumer), trio.open_nursery() as nursery:
        server.is_gone()
        answer(server, "$JS.API.CONSUMER.CREATE.S.c", {"stream_name": "S", "name": "c", "config": {}})
        async with consumer.messages(10, recreate=True) as messages:
            for _ in range(3):
                nursery.start_soon(collect, messages, seen)
            await settle()
            server.status(409, "Consumer Deleted")
            await trio.sleep(1)
            assert statistics_of(nc).consumers_recreated == 1
            server.give(3)
            await settle()
            assert len(seen) == 3
            nursery.cancel_scope.cancel()
