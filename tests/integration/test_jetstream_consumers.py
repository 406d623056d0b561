"""Pull consumers on the simulated and on the real server: what is given, acked, given back, and given again."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import pytest
import trio
import trio.testing

from beamline_trio import (
    Client,
    ConsumerConfig,
    ConsumerNotFoundError,
    JetStream,
    State,
    StreamConfig,
    open_client,
)
from beamline_trio.jetstream import (
    AckNotTakenError,
    Consumer,
    ConsumerDeletedError,
    MessageSettledError,
    PullRefusedError,
    statistics_of,
)
from beamline_trio.testing import EitherServer

pytestmark = [pytest.mark.nats_config(jetstream=True)]

LIMIT_SECONDS = 20.0


@asynccontextmanager
async def consuming(
    nats: EitherServer, messages: int = 0, *, storage: str = "file", **config: object
) -> AsyncGenerator[tuple[Client, JetStream, Consumer]]:
    """A client with a stream of so many messages and a durable consumer."""
    async with open_client(nats.url, dialer=nats.dialer(), reconnect_delay_max_seconds=0.2) as nc:
        with trio.fail_after(LIMIT_SECONDS):
            js = JetStream(nc)
            stream = StreamConfig(name="S", subjects=["s.>"], storage="memory" if storage == "memory" else "file")
            await js.create_stream(stream)
            await fill(js, messages)
            yield nc, js, await js.create_consumer("S", ConsumerConfig(durable_name="c", **config))  # type: ignore[arg-type]


async def fill(js: JetStream, count: int, first: int = 0) -> None:
    """Publish numbered messages."""
    for number in range(first, first + count):
        await js.publish("s.a", b"%d" % number)


async def until(nc: Client, connected: bool) -> None:
    """Wait until a client is connected, or knows that it is not."""
    while (nc.state is State.CONNECTED) is not connected:  # noqa: ASYNC110  # events tell of turns that may be over
        await trio.sleep(0.01)


async def restart(nats: EitherServer, nc: Client) -> None:
    """Kill the server and start it, and wait until the client has been through it."""
    await nats.kill()
    await until(nc, connected=False)
    await nats.start()
    await until(nc, connected=True)


async def settled(consumer: Consumer) -> tuple[int, int]:
    """Unacknowledged and undelivered messages, after what is on its way has arrived."""
    await consumer._attachment.client.flush()
    await trio.sleep(0.05)
    info = await consumer.info()
    return info.num_ack_pending, info.num_pending


async def test_fetch_and_ack(nats: EitherServer) -> None:
    """In order, at most as many as asked for, with where each stands; acked, they are done."""
    async with consuming(nats, 10) as (nc, _, consumer):
        messages = await consumer.fetch(4)
        assert [message.payload for message in messages] == [b"0", b"1", b"2", b"3"]
        assert [message.subject for message in messages] == ["s.a"] * 4
        first = messages[0].metadata
        assert (first.stream, first.consumer, first.delivered) == ("S", "c", 1)
        assert (first.stream_sequence, first.consumer_sequence, first.pending) == (1, 1, 9)
        for message in messages:
            await message.ack()
        assert await settled(consumer) == (0, 6)
        rest = await consumer.fetch(100, expires_seconds=0.5)
        assert [message.payload for message in rest] == [b"4", b"5", b"6", b"7", b"8", b"9"]
        assert await consumer.fetch(5, no_wait=True) == []
        assert statistics_of(nc).acks == 4


async def test_the_callers_deadline_is_the_pulls(nats: EitherServer) -> None:
    """With fewer messages than asked for, a fetch returns what there is before the caller's own deadline strikes."""
    async with consuming(nats, 2) as (_, _, consumer):
        with trio.fail_after(1.5):
            messages = await consumer.fetch(10)
        assert len(messages) == 2
        assert await settled(consumer) == (2, 0)


async def test_next(nats: EitherServer) -> None:
    """One message, also when it comes only later."""
    async with consuming(nats, 1) as (_, js, consumer), trio.open_nursery() as nursery:
        await (await consumer.next()).ack()
        nursery.start_soon(fill, js, 1, 1)
        assert (await consumer.next()).payload == b"1"


async def test_a_cancelled_fetch_strands_nothing(nats: EitherServer) -> None:
    """What had come for it, and what comes later, is given to the next call, long before the ack wait is over."""
    async with consuming(nats, 3, ack_wait_seconds=3600.0) as (nc, js, consumer):
        with trio.move_on_after(0.3) as scope:
            await consumer.fetch(100, expires_seconds=60)
        assert scope.cancelled_caught
        await fill(js, 3, 3)
        messages = await consumer.fetch(6, expires_seconds=5)
        assert sorted(message.payload for message in messages) == [b"0", b"1", b"2", b"3", b"4", b"5"]
        assert statistics_of(nc).redeliveries["backpressure"] == 3


