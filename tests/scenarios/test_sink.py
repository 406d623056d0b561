"""The sink: what is noted is acked behind that, and what is not comes again; over servers that go and come."""

from __future__ import annotations

import trio

from beamline_trio import open_client
from beamline_trio.jetstream import JetStream, JetStreamMessage, StreamConfig
from beamline_trio.scenarios._sink import Sink, Taking, until_done
from beamline_trio.simulation import ServerConfig, World

COUNT = 50


class Notes:
    """What a sink has taken of one stream."""

    def __init__(self, stream: str) -> None:
        self.stream = stream
        self.numbers: list[int] = []
        self.redelivered = 0

    @property
    def taking(self) -> Taking:
        return Taking(self.stream, "sink", f"{self.stream.lower()}.*", self.note)

    def note(self, message: JetStreamMessage) -> None:
        self.numbers.append(int(message.payload))
        self.redelivered += message.metadata.delivered > 1


async def make_streams(js: JetStream, *notes: Notes) -> None:
    for one in notes:
        config = StreamConfig(name=one.stream, subjects=[f"{one.stream.lower()}.>"], retention="workqueue")
        await until_done(lambda config=config: js.create_stream(config))  # type: ignore[misc]


async def waiting(js: JetStream, notes: Notes) -> tuple[int, int]:
    """What is in the stream, and how much of that was handed out and not acked."""
    info = await (await js.consumer(notes.stream, "sink")).info()
    return (await js.stream_info(notes.stream)).state.messages, info.num_ack_pending


async def test_all_of_each_stream_is_noted_once_in_its_order_and_acked(nats_world: World) -> None:
    """Of two streams, each beside the other; what its subject does not match stays."""
    await nats_world.start_server("nats", ServerConfig(jetstream=True))
    done, dead = Notes("DONE"), Notes("DEAD")
    async with (
        open_client("nats://nats", dialer=nats_world.dialer("app")) as publisher,
        open_client("nats://nats", dialer=nats_world.dialer("sink")) as client,
        trio.open_nursery() as nursery,
    ):
        js = JetStream(publisher)
        await make_streams(js, done, dead)
        await nursery.start(Sink([done.taking, dead.taking]).run, client)
        for number in range(COUNT):
            await js.publish("done.x", b"%d" % number)
            await js.publish("dead.x", b"%d" % -number)
        await js.publish("dead.of.others", b"99")
        await trio.sleep(1)
        assert (done.numbers, dead.numbers) == (list(range(COUNT)), [-number for number in range(COUNT)])
        assert await waiting(js, done) == (0, 0)
        assert await waiting(js, dead) == (1, 0)
        nursery.cancel_scope.cancel()


async def test_what_was_not_noted_comes_again_to_the_next_sink(nats_world: World) -> None:
    """One that ends with an error in its note has acked what it noted, and nothing else."""
    await nats_world.start_server("nats", ServerConfig(jetstream=True))
    first, second = Notes("DONE"), Notes("DONE")

    def break_off(message: JetStreamMessage) -> None:
        if len(first.numbers) == 7:
            raise LookupError
        first.note(message)

    async with (
        open_client("nats://nats", dialer=nats_world.dialer("app")) as publisher,
        open_client("nats://nats", dialer=nats_world.dialer("sink")) as client,
    ):
        js = JetStream(publisher)
        await make_streams(js, first)
        for number in range(COUNT):
            await js.publish("done.x", b"%d" % number)
        broken = False
        try:
            await Sink([Taking("DONE", "sink", "done.*", break_off)]).run(client)
        except* LookupError:
            broken = True
        assert broken
        async with trio.open_nursery() as nursery:
            await nursery.start(Sink([second.taking]).run, client)
            await trio.sleep(35)
            nursery.cancel_scope.cancel()
        assert first.numbers == list(range(7))
        assert sorted(second.numbers) == list(range(7, COUNT))
        assert await waiting(js, second) == (0, 0)


async def test_it_begins_when_there_is_a_stream_and_goes_on_over_lost_links_and_servers(nats_world: World) -> None:
    """It is started before its stream, and its server is killed twice; what was noted, and not acked, comes again."""
    server = await nats_world.start_server("nats", ServerConfig(jetstream=True))
    notes = Notes("DONE")
    async with (
        open_client("nats://nats", dialer=nats_world.dialer("app")) as publisher,
        open_client("nats://nats", dialer=nats_world.dialer("sink")) as client,
        trio.open_nursery() as nursery,
    ):
        js = JetStream(publisher)
        nursery.start_soon(Sink([notes.taking]).run, client)
        await trio.sleep(5)
        await make_streams(js, notes)
        for number in range(COUNT):
            if number in (10, 30):
                server.kill()
                await trio.sleep(3)
                server.start()
            await until_done(lambda: js.publish("done.x", b"%d" % number, message_id=f"m{number}"))  # noqa: B023
        await trio.sleep(60)
        assert sorted(set(notes.numbers)) == list(range(COUNT))
        assert len(notes.numbers) - COUNT == notes.redelivered
        assert await waiting(js, notes) == (0, 0)
        nursery.cancel_scope.cancel()