async def test_leaving_a_session_strands_nothing(nats: EitherServer) -> None:
    """What was not taken goes to whoever asks next."""
    async with consuming(nats, 10, ack_wait_seconds=3600.0) as (_, _, consumer):
        async with consumer.messages() as messages:
            await (await messages.receive()).ack()
        rest = await consumer.fetch(9, expires_seconds=5)
        assert sorted(message.payload for message in rest) == [b"%d" % number for number in range(1, 10)]


@pytest.mark.parametrize("max_messages", [1, 2, 7, 500])
async def test_a_session_gives_all_in_order(max_messages: int, nats: EitherServer) -> None:
    """However few are asked for at once, each message comes once, in the order of the stream."""
    async with consuming(nats, 20) as (_, js, consumer), consumer.messages(max_messages) as messages:
        seen: list[bytes] = []
        async with trio.open_nursery() as nursery:
            nursery.start_soon(fill, js, 20, 20)
            async for message in messages:
                seen.append(message.payload)
                await message.ack()
                if len(seen) == 40:
                    break
        assert seen == [b"%d" % number for number in range(40)]
        assert await settled(consumer) == (0, 0)


async def test_nak_term_and_progress(nats: EitherServer) -> None:
    """A nak brings it again, a nak with delay later, a term never; progress keeps it from coming again."""
    async with consuming(nats, 1, ack_wait_seconds=1.0) as (nc, _, consumer):
        message = await consumer.next()
        await message.nak()
        again = await consumer.next()
        assert again.metadata.delivered == 2
        began = trio.current_time()
        await again.nak(0.5)
        third = await consumer.next()
        assert trio.current_time() - began >= 0.45
        for _ in range(4):
            await trio.sleep(0.5)
            await third.in_progress()
        assert await consumer.fetch(1, no_wait=True) == []
        await third.term("enough")
        assert await settled(consumer) == (0, 0)
        statistics = statistics_of(nc)
        assert (statistics.naks, statistics.acks, statistics.in_progress) == (2, 1, 4)
        assert (statistics.redeliveries["handler_error"], statistics.redeliveries["backoff"]) == (1, 1)


async def test_one_answer_for_each_message(nats: EitherServer) -> None:
    """Settled once, a message refuses a second answer; the double ack is known to the server when it returns."""
    async with consuming(nats, 2) as (_, _, consumer):
        one, other = await consumer.fetch(2)
        await one.ack_sync()
        assert one.settled
        assert (await consumer.info()).num_ack_pending == 1
        for answer in (one.ack, one.nak, one.term, one.in_progress, one.ack_sync):
            with trio.testing.assert_checkpoints(), pytest.raises(MessageSettledError):
                await answer()
        await other.term()
        with pytest.raises(MessageSettledError):
            await other.ack()


async def test_a_consumer_without_acks(nats: EitherServer) -> None:
    """Its messages need no answer, and every answer is nothing."""
    async with consuming(nats, 1, ack_policy="none") as (nc, _, consumer):
        message = await consumer.next()
        for answer in (message.ack, message.nak, message.term, message.in_progress, message.ack_sync):
            await answer()
        assert statistics_of(nc).acks == 0


async def test_max_deliver(nats: EitherServer) -> None:
    """After its last delivery a message comes no more; the nak that would ask for it is counted."""
    async with consuming(nats, 1, max_deliver=2) as (nc, _, consumer):
        for _ in range(2):
            await (await consumer.next()).nak()
        assert await consumer.fetch(1, expires_seconds=0.5) == []
        assert sum(statistics_of(nc).max_deliver_exhausted.values()) == 1


async def test_a_consumer_that_is_not_there(nats: EitherServer) -> None:
    """Found by name it is an error, pulled from it is one too; deleted under a session it ends it."""
    async with consuming(nats, 1) as (_, js, consumer):
        with pytest.raises(ConsumerNotFoundError):
            await js.consumer("S", "other")
        async with consumer.messages() as messages:
            await (await messages.receive()).ack()
            await js.delete_consumer("S", "c")
            with pytest.raises(ConsumerDeletedError):
                await messages.receive()
        with pytest.raises((ConsumerNotFoundError, ConsumerDeletedError)):
            await consumer.fetch(1, expires_seconds=5)


async def test_an_ack_that_nobody_takes(nats: EitherServer) -> None:
    """A double ack for a consumer that is gone is told."""
    async with consuming(nats, 1) as (nc, js, consumer):
        message = await consumer.next()
        await js.delete_consumer("S", "c")
        with pytest.raises(AckNotTakenError):
            await message.ack_sync()
        assert statistics_of(nc).ack_failures["no_responders"] == 1


async def test_recreate(nats: EitherServer) -> None:
    """Deleted under a session that may make it again, the consumer is made with its configuration, and goes on."""
    async with consuming(nats, 1, max_deliver=7) as (nc, js, consumer):
        async with consumer.messages(recreate=True) as messages:
            await (await messages.receive()).ack()
            await js.delete_consumer("S", "c")
            await fill(js, 1, 1)
            payloads = {(await messages.receive()).payload for _ in range(2)}
        assert payloads == {b"0", b"1"}
        assert (await consumer.info()).config.max_deliver == 7
        assert statistics_of(nc).consumers_recreated == 1


async def test_a_server_that_lost_everything(nats: EitherServer) -> None:
    """A memory stream is gone with its process: stream and consumer are made again where that is asked for."""
    async with consuming(nats, 1, storage="memory") as (nc, js, consumer):
        stream = StreamConfig(name="S", subjects=["s.>"], storage="memory")
        async with consumer.messages(recreate=True, recreate_stream=stream) as messages:
            await (await messages.receive()).ack()
            await restart(nats, nc)
            async with trio.open_nursery() as nursery:

                async def publish_again() -> None:
                    while (await js.stream_names()) != ["S"]:  # noqa: ASYNC110  # the session makes it
                        await trio.sleep(0.1)
                    await fill(js, 1, 5)

                nursery.start_soon(publish_again)
                assert (await messages.receive()).payload == b"5"
        assert statistics_of(nc).consumers_recreated == 1


async def test_a_session_over_a_restart(nats: EitherServer) -> None:
    """The next link begins with a pull: messages go on, in order, and none is missing."""
    async with consuming(nats, 5, ack_wait_seconds=1.0) as (nc, js, consumer), consumer.messages(10) as messages:
        for _ in range(5):
            message = await messages.receive()
            await message.ack_sync()
        await restart(nats, nc)
        await fill(js, 5, 5)
        seen: list[bytes] = []
        while len(seen) < 5:  # a killed server may forget an ack that it has not written yet, even a double one
            message = await messages.receive()
            seen += [message.payload] if int(message.payload) >= 5 else []
            await message.ack()
        assert seen == [b"5", b"6", b"7", b"8", b"9"]
        assert nc.state is State.CONNECTED


async def test_a_fetch_over_a_restart(nats: EitherServer) -> None:
    """What is missing is fetched by the next link, in the time that is left."""
    async with consuming(nats) as (nc, js, consumer), trio.open_nursery() as nursery:

        async def interrupt() -> None:
            await trio.sleep(0.3)
            await restart(nats, nc)
            await fill(js, 2)

        nursery.start_soon(interrupt)
        messages = await consumer.fetch(2, expires_seconds=15)
        assert [message.payload for message in messages] == [b"0", b"1"]


async def test_an_ack_without_a_link_is_sent_by_the_next(nats: EitherServer) -> None:
    """It is kept while its ack wait lasts, and the message does not come again."""
    async with consuming(nats, 1, ack_wait_seconds=30.0) as (nc, _, consumer):
        message = await consumer.next()
        await nats.kill()
        await until(nc, connected=False)
        await message.ack()
        assert statistics_of(nc).acks_pending == 1
        await nats.start()
        await nc.flush()
        unacknowledged, undelivered = await settled(consumer)
        assert unacknowledged == 0
        assert undelivered == 0 or not nats.simulated  # a killed server may forget what it has just delivered
        statistics = statistics_of(nc)
        assert (statistics.acks_pending, statistics.acks_resent) == (0, 1)


async def test_what_the_server_refuses(nats: EitherServer) -> None:
    """A pull for more than the consumer allows is refused with the server's words."""
    async with consuming(nats, 1, max_batch=5) as (_, _, consumer):
        with pytest.raises(PullRefusedError, match="MaxRequestBatch"):
            await consumer.fetch(6)
        async with consumer.messages(6) as messages:
            with pytest.raises(PullRefusedError, match="MaxRequestBatch"):
                await messages.receive()
        assert len(await consumer.fetch(1)) == 1


async def test_max_bytes(nats: EitherServer) -> None:
    """A fetch ends when the next message would exceed the bytes."""
    async with consuming(nats) as (_, js, consumer):
        for _ in range(3):
            await js.publish("s.a", b"x" * 400)
        messages = await consumer.fetch(3, max_bytes=1000, expires_seconds=2)
        assert 1 <= len(messages) < 3


async def test_a_drain_reads_to_the_end(nats: EitherServer) -> None:
    """A client that drains asks for nothing more; what has come is received, and then the session ends."""
    async with consuming(nats, 5) as (nc, _, consumer), consumer.messages() as messages:
        seen = [(await messages.receive()).payload]
        async with trio.open_nursery() as nursery:
            nursery.start_soon(nc.drain)
            async for message in messages:
                seen.append(message.payload)
        assert seen[0] == b"0"
        assert len(seen) == 5
